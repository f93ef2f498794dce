//! An embeddable event log: Kafka's semantics in your process, with no network hop.

// Floor 0: vocabulary.
mod error;
pub mod limits;
mod name;
mod offset;
mod record;
mod timestamp;

// Floor 2: the doors to the outside.
pub mod clock;
pub mod storage;
mod sync;

// Floor 5: consumer groups as pure state machines.
mod group;

pub use error::{Error, ErrorKind};
pub use group::{
    AssignableMember, AssignableTopic, Assignment, AssignmentRequest, Assignor,
    CooperativeStickyAssignor, Eager, Generation, GroupDescription, GroupState, MemberDescription,
    MemberId, MemberSubscription, PartitionIndex, RangeAssignor, RebalanceProtocol,
    RoundRobinAssignor, StickyAssignor,
};
pub use name::{GroupId, Id, TopicName, TopicPartition};
pub use offset::Offset;
pub use record::{HeadersRef, Payload, Record, RecordMetadata, RecordRef, SendError};
pub use timestamp::{Timestamp, TimestampType};

/// The result of most calls of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
