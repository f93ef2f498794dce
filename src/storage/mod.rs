//! The only door to files: a small trait with three implementations.
//!
//! [`DiskStorage`] is a directory, [`MemoryStorage`] a map, and the simulated storage (feature `testing`)
//! keeps what was synced apart from what was not, so that a test can cut the power at any operation. The
//! rest of the crate knows no other way to a file, so whatever a fault can do to a program, a test can do.
//!
//! **Not here:** what the bytes mean.

#[cfg(feature = "testing")]
pub mod conformance;
mod disk;
mod io;
mod memory;
mod mounts;
mod port;
#[cfg(feature = "testing")]
mod simulated;

pub use disk::DiskStorage;
pub(crate) use io::{
    CACHE_LINE_BYTES, best_start, fill_file_durably, read_all, read_exact_at, read_up_to_at,
    write_all_at,
};
pub use memory::MemoryStorage;
pub use port::{Entry, EntryKind, OpenMode, Storage, StorageFile, StorageLock};
#[cfg(feature = "testing")]
pub use simulated::{Fault, Journal, OperationKind, SimulatedStorage, Survival};
