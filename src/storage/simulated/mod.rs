//! [`SimulatedStorage`]: files in memory that a test can take the power from.
//!
//! It keeps two things apart that a program sees as one: what is there, and what would still be there
//! after a power cut. A [`Journal`] of all changes gives every state that a cut at any moment may leave, by
//! the weakest promises of POSIX; a [`Fault`] lets any operation fail, be short or find the disk full.
//!
//! # Invariants
//!
//! - The same operations and the same seed give the same crash, on every machine.
//! - Bytes that were durable change only by a later write that survives.
//! - A storage made by a crash has a journal of its own that starts with all that survived, so it can be
//!   crashed again.
//!
//! **Not here:** time, threads, and damage by the medium other than what a test puts in
//! ([`flip_bit`](SimulatedStorage::flip_bit), [`write_file`](SimulatedStorage::write_file)).

mod change;
mod durable;
mod fault;
mod journal;
mod names;
mod random;
mod state;
mod storage;
mod survival;
mod tree;

pub use fault::{Fault, OperationKind};
pub use journal::Journal;
pub use storage::SimulatedStorage;
pub use survival::Survival;
