//! [`Writer`]: puts batches into the active segment, rolls it, and makes it durable.
//!
//! **Invariants**
//! - At most one thread holds the writer; readers never wait for it.
//! - A batch is written whole or not at all: what a failed write left behind is cut off before the next.
//! - A sync is never repeated after it failed. One that somebody waits for goes through the handle that
//!   wrote.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::active::{Active, Claim, End};
use super::files::segment_path;
use super::queue::{Acknowledged, Run};
use super::recovery::ActiveFile;
use super::scan::ScanFrom;
use super::segment::{START, Segment};
use super::{CleanMark, Place};
use crate::error::{Error, ErrorKind, LogError, TopicError};
use crate::format::{Checkpoint, SegmentHeader, Stamp};
use crate::offset::Offset;
use crate::options::{Durability, TopicOptions};
use crate::storage::{OpenMode, StorageFile, write_all_at};
use crate::timestamp::{Timestamp, TimestampType};

/// The bytes written between two checkpoints, and so about what is scanned after a crash.
const CHECKPOINT_INTERVAL_BYTES: u64 = 8 * 1024 * 1024;

/// Of so many sealed segments that are not synced yet the oldest is, before another is begun: each keeps its
/// file open.
const UNSYNCED_SEGMENTS_MAX: usize = 8;

/// The writing end of a log.
#[derive(Debug, Default)]
pub(super) struct Writer {
    active: Option<Active>,
    /// Sealed but not yet synced: with a level below `Disk` nobody waits for them at the roll.
    unsynced: VecDeque<Unsynced>,
    /// Whether segments were begun whose names are not on disk.
    unsynced_names: bool,
    /// A file that a failed roll could not take away again. Nothing is written while it is there: once
    /// the log has grown past its name it would stand between segments.
    orphan: Option<PathBuf>,
    /// The bytes written since the log was opened, and how many of them are synced.
    written: u64,
    synced: u64,
    /// A sync has failed: nothing that was written since the last one is known to be on disk, ever.
    sync_failed: bool,
    /// A failed write could not be cut off, or a sync of what a roll seals has failed: nobody knows what the
    /// disk holds now, and nothing more may be appended.
    poisoned: bool,
    /// A segment that was begun, whether its first batch could be written or not, until readers are told.
    begun: Option<Arc<Segment>>,
    since_checkpoint: u64,
    scan_from: ScanFrom,
    /// Offsets below were promised to records that could not be written: no other record gets them.
    given_up: Offset,
    /// What the last close left, as long as nobody has begun to write.
    as_closed: Option<CleanMark>,
}

/// What was written up to some moment, to be synced while more is written.
#[derive(Debug)]
pub(super) struct Written {
    /// Those that are sealed but not yet synced.
    sealed: Vec<Arc<Segment>>,
    active: Arc<Segment>,
    /// As the writer counts them.
    bytes: u64,
    upto: ScanFrom,
}

impl Written {
    /// The end of it.
    pub(super) fn end(&self) -> Offset {
        self.upto.offset
    }

    /// Syncs it, but for names, and but for segments that are not in the log any more. Each file by a handle
    /// of its own: of what the disk could not keep every handle is told once, and the writer's is to be told
    /// too.
    pub(super) fn sync(
        &self,
        place: &Place,
        is_in_log: impl Fn(&Arc<Segment>) -> bool,
    ) -> Result<(), NotSynced> {
        for segment in self.sealed.iter().chain([&self.active]) {
            let fail = |error| Error::storage("sync", segment.path(), error);
            let file = match place.storage.open(segment.path(), OpenMode::ReadWrite) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_in_log(segment) => {
                    continue;
                }
                file => file.map_err(|error| NotSynced::NothingLost(fail(error)))?,
            };
            file.sync_data()
                .map_err(|error| NotSynced::SyncFailed(fail(error)))?;
        }
        Ok(())
    }
}

