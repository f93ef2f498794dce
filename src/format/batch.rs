//! A batch: records written, checksummed and stored together.
//!
//! ```text
//!  at  size  field
//!   0     4  CRC-32 of bytes 4 to the end, seeded with log id, topic id, partition and segment
//!   4     4  length of the whole batch in bytes
//!   8     2  magic 0xB7C5
//!  10     1  version
//!  11     1  zero
//!  12     2  attributes: bits 0 to 2 compression, 3 timestamp type, 4 transactional, 5 control,
//!           8 the offsets before this batch were given up (a gap that is no damage)
//!  14     2  producer epoch
//!  16     8  base offset
//!  24     4  last offset delta
//!  28     4  number of records
//!  32     8  base timestamp
//!  40     8  maximum timestamp
//!  48     8  durable up to: the offset known to be on disk when the batch was written
//!  56     8  producer id
//!  64     4  base sequence
//!  68     4  leader epoch
//!  72        records
//! ```
//!
//! The fields are those of Kafka's batch of magic 2, so one converts into the other without loss, and
//! `durable up to`, which tells a torn tail from damage.

use super::bytes::{i16_at, i32_at, i64_at, put, u16_at, u32_at, u64_at};
use super::identity::checksum;
use super::records::{self, RawRecords, Walk};
use crate::convert::{to_u32, to_usize};
use crate::error::FormatError;
use crate::offset::Offset;
use crate::record::Record;
use crate::timestamp::{Timestamp, TimestampType};

/// The length of a batch's header.
pub(crate) const BATCH_HEADER_BYTES: usize = 72;

const MAGIC: u16 = 0xB7C5;
const VERSION: u8 = 1;
const WHAT: &str = "batch";
const LOG_APPEND_TIME: u16 = 1 << 3;
const SKIPS: u16 = 1 << 8;
/// Bits that this version gives a meaning to; a batch with others is of a newer format.
const KNOWN_ATTRIBUTES: u16 = LOG_APPEND_TIME | SKIPS;

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct BatchHeader {
    pub(crate) length: u32,
    pub(crate) attributes: u16,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset_delta: u32,
    pub(crate) record_count: u32,
    pub(crate) base_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) durable_upto: Offset,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) leader_epoch: i32,
}

impl BatchHeader {
    /// The offset after the batch's last.
    pub(crate) fn end_offset(&self) -> Offset {
        self.base_offset + u64::from(self.last_offset_delta) + 1
    }

    /// Whether there is a record for each of its offsets.
    pub(crate) fn is_dense(&self) -> bool {
        u64::from(self.record_count) == u64::from(self.last_offset_delta) + 1
    }

    /// Whether offsets are missing before the batch on purpose.
    pub(crate) fn skips(&self) -> bool {
        self.attributes & SKIPS != 0
    }

    /// Whether it comes next behind a batch that ends at this offset.
    pub(crate) fn follows(&self, end: Offset) -> bool {
        self.base_offset == end || self.base_offset > end && self.skips()
    }

    pub(crate) fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The timestamp of a record with this delta.
    #[inline]
    pub(crate) fn timestamp(&self, time_delta: i32) -> Timestamp {
        if self.attributes & LOG_APPEND_TIME == 0 {
            let millis = self
                .base_timestamp
                .as_millis()
                .saturating_add(time_delta.into());
            Timestamp::from_millis(millis)
        } else {
            self.max_timestamp
        }
    }

    /// Reads the fields; whether they are true, the checksum tells.
    #[inline]
    pub(crate) fn decode(bytes: &[u8; BATCH_HEADER_BYTES]) -> Self {
        Self {
            length: u32_at(bytes, 4),
            attributes: u16_at(bytes, 12),
            producer_epoch: i16_at(bytes, 14),
            base_offset: Offset::new(u64_at(bytes, 16)),
            last_offset_delta: u32_at(bytes, 24),
            record_count: u32_at(bytes, 28),
            base_timestamp: Timestamp::from_millis(i64_at(bytes, 32)),
            max_timestamp: Timestamp::from_millis(i64_at(bytes, 40)),
            durable_upto: Offset::new(u64_at(bytes, 48)),
            producer_id: i64_at(bytes, 56),
            base_sequence: i32_at(bytes, 64),
            leader_epoch: i32_at(bytes, 68),
        }
    }

