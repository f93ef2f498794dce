//! The crate's own door to locks, condition variables and threads, so that a model checker can stand in.

use std::io;
use std::thread::{JoinHandle, Scope, ScopedJoinHandle};

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::thread::{Thread, current as current_thread, park, park_timeout, scope};

/// How often a thread looks before it goes to sleep: for some 4 microseconds, half of what falling asleep and
/// being woken costs. Longer would take less from the median of a delay, but where all processors are busy
/// it adds to the tail ten times as much: whoever else wants this one has to wait for the end of its time.
const LOOKS: u32 = 128;

/// Looks for a moment whether something comes true by itself, so that what is about to happen need not
/// wake anybody.
///
/// Does not yield: where another thread is waiting for this processor, it would get it for some
/// milliseconds. Who sleeps instead is woken on a processor that is free.
pub(crate) fn comes_soon(is_true: impl Fn() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        std::hint::spin_loop();
        is_true()
    })
}

/// Starts a thread of the crate's own.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Starts a thread that ends before the scope does.
pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, run)
}
