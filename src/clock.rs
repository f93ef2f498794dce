//! The only door to time: [`Clock`], with [`SystemClock`] and, for tests, [`ManualClock`].

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::convert::nanos;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::timestamp::Timestamp;

/// Where a log gets its time from.
///
/// Timestamps of records come from [`wall`](Self::wall), which may jump; waits, lingers and leases go by
/// [`monotonic`](Self::monotonic), which must never go back.
/// A clock is asked with locks of the log held, so it must not call back into it.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day.
    fn wall(&self) -> Timestamp;

    /// The time since some fixed point; never decreases.
    fn monotonic(&self) -> Duration;

    /// Whether time stands still until somebody moves it. If it does, nothing is gained by waiting for a
    /// deadline: a blocking call returns once there is nothing to do, and every record is stamped by a read
    /// of its own instead of one per batch. Defaults to `false`: time passes by itself.
    fn is_manual(&self) -> bool {
        false
    }
}

/// So that which one it is can be decided at run time, and several can share one.
macro_rules! clock_behind {
    ($($pointer:ident),+) => {$(
        impl<C: Clock + ?Sized> Clock for $pointer<C> {
            fn wall(&self) -> Timestamp {
                (**self).wall()
            }

            fn monotonic(&self) -> Duration {
                (**self).monotonic()
            }

            fn is_manual(&self) -> bool {
                (**self).is_manual()
            }
        }
    )+};
}

clock_behind!(Box, Arc);

/// The operating system's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The system's clocks, the monotonic one counted from now.
    #[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door to the clock")]
    fn wall(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that a test moves by hand. Clones show the same time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::clock::{Clock, ManualClock};
/// use topiclog::Timestamp;
///
/// let clock = ManualClock::new(Timestamp::from_millis(1_700_000_000_000));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.wall(), Timestamp::from_millis(1_700_000_005_000));
/// assert_eq!(clock.monotonic(), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Times>);

#[derive(Debug)]
struct Times {
    wall_millis: AtomicI64,
    monotonic_nanos: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at this time.
    pub fn new(wall: Timestamp) -> Self {
        Self(Arc::new(Times {
            wall_millis: AtomicI64::new(wall.as_millis()),
            monotonic_nanos: AtomicU64::new(0),
        }))
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, by: Duration) {
        self.0
            .monotonic_nanos
            .fetch_add(nanos(by), Ordering::SeqCst);
        self.set_wall(self.wall() + by);
    }

    /// Sets the time of day alone, as a user or NTP may do; the monotonic clock does not notice. A jump ahead
    /// is believed by retention at the second look.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.wall_millis.store(wall.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.wall_millis.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.monotonic_nanos.load(Ordering::SeqCst))
    }

    fn is_manual(&self) -> bool {
        true
    }
}

/// The time of day for whoever deletes what is old, and looks at it now and then. A jump ahead is believed
/// only if it is still there at the next look: one bad answer of a time server is not to cost a log its
/// records.
#[derive(Debug, Default)]
pub(crate) struct SettledWall {
    last: Mutex<Option<(Timestamp, Duration)>>,
}

impl SettledWall {
    /// The time by now, at most as much later than the last look's as has passed since.
    pub(crate) fn look(&self, clock: &dyn Clock) -> Timestamp {
        let (wall, monotonic) = (clock.wall(), clock.monotonic());
        let last = self.last.lock().replace((wall, monotonic));
        last.map_or(wall, |(before, then)| {
            wall.min(before + monotonic.saturating_sub(then))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_ahead_is_believed_at_the_second_look_and_one_back_at_once() {
        const HOUR: Duration = Duration::from_secs(3600);
        let clock = ManualClock::new(Timestamp::EPOCH);
        let (settled, noon) = (SettledWall::default(), Timestamp::EPOCH);
        assert_eq!(settled.look(&clock), noon);
        clock.advance(HOUR);
        assert_eq!(settled.look(&clock), noon + HOUR);
        clock.set_wall(noon + 1000 * HOUR);
        assert_eq!(settled.look(&clock), noon + HOUR);
        // It was a mistake.
        clock.set_wall(noon + HOUR);
        assert_eq!(settled.look(&clock), noon + HOUR);
        // It was not.
        clock.set_wall(noon + 1000 * HOUR);
        assert_eq!(settled.look(&clock), noon + HOUR);
        assert_eq!(settled.look(&clock), noon + 1000 * HOUR);
    }
}