    fn encode(&self, bytes: &mut [u8; BATCH_HEADER_BYTES]) {
        put(bytes, 4, self.length.to_le_bytes());
        put(bytes, 8, MAGIC.to_le_bytes());
        put(bytes, 10, [VERSION, 0]);
        put(bytes, 12, self.attributes.to_le_bytes());
        put(bytes, 14, self.producer_epoch.to_le_bytes());
        put(bytes, 16, self.base_offset.value().to_le_bytes());
        put(bytes, 24, self.last_offset_delta.to_le_bytes());
        put(bytes, 28, self.record_count.to_le_bytes());
        put(bytes, 32, self.base_timestamp.as_millis().to_le_bytes());
        put(bytes, 40, self.max_timestamp.as_millis().to_le_bytes());
        put(bytes, 48, self.durable_upto.value().to_le_bytes());
        put(bytes, 56, self.producer_id.to_le_bytes());
        put(bytes, 64, self.base_sequence.to_le_bytes());
        put(bytes, 68, self.leader_epoch.to_le_bytes());
    }
}

/// What lies at a place where a batch may begin.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// A batch, whole, with the right checksum and well-formed records.
    Batch(Batch<'a>),
    /// Zeros: nothing was written here. What follows should be zeros too.
    Blank,
    /// So many bytes are needed to tell.
    Incomplete(usize),
    /// Neither.
    Bad(FormatError),
}

/// A whole batch, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    head: &'a [u8; BATCH_HEADER_BYTES],
    payload: &'a [u8],
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self {
            head: &[0; BATCH_HEADER_BYTES],
            payload: &[],
        }
    }
}

impl<'a> Batch<'a> {
    /// Reads what begins at the start of `bytes`. Checks everything.
    pub(crate) fn parse(bytes: &'a [u8], seed: u32) -> Frame<'a> {
        match Self::frame(bytes, seed) {
            Frame::Batch(batch) => batch.checked(&mut batch.walk()),
            other => other,
        }
    }

    /// Reads what begins at the start of `bytes`. Checks everything but the records.
    fn frame(bytes: &'a [u8], seed: u32) -> Frame<'a> {
        let Some(head) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            // A few zeros at the end of a file are as blank as many.
            return if !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0) {
                Frame::Blank
            } else {
                Frame::Incomplete(BATCH_HEADER_BYTES)
            };
        };
        if u64_at(head, 0) == 0 && u16_at(head, 8) == 0 {
            return Frame::Blank;
        }
        let damaged = |problem| Frame::Bad(FormatError::damaged(WHAT, problem));
        if u16_at(head, 8) != MAGIC {
            return damaged("the magic is wrong");
        }
        let length = to_usize(u32_at(head, 4));
        if length < BATCH_HEADER_BYTES {
            return damaged("the length is too small");
        }
        let Some(whole) = bytes.get(..length) else {
            return Frame::Incomplete(length);
        };
        let (_, covered) = whole.split_at(4);
        let (stored, computed) = (u32_at(head, 0), checksum(seed, covered));
        if let Err(error) = FormatError::match_checksums(WHAT, stored, computed) {
            return Frame::Bad(error);
        }
        let [version, reserved] = u16_at(head, 10).to_le_bytes();
        if version != VERSION {
            return Frame::Bad(FormatError::UnsupportedVersion {
                what: WHAT,
                version: version.into(),
                supported: VERSION.into(),
            });
        }
        let unknown = u16_at(head, 12) & !KNOWN_ATTRIBUTES;
        let known = FormatError::check_bits(WHAT, "attributes", unknown.into());
        let reserved = FormatError::check_bits(WHAT, "a reserved byte", reserved.into());
        if let Err(error) = known.and(reserved) {
            return Frame::Bad(error);
        }
        let (_, payload) = whole.split_at(BATCH_HEADER_BYTES);
        let batch = Self { head, payload };
        if !batch.header().end_offset().is_possible() {
            return damaged("its offsets are larger than any can be");
        }
        Frame::Batch(batch)
    }

    /// What it says of itself. Only what is asked of it is read.
    #[inline]
    pub(crate) fn header(&self) -> BatchHeader {
        BatchHeader::decode(self.head)
    }