/// Why [`Written`] is not synced.
#[derive(Debug)]
pub(super) enum NotSynced {
    /// It may be tried again.
    NothingLost(Error),
    /// What was written may be lost, and another sync would not tell.
    SyncFailed(Error),
}

#[derive(Debug)]
struct Unsynced {
    segment: Arc<Segment>,
    file: Arc<dyn StorageFile>,
}

impl Unsynced {
    fn sync(&self) -> Result<(), Error> {
        let fail = |error| Error::storage("sync", self.segment.path(), error);
        self.file.sync_data().map_err(fail)
    }
}

impl Writer {
    /// Goes on where a close has left everything on disk.
    pub(super) fn resume_closed(&mut self, mark: CleanMark) {
        self.as_closed = Some(mark);
    }

    /// What the last close left, if all of it is still so.
    pub(super) fn as_closed(&self) -> Option<CleanMark> {
        self.as_closed.filter(|_| !self.sync_failed)
    }

    /// Goes on in a segment that recovery left.
    pub(super) fn resume(&mut self, segment: Arc<Segment>, active: ActiveFile) {
        let position = segment.length();
        segment.keep_open(Arc::clone(&active.file));
        self.scan_from = active.scan_from;
        self.active = Some(Active::new(
            segment,
            active.file,
            End {
                position,
                first_timestamp: active.first_timestamp,
            },
        ));
    }

    /// Where in the active segment the next batch goes.
    pub(super) fn position(&self) -> u64 {
        self.active.as_ref().map_or(START, |it| it.end.position)
    }

