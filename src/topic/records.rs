//! [`Records`]: what a read returns; and [`PartitionReader`], which goes through a partition.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::format::{Batch, RawRecords};
use crate::limits::to_usize;
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

/// Records of one partition, offsets from `from` up to `upto`, out of whole batches in a buffer.
#[derive(Clone, Debug)]
pub(crate) struct PartitionRecords {
    place: TopicPartition,
    buffer: Arc<Vec<u8>>,
    range: Range<usize>,
    from: Offset,
    upto: Offset,
    count: usize,
}

impl PartitionRecords {
    pub(crate) fn len(&self) -> usize {
        self.count
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
        RecordsIter {
            parts: self.parts.iter(),
            current: None,
        }
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
        RecordsIter {
            parts: std::slice::from_ref(self.0).iter(),
            current: None,
        }
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
    current: Option<Current<'a>>,
}

#[derive(Clone, Debug)]
struct Current<'a> {
    part: &'a PartitionRecords,
    rest: &'a [u8],
    batch: Option<(Batch<'a>, RawRecords<'a>)>,
}

impl<'a> Iterator for RecordsIter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        loop {
            if let Some(record) = self.current.as_mut().and_then(Current::next) {
                return Some(record);
            }
            let part = self.parts.next()?;
            let rest = part.buffer.get(part.range.clone()).unwrap_or_default();
            self.current = Some(Current {
                part,
                rest,
                batch: None,
            });
        }
    }
}

impl<'a> Current<'a> {
    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        loop {
            if let Some((batch, records)) = &mut self.batch {
                for raw in records.by_ref() {
                    let offset = batch.header.base_offset + u64::from(raw.offset_delta);
                    if offset < self.part.from {
                        continue;
                    }
                    if offset >= self.part.upto {
                        self.rest = &[];
                        break;
                    }
                    return Some(RecordRef {
                        place: &self.part.place,
                        offset,
                        timestamp: batch.header.timestamp(raw.time_delta),
                        timestamp_type: batch.header.timestamp_type(),
                        key: raw.key,
                        value: raw.value,
                        headers: raw.headers,
                    });
                }
            }
            let (batch, rest) = Batch::trusted(self.rest)?;
            self.rest = rest;
            self.batch = Some((batch, batch.records()));
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
    /// What of the buffer has not been handed out.
    ready: Range<usize>,
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
        self.ready = 0..0;
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
                if fetched.bytes == 0 {
                    return Ok(None);
                }
                self.ready = 0..fetched.bytes;
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
        let (from, start) = (self.position, self.ready.start);
        let (mut count, mut end) = (0, start);
        let mut rest = self.buffer.get(self.ready.clone()).unwrap_or_default();
        while count < records_max
            && let Some((batch, after)) = Batch::trusted(rest)
        {
            let length = to_usize(batch.header.length);
            let room = records_max - count;
            let whole = to_usize(batch.header.record_count);
            if self.position <= batch.header.base_offset && whole <= room {
                count += whole;
                self.position = batch.header.end_offset();
            } else {
                let base = batch.header.base_offset;
                let offsets = batch
                    .records()
                    .map(|raw| base + u64::from(raw.offset_delta))
                    .filter(|offset| *offset >= from);
                let mut left = 0;
                for offset in offsets.filter(|offset| *offset >= self.position) {
                    if left == room {
                        // The rest of the batch is for the next call.
                        self.position = offset;
                        self.ready.start = end;
                        let range = start..end + length;
                        let buffer = Arc::clone(&self.buffer);
                        let place = self.log.partition().clone();
                        let count = count + left;
                        return PartitionRecords {
                            place,
                            buffer,
                            range,
                            from,
                            upto: offset,
                            count,
                        };
                    }
                    left += 1;
                }
                count += left;
                self.position = batch.header.end_offset();
            }
            end += length;
            rest = after;
        }
        self.ready.start = end;
        if rest.is_empty() {
            self.ready = 0..0;
        }
        PartitionRecords {
            place: self.log.partition().clone(),
            buffer: Arc::clone(&self.buffer),
            range: start..end,
            from,
            upto: self.position,
            count,
        }
    }
}
