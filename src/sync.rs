//! The crate's own door to locks, condition variables and threads, so that a model checker can stand in.

use std::io;
use std::thread::{JoinHandle, Scope, ScopedJoinHandle};

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
pub(crate) use std::thread::{Thread, current as current_thread, park, park_timeout, scope};

/// Rounds of looking before a thread goes to sleep: some 20 microseconds, about what falling asleep and
/// being woken costs.
const LOOKS: u32 = 20;
const SPINS_PER_LOOK: u32 = 32;

/// Looks for a moment whether something comes true by itself, so that what is about to happen need not
/// wake anybody. Lets other threads go first.
pub(crate) fn comes_soon(is_true: impl Fn() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        for _spin in 0..SPINS_PER_LOOK {
            if is_true() {
                return true;
            }
            std::hint::spin_loop();
        }
        std::thread::yield_now();
        false
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
