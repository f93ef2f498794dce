//! The crate's own door to locks, condition variables and threads, so that a model checker can stand in.

use std::io;
use std::thread::JoinHandle;

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::thread::{Thread, current as current_thread, park, park_timeout};

/// Starts a thread of the crate's own.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
