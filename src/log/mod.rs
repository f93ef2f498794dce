//! Floor 3: the log of one partition: segments on a storage, with everything that keeps them true.
//!
//! - `partition_log`: [`Log`], the handle, with its locks and marks; `place`: where its files are, and what
//!   it needs from outside; `offsets`: where it begins and ends; `follow`: one that is opened read-only.
//! - `appender`: records in, acknowledgements out; `queue`: what waits in between; `upkeep`: what the
//!   housekeeping does when nobody else does it.
//! - `round`: whoever needs it writes, and syncs, for everybody queued; `turns`: who that is, and how the
//!   others wait; `gathering`: whom a sync had better wait for.
//! - `accumulator`: what the logs share: buffers, and which of them have something waiting; `allowance`: the
//!   bound on their memory, and who waits for some.
//! - `writer`: batches into the active segment, which is `active`; rolling; syncing.
//! - `segment`: one file and its index; `files`: the names of all files, and the small ones; `document`: how
//!   small ones are read and replaced.
//! - `reader`: checked batches out; `times`: which of them are as old as one asks; `scan`: all of a file, one
//!   after the other.
//! - `recovery`: what opening finds, and refuses to touch; `mend`: what it cuts off and writes anew;
//!   `report`: what is said of it; `verify`: the same look without changing anything.
//! - `retention`: the oldest records go.
//!
//! **Invariants**
//! - `log start <= high watermark <= log end`, and `recovery point <= log end`; each only rises.
//! - Readers see only what is below the high watermark, which follows the topic's durability.
//! - Bytes below a segment's length never change.
//!
//! **Not here:** topics, groups, consumers.

mod accumulator;
mod active;
mod allowance;
mod appender;
mod document;
mod files;
mod follow;
mod gathering;
mod mend;
mod offsets;
mod partition_log;
mod place;
mod queue;
mod reader;
mod recovery;
mod report;
mod retention;
mod round;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod times;
mod turns;
mod upkeep;
mod verify;
mod writer;

pub(crate) use accumulator::{Accumulator, Attention, publish_interval};
pub(crate) use appender::Queued;
pub(crate) use document::{read_document, write_document};
pub(crate) use follow::Seen;
pub use offsets::LogOffsets;
pub(crate) use partition_log::{Listener, Log, Refusal};
pub(crate) use place::{Place, check_held};
pub(crate) use queue::Ticket;
pub(crate) use reader::ReadPosition;
pub(crate) use recovery::CleanMark;
pub use report::Recovery;
