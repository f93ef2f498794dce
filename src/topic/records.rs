//! [`Records`]: what a read returns.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::format::{Batch, BatchHeader, RawRecords};
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::record::RecordRef;

/// Records as a read returns them: whole batches in the buffers they were read into, so that nothing is
/// copied per record.
///
/// It owns (shares) its buffers, so it may be kept, or sent to another thread; memory is used again once
/// it is dropped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::{EventLog, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// topic.producer().send(Record::new("one"))?;
/// topic.producer().send(Record::new("two"))?;
///
/// let mut consumer = log.consumer().assign([&topic.partition(0)?])?;
/// consumer.seek_to_beginning()?;
/// let records = consumer.poll(Duration::ZERO)?;
/// assert_eq!(records.len(), 2);
/// for record in &records {
///     println!("{} {:?}", record.offset(), record.value());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "records that were polled count as delivered"]
pub struct Records {
    parts: Vec<PartitionRecords>,
    count: usize,
}

/// Records of one partition, out of batches in a buffer.
#[derive(Clone)]
pub(crate) struct PartitionRecords {
    pub(super) place: TopicPartition,
    pub(super) buffer: Arc<Vec<u8>>,
    /// From the beginning of a batch to the end of the last record; the last batch may go on behind it.
    pub(super) range: Range<usize>,
    /// So many bytes of the first batch's records come before the first one.
    pub(super) skipped: usize,
    /// The offset behind the last record.
    pub(super) upto: Offset,
    pub(super) count: usize,
}

/// Says how many there are, not their bytes.
impl fmt::Debug for PartitionRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRecords")
            .field("partition", &format_args!("{}", self.place))
            .field("records", &self.count)
            .field("bytes", &self.range.len())
            .field("next_offset", &self.upto.value())
            .finish_non_exhaustive()
    }
}

impl PartitionRecords {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }
}

impl Records {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All records: partition by partition, in offset order within each.
    pub fn iter(&self) -> RecordsIter<'_> {
        RecordsIter::new(&self.parts)
    }

    /// The records by partition. Kafka: `ConsumerRecords.records(TopicPartition)`.
    pub fn by_partition(&self) -> impl ExactSizeIterator<Item = PartitionView<'_>> {
        self.parts.iter().map(PartitionView)
    }

    /// The same records, each partition's by itself, so that every worker can take one.
    pub fn into_partitions(self) -> impl ExactSizeIterator<Item = (TopicPartition, Self)> {
        self.parts.into_iter().map(|part| {
            let count = part.count;
            (
                part.place.clone(),
                Self {
                    parts: vec![part],
                    count,
                },
            )
        })
    }

    pub(crate) fn push(&mut self, part: PartitionRecords) {
        self.count += part.count;
        self.parts.push(part);
    }
}

/// The records of one partition within [`Records`].
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a>(&'a PartitionRecords);

impl<'a> PartitionView<'a> {
    /// Which partition.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        &self.0.place
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.0.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// The records in offset order.
    pub fn iter(&self) -> RecordsIter<'a> {
        RecordsIter::new(std::slice::from_ref(self.0))
    }

    /// That of the first of them.
    pub(crate) fn first_offset(self) -> Option<Offset> {
        self.iter().next().map(|record| record.offset())
    }

    /// The offset to commit once all of them are handled. Kafka: `nextOffsets`, KIP-1094.
    pub fn next_offset(&self) -> Offset {
        self.0.upto
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordRef<'a>;
    type IntoIter = RecordsIter<'a>;

    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &PartitionView<'a> {
    type Item = RecordRef<'a>;
    type IntoIter = RecordsIter<'a>;

    fn into_iter(self) -> RecordsIter<'a> {
        self.iter()
    }
}

/// An iterator over [`Records`].
#[derive(Clone)]
pub struct RecordsIter<'a> {
    parts: std::slice::Iter<'a, PartitionRecords>,
    place: Option<&'a TopicPartition>,
    /// The batches of the part that come after the present one.
    batches: &'a [u8],
    header: BatchHeader,
    records: RawRecords<'a>,
    /// How many are still to come.
    left: usize,
}

impl fmt::Debug for RecordsIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordsIter")
            .field("partition", &self.place)
            .finish_non_exhaustive()
    }
}

impl<'a> RecordsIter<'a> {
    fn new(parts: &'a [PartitionRecords]) -> Self {
        Self {
            parts: parts.iter(),
            place: None,
            batches: &[],
            header: BatchHeader::default(),
            records: RawRecords::default(),
            left: parts.iter().map(PartitionRecords::len).sum(),
        }
    }

    /// Goes to the next batch; `None` after the last. Kept apart from what is done for every record.
    #[inline(never)]
    fn next_batch(&mut self) -> Option<()> {
        let mut skipped = 0;
        if self.batches.is_empty() {
            let part = self.parts.next()?;
            self.place = Some(&part.place);
            (self.batches, skipped) = (part.bytes(), part.skipped);
        }
        let (batch, rest) = Batch::trusted(self.batches).unwrap_or_default();
        self.batches = rest;
        self.header = batch.header();
        self.records = batch.records_behind(skipped);
        Some(())
    }
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        loop {
            if let Some(raw) = self.records.next()
                && let Some(place) = self.place
            {
                self.left = self.left.saturating_sub(1);
                return Some(RecordRef {
                    place,
                    offset: self.header.base_offset + u64::from(raw.offset_delta),
                    timestamp: self.header.timestamp(raw.time_delta),
                    timestamp_type: self.header.timestamp_type(),
                    key: raw.key,
                    value: raw.value,
                    headers: raw.headers,
                });
            }
            self.next_batch()?;
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Batches are served only once all of their records were gone over and counted, so none is missing and none
/// is left over.
impl ExactSizeIterator for RecordsIter<'_> {}
