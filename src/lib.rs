//! [ARCHITECTURE]: _documentation::architecture
//! [DURABILITY]: _documentation::durability
//! [FORMAT]: _documentation::format
//! [GROUPS]: _documentation::groups
//! [KAFKA]: _documentation::kafka
//! [DEFAULTS]: _documentation::defaults
//! [VOCABULARY]: _documentation::vocabulary
//! [TESTING]: _documentation::testing
//! [PERFORMANCE]: _documentation::performance
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Floor 0: vocabulary.
mod convert;
mod error;
pub mod limits;
mod name;
mod offset;
mod options;
mod record;
mod timestamp;

// Floor 1: bytes to values and back.
mod format;

// Floor 2: the doors to the outside.
pub mod clock;
mod random;
pub mod storage;
mod sync;

// Floor 3: one partition's log.
mod log;

// Floor 4: from names to logs.
mod topic;

// Floor 5: consumer groups as pure state machines.
mod group;

// Floor 6: what users hold.
mod consumer;
mod producer;

// Floor 7: the owning handle.
mod event_log;

pub use consumer::{
    CommittedOffset, Consumer, ConsumerBuilder, ConsumerGroup, ConsumerOptions, ConsumerWaker,
    Drain, GroupMetadata, MemberBuilder, OffsetReset, OffsetTarget, PartitionHandler, PartitionLag,
    PlannedReset, RebalanceListener, Workers, WorkersBuilder, WorkersStopper,
};
pub use error::{Error, ErrorKind, Result};
pub use event_log::{EventLog, EventLogBuilder, Housekeeping};
pub use group::{
    AssignableMember, AssignableTopic, Assignment, AssignmentRequest, Assignor,
    CooperativeStickyAssignor, Departure, Eager, Generation, GroupDescription, GroupState,
    MemberDescription, MemberId, MemberSubscription, PartitionIndex, RangeAssignor,
    RebalanceProtocol, RoundRobinAssignor, StickyAssignor,
};
pub use log::{LogOffsets, Recovery};
pub use name::{GroupId, Id, TopicName, TopicPartition};
pub use offset::Offset;
pub use options::{Durability, TopicOptions};
pub use producer::{
    Deliveries, Delivery, KeyHash, Partitioner, Producer, RoundRobin, SendAllError, Sticky,
};
pub use record::{HeadersRef, Record, RecordBytes, RecordMetadata, RecordRef, SendError};
pub use timestamp::{Timestamp, TimestampType};
pub use topic::{
    Partition, PartitionRecovery, PartitionView, Records, RecordsIter, RecoveryReport, Topic,
    TopicDescription, VerifyReport,
};

/// The pages of `docs/`: prose, compiled so that their examples run.
///
/// The pages link to one another by reference, as in `[GROUPS]`. Each reference is defined twice. At the end
/// of the page it leads to a file, for who reads the repository. Here, above the page, it leads to a module,
/// for who reads this: of two definitions the first one counts.
#[cfg(any(doc, doctest))]
pub mod _documentation {
    /// [DURABILITY]: self::durability
    /// [FORMAT]: self::format
    /// [VOCABULARY]: self::vocabulary
    ///
    #[doc = include_str!("../docs/ARCHITECTURE.md")]
    pub mod architecture {}

    #[doc = include_str!("../docs/DEFAULTS.md")]
    pub mod defaults {}

    /// [FORMAT]: self::format
    ///
    #[doc = include_str!("../docs/DURABILITY.md")]
    pub mod durability {}

    #[doc = include_str!("../docs/FORMAT.md")]
    pub mod format {}

    /// [PERFORMANCE]: self::performance#groups
    ///
    #[doc = include_str!("../docs/GROUPS.md")]
    pub mod groups {}

    #[doc = include_str!("../docs/KAFKA.md")]
    pub mod kafka {}

    /// The plots are not where the page has them, but at its [end](#plots), and in `docs/plots` of the
    /// repository.
    ///
    #[doc = include_str!("../docs/PERFORMANCE.md")]
    ///
    /// ## Plots
    ///
    #[doc = include_str!("../docs/plots/durable.svg")]
    #[doc = include_str!("../docs/plots/latency.svg")]
    #[doc = include_str!("../docs/plots/log-size-100.svg")]
    #[doc = include_str!("../docs/plots/log-size-1024.svg")]
    #[doc = include_str!("../docs/plots/partitions.svg")]
    #[doc = include_str!("../docs/plots/partition-files.svg")]
    #[doc = include_str!("../docs/plots/group-members.svg")]
    #[doc = include_str!("../docs/plots/group-partitions.svg")]
    pub mod performance {}

    /// [PERFORMANCE]: self::performance
    ///
    #[doc = include_str!("../docs/TESTING.md")]
    pub mod testing {}

    #[doc = include_str!("../docs/VOCABULARY.md")]
    pub mod vocabulary {}
}
