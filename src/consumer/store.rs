//! [`OffsetStore`]: committed offsets in an internal topic, through the same log as everything else.
//!
//! One record per commit and partition: the key names group, topic and partition, the value the offset;
//! a record without a value removes it. And one per group that has offsets and no members: since when. The
//! last record of a key counts. The topic is read once, when the log is opened, and rewritten when it has
//! grown far beyond what is still true.
//!
//! Where it is damaged, what lies behind the damage is not known, and whatever was read before it may no
//! longer be true. So nobody goes on from there, and nothing is written: see [`OffsetStore::check`].

use std::sync::{Arc, OnceLock};

use crate::convert::{to_u64, to_usize};
use crate::error::{Error, ErrorKind, FormatError};
use crate::format::{
    CommitRecord, CommitValue, decode_commit_record, encode_commit_key, encode_empty_since,
    encode_group_key,
};
use crate::group::Committed;
use crate::log::{Log, Queued};
use crate::name::{GroupId, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::options::{Durability, TopicOptions};
use crate::record::{Record, RecordRef};
use crate::sync::Mutex;
use crate::timestamp::Timestamp;
use crate::topic::{Catalog, PartitionReader, ReadBuffers, Records};

const TOPIC: &str = "__consumer_offsets";

/// The size of its segments, and so about how much is read when a log with many commits is opened.
const SEGMENT_BYTES: u32 = 4 * 1024 * 1024;

/// It is rewritten when it is longer than this, and this many times longer than what is still true.
const REWRITE_BYTES_MIN: u64 = 2 * to_u64(to_usize(SEGMENT_BYTES));
const REWRITE_RATIO: u64 = 4;

/// About what one live commit takes beside its names and its note.
const COMMIT_BYTES: u64 = 100;

/// How much of the log is read at once.
const READ_BYTES: usize = 256 * 1024;

/// What a record of the topic says.
pub(super) enum Entry {
    Committed(TopicPartition, Committed),
    /// Since when a group has had no members; nothing if it has some, or no offsets.
    EmptySince(Option<Timestamp>),
    Removed(TopicPartition, Offset),
}

/// The internal topic of committed offsets.
#[derive(Debug)]
pub(super) struct OffsetStore {
    catalog: Arc<Catalog>,
    durability: Durability,
    log: Mutex<Option<Arc<Log>>>,
    /// Why not all of it could be read: damage, in a log opened read-only whatever it was.
    damage: OnceLock<Error>,
    /// What lies before this offset is written once more behind it, and has still to be dropped.
    rewritten: Mutex<Option<Offset>>,
}

fn entry_of(record: &RecordRef<'_>) -> Result<(GroupId, Entry), Error> {
    let key = record.key().unwrap_or_default();
    let (group, said) = decode_commit_record(key, record.value())?;
    let entry = match said {
        CommitRecord::Commit(place, None) => Entry::Removed(place, record.offset()),
        CommitRecord::Commit(place, Some(value)) => {
            let committed = Committed {
                offset: value.offset,
                metadata: value.metadata.into(),
                topic_id: value.topic_id,
                timestamp: value.timestamp,
                log_offset: record.offset(),
            };
            Entry::Committed(place, committed)
        }
        CommitRecord::EmptySince(since) => Entry::EmptySince(since),
    };
    Ok((group, entry))
}

/// About what a commit takes that is still true.
pub(super) fn live_bytes(group: &GroupId, place: &TopicPartition, committed: &Committed) -> u64 {
    let names = group.as_str().len() + place.topic().as_str().len();
    COMMIT_BYTES + to_u64(names + committed.metadata.len())
}

impl OffsetStore {
    pub(super) fn new(catalog: &Arc<Catalog>, durability: Durability) -> Self {
        Self {
            catalog: Arc::clone(catalog),
            durability,
            log: Mutex::new(None),
            damage: OnceLock::new(),
            rewritten: Mutex::new(None),
        }
    }

    /// An error if the topic is damaged: committed offsets are not known then.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.damage.get().cloned().map_or(Ok(()), Err)
    }

    fn existing(&self) -> Option<Arc<Log>> {
        let mut known = self.log.lock();
        if known.is_none() {
            let topic = self.catalog.find(&TopicName::new(TOPIC).ok()?)?;
            *known = topic.log(0).cloned();
        }
        known.clone()
    }

    /// Makes the topic if it is not there. To be called with no group locked: all of them are told of
    /// new topics.
    pub(super) fn make(&self) -> Result<(), Error> {
        if self.existing().is_some() {
            return Ok(());
        }
        let options = TopicOptions::new()
            .durability(self.durability)
            .segment_bytes(SEGMENT_BYTES)
            .retention(None)
            .timestamp_after_max(None);
        match self.catalog.create(TopicName::new(TOPIC)?, options) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads everything that was committed, in order, up to the damage if there is any: that is for
    /// [`check`](Self::check) to tell.
    pub(super) fn replay(&self, apply: impl FnMut(&GroupId, Entry)) -> Result<(), Error> {
        // In a log opened read-only it may be there, and not to be read.
        match self.catalog.look_up(&TopicName::new(TOPIC)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let _only_once = self.damage.set(error);
                return Ok(());
            }
            _ => {}
        }
        let Some(log) = self.existing() else {
            return Ok(());
        };
        let damage = match Self::read(&log, apply) {
            Ok(()) => log.refusal().filter(Error::is_damage),
            Err(error) if error.is_damage() || self.catalog.is_read_only() => Some(error),
            Err(error) => return Err(error),
        };
        if let Some(damage) = damage {
            let _only_once = self.damage.set(damage.in_partition(log.partition()));
        }
        Ok(())
    }

    fn read(log: &Arc<Log>, mut apply: impl FnMut(&GroupId, Entry)) -> Result<(), Error> {
        let mut reader = PartitionReader::new(Arc::clone(log), log.offsets().log_start);
        let mut buffers = ReadBuffers::default();
        while let Some(part) = reader.next(&mut buffers, usize::MAX, READ_BYTES)? {
            let mut records = Records::default();
            records.push(part);
            for record in &records {
                let (group, entry) =
                    entry_of(&record).map_err(|error| log.at_record(error, record.offset()))?;
                apply(&group, entry);
            }
            buffers.begin_turn(READ_BYTES);
        }
        Ok(())
    }

    /// Hands to the log since when a group has had no members; `None` takes it back. To be called with
    /// the group locked.
    pub(super) fn append_empty_since(
        &self,
        group: &GroupId,
        since: Option<Timestamp>,
    ) -> Result<(), Error> {
        let key = encode_group_key(group)?;
        let record = match since {
            None => Record::tombstone(key),
            Some(since) => Record::new(encode_empty_since(since)?).key(key),
        };
        self.enqueue(&record).map(drop)
    }

    fn enqueue(&self, record: &Record<'_>) -> Result<Queued, Error> {
        self.check()?;
        let log = self.existing().ok_or(FormatError::damaged(
            "committed offset",
            "its topic is missing",
        ))?;
        // With the group locked, for which all of its members wait.
        log.enqueue(record, None)
    }

    /// Hands a commit to the log; `None` removes what was committed. To be called with the group locked,
    /// so that the log's order is that of the checks.
    pub(super) fn append(
        &self,
        group: &GroupId,
        place: &TopicPartition,
        committed: Option<&Committed>,
    ) -> Result<Queued, Error> {
        let key = encode_commit_key(group, place)?;
        let record = match committed {
            None => Record::tombstone(key),
            Some(committed) => {
                let value = CommitValue {
                    topic_id: committed.topic_id,
                    offset: committed.offset,
                    timestamp: committed.timestamp,
                    metadata: &committed.metadata,
                };
                Record::new(value.encode()?).key(key)
            }
        };
        self.enqueue(&record)
    }

    /// Writes the commits that nobody waits for, if that is soon done: at level `Disk` it means a sync, which
    /// is left to the housekeeping thread if there is one.
    pub(super) fn write_waiting(&self) {
        let soon_done = self.durability != Durability::Disk || !self.catalog.environment.has_thread;
        if soon_done && let Some(log) = self.existing() {
            log.write_for_reader();
        }
    }

    /// Whether the topic is much longer than what is still true, which takes so many bytes.
    pub(super) fn wants_rewrite(&self, live_bytes: u64) -> bool {
        self.existing().is_some_and(|log| {
            let bytes = log.size_bytes();
            bytes > REWRITE_BYTES_MIN && bytes > live_bytes.saturating_mul(REWRITE_RATIO)
        })
    }

    /// Where the topic ends now.
    pub(super) fn end(&self) -> Offset {
        self.existing()
            .map_or(Offset::ZERO, |log| log.offsets().log_end)
    }

    /// How many records could not be written since the log was opened.
    pub(super) fn failures(&self) -> u64 {
        self.existing().map_or(0, |log| log.failures())
    }

    /// Takes note that everything before an offset that is still true is written once more behind it, and
    /// drops it. Not if something could not be written since there were so many failures: below level `Disk`
    /// that is told to nobody who waits, and it may be one of the copies.
    pub(super) fn drop_before(&self, offset: Offset, failures: u64) -> Result<(), Error> {
        if let Some(log) = self.existing() {
            log.settle_all()?;
        }
        if self.failures() != failures {
            return Ok(());
        }
        *self.rewritten.lock() = Some(offset);
        self.drop_rewritten()
    }

    /// Drops what is written once more, unless that is done.
    pub(super) fn drop_rewritten(&self) -> Result<(), Error> {
        let mut rewritten = self.rewritten.lock();
        if let Some(offset) = *rewritten
            && let Some(log) = self.existing()
        {
            // Below level `Disk` what was rewritten may be in memory alone, while what is dropped
            // has long been on disk, and is gone for good.
            log.sync()?;
            log.delete_records(offset)?;
        }
        *rewritten = None;
        Ok(())
    }
}