    /// The bytes that it takes, header included.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        BATCH_HEADER_BYTES + self.payload.len()
    }

    fn walk(&self) -> Walk<'a> {
        let header = self.header();
        Walk::new(self.payload, header.record_count, header.last_offset_delta)
    }

    fn checked(self, walk: &mut Walk<'a>) -> Frame<'a> {
        walk.finish()
            .map_or_else(Frame::Bad, |()| Frame::Batch(self))
    }

    /// Reads a batch that [`parse`](Self::parse) has found good before. Where `bytes` end behind one of
    /// its records, that is the last.
    #[inline]
    pub(crate) fn trusted(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, behind) = bytes.split_first_chunk()?;
        let length = to_usize(u32_at(head, 4)).checked_sub(BATCH_HEADER_BYTES)?;
        let (payload, rest) = behind.split_at(length.min(behind.len()));
        Some((Self { head, payload }, rest))
    }

    /// Whether a batch might begin here: cheap, and wrong once in 65,536 for random bytes.
    pub(crate) fn may_begin(bytes: &[u8]) -> bool {
        bytes.len() >= BATCH_HEADER_BYTES && u16_at(bytes, 8) == MAGIC
    }

    /// The records in order.
    #[inline]
    pub(crate) fn records(&self) -> RawRecords<'a> {
        RawRecords::new(self.payload)
    }

    /// Whether its maximum timestamp is that of its records: readers go by it and do not look.
    pub(crate) fn check_max_timestamp(&self) -> Result<(), FormatError> {
        let header = self.header();
        let times = self.records().map(|it| header.timestamp(it.time_delta));
        match times.max() {
            Some(youngest) if youngest != header.max_timestamp => {
                let problem = "its maximum timestamp is not that of its records";
                Err(FormatError::damaged(WHAT, problem))
            }
            _ => Ok(()),
        }
    }

    /// The records behind so many bytes of records.
    #[inline]
    pub(crate) fn records_behind(&self, bytes: usize) -> RawRecords<'a> {
        RawRecords::new(self.payload.get(bytes..).unwrap_or_default())
    }

    /// How many bytes of records come before these, which are the rest of them.
    #[inline]
    pub(crate) fn bytes_before(&self, rest: &RawRecords<'_>) -> usize {
        self.payload.len() - rest.len()
    }
}

/// Goes from batch to batch, and checks everything, two at a time where there are two.
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    bytes: &'a [u8],
    seed: u32,
    ahead: Option<Frame<'a>>,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(bytes: &'a [u8], seed: u32) -> Self {
        let ahead = None;
        Self { bytes, seed, ahead }
    }

    /// What comes next. Stays where something else than a batch is.
    pub(crate) fn step(&mut self) -> Frame<'a> {
        if let Some(ahead) = self.ahead.take() {
            return ahead;
        }
        let first = match self.frame() {
            Frame::Batch(first) => first,
            other => return other,
        };
        let mut walk = first.walk();
        if let Frame::Batch(second) = self.frame() {
            let mut other = second.walk();
            walk.go_along(&mut other);
            self.ahead = Some(second.checked(&mut other));
        }
        first.checked(&mut walk)
    }

    #[inline]
    fn frame(&mut self) -> Frame<'a> {
        let frame = Batch::frame(self.bytes, self.seed);
        if let Frame::Batch(batch) = &frame {
            self.bytes = self.bytes.get(batch.len()..).unwrap_or_default();
        }
        frame
    }
}

/// What is only known when a batch is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) base_offset: Offset,
    pub(crate) durable_upto: Offset,
    /// The log's own time, if its topic stamps records by that.
    pub(crate) append_time: Option<Timestamp>,
    /// Whether offsets before the batch were given up.
    pub(crate) skips: bool,
    pub(crate) seed: u32,
}