    /// The bytes written since the last sync.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.written - self.synced
    }

    /// Whether nobody knows what the disk holds.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// The segment that was begun since the last call: readers have to be told, after an error too.
    pub(super) fn take_begun(&mut self) -> Option<Arc<Segment>> {
        self.begun.take()
    }

    /// Whether everything written is synced.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced_bytes() == 0 && self.unsynced.is_empty() && !self.sync_failed
    }

    /// Writes the next batches of a run at the log's end, or at the offsets they were promised:
    /// as many as go into one segment, a new one if the active one is full. All of them with one write.
    /// Returns the log's end after them.
    ///
    /// # Durability
    ///
    /// None: the bytes are with the operating system. See [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// On an error none of the batches is left, though a segment may have been begun. If that cannot be
    /// made sure, the writer [is poisoned](Self::is_poisoned).
    #[inline]
    pub(super) fn append(
        &mut self,
        place: &Place,
        options: &TopicOptions,
        run: &mut Run,
        log_end: Offset,
        durable_upto: Offset,
    ) -> Result<Offset, Error> {
        let append_time = match options.timestamp_type {
            TimestampType::LogAppendTime => Some(place.now()),
            TimestampType::CreateTime => None,
        };
        self.as_closed = None;
        self.remove_orphan(place)?;
        let Some(first) = run.batches.get(run.written) else {
            return Ok(log_end);
        };
        let start = first.builder.start();
        let given_up = self.given_up;
        let mut claim = Claim::new(first, log_end.max(given_up), append_time);
        if claim.end_offset > Offset::MAX {
            return Err(LogError::OffsetsExhausted.into());
        }
        let takes = |active: &Active| active.takes(options, &claim, active.end);
        if !self.active.as_ref().is_some_and(takes) {
            // Where the log ends, and not where the batch goes: given-up offsets lie inside a segment, so
            // that there is never a gap between two, or before the first.
            self.roll(place, options, log_end, durable_upto)?;
        }
        let Some(active) = &mut self.active else {
            return Err(TopicError::Replaced.into());
        };
        let seed = active.segment.seed();
        let (mut end, mut end_offset, mut batches) = (active.end, log_end, 0);
        for batch in run.batches.iter_mut().skip(run.written) {
            if batches > 0 {
                claim = Claim::new(batch, end_offset.max(given_up), append_time);
                if claim.end_offset > Offset::MAX || !active.takes(options, &claim, end) {
                    break;
                }
            }
            batch.builder.finish(
                &mut run.bytes,
                &Stamp {
                    base_offset: claim.base_offset,
                    durable_upto,
                    append_time: claim.append_time,
                    skips: claim.base_offset > end_offset,
                    seed,
                },
            );
            batch.stamped = Some(Acknowledged {
                base_offset: claim.base_offset,
                append_time: claim.append_time,
            });
            end.position += claim.length;
            end.first_timestamp.get_or_insert(claim.max_timestamp);
            end_offset = claim.end_offset;
            batches += 1;
        }
        let length = end.position - active.end.position;
        active.full_at = options.segment_bytes.into();
        if let Err(error) = active.write(&mut run.bytes, start, length) {
            let error = Error::storage("write a batch", active.segment.path(), error);
            self.cut_off(options, &error);
            // Behind a segment that is sealed like that a power cut could bring a part of them back.
            self.written += length;
            return Err(error);
        }
        let written = run.batches.iter().skip(run.written).take(batches);
        active.note(options, written);
        run.written += batches;
        active.end = end;
        active.segment.set_length(end.position);
        self.written += length;
        self.since_checkpoint += length;
        Ok(end_offset)
    }

    /// Cuts off what a failed write has left: it must not be taken for batches after a crash. Where its
    /// senders are told that nothing was written, that must be true of the disk too. And so it must where the
    /// next records get these offsets and are acknowledged without a sync: a power cut that takes those away
    /// must not bring these back in their place.
    fn cut_off(&mut self, options: &TopicOptions, failed: &Error) {
        let Some(active) = &mut self.active else {
            return;
        };
        let mut cut = active.file.set_len(active.end.position);
        let durable = failed.kind() == ErrorKind::Full || options.durability != Durability::Disk;
        if durable && cut.is_ok() {
            cut = active.file.sync_data();
            self.sync_failed |= cut.is_err();
        }
        self.poisoned |= cut.is_err();
        active.note_cut();
    }

    /// Gives up the offsets that were promised to the batches of a run that are not written.
    pub(super) fn give_up(&mut self, run: &Run) {
        for batch in run.batches.iter().skip(run.written) {
            if let Some(promised) = batch.promised {
                let end = promised.base_offset + u64::from(batch.builder.count());
                self.given_up = self.given_up.max(end);
            }
        }
    }

    /// Seals the active segment, if there is one, and begins the next.
    ///
    /// # Durability
    ///
    /// With `Disk`, the old segment and the new one's name are durable on return. If the sync of the old
    /// segment fails, the writer [is poisoned](Self::is_poisoned).
    pub(super) fn roll(
        &mut self,
        place: &Place,
        options: &TopicOptions,
        base_offset: Offset,
        durable_upto: Offset,
    ) -> Result<(), Error> {
        self.as_closed = None;
        place.check_owned()?;
        let durable = options.durability == Durability::Disk;
        place.make_directory(durable)?;
        let synced = if durable && !self.is_synced() {
            self.sync(place)
        } else if self.unsynced.len() >= UNSYNCED_SEGMENTS_MAX {
            self.sync_oldest()
        } else {
            Ok(())
        };
        self.poisoned |= synced.is_err();
        synced?;
        self.remove_orphan(place)?;
        let was_synced = self.is_synced();
        if let Some(old) = &mut self.active
            && old.is_longer()
        {
            // Only tidiness, and not synced: zeros behind the last batch are read as its end. But the disk
            // may be full.
            let cut = old.file.set_len(old.end.position);
            if cut.is_ok() {
                old.note_cut();
            }
        }
        let durable_upto = if durable { base_offset } else { durable_upto };
        let file = self.create(place, base_offset, durable_upto, durable)?;
        let segment = Arc::new(Segment::new(
            &place.directory,
            &place.identity,
            base_offset,
            START,
        ));
        segment.begin(Arc::clone(&file));
        if let Some(old) = &self.active {
            old.segment.seal(&*place.storage);
        }
        // Not before: should the storage panic, what the old one has is still to be synced.
        let old = self.active.replace(Active::new(
            Arc::clone(&segment),
            file,
            End {
                position: START,
                first_timestamp: None,
            },
        ));
        // Where all of it is on disk nobody keeps the file open, which may be about to be removed.
        if let Some(Active { segment, file, .. }) = old.filter(|_| !was_synced) {
            self.unsynced.push_back(Unsynced { segment, file });
        }
        self.written += START;
        self.unsynced_names |= !durable;
        self.begun = Some(segment);
        Ok(())
    }

    /// Creates the file of a segment, with its header. What has failed is taken away again.
    fn create(
        &mut self,
        place: &Place,
        base_offset: Offset,
        durable_upto: Offset,
        sync_name: bool,
    ) -> Result<Arc<dyn StorageFile>, Error> {
        let storage = &*place.storage;
        let path = segment_path(&place.directory, base_offset);
        let fail = |error| Error::storage("begin a segment", &path, error);
        let file = storage.open(&path, OpenMode::CreateNew).map_err(fail)?;
        let header = SegmentHeader {
            identity: place.identity,
            base_offset,
            durable_upto,
            created: place.clock.wall(),
        };
        let mut made = write_all_at(&*file, &header.encode(), 0);
        if made.is_ok() && sync_name {
            made = storage.sync_dir(&place.directory);
        }
        if let Err(error) = made {
            if storage.remove_file(&path).is_err() {
                self.orphan = Some(path.clone());
            }
            return Err(fail(error));
        }
        Ok(file)
    }

    fn remove_orphan(&mut self, place: &Place) -> Result<(), Error> {
        if self.orphan.is_some() {
            place.check_there()?;
        }
        let Some(path) = self.orphan.take() else {
            return Ok(());
        };
        match place.storage.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let failed = Error::storage("begin a segment", &path, error);
                self.orphan = Some(path);
                Err(failed)
            }
            _ => Ok(()),
        }
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    ///
    /// The log must be poisoned: what was written may be lost, and a second sync would not tell.
    pub(super) fn sync(&mut self, place: &Place) -> Result<(), Error> {
        self.check_syncs()?;
        // Until all of it has succeeded: it may also end in a panic, and somebody wait for the writer.
        self.sync_failed = true;
        self.sync_sealed(place)?;
        if let Some(active) = &self.active {
            let fail = |error| Error::storage("sync", active.segment.path(), error);
            active.file.sync_data().map_err(fail)?;
        }
        self.synced = self.written;
        self.sync_failed = false;
        Ok(())
    }

    /// What is to be synced while more is written, so that less has to be scanned after a crash; none if it
    /// is not worth its while.
    pub(super) fn written(&self, log_end: Offset) -> Option<Written> {
        let much = !self.unsynced.is_empty() || self.unsynced_bytes() >= CHECKPOINT_INTERVAL_BYTES;
        let active = self.active.as_ref();
        let active = active.filter(|_| much && !self.sync_failed)?;
        let sealed = self.unsynced.iter();
        let sealed = sealed.map(|unsynced| Arc::clone(&unsynced.segment));
        Some(Written {
            sealed: sealed.collect(),
            active: Arc::clone(&active.segment),
            bytes: self.written,
            upto: active.scan_from(log_end),
        })
    }

    /// Takes note that it is synced, and the names of its segments.
    ///
    /// # Errors
    ///
    /// If another sync has failed meanwhile: this one may have come after it, and says nothing then.
    pub(super) fn note_synced(&mut self, written: &Written) -> Result<(), Error> {
        self.check_syncs()?;
        // If another segment was begun meanwhile, its name is not synced, and neither is what the one that
        // was active got after the sync.
        self.unsynced.retain(|unsynced| {
            let mut synced = written.sealed.iter();
            !synced.any(|segment| Arc::ptr_eq(segment, &unsynced.segment))
        });
        let active = self.active.as_ref();
        if active.is_some_and(|active| Arc::ptr_eq(&active.segment, &written.active)) {
            self.unsynced_names = false;
        }
        self.synced = self.synced.max(written.bytes);
        if written.upto.offset > self.scan_from.offset {
            self.scan_from = written.upto;
        }
        Ok(())
    }

    /// An error if a sync has failed: another one would say nothing about what that one has lost.
    fn check_syncs(&self) -> Result<(), Error> {
        if self.sync_failed {
            return Err(LogError::Poisoned.into());
        }
        Ok(())
    }

    /// Takes note that a sync of something written has failed.
    pub(super) fn note_failed_sync(&mut self) {
        self.sync_failed = true;
    }

    /// Syncs the oldest of the sealed segments that are not.
    fn sync_oldest(&mut self) -> Result<(), Error> {
        self.check_syncs()?;
        self.sync_failed = true;
        if let Some(oldest) = self.unsynced.pop_front() {
            oldest.sync()?;
        }
        self.sync_failed = false;
        Ok(())
    }

    /// Syncs only the sealed segments, and the names of all, so that no scan need begin before the active
    /// one.
    fn sync_sealed(&mut self, place: &Place) -> Result<(), Error> {
        for unsynced in self.unsynced.drain(..) {
            unsynced.sync()?;
        }
        if self.unsynced_names {
            place.sync_directory()?;
            self.unsynced_names = false;
        }
        let base = self
            .active
            .as_ref()
            .map(|active| active.segment.base_offset());
        if let Some(base) = base.filter(|base| *base > self.scan_from.segment) {
            self.scan_from = ScanFrom {
                segment: base,
                position: START,
                offset: base,
                max_timestamp: Timestamp::MIN,
            };
        }
        Ok(())
    }

    /// Whether enough was written for a new checkpoint to be worth its while.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.since_checkpoint >= CHECKPOINT_INTERVAL_BYTES
    }

    /// What to write down of how far the log is durable and how far readers may go.
    ///
    /// The place where the next open begins its scan moves only when everything is synced, up to the log's
    /// end; between two syncs it stays where the last checkpoint put it.
    pub(super) fn checkpoint(
        &mut self,
        log_end: Offset,
        high_watermark: Offset,
    ) -> Option<Checkpoint> {
        let active = self.active.as_ref()?;
        if self.is_synced() {
            self.scan_from = active.scan_from(log_end);
        }
        self.since_checkpoint = 0;
        Some(self.scan_from.checkpoint(high_watermark))
    }

    /// Makes everything up to the log's end durable and the file as long as its batches: what a clean
    /// close leaves. Returns base offset and length of the last segment.
    ///
    /// # Errors
    ///
    /// Also if a sync has failed before: another one would say nothing about what that one has lost.
    pub(super) fn close(
        &mut self,
        place: &Place,
        log_end: Offset,
    ) -> Result<Option<(Offset, u64)>, Error> {
        self.check_syncs()?;
        self.sync_sealed(place)?;
        let Some(active) = self.active.take() else {
            return Ok(None);
        };
        let fail = |error| Error::storage("close a segment", active.segment.path(), error);
        if active.is_longer() {
            active.file.set_len(active.end.position).map_err(fail)?;
        }
        active.file.sync_all().map_err(fail)?;
        place.sync_directory()?;
        active.segment.save_index(&*place.storage);
        self.synced = self.written;
        let (segment, position) = (active.segment.base_offset(), active.end.position);
        // So that the next opening need not even read the index.
        place.write_checkpoint(&active.scan_from(log_end).checkpoint(log_end));
        Ok(Some((segment, position)))
    }
}
