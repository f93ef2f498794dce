//! The rules that deal partitions out to members.
//!
//! | assignor | name | rule |
//! |---|---|---|
//! | [`RangeAssignor`] | `range` | per topic, a contiguous range for each member |
//! | [`RoundRobinAssignor`] | `roundrobin` | all partitions in a circle |
//! | [`StickyAssignor`] | `sticky` | balance first, then least movement |
//! | [`CooperativeStickyAssignor`] | `cooperative-sticky` | the same, under the name of Kafka's default |
//!
//! [`Assignor`] is the trait for one's own, and [`Eager`] puts any of them under the eager protocol. An
//! assignor says where every partition *should* be; that none has two owners on its way there is the
//! group's business.

mod asked;
mod contract;
mod eager;
mod range;
mod round_robin;
mod sticky;

pub(crate) use asked::Asked;
pub use contract::{
    AssignableMember, AssignableTopic, Assignment, AssignmentRequest, Assignor, MemberSubscription,
    PartitionIndex, RebalanceProtocol,
};
pub use eager::Eager;
pub use range::RangeAssignor;
pub use round_robin::RoundRobinAssignor;
pub use sticky::{CooperativeStickyAssignor, StickyAssignor};
