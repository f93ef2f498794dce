//! [`Recovery`]: what opening a partition found.

use crate::error::Error;

/// What opening a partition found, and did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Recovery {
    /// It was closed cleanly; nothing had to be done.
    Clean,
    /// Damage: records before it can be read, and nothing can be appended. Nothing was changed.
    Damaged {
        /// What and where.
        error: Error,
    },
    /// It was not closed. Its end was found again, and a torn tail was cut off if there was one.
    Recovered {
        /// The bytes that had to be looked at.
        scanned_bytes: u64,
        /// The bytes cut off: written, but never acknowledged as durable.
        cut_bytes: u64,
        /// The side files in which they are kept.
        cut_files: Vec<String>,
    },
}
