//! [`Segment`]: one file of a partition's log, and the way to a place in it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{index_path, remove_index, segment_path, unfinished_index_path};
use super::scan::{Scanner, Step};
use crate::convert::{to_u64, to_usize};
use crate::error::{Error, FormatError};
use crate::format::{
    BATCH_HEADER_BYTES, Batch, BatchHeader, INDEX_ENTRY_BYTES, INDEX_HEADER_BYTES, Identity,
    IndexEntry, IndexFile, SEGMENT_HEADER_BYTES, decode_index, encode_index, index_entries,
};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::offset::Offset;
use crate::storage::{
    OpenMode, Storage, StorageFile, read_all, read_exact_at, read_up_to_at, write_all_at,
};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::timestamp::Timestamp;

/// The longest index file that is read. That of the largest segment, with an entry for each of the smallest
/// batches, is shorter.
const INDEX_BYTES_MAX: u64 = 1 << 29;

const _: () = assert!(
    to_u64(to_usize(SEGMENT_BYTES_MAX) / BATCH_HEADER_BYTES * INDEX_ENTRY_BYTES) < INDEX_BYTES_MAX
);

/// A file of the log. What is below its length never changes.
#[derive(Debug)]
pub(super) struct Segment {
    base_offset: Offset,
    seed: u32,
    directory: PathBuf,
    path: PathBuf,
    /// The end of the last whole batch; the file may be longer (zeros, or a batch being written).
    length: AtomicU64,
    /// The youngest timestamp, and then the offset behind the last record: of as much as is written, if
    /// the segment is being written, and unknown otherwise until somebody asks.
    max_timestamp: AtomicI64,
    end_offset: AtomicU64,
    /// Whether an index that had to be rebuilt is written, for the next who asks.
    saves_index: bool,
    state: Mutex<State>,
}

const UNKNOWN: u64 = u64::MAX;

#[derive(Debug)]
struct State {
    /// Kept open while the segment is active; a sealed one is opened by whoever reads it.
    file: Option<Arc<dyn StorageFile>>,
    /// Places of batches from `indexed_from` on, in order.
    entries: Vec<IndexEntry>,
    /// The position from which `entries` is complete.
    indexed_from: u64,
    /// Batches behind damage that somebody has looked for: readers would not come past it.
    ways: BTreeMap<Offset, u64>,
    /// How often there may have been more in it than before.
    looks: u64,
    /// Its files are on their way out: none is to be made any more.
    removed: bool,
}

/// What is known of a segment as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    pub(super) end_offset: Offset,
    pub(super) max_timestamp: Timestamp,
}

/// A batch that was written, and whether it is to be entered in the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotedBatch {
    pub(super) position: u64,
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    pub(super) max_timestamp: Timestamp,
    pub(super) in_index: bool,
}

/// How many segments lie wholly below an offset, by the base offsets of all in order; the last never does.
pub(super) fn count_below(bases: impl IntoIterator<Item = Offset>, offset: Offset) -> usize {
    let next = bases.into_iter().skip(1);
    next.take_while(|next| *next <= offset).count()
}

/// Where the batches of a segment begin.
pub(super) const START: u64 = to_u64(SEGMENT_HEADER_BYTES);

impl Segment {
    /// A segment that exists, of which so many bytes are whole batches.
    pub(super) fn new(
        directory: &Path,
        identity: &Identity,
        base_offset: Offset,
        length: u64,
    ) -> Self {
        let state = State {
            file: None,
            entries: Vec::new(),
            indexed_from: length,
            ways: BTreeMap::new(),
            looks: 0,
            removed: false,
        };
        Self {
            base_offset,
            seed: identity.segment_seed(base_offset),
            directory: directory.to_path_buf(),
            path: segment_path(directory, base_offset),
            length: AtomicU64::new(length),
            max_timestamp: AtomicI64::new(Timestamp::MIN.as_millis()),
            end_offset: AtomicU64::new(UNKNOWN),
            saves_index: true,
            state: Mutex::new(state),
        }
    }

