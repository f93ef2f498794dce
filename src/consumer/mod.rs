//! Floor 6, the reading side: [`Consumer`], [`ConsumerGroup`], and what stands between them and the pure
//! group of floor 5.
//!
//! - `consumer`: one reader: polling, waiting; `drain`: to the end of what there is.
//! - `positions`: its partitions, and its place in each: assigning, seeking, pausing; `slots`: what it keeps
//!   of each, and whose turn it is; `fetching`: where each begins, and its records.
//! - `membership`: its part in a group: joining, giving up, gaining, leaving.
//! - `committing`: what it commits, and when.
//! - `builder`, `options`, `listener`: how one is made.
//! - `groups`: the groups of a log: locks around the state machines, wake-ups, expiry.
//! - `in_flight`: commits on their way to the log, and the rewriting of it.
//! - `store`: committed offsets in their internal topic.
//! - `consumer_group`: the handle on a group: lag, description, resets.
//! - `workers`: members that call a handler, each on a thread of its own; `worker`: one of them.
//! - `inbox`: how a consumer sleeps and is woken.
//!
//! **Not here:** who gets which partition; that is decided on floor 5.

mod builder;
mod committing;
#[expect(clippy::module_inception, reason = "a file is called what is in it")]
mod consumer;
mod consumer_group;
mod drain;
mod fetching;
mod groups;
mod in_flight;
mod inbox;
mod listener;
mod membership;
mod options;
mod positions;
mod slots;
mod store;
mod worker;
mod workers;

#[cfg(test)]
mod tests;

pub use builder::{ConsumerBuilder, MemberBuilder};
pub use consumer::Consumer;
pub use consumer_group::{ConsumerGroup, OffsetTarget, PartitionLag, PlannedReset};
pub use drain::Drain;
pub(crate) use groups::Groups;
pub use inbox::ConsumerWaker;
pub use listener::RebalanceListener;
pub use membership::GroupMetadata;
pub use options::{CommittedOffset, ConsumerOptions, OffsetReset};
pub use worker::PartitionHandler;
pub use workers::{Workers, WorkersBuilder, WorkersStopper};
