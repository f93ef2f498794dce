//! The limits of what a user may ask for and the defaults of options, in one place, with the relations
//! between them held at compile time.
//!
//! Sizes are in bytes. A limit that a user may change is the default of an option; the rest are walls.
//! Intervals and sizes that nobody can set stand where they are used.

use std::time::Duration;

use crate::convert::to_usize;

/// The longest topic name, in bytes. Kafka: `Topic.MAX_NAME_LENGTH`.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The longest group id, in bytes. Kafka has no limit; ours keeps a commit record small.
pub const GROUP_ID_BYTES_MAX: usize = 255;

/// The most partitions one topic may have.
pub const PARTITIONS_MAX: u32 = 100_000;

/// The largest encoded batch that a topic accepts unless told otherwise. Kafka: `max.message.bytes`.
pub const BATCH_BYTES_MAX_DEFAULT: u32 = 1024 * 1024 + 12;

/// The smallest [`batch_bytes_max`](crate::TopicOptions::batch_bytes_max) that may be asked for.
pub const BATCH_BYTES_LEAST: u32 = 512;

/// The largest [`batch_bytes_max`](crate::TopicOptions::batch_bytes_max) that may be asked for: every length
/// in a batch fits 30 bits.
pub const BATCH_BYTES_LIMIT: usize = 512 * 1024 * 1024;

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

/// The longest metadata string of a committed offset, in characters of UTF-16: most characters are one, emoji
/// are two. Kafka: `offset.metadata.max.bytes`, which counts so too, whatever it says.
pub const OFFSET_METADATA_CHARACTERS_MAX: usize = 4096;

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

/// A segment is also rolled when a record's timestamp is this much later than the latest in the segment's
/// first batch: by default, seven days. Kafka: `segment.ms`.
pub const SEGMENT_AGE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often retention is applied, by default. Kafka: `log.retention.check.interval.ms`.
pub const RETENTION_CHECK_DEFAULT: Duration = Duration::from_secs(300);

/// How long a member may stay away from poll, by default. Kafka: `max.poll.interval.ms`.
pub const MAX_POLL_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);

/// How long a static member that went away keeps its place, by default. Kafka: `session.timeout.ms`.
pub const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(45);

/// How often a consumer of a group commits by itself, by default. Kafka: `auto.commit.interval.ms`.
pub const AUTO_COMMIT_DEFAULT: Duration = Duration::from_secs(5);

/// The most records that one poll returns, by default. Kafka: `max.poll.records`.
pub const MAX_POLL_RECORDS_DEFAULT: usize = 500;

/// How much is read from a partition at once, by default. Kafka: `max.partition.fetch.bytes`.
pub const FETCH_BYTES_DEFAULT: u32 = 1024 * 1024;

/// How long the offsets of a group without members are kept, by default: seven days. Kafka:
/// `offsets.retention.minutes`.
pub const OFFSETS_RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

const _: () = {
    assert!(SEGMENT_BYTES_DEFAULT <= SEGMENT_BYTES_MAX);
    assert!(SEGMENT_BYTES_MIN < SEGMENT_BYTES_DEFAULT);
    // A full-sized batch fits the default segment with room for its header.
    assert!(BATCH_BYTES_MAX_DEFAULT < SEGMENT_BYTES_DEFAULT);
    assert!(BATCH_BYTES_DEFAULT < BATCH_BYTES_MAX_DEFAULT);
    assert!(to_usize(BATCH_BYTES_MAX_DEFAULT) < BATCH_BYTES_LIMIT);
};