    /// One of a log that somebody else owns, or that is damaged: nothing is written there.
    pub(super) fn new_unchanged(
        directory: &Path,
        identity: &Identity,
        base_offset: Offset,
        length: u64,
    ) -> Self {
        Self {
            saves_index: false,
            ..Self::new(directory, identity, base_offset, length)
        }
    }

    pub(super) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    pub(super) fn set_length(&self, length: u64) {
        self.length.store(length, Ordering::Release);
    }

    /// Takes note that the owner may have written more: of a log that is opened read-only.
    pub(super) fn look_anew(&self, length: u64) {
        let mut state = self.state.lock();
        state.looks += 1;
        (state.entries, state.indexed_from) = (Vec::new(), length);
        state.ways.clear();
        self.end_offset.store(UNKNOWN, Ordering::Release);
        self.set_length(length);
    }

    /// The file, for reading.
    pub(super) fn file(&self, storage: &dyn Storage) -> Result<Arc<dyn StorageFile>, Error> {
        if let Some(file) = &self.state.lock().file {
            return Ok(Arc::clone(file));
        }
        storage
            .open(&self.path, OpenMode::Read)
            .map_err(|error| Error::storage("open a segment", &self.path, error))
    }

    /// Keeps the file open: the segment is, or becomes, the active one.
    pub(super) fn keep_open(&self, file: Arc<dyn StorageFile>) {
        self.state.lock().file = Some(file);
    }

    /// Takes note of batches that were written. By one thread at a time.
    pub(super) fn note_batches(&self, batches: impl Iterator<Item = NotedBatch>) {
        let mut max_timestamp = self.known_max_timestamp();
        let mut end_offset = None;
        for batch in batches {
            if batch.in_index
                && let Some(entry) = self.entry(batch.position, batch.base_offset, max_timestamp)
            {
                self.state.lock().entries.push(entry);
            }
            max_timestamp = max_timestamp.max(batch.max_timestamp);
            end_offset = Some(batch.end_offset);
        }
        if let Some(end_offset) = end_offset {
            self.set_summary(Summary {
                end_offset,
                max_timestamp,
            });
        }
    }

    fn set_summary(&self, summary: Summary) {
        let millis = summary.max_timestamp.as_millis();
        self.max_timestamp.store(millis, Ordering::Release);
        let end = summary.end_offset.value();
        self.end_offset.store(end, Ordering::Release);
    }

    fn known_summary(&self) -> Option<Summary> {
        let end_offset = self.end_offset.load(Ordering::Acquire);
        (end_offset != UNKNOWN).then(|| Summary {
            end_offset: Offset::new(end_offset),
            max_timestamp: self.known_max_timestamp(),
        })
    }

    fn entry(&self, position: u64, offset: Offset, before: Timestamp) -> Option<IndexEntry> {
        Some(IndexEntry {
            relative_offset: u32::try_from(offset - self.base_offset).ok()?,
            position: u32::try_from(position).ok()?,
            max_timestamp_before: before,
        })
    }

    /// Sets where the segment ends and what is known of it as a whole; the index stays to be read or
    /// rebuilt.
    pub(super) fn set_end(&self, length: u64, summary: Summary) {
        self.state.lock().indexed_from = length;
        self.set_summary(summary);
        self.set_length(length);
    }

