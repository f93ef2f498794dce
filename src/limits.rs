//! Every fixed limit of the crate, in one place, with the relations between them held at compile time.
//!
//! Sizes are in bytes. A limit that a user may change is the default of an option; the rest are walls.

use std::time::Duration;

/// The longest topic name, in bytes. Kafka: `Topic.MAX_NAME_LENGTH`.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The longest group id, in bytes. Kafka has no limit; ours keeps a commit record small.
pub const GROUP_ID_BYTES_MAX: usize = 255;

/// The most partitions one topic may have.
pub const PARTITIONS_MAX: u32 = 100_000;

/// The largest record: its key, value and headers together, as sent.
///
/// This is a wall, above what [`TopicOptions`](crate::TopicOptions) may allow.
pub const RECORD_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The largest encoded batch that a topic accepts unless told otherwise. Kafka: `max.message.bytes`.
pub const BATCH_BYTES_MAX_DEFAULT: u32 = 1024 * 1024 + 12;

/// The size at which a gathered batch is full, by default. Kafka: `batch.size`.
pub const BATCH_BYTES_DEFAULT: u32 = 16 * 1024;

/// The memory that accepted but unwritten records may take, by default. Kafka: `buffer.memory`.
pub const BUFFER_BYTES_DEFAULT: u64 = 32 * 1024 * 1024;

/// The segment size by default. Kafka: `segment.bytes`.
pub const SEGMENT_BYTES_DEFAULT: u32 = 1024 * 1024 * 1024;

/// The smallest segment that may be asked for.
///
/// Kafka asks for 1 MiB since 4.0; a smaller one is useful for tests and on small devices.
pub const SEGMENT_BYTES_MIN: u32 = 1024;

/// The largest segment that may be asked for: a position inside a segment fits in 31 bits.
pub const SEGMENT_BYTES_MAX: u32 = 2_147_483_647;

/// The bytes between two entries of the sparse index, by default. Kafka: `index.interval.bytes`.
pub const INDEX_INTERVAL_BYTES_DEFAULT: u32 = 4096;

/// The longest metadata string of a committed offset. Kafka: `offset.metadata.max.bytes`.
pub const OFFSET_METADATA_BYTES_MAX: usize = 4096;

/// The most headers one record may carry.
pub const HEADERS_MAX: usize = 65_536;

/// How long a record may sit in its batch before it is written, by default. Kafka: `linger.ms`.
pub const LINGER_DEFAULT: Duration = Duration::from_millis(5);

/// How long a send may wait for room in the buffer, by default. Kafka: `max.block.ms`.
pub const MAX_BLOCK_DEFAULT: Duration = Duration::from_secs(60);

/// How far ahead of the clock a record's timestamp may lie, by default.
/// Kafka: `message.timestamp.after.max.ms` (one hour since 4.0).
pub const TIMESTAMP_AFTER_MAX_DEFAULT: Duration = Duration::from_secs(3600);

/// How long records are kept, by default: seven days. Kafka: `retention.ms`.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How old the first record of a segment may grow before the segment is rolled, by default.
/// Kafka: `segment.ms`.
pub const SEGMENT_AGE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often retention is applied, by default. Kafka: `log.retention.check.interval.ms`.
pub const RETENTION_CHECK_DEFAULT: Duration = Duration::from_secs(300);

const _: () = {
    // A position or length read from 32 bits must fit a usize, so `to_usize` loses nothing.
    assert!(
        usize::BITS >= 32,
        "topiclog needs at least 32-bit addresses"
    );
    assert!(SEGMENT_BYTES_DEFAULT <= SEGMENT_BYTES_MAX);
    assert!(SEGMENT_BYTES_MIN < SEGMENT_BYTES_DEFAULT);
    // A full-sized batch fits the default segment with room for its header.
    assert!(BATCH_BYTES_MAX_DEFAULT < SEGMENT_BYTES_DEFAULT);
    assert!(BATCH_BYTES_DEFAULT < BATCH_BYTES_MAX_DEFAULT);
};

/// Widens a 32-bit number read from a file or an option; loses nothing on a supported target.
pub(crate) const fn to_usize(value: u32) -> usize {
    #[expect(
        clippy::as_conversions,
        reason = "usize has at least 32 bits: asserted above"
    )]
    {
        value as usize
    }
}

/// Widens a length in memory; loses nothing, since no supported target has more than 64 bits.
pub(crate) const fn to_u64(value: usize) -> u64 {
    #[expect(
        clippy::as_conversions,
        reason = "usize has at most 64 bits on every Rust target"
    )]
    {
        value as u64
    }
}

/// Narrows a length that is bounded elsewhere; saturates instead of wrapping if it is not.
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Narrows a length to memory; saturates instead of wrapping where addresses have 32 bits.
pub(crate) fn saturating_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A time in nanoseconds; saturates after 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
