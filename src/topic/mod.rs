//! Floor 4: from names to logs: the directory of topics, what users hold of it, and its housekeeping.
//!
//! - `catalog`: the topics there are; creating, changing and deleting them; `follow`: those of another owner;
//!   `owner`: the lock.
//! - `directory`: the files at the root, and how a topic's name becomes that of a directory.
//! - `topic`, `partition`: the handles; `state`: what all handles of a topic share, with the logs in an
//!   `append_only` list.
//! - `reader`: goes through a partition.
//! - `records`: what a read returns; `report`: what opening and checking a log tell.
//! - `housekeeper`: what has to be done from time to time, and the thread that does it.
//!
//! **Not here:** producers, consumers.

mod append_only;
mod catalog;
mod directory;
mod follow;
mod housekeeper;
mod owner;
mod partition;
mod reader;
mod records;
mod report;
mod state;
#[expect(clippy::module_inception, reason = "the handle is called what it is")]
mod topic;

pub(crate) use catalog::{Catalog, Environment};
pub(crate) use housekeeper::{Bell, Every, Housekeeper, HousekeepingThread};
pub use partition::Partition;
pub(crate) use reader::{PartitionReader, ReadBuffers};
pub(crate) use records::PartitionRecords;
pub use records::{PartitionView, Records, RecordsIter};
pub use report::{PartitionRecovery, RecoveryReport, VerifyReport};
pub(crate) use state::TopicState;
pub use topic::{Topic, TopicDescription};