    /// The youngest timestamp, as far as it is known without reading anything.
    pub(super) fn known_max_timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.max_timestamp.load(Ordering::Acquire))
    }

    /// The end offset and the youngest timestamp; read from the index file or the segment if unknown.
    pub(super) fn summary(&self, storage: &dyn Storage) -> Result<Summary, Error> {
        if let Some(summary) = self.known_summary() {
            return Ok(summary);
        }
        let looks = self.state.lock().looks;
        let index = self.load_index(storage, self.length())?;
        Ok(self.summarise(&index, looks))
    }

    /// The same from the batches, whatever an index says.
    pub(super) fn summary_anew(&self, storage: &dyn Storage) -> Result<Summary, Error> {
        let looks = self.state.lock().looks;
        let index = self.rebuild_index(storage, self.length())?;
        Ok(self.summarise(&index, looks))
    }

    fn summarise(&self, index: &IndexFile, looks: u64) -> Summary {
        let summary = Summary {
            end_offset: index.end_offset,
            max_timestamp: index.max_timestamp,
        };
        let state = self.state.lock();
        if state.looks == looks {
            self.set_summary(summary);
        }
        drop(state);
        summary
    }

    /// The position of a batch at or before the one that holds `offset`.
    pub(super) fn position_of(&self, storage: &dyn Storage, offset: Offset) -> Result<u64, Error> {
        let relative = offset - self.base_offset;
        let before = |entry: &IndexEntry| u64::from(entry.relative_offset) <= relative;
        let (sealed, way) = {
            let state = self.state.lock();
            let way = state.ways.range(..=offset).next_back();
            (state.file.is_none(), way.map_or(START, |(_, way)| *way))
        };
        if sealed && let Ok(Some(position)) = self.find_in_file(storage, before) {
            return Ok(position.max(way));
        }
        let found = self.look_up(storage, before);
        found.map(|position| position.max(way))
    }

    /// Takes note where a batch is that lies behind damage.
    pub(super) fn note_way(&self, offset: Offset, position: u64) {
        self.state.lock().ways.insert(offset, position);
    }

    /// Looks into the index file only where the answer may be, since the whole of it is long. What it says is
    /// held against the batch that it names; none if anything is not as it should be.
    fn find_in_file(
        &self,
        storage: &dyn Storage,
        before: impl Fn(&IndexEntry) -> bool,
    ) -> io::Result<Option<u64>> {
        let path = index_path(&self.directory, self.base_offset);
        let index = storage.open(&path, OpenMode::Read)?;
        let mut head = [0; INDEX_HEADER_BYTES];
        read_exact_at(&*index, &mut head, 0)?;
        let Some(count) = index_entries(&head, self.length()) else {
            return Ok(None);
        };
        let (mut low, mut high, mut found) = (0, count, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut bytes = [0; INDEX_ENTRY_BYTES];
            let at = to_u64(INDEX_HEADER_BYTES) + u64::from(middle) * to_u64(INDEX_ENTRY_BYTES);
            read_exact_at(&*index, &mut bytes, at)?;
            let entry = IndexEntry::decode(&bytes);
            if before(&entry) {
                (low, found) = (middle + 1, Some(entry));
            } else {
                high = middle;
            }
        }
        let Some(entry) = found else {
            return Ok(Some(START));
        };
        let segment = storage.open(&self.path, OpenMode::Read)?;
        let is_there = self.is_there(&*segment, &entry)?;
        Ok(is_there.then(|| entry.position.into()))
    }

    /// Whether the batch that an entry names is there. The index is never evidence.
    fn is_there(&self, file: &dyn StorageFile, entry: &IndexEntry) -> io::Result<bool> {
        let mut head = [0; BATCH_HEADER_BYTES];
        let filled = read_up_to_at(file, &mut head, entry.position.into())?;
        let offset = self.base_offset + u64::from(entry.relative_offset);
        let begins = filled == head.len() && Batch::may_begin(&head);
        Ok(begins && BatchHeader::decode(&head).base_offset == offset)
    }

    /// The position of the last of so many entries whose batch is there; the beginning if there is none.
    fn last_there(
        &self,
        storage: &dyn Storage,
        count: usize,
        entry: impl Fn(usize) -> Option<IndexEntry>,
    ) -> Result<u64, Error> {
        if count == 0 {
            return Ok(START);
        }
        let file = self.file(storage)?;
        for entry in (0..count).rev().filter_map(entry) {
            let is_there = self.is_there(&*file, &entry);
            if is_there.map_err(|error| Error::storage("read a segment", &self.path, error))? {
                return Ok(entry.position.into());
            }
        }
        Ok(START)
    }

    /// The position of a batch before which every record is older than `timestamp`.
    pub(super) fn position_of_time(
        &self,
        storage: &dyn Storage,
        timestamp: Timestamp,
    ) -> Result<u64, Error> {
        self.look_up(storage, |entry| entry.max_timestamp_before < timestamp)
    }

    /// The position of the last entry for which `before` holds, and whose batch is there. It holds for a
    /// prefix of the entries.
    fn look_up(
        &self,
        storage: &dyn Storage,
        before: impl Fn(&IndexEntry) -> bool,
    ) -> Result<u64, Error> {
        let count = |entries: &[IndexEntry]| entries.partition_point(|entry| before(entry));
        let (known, indexed_from, active) = {
            let state = self.state.lock();
            let known = count(&state.entries);
            (known, state.indexed_from, state.file.is_some())
        };
        if known > 0 || indexed_from <= START {
            // Older ones may come before them meanwhile: then it is one of those.
            let entry = |at| self.state.lock().entries.get(at).copied();
            return self.last_there(storage, known, entry);
        }
        let older = self.load_index(storage, indexed_from)?;
        let entries = &older.entries;
        let position = self.last_there(storage, count(entries), |at| entries.get(at).copied())?;
        if active {
            // Only the active segment's index is kept: a sealed one is read again when it is asked.
            self.take_older(older, indexed_from);
        }
        Ok(position)
    }

    /// Puts the entries up to a position before those that are known from there on.
    fn take_older(&self, older: IndexFile, indexed_from: u64) {
        let mut state = self.state.lock();
        if state.indexed_from == indexed_from {
            let newer = std::mem::replace(&mut state.entries, older.entries);
            state.entries.extend(newer);
            state.indexed_from = START;
        }
    }

    /// The index up to `length` if its file has that.
    fn read_index(&self, storage: &dyn Storage, length: u64) -> Option<IndexFile> {
        let path = index_path(&self.directory, self.base_offset);
        // A longer one is not of this segment.
        let entries = length / to_u64(BATCH_HEADER_BYTES) + 1;
        let bytes_max = to_u64(INDEX_HEADER_BYTES) + entries * to_u64(INDEX_ENTRY_BYTES);
        let bytes = read_all(storage, &path, bytes_max.min(INDEX_BYTES_MAX)).ok()?;
        let index = decode_index(&bytes, self.seed).ok()?;
        (index.length == length).then_some(index)
    }

    /// The index up to `length`: from its file if that is good, else from the batches themselves.
    fn load_index(&self, storage: &dyn Storage, length: u64) -> Result<IndexFile, Error> {
        match self.read_index(storage, length) {
            Some(index) => Ok(index),
            None => self.rebuild_index(storage, length),
        }
    }

    /// The index up to `length` from the batches, and its file with it if that is all of the segment.
    fn rebuild_index(&self, storage: &dyn Storage, length: u64) -> Result<IndexFile, Error> {
        let looks = self.state.lock().looks;
        let file = self.file(storage)?;
        let index = self
            .walk(&*file, length)
            .map_err(|error| Error::storage("read a segment", &self.path, error))?;
        let mut state = self.state.lock();
        let sealed = state.file.is_none();
        if !sealed || length != self.length() {
            // Only a part of it, or as much as there was.
            return Ok(index);
        }
        if index.length < length && state.looks == looks {
            // The file could not be cut to its length when it was sealed.
            state.indexed_from = index.length;
            self.set_length(index.length);
        }
        drop(state);
        if self.saves_index && index.end_offset != Offset::MAX {
            self.write_index(storage, &index);
        }
        Ok(index)
    }

    /// Builds an index from the batches, each checked. Nothing but zeros behind them is their end, as for a
    /// scan. What is damaged ends it early: the index is never evidence, and whoever reads there will find
    /// the damage. Until then nobody knows how many and how young the records behind it are: none is passed
    /// over, and none expires.
    fn walk(&self, file: &dyn StorageFile, length: u64) -> io::Result<IndexFile> {
        let mut index = IndexFile {
            end_offset: self.base_offset,
            length,
            max_timestamp: Timestamp::MIN,
            entries: Vec::new(),
        };
        let mut scanner = Scanner::new(file, self.seed, START)?;
        // What lies behind may be cut off meanwhile.
        scanner.end_at(length);
        let (mut end, mut indexed) = (START, START);
        while end < length {
            let (header, position) = match scanner.step()? {
                Step::Batch { header, position } => (header, position),
                Step::End { position } if file.len()? >= length => {
                    index.length = position;
                    break;
                }
                _ => {
                    (index.end_offset, index.max_timestamp) = (Offset::MAX, Timestamp::MAX);
                    break;
                }
            };
            if position - indexed >= WALK_INTERVAL_BYTES {
                let entry = self.entry(position, header.base_offset, index.max_timestamp);
                index.entries.extend(entry);
                indexed = position;
            }
            index.end_offset = header.end_offset();
            index.max_timestamp = index.max_timestamp.max(header.max_timestamp);
            end = position + u64::from(header.length);
        }
        Ok(index)
    }

    /// Writes the index file and closes the segment's own: it takes no more batches.
    ///
    /// The index is a cache, so a failure to write it is not an error.
    pub(super) fn seal(&self, storage: &dyn Storage) {
        self.save_index(storage);
        let mut state = self.state.lock();
        state.file = None;
        state.entries = Vec::new();
        state.indexed_from = self.length();
    }

    /// Writes the index file if all of it is known. One that was there does not stay otherwise: it is older
    /// than what the segment got since.
    pub(super) fn save_index(&self, storage: &dyn Storage) {
        let indexed_from = self.state.lock().indexed_from;
        if indexed_from > START
            && let Some(older) = self.read_index(storage, indexed_from)
        {
            self.take_older(older, indexed_from);
        }
        let state = self.state.lock();
        let known = self.known_summary();
        let index = known
            .filter(|_| state.indexed_from == START)
            .map(|summary| IndexFile {
                end_offset: summary.end_offset,
                length: self.length(),
                max_timestamp: summary.max_timestamp,
                entries: state.entries.clone(),
            });
        drop(state);
        match index {
            Some(index) => self.write_index(storage, &index),
            None => {
                let _cache = self.remove_index(storage);
            }
        }
    }

    /// Writes the index file in the place of one that may be there, which does not stay if that fails.
    fn write_index(&self, storage: &dyn Storage, index: &IndexFile) {
        if self.state.lock().removed {
            return;
        }
        let temporary = unfinished_index_path(&self.directory, self.base_offset);
        let bytes = encode_index(index, self.seed);
        let _cache = storage.remove_file(&temporary);
        let written = storage
            .open(&temporary, OpenMode::CreateNew)
            .and_then(|file| write_all_at(&*file, &bytes, 0))
            .and_then(|()| {
                storage.rename(&temporary, &index_path(&self.directory, self.base_offset))
            });
        if written.is_err() || self.state.lock().removed {
            let _cache = self.remove_index(storage);
        }
    }

    /// Takes note that its files are on their way out.
    pub(super) fn note_removed(&self) {
        self.state.lock().removed = true;
    }

    /// Removes the segment and its index: each, even if the other stays. Whoever is reading it may go on.
    pub(super) fn remove(&self, storage: &dyn Storage) -> Result<(), Error> {
        self.note_removed();
        let index = self.remove_index(storage);
        let removed = match storage.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::storage("remove a segment", &self.path, error))
            }
            _ => Ok(()),
        };
        removed.and(index)
    }

    /// Removes the index, which is a cache.
    fn remove_index(&self, storage: &dyn Storage) -> Result<(), Error> {
        let fail = |error| {
            let path = index_path(&self.directory, self.base_offset);
            Error::storage("remove a segment", &path, error)
        };
        remove_index(storage, &self.directory, self.base_offset).map_err(fail)
    }

    /// A segment that was just made: nothing in it but its header.
    pub(super) fn begin(&self, file: Arc<dyn StorageFile>) {
        self.set_summary(Summary {
            end_offset: self.base_offset,
            max_timestamp: Timestamp::MIN,
        });
        let mut state = self.state.lock();
        state.file = Some(file);
        state.indexed_from = START;
    }
}

