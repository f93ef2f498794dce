//! [`Writer`]: puts batches into the active segment, rolls it, and makes it durable.
//!
//! **Invariants**
//! - At most one thread holds the writer; readers never wait for it.
//! - A batch is written whole or not at all: what a failed write left behind is cut off before the next.
//! - A sync is never repeated after it failed, and always goes through the handle that wrote.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Place;
use super::files::{segment_path, write_checkpoint};
use super::queue::Pending;
use super::recovery::ActiveFile;
use super::segment::{Segment, offsets_fit};
use crate::error::{Error, TopicError};
use crate::format::{Checkpoint, SEGMENT_HEADER_BYTES, SegmentHeader, Stamp};
use crate::limits::{to_u64, to_usize};
use crate::offset::Offset;
use crate::options::{Durability, TopicOptions};
use crate::storage::{OpenMode, StorageFile, write_all_at};
use crate::timestamp::{Timestamp, TimestampType};

/// The bytes written between two checkpoints, and so about what is scanned after a crash.
const CHECKPOINT_INTERVAL_BYTES: u64 = 8 * 1024 * 1024;

/// How far ahead the file is filled with zeros when small batches are synced one by one: a sync that
/// need not change the file's length is about twice as fast.
const ZERO_FILL_BYTES: u64 = 256 * 1024;

/// Between two syncs, less than this counts as small.
const SMALL_SYNC_BYTES: u64 = 32 * 1024;

static ZEROS: [u8; to_usize(16 * 1024)] = [0; to_usize(16 * 1024)];

/// The writing end of a log.
#[derive(Debug, Default)]
pub(super) struct Writer {
    active: Option<Active>,
    /// Sealed but not yet synced: with a level below `Disk` nobody waits for them at the roll.
    unsynced: Vec<Unsynced>,
    /// Whether segments were begun whose names are not on disk.
    unsynced_names: bool,
    /// A file that a failed roll could not take away again. Nothing is written while it is there: once
    /// the log has grown past its name it would stand between segments.
    orphan: Option<PathBuf>,
    since_sync: u64,
    /// A sync has failed: nothing that was written since the last one is known to be on disk, ever.
    sync_failed: bool,
    since_checkpoint: u64,
    scan_from: ScanFrom,
}

/// Where a scan after a crash may begin: everything before is on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScanFrom {
    pub(super) segment: Offset,
    pub(super) position: u64,
    pub(super) offset: Offset,
    pub(super) max_timestamp: Timestamp,
}

#[derive(Debug)]
struct Unsynced {
    segment: Arc<Segment>,
    file: Arc<dyn StorageFile>,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn StorageFile>,
    /// The end of the last whole batch.
    position: u64,
    /// The file is written up to here, beyond `position` with zeros.
    filled: u64,
    /// Where the next batch would begin another segment: no use in filling beyond it.
    full_at: u64,
    first_timestamp: Option<Timestamp>,
    since_index: u64,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) append_time: Option<Timestamp>,
}

/// What an append has done besides, whether it succeeded or not.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Nobody knows what the file holds now: nothing more may be appended.
    pub(super) poisoned: bool,
    /// A segment that was begun: readers have to be told.
    pub(super) rolled: Option<Arc<Segment>>,
}

impl Writer {
    /// Goes on in a segment that recovery left.
    pub(super) fn resume(&mut self, segment: Arc<Segment>, active: ActiveFile) {
        let position = segment.length();
        segment.keep_open(Arc::clone(&active.file));
        self.scan_from = active.scan_from;
        self.active = Some(Active {
            segment,
            file: active.file,
            position,
            filled: position,
            full_at: 0,
            first_timestamp: active.first_timestamp,
            since_index: 0,
        });
    }

    /// The bytes written since the last sync.
    pub(super) fn since_sync(&self) -> u64 {
        self.since_sync
    }

    /// Whether everything written is synced.
    pub(super) fn is_synced(&self) -> bool {
        self.since_sync == 0 && self.unsynced.is_empty() && !self.sync_failed
    }