/// A batch that records are being added to, at the end of a buffer that may hold others before it.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    start: usize,
    /// Header and records.
    length: usize,
    count: u32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl BatchBuilder {
    /// An empty batch behind what is in the buffer. Until the next one begins, nobody else may add to it.
    pub(crate) fn begin(buffer: &mut Vec<u8>) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&[0; BATCH_HEADER_BYTES]);
        Self {
            start,
            length: BATCH_HEADER_BYTES,
            count: 0,
            base_timestamp: Timestamp::EPOCH,
            max_timestamp: Timestamp::MIN,
        }
    }

    /// Where in its buffer the batch begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The number of records.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The length so far, header included.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The youngest record's timestamp.
    pub(crate) fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// Whether a timestamp can be told by its distance from the first record's.
    pub(crate) fn spans(&self, timestamp: Timestamp) -> bool {
        self.count == 0 || self.time_delta(timestamp).is_some()
    }

    fn time_delta(&self, timestamp: Timestamp) -> Option<i32> {
        let delta = timestamp
            .as_millis()
            .checked_sub(self.base_timestamp.as_millis())?;
        i32::try_from(delta).ok()
    }

    /// Adds a record; its timestamp must be one that the batch [`spans`](Self::spans).
    pub(crate) fn push(&mut self, buffer: &mut Vec<u8>, record: &Record<'_>, timestamp: Timestamp) {
        self.push_all(buffer, [record], timestamp);
    }

    /// Adds records of one timestamp, likewise. Returns how many.
    #[inline]
    pub(crate) fn push_all<'r>(
        &mut self,
        buffer: &mut Vec<u8>,
        records: impl IntoIterator<Item = &'r Record<'r>>,
        timestamp: Timestamp,
    ) -> u32 {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        let delta = self.time_delta(timestamp).unwrap_or(0);
        let mut added = 0;
        for record in records {
            records::encode(buffer, record, self.count + added, delta);
            added += 1;
        }
        if added > 0 {
            self.length = buffer.len() - self.start;
            self.count += added;
            self.max_timestamp = self.max_timestamp.max(timestamp);
        }
        added
    }

    /// Fills in the header, in the buffer that the batch was built in.
    pub(crate) fn finish(&self, buffer: &mut [u8], stamp: &Stamp) {
        let (time_type, max_timestamp) = match stamp.append_time {
            Some(time) => (LOG_APPEND_TIME, time),
            None => (0, self.max_timestamp),
        };
        let attributes = time_type | if stamp.skips { SKIPS } else { 0 };
        let header = BatchHeader {
            length: to_u32(self.length),
            attributes,
            base_offset: stamp.base_offset,
            last_offset_delta: self.count.saturating_sub(1),
            record_count: self.count,
            base_timestamp: self.base_timestamp,
            max_timestamp,
            durable_upto: stamp.durable_upto,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            leader_epoch: -1,
        };
        let whole = buffer.get_mut(self.start..self.start + self.length);
        let bytes = whole.unwrap_or_default();
        if let Some(head) = bytes.first_chunk_mut() {
            header.encode(head);
        }
        if let Some((crc, covered)) = bytes.split_first_chunk_mut() {
            *crc = checksum(stamp.seed, covered).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut builder = BatchBuilder::begin(&mut bytes);
        let first = Record::new("first").key("k");
        builder.push(&mut bytes, &first, Timestamp::from_millis(1000));
        let second = Record::new("second");
        builder.push(&mut bytes, &second, Timestamp::from_millis(900));
        let stamp = Stamp {
            base_offset: Offset::new(40),
            durable_upto: Offset::new(38),
            append_time: None,
            skips: false,
            seed: 7,
        };
        builder.finish(&mut bytes, &stamp);
        bytes
    }

    #[test]
    fn a_batch_comes_back_as_it_was() {
        let bytes = sample();
        let Frame::Batch(batch) = Batch::parse(&bytes, 7) else {
            panic!("not a batch")
        };
        assert_eq!(batch.header().base_offset, 40);
        assert_eq!(batch.header().end_offset(), 42);
        assert_eq!(batch.header().durable_upto, 38);
        assert_eq!(batch.header().max_timestamp, Timestamp::from_millis(1000));
        // No producer is named, and no leader, as Kafka's -1 says it.
        let header = batch.header();
        assert_eq!((header.producer_id, header.producer_epoch), (-1, -1));
        assert_eq!((header.base_sequence, header.leader_epoch), (-1, -1));
        let times: Vec<_> = batch
            .records()
            .map(|record| batch.header().timestamp(record.time_delta).as_millis())
            .collect();
        assert_eq!(times, [1000, 900]);
    }

    #[test]
    fn every_field_of_a_header_comes_back() {
        let header = BatchHeader {
            length: 1,
            attributes: SKIPS,
            base_offset: Offset::new(3),
            last_offset_delta: 4,
            record_count: 5,
            base_timestamp: Timestamp::from_millis(-6),
            max_timestamp: Timestamp::from_millis(7),
            durable_upto: Offset::new(8),
            producer_id: 9,
            producer_epoch: 10,
            base_sequence: 11,
            leader_epoch: 12,
        };
        let mut bytes = [0; BATCH_HEADER_BYTES];
        header.encode(&mut bytes);
        assert_eq!(BatchHeader::decode(&bytes), header);
    }

    /// No writer makes one, and readers take it as it is.
    #[test]
    fn a_batch_may_have_no_records() {
        let mut bytes = Vec::new();
        let builder = BatchBuilder::begin(&mut bytes);
        let stamp = Stamp {
            base_offset: Offset::new(40),
            durable_upto: Offset::ZERO,
            append_time: None,
            skips: false,
            seed: 7,
        };
        builder.finish(&mut bytes, &stamp);
        let Frame::Batch(batch) = Batch::parse(&bytes, 7) else {
            panic!("not a batch")
        };
        assert_eq!(batch.records().count(), 0);
        assert_eq!(batch.header().end_offset(), 41);
    }

    /// Nobody could read on behind it.
    #[test]
    fn offsets_end_at_the_largest() {
        let forged = |base: u64, last_delta: u32| {
            let mut bytes = sample();
            put(&mut bytes, 16, base.to_le_bytes());
            put(&mut bytes, 24, last_delta.to_le_bytes());
            let crc = checksum(7, bytes.get(4..).unwrap());
            put(&mut bytes, 0, crc.to_le_bytes());
            matches!(Batch::parse(&bytes, 7), Frame::Batch(_))
        };
        let largest = Offset::MAX.value();
        assert!(forged(largest - 2, 1));
        assert!(!forged(largest - 1, 1));
        assert!(!forged(largest - 2, 2));
        assert!(!forged(u64::MAX, 1));
    }

    #[test]
    fn log_append_time_replaces_every_records_time() {
        let mut bytes = Vec::new();
        let mut builder = BatchBuilder::begin(&mut bytes);
        builder.push(&mut bytes, &Record::new("x"), Timestamp::from_millis(5));
        let append_time = Some(Timestamp::from_millis(77));
        let stamp = Stamp {
            base_offset: Offset::ZERO,
            durable_upto: Offset::ZERO,
            append_time,
            skips: true,
            seed: 0,
        };
        builder.finish(&mut bytes, &stamp);
        let Frame::Batch(batch) = Batch::parse(&bytes, 0) else {
            panic!("not a batch")
        };
        assert_eq!(
            batch.header().timestamp_type(),
            TimestampType::LogAppendTime
        );
        assert_eq!(batch.header().timestamp(0), Timestamp::from_millis(77));
        assert!(batch.header().skips());
    }

    #[test]
    fn every_flipped_bit_is_found_and_every_cut_is_incomplete() {
        let good = sample();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !matches!(Batch::parse(&bad, 7), Frame::Batch(_) | Frame::Blank),
                "bit {bit}"
            );
        }
        for length in 0..good.len() {
            assert!(matches!(
                Batch::parse(&good[..length], 7),
                Frame::Incomplete(_)
            ));
        }
    }

    #[test]
    fn batches_in_a_row_are_all_good_up_to_the_damaged_one() {
        let one = sample();
        let good = one.repeat(3);
        let count = |bytes: &[u8]| {
            let mut batches = Batches::new(bytes, 7);
            let mut count = 0;
            while let Frame::Batch(batch) = batches.step() {
                assert_eq!(batch.records().count(), 2);
                count += 1;
            }
            count
        };
        assert_eq!(count(&good), 3);
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            assert_eq!(count(&bad), byte / one.len(), "byte {byte}");
            assert_eq!(count(&good[..byte]), byte / one.len(), "cut at {byte}");
        }
        // The records of the second are not what its header says, though its checksum is right.
        let mut bad = good.clone();
        let (second, records) = (one.len(), one.len() + 28);
        bad[records] = 3;
        let crc = checksum(7, &bad[second + 4..2 * one.len()]);
        bad[second..second + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(count(&bad), 1);
    }

    #[test]
    fn a_batch_of_another_segment_is_not_taken() {
        assert!(matches!(
            Batch::parse(&sample(), 8),
            Frame::Bad(FormatError::Checksum { .. })
        ));
    }

    #[test]
    fn only_zeros_are_blank_and_a_newer_version_is_unsupported() {
        assert!(matches!(Batch::parse(&[0; 200], 7), Frame::Blank));
        assert!(matches!(Batch::parse(&[0; 3], 7), Frame::Blank));
        for zeros in [0..8, 8..10] {
            let mut bad = sample();
            bad[zeros].fill(0);
            assert!(matches!(Batch::parse(&bad, 7), Frame::Bad(_)));
        }
        let mut newer = sample();
        newer[10] = 2;
        let crc = checksum(7, &newer[4..]);
        newer[..4].copy_from_slice(&crc.to_le_bytes());
        let frame = Batch::parse(&newer, 7);
        assert!(matches!(
            frame,
            Frame::Bad(FormatError::UnsupportedVersion { version: 2, .. })
        ));
        // Of version 1, and with something in it that this one does not know.
        for (byte, named) in [(11, "reserved"), (13, "attributes")] {
            let mut newer = sample();
            newer[byte] = 2;
            let crc = checksum(7, &newer[4..]);
            newer[..4].copy_from_slice(&crc.to_le_bytes());
            let Frame::Bad(error) = Batch::parse(&newer, 7) else {
                panic!("byte {byte}");
            };
            assert!(error.to_string().contains(named), "{error}");
            assert!(!error.to_string().contains("version=1"), "{error}");
        }
    }
}
