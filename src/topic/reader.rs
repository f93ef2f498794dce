//! [`PartitionReader`], which goes through a partition, and [`ReadBuffers`], what it reads into.

use std::ops::Range;
use std::sync::Arc;

use super::records::PartitionRecords;
use crate::convert::{saturating_usize, to_u64, to_usize};
use crate::error::Error;
use crate::format::{BATCH_HEADER_BYTES, Batch, RawRecords};
use crate::log::{Log, ReadPosition};
use crate::offset::Offset;

/// Buffers to read into, used again and again: by one reader after the other, so that it is the same memory
/// while the processor has it in its cache, however many partitions are read.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffers {
    /// Free as soon as nobody holds records in them. Taken from the end, so that few are used in turn.
    spare: Vec<Arc<Vec<u8>>>,
    /// The bytes of those.
    spare_bytes: usize,
    /// Given back since the last turn.
    returned: Vec<Arc<Vec<u8>>>,
}

/// What is kept to be used again has as many bytes as so many reads.
const READS_KEPT: usize = 4;

/// Reads of less count as much.
const READ_BYTES_MIN: usize = 64 * 1024;

impl ReadBuffers {
    /// To be called when the records of the last turn are likely to be done with. A read takes so many bytes
    /// unless a batch is larger; what was needed for that, or for many partitions at once, is not kept.
    pub(crate) fn begin_turn(&mut self, bytes_max: usize) {
        let limit = bytes_max.max(READ_BYTES_MIN).saturating_mul(READS_KEPT);
        while let Some(buffer) = self.returned.pop() {
            if self.spare_bytes.saturating_add(buffer.len()) <= limit {
                self.keep(buffer);
            }
        }
    }

    fn keep(&mut self, buffer: Arc<Vec<u8>>) {
        self.spare_bytes += buffer.len();
        self.spare.push(buffer);
    }

    /// One that nobody else holds.
    fn take(&mut self) -> Arc<Vec<u8>> {
        // Those in which somebody keeps records are left to them.
        while let Some(mut buffer) = self.spare.pop() {
            self.spare_bytes -= buffer.len();
            if Arc::get_mut(&mut buffer).is_some() {
                return buffer;
            }
        }
        Arc::default()
    }
}

/// Goes through a partition: reads ahead in large pieces, hands out small ones.
#[derive(Debug)]
pub(crate) struct PartitionReader {
    log: Arc<Log>,
    /// Where the next read from the log begins.
    place: ReadPosition,
    /// Holds what was read ahead, while there is something.
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
        (self.buffer, self.ready, self.skipped) = (Arc::default(), 0..0, 0);
        self.position = position;
    }

    /// Whether the next records have been read already.
    pub(crate) fn is_ahead(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next records, at most so many; `None` at the high watermark.
    pub(crate) fn next(
        &mut self,
        buffers: &mut ReadBuffers,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Option<PartitionRecords>, Error> {
        loop {
            if !self.is_ahead() && !self.read_ahead(buffers, bytes_max)? {
                return Ok(None);
            }
            let taken = self.take(records_max);
            if !self.is_ahead() {
                buffers.returned.push(std::mem::take(&mut self.buffer));
            }
            if taken.count > 0 {
                return Ok(Some(taken));
            }
        }
    }

    /// Reads the next piece; false if there is none.
    fn read_ahead(&mut self, buffers: &mut ReadBuffers, bytes_max: usize) -> Result<bool, Error> {
        let mut shared = buffers.take();
        // Nobody else holds it, so that nothing is copied.
        let buffer = Arc::make_mut(&mut shared);
        let fetched = self.log.fetch(&mut self.place, buffer, bytes_max);
        match fetched {
            Ok(fetched) if !fetched.range.is_empty() => {
                self.buffer = shared;
                self.ready = fetched.range;
                // After a seek into the middle of a batch the records before it are passed over.
                self.position = self.position.max(fetched.from);
                Ok(true)
            }
            Ok(_nothing) => {
                buffers.keep(shared);
                Ok(false)
            }
            // A length that is damaged may have made the buffer as large as a segment.
            Err(error) => Err(error),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Records;
    use crate::{EventLog, Record, TopicOptions};

    #[test]
    fn readers_take_turns_with_one_buffer_and_leave_it_to_whoever_keeps_records() {
        let log = EventLog::in_memory().unwrap();
        let topic = log
            .create_topic("t", TopicOptions::new().partitions(3))
            .unwrap();
        let mut readers = Vec::new();
        for partition in topic.partitions() {
            let place = partition.topic_partition().partition();
            let record = Record::new(place.to_string()).partition(place);
            topic.producer().send_and_wait(record).unwrap();
            readers.push(PartitionReader::new(
                Arc::clone(&partition.log),
                Offset::ZERO,
            ));
        }
        let mut buffers = ReadBuffers::default();
        let mut read = |reader: &mut PartitionReader| {
            buffers.begin_turn(1024);
            let part = reader.next(&mut buffers, usize::MAX, 1024).unwrap();
            let part = part.unwrap();
            let memory = Arc::as_ptr(&part.buffer);
            let mut records = Records::default();
            records.push(part);
            (records, memory)
        };
        let text = |records: &Records| records.iter().next().unwrap().value().unwrap().to_vec();
        let [first, second, third] = &mut readers[..] else {
            panic!("three partitions");
        };
        let (records, memory) = read(first);
        assert_eq!(text(&records), b"0");
        drop(records);
        let (kept, again) = read(second);
        assert_eq!(again, memory);
        let (records, other) = read(third);
        assert_ne!(other, memory);
        assert_eq!(
            (text(&kept), text(&records)),
            (b"1".to_vec(), b"2".to_vec())
        );
    }

    #[test]
    fn what_one_large_batch_or_many_partitions_needed_is_not_kept() {
        let mut buffers = ReadBuffers::default();
        let lengths = |buffers: &ReadBuffers| {
            let spare = buffers.spare.iter();
            spare.map(|buffer| buffer.len()).collect::<Vec<_>>()
        };
        let limit = READS_KEPT * READ_BYTES_MIN;
        buffers.returned.push(Arc::new(vec![0; limit + 1]));
        buffers.begin_turn(1);
        assert_eq!(lengths(&buffers), []);
        for _partition in 0..=READS_KEPT {
            buffers.returned.push(Arc::new(vec![0; READ_BYTES_MIN]));
        }
        buffers.begin_turn(1);
        assert_eq!(lengths(&buffers), [READ_BYTES_MIN; READS_KEPT]);
        drop(buffers.take());
        buffers.returned.push(Arc::new(vec![0; READ_BYTES_MIN]));
        buffers.begin_turn(1);
        assert_eq!(lengths(&buffers), [READ_BYTES_MIN; READS_KEPT]);
    }
}