    /// Writes a batch at the log's end, or at the offset it was promised, in a new segment if the active
    /// one is full.
    ///
    /// # Durability
    ///
    /// None: the bytes are with the operating system. See [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// On an error nothing of the batch is left, though a segment may have been begun. If that cannot be
    /// made sure, `outcome.poisoned` is set.
    pub(super) fn append(
        &mut self,
        place: &Place,
        options: &TopicOptions,
        batch: &mut Pending,
        log_end: Offset,
        durable_upto: Offset,
        outcome: &mut Outcome,
    ) -> Result<Written, Error> {
        let base_offset = batch
            .promised
            .map_or(log_end, |promised| promised.max(log_end));
        let append_time = match options.timestamp_type {
            TimestampType::LogAppendTime => Some(place.clock.wall()),
            TimestampType::CreateTime => None,
        };
        self.remove_orphan(place)?;
        if self.must_roll(options, batch, base_offset, append_time) {
            let poisoned = &mut outcome.poisoned;
            // Where the log ends, and not where the batch goes: given-up offsets lie inside a segment, so
            // that there is never a gap between two, or before the first.
            outcome.rolled = Some(self.roll(place, options, log_end, durable_upto, poisoned)?);
        }
        let Some(active) = &mut self.active else {
            return Err(TopicError::Replaced.into());
        };
        let builder = &mut batch.builder;
        let (base_timestamp, max_timestamp) = match append_time {
            Some(time) => (time, time),
            None => (builder.base_timestamp(), builder.max_timestamp()),
        };
        let end_offset = base_offset + u64::from(builder.count());
        let seed = active.segment.seed();
        let skips = base_offset > log_end;
        let bytes = builder.finish(&Stamp {
            base_offset,
            durable_upto,
            append_time,
            skips,
            seed,
        });
        if let Err(error) = write_all_at(&*active.file, bytes, active.position) {
            // The rest of the batch must not be taken for one after a crash.
            if active.file.set_len(active.position).is_err() {
                outcome.poisoned = true;
            }
            active.filled = active.position;
            // The cut is not on disk either: behind a segment that is sealed like that a power cut could
            // bring a part of the batch back.
            self.since_sync += to_u64(bytes.len());
            return Err(Error::storage(
                "write a batch",
                active.segment.path(),
                error,
            ));
        }
        let length = to_u64(bytes.len());
        let interval = u64::from(options.index_interval_bytes);
        let in_index = active.since_index >= interval;
        if in_index {
            active.since_index = 0;
        }
        active.since_index += length;
        active.segment.note_batch(
            active.position,
            base_offset,
            end_offset,
            max_timestamp,
            in_index,
        );
        active.position += length;
        active.full_at = options.segment_bytes.into();
        active.filled = active.filled.max(active.position);
        active.first_timestamp.get_or_insert(base_timestamp);
        active.segment.set_length(active.position);
        self.since_sync += length;
        self.since_checkpoint += length;
        Ok(Written {
            base_offset,
            end_offset,
            append_time,
        })
    }

    /// Kafka's rule (`LogSegment.shouldRoll`): before a batch that would make the segment too long, or
    /// that is too much younger than the segment's first record, or whose offset is too far away.
    fn must_roll(
        &self,
        options: &TopicOptions,
        batch: &Pending,
        base_offset: Offset,
        append_time: Option<Timestamp>,
    ) -> bool {
        let Some(active) = &self.active else {
            return true;
        };
        if active.position <= to_u64(SEGMENT_HEADER_BYTES) {
            return false;
        }
        let length = to_u64(batch.builder.len());
        let max_timestamp = append_time.unwrap_or_else(|| batch.builder.max_timestamp());
        let too_long = active.position + length > u64::from(options.segment_bytes);
        let too_old = active
            .first_timestamp
            .is_some_and(|first| max_timestamp.since(first) > options.segment_age);
        too_long || too_old || !offsets_fit(active.segment.base_offset(), base_offset)
    }

    /// Seals the active segment, if there is one, and begins the next.
    ///
    /// # Durability
    ///
    /// With `Disk`, the old segment and the new one's name are durable on return. If the sync of the old
    /// segment fails, `poisoned` is set.
    pub(super) fn roll(
        &mut self,
        place: &Place,
        options: &TopicOptions,
        base_offset: Offset,
        durable_upto: Offset,
        poisoned: &mut bool,
    ) -> Result<Arc<Segment>, Error> {
        if !place.owner.still_holds() {
            return Err(Error::from(TopicError::Replaced).at_path(&place.directory));
        }
        let durable = options.durability == Durability::Disk;
        let storage = &*place.storage;
        place.make_directory(durable)?;
        if durable && !self.is_synced() {
            self.sync_written(place).inspect_err(|_| *poisoned = true)?;
        }
        self.remove_orphan(place)?;
        let path = segment_path(&place.directory, base_offset);
        let fail = |error| Error::storage("begin a segment", &path, error);
        let file = storage.open(&path, OpenMode::CreateNew).map_err(fail)?;
        let header = SegmentHeader {
            identity: place.identity,
            base_offset,
            durable_upto: if durable { base_offset } else { durable_upto },
            created: place.clock.wall(),
        };
        let made = write_all_at(&*file, &header.encode(), 0).and_then(|()| {
            if durable {
                storage.sync_dir(&place.directory)
            } else {
                Ok(())
            }
        });
        if let Err(error) = made {
            if storage.remove_file(&path).is_err() {
                self.orphan = Some(path.clone());
            }
            return Err(fail(error));
        }
        let start = to_u64(SEGMENT_HEADER_BYTES);
        let segment = Arc::new(Segment::new(
            &place.directory,
            &place.identity,
            base_offset,
            start,
        ));
        segment.begin(Arc::clone(&file));
        if let Some(old) = self.active.take() {
            let filled_ahead = old.filled > old.position;
            if filled_ahead {
                // Only tidiness: zeros behind the last batch are read as its end.
                let _tidy = old.file.set_len(old.position);
            }
            old.segment.seal(storage);
            if filled_ahead || !durable {
                self.unsynced.push(Unsynced {
                    segment: old.segment,
                    file: old.file,
                });
            }
        }
        self.active = Some(Active {
            segment: Arc::clone(&segment),
            file,
            position: start,
            filled: start,
            full_at: 0,
            first_timestamp: None,
            since_index: 0,
        });
        self.since_sync += start;
        self.unsynced_names |= !durable;
        Ok(segment)
    }

