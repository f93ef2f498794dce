//! Floor 6, the sending side: [`Producer`], [`Delivery`], and how a record finds its partition.
//!
//! **Not here:** batching and writing; the senders to a partition share its batch, so that is the log's.

mod delivery;
mod murmur2;
mod partitioner;
#[expect(clippy::module_inception, reason = "the handle is called what it is")]
mod producer;

pub use delivery::{Deliveries, Delivery};
pub use partitioner::{KeyHash, Partitioner, RoundRobin, Sticky};
pub use producer::{Producer, SendAllError};
