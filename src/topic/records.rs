//! [`Records`]: what a read returns; and [`PartitionReader`], which goes through a partition.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::format::{BATCH_HEADER_BYTES, Batch, BatchHeader, RawRecords};
use crate::limits::{saturating_usize, to_u64, to_usize};
use crate::log::{Log, ReadPosition};
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
#[derive(Clone, Debug)]
pub(crate) struct PartitionRecords {
    place: TopicPartition,
    buffer: Arc<Vec<u8>>,
    /// From the beginning of a batch to the end of the last record; the last batch may go on behind it.
    range: Range<usize>,
    /// So many bytes of the first batch's records come before the first one.
    skipped: usize,
    /// The offset behind the last record.
    upto: Offset,
    count: usize,
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
#[derive(Clone, Debug)]
pub struct RecordsIter<'a> {
    parts: std::slice::Iter<'a, PartitionRecords>,
    place: Option<&'a TopicPartition>,
    /// The batches of the part that come after the present one.
    batches: &'a [u8],
    header: BatchHeader,
    records: RawRecords<'a>,
}

impl<'a> RecordsIter<'a> {
    fn new(parts: &'a [PartitionRecords]) -> Self {
        Self {
            parts: parts.iter(),
            place: None,
            batches: &[],
            header: BatchHeader::default(),
            records: RawRecords::default(),
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
}

/// Goes through a partition: reads ahead in large pieces, hands out small ones.
#[derive(Debug)]
pub(crate) struct PartitionReader {
    log: Arc<Log>,
    /// Where the next read from the log begins.
    place: ReadPosition,
    /// Used again as soon as nobody holds records in it.
    buffer: Arc<Vec<u8>>,
    /// What of the buffer has not been handed out, from the beginning of a batch on.
    ready: Range<usize>,
    /// So many bytes of that batch's records have been.
    skipped: usize,
    /// The next offset to hand out.
    position: Offset,
}

impl PartitionReader {
    pub(crate) fn new(log: Arc<Log>, position: Offset) -> Self {
        Self {
            log,
            place: ReadPosition::new(position),
            buffer: Arc::default(),
            ready: 0..0,
            skipped: 0,
            position,
        }
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The next offset that will be handed out.
    pub(crate) fn position(&self) -> Offset {
        self.position
    }

    /// Goes on from another offset; what was read ahead is dropped.
    pub(crate) fn seek(&mut self, position: Offset) {
        self.place = ReadPosition::new(position);
        (self.ready, self.skipped) = (0..0, 0);
        self.position = position;
    }

    /// The next records, at most so many; `None` at the high watermark.
    pub(crate) fn next(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Option<PartitionRecords>, Error> {
        loop {
            if self.ready.is_empty() {
                if Arc::get_mut(&mut self.buffer).is_none() {
                    // The last records are still in somebody's hands.
                    self.buffer = Arc::default();
                }
                let Some(buffer) = Arc::get_mut(&mut self.buffer) else {
                    return Ok(None);
                };
                let fetched = self.log.fetch(&mut self.place, buffer, bytes_max)?;
                if fetched.range.is_empty() {
                    return Ok(None);
                }
                self.ready = fetched.range;
                // After a seek into the middle of a batch the records before it are passed over.
                self.position = self.position.max(fetched.from);
            }
            let taken = self.take(records_max);
            if taken.count > 0 {
                return Ok(Some(taken));
            }
        }
    }

    /// Hands out records that were read ahead.
    fn take(&mut self, records_max: usize) -> PartitionRecords {
        let (mut start, mut first) = (self.ready.start, self.skipped);
        let (mut end, mut count) = (start, 0);
        while count < records_max
            && let Some((batch, _)) =
                Batch::trusted(self.buffer.get(self.ready.clone()).unwrap_or_default())
        {
            let room = records_max - count;
            let header = batch.header();
            let left = if self.position <= header.base_offset {
                Some(u64::from(header.record_count))
            } else if header.is_dense() && self.skipped > 0 {
                Some(header.end_offset() - self.position)
            } else {
                None
            };
            let mut rest = RawRecords::default();
            if let Some(left) = left.filter(|left| *left <= to_u64(room)) {
                count += saturating_usize(left);
            } else {
                rest = batch.records_behind(self.skipped);
                // There are some only after a seek into the middle of the batch.
                rest.pass_over(|delta| header.base_offset + u64::from(delta) < self.position);
                if count == 0 {
                    first = batch.bytes_before(&rest);
                }
                let taken = rest.by_ref().take(room);
                let taken = taken.map(|record| {
                    self.position = header.base_offset + u64::from(record.offset_delta) + 1;
                });
                count += taken.count();
            }
            if count < records_max || rest.is_empty() {
                end = self.ready.start + to_usize(header.length);
                (self.ready.start, self.skipped) = (end, 0);
                self.position = header.end_offset();
                if count == 0 {
                    (start, first) = (end, 0);
                }
            } else {
                self.skipped = batch.bytes_before(&rest);
                end = self.ready.start + BATCH_HEADER_BYTES + self.skipped;
            }
        }
        PartitionRecords {
            place: self.log.partition().clone(),
            buffer: Arc::clone(&self.buffer),
            range: start..end,
            skipped: first,
            upto: self.position,
            count,
        }
    }
}