    fn remove_orphan(&mut self, place: &Place) -> Result<(), Error> {
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
        if self.since_sync < SMALL_SYNC_BYTES
            && let Some(active) = &mut self.active
            && active.filled == active.position
        {
            active.fill_ahead();
        }
        self.sync_written(place)
    }

    fn sync_written(&mut self, place: &Place) -> Result<(), Error> {
        self.sync_sealed(place)?;
        if let Some(active) = &self.active
            && let Err(error) = active.file.sync_data()
        {
            self.sync_failed = true;
            return Err(Error::storage("sync", active.segment.path(), error));
        }
        self.since_sync = 0;
        Ok(())
    }

    /// Syncs only the sealed segments, and the names of all, so that less has to be scanned after a crash.
    /// Returns the offset below which everything is on disk now, if there is an active segment.
    ///
    /// # Errors
    ///
    /// As of [`sync`](Self::sync).
    pub(super) fn sync_sealed(&mut self, place: &Place) -> Result<Option<Offset>, Error> {
        for Unsynced { segment, file } in self.unsynced.drain(..) {
            if let Err(error) = file.sync_data() {
                self.sync_failed = true;
                return Err(Error::storage("sync", segment.path(), error));
            }
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
                position: to_u64(SEGMENT_HEADER_BYTES),
                offset: base,
                max_timestamp: Timestamp::MIN,
            };
        }
        Ok(base)
    }

    /// Whether enough was written for a new checkpoint to be worth its while.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.since_checkpoint >= CHECKPOINT_INTERVAL_BYTES
    }

    /// Writes down how far the log is durable and how far readers may go.
    ///
    /// The place where the next open begins its scan moves only when everything is synced, up to the log's
    /// end; between two syncs it stays where the last checkpoint put it.
    pub(super) fn checkpoint(&mut self, place: &Place, log_end: Offset, high_watermark: Offset) {
        let Some(active) = &self.active else { return };
        if self.is_synced() {
            self.scan_from = ScanFrom {
                segment: active.segment.base_offset(),
                position: active.position,
                offset: log_end,
                max_timestamp: active.segment.known_max_timestamp(),
            };
        }
        let checkpoint = Checkpoint {
            recovery_point: self.scan_from.offset,
            segment: self.scan_from.segment,
            position: self.scan_from.position,
            high_watermark,
            max_timestamp: self.scan_from.max_timestamp,
        };
        write_checkpoint(
            &*place.storage,
            &place.directory,
            &place.identity,
            &checkpoint,
        );
        self.since_checkpoint = 0;
    }

    /// Makes everything durable and the file as long as its batches: what a clean close leaves.
    /// Returns base offset and length of the last segment.
    pub(super) fn close(&mut self, place: &Place) -> Result<Option<(Offset, u64)>, Error> {
        self.sync_sealed(place)?;
        let Some(active) = self.active.take() else {
            return Ok(None);
        };
        let fail = |error| Error::storage("close a segment", active.segment.path(), error);
        if active.filled > active.position {
            active.file.set_len(active.position).map_err(fail)?;
        }
        active.file.sync_all().map_err(fail)?;
        place.sync_directory()?;
        active.segment.save_index(&*place.storage);
        self.since_sync = 0;
        Ok(Some((active.segment.base_offset(), active.position)))
    }
}

impl Active {
    /// Writes zeros behind the last batch. Whether it works or not, the batches are what they were.
    fn fill_ahead(&mut self) {
        let end = (self.position + ZERO_FILL_BYTES).min(self.full_at);
        while self.filled < end {
            let count = ZEROS
                .len()
                .min(crate::limits::saturating_usize(end - self.filled));
            let zeros = ZEROS.get(..count).unwrap_or_default();
            if write_all_at(&*self.file, zeros, self.filled).is_err() {
                // A full disk must not keep zeros where records could go.
                let _tidy = self.file.set_len(self.position);
                self.filled = self.position;
                return;
            }
            self.filled += to_u64(count);
        }
    }
}