/// The bytes between two entries of an index that is rebuilt.
const WALK_INTERVAL_BYTES: u64 = 4096;

const _: () = assert!(WALK_INTERVAL_BYTES > START);

/// The segments of a log in order, as readers see them: replaced as a whole, never changed.
pub(super) type Segments = Arc<Vec<Arc<Segment>>>;

/// What is wrong where a log should go on, and no file does.
pub(super) fn missing() -> FormatError {
    FormatError::damaged("log", "a segment is missing or cut short")
}

/// The segment that holds `offset`, or would: the last that begins at or before it.
pub(super) fn segment_for(segments: &[Arc<Segment>], offset: Offset) -> Option<usize> {
    segments
        .partition_point(|segment| segment.base_offset() <= offset)
        .checked_sub(1)
}

/// Whether zeros have taken the place of the end of a segment: the next one begins behind its last record.
pub(super) fn is_cut_short(segments: &[Arc<Segment>], index: usize, summary: &Summary) -> bool {
    segments
        .get(index + 1)
        .is_some_and(|next| summary.end_offset < next.base_offset())
}

/// The relative offset of a batch must fit 31 bits, so a segment is rolled before it would not. Kafka:
/// `LogSegment.canConvertToRelativeOffset`.
pub(super) fn offsets_fit(base_offset: Offset, offset: Offset) -> bool {
    offset - base_offset <= u64::from(i32::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Id;
    use crate::storage::MemoryStorage;

    fn segment() -> (Segment, IndexFile) {
        let identity = Identity {
            log: Id::from_bytes([1; 16]),
            topic: Id::from_bytes([2; 16]),
            partition: 0,
        };
        let index = IndexFile {
            end_offset: Offset::new(5),
            length: 100,
            max_timestamp: Timestamp::from_millis(9),
            entries: Vec::new(),
        };
        let segment = Segment::new(Path::new("t"), &identity, Offset::ZERO, 100);
        (segment, index)
    }

    /// Whoever has looked before does not say where it ends now.
    #[test]
    fn a_summary_is_not_kept_once_there_may_be_more_in_the_segment() {
        let (segment, index) = segment();
        let looks = || segment.state.lock().looks;
        let before = looks();
        segment.look_anew(200);
        assert_eq!(segment.summarise(&index, before).end_offset, 5);
        assert!(segment.known_summary().is_none());
        segment.summarise(&index, looks());
        assert_eq!(segment.known_summary().unwrap().end_offset, 5);
    }

    /// A reader that has the segment still would leave it behind.
    #[test]
    fn of_a_segment_that_is_on_its_way_out_no_index_is_written() {
        let (segment, index) = segment();
        let storage = MemoryStorage::new();
        storage.create_dir(Path::new("t")).unwrap();
        segment.write_index(&storage, &index);
        assert_eq!(storage.list(Path::new("t")).unwrap().len(), 1);
        segment.remove(&storage).unwrap();
        segment.write_index(&storage, &index);
        assert_eq!(storage.list(Path::new("t")).unwrap().len(), 0);
    }
}
