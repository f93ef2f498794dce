//! What a thread does before it sleeps: it looks for a moment, or lets others run.

use std::time::Duration;

use super::atomic::{AtomicU64, Ordering};
use super::yield_now;
use crate::convert::nanos;

/// How often a thread looks before it goes to sleep: for some 4 microseconds, half of what falling asleep and
/// being woken costs. Longer would take less from the median of a delay, but where all processors are busy
/// it adds to the tail ten times as much: whoever else wants this one has to wait for the end of its time.
const LOOKS: u32 = if cfg!(shuttle) { 1 } else { 128 };

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

/// How often a thread lets others run at least before it sleeps. Where many wait, each time takes long.
const YIELDS_MIN: u32 = if cfg!(shuttle) { 1 } else { 16 };

/// How often at most, should a clock of the user's stand still.
const YIELDS_MAX: u32 = 100_000;

/// A yield that takes longer than this, in vain, means that another thread computes and uses up its whole
/// time slice.
const SLOW_YIELD: Duration = Duration::from_micros(500);

/// After a slow yield nobody yields for this many times its length, so that slow yields take a small part of
/// the time.
const SLOW_YIELD_PART: u32 = 50;

/// The longest such pause: where the whole process was stopped for an hour, no thread has computed for it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Waits for what other threads are about to do by letting them run. That takes a quarter of what falling
/// asleep and being woken takes, where the processors have nothing else to do; where they have, it would take
/// milliseconds, and is not done for a while.
#[derive(Debug, Default)]
pub(crate) struct Yielding {
    /// Not before this time, in nanoseconds.
    not_before: AtomicU64,
}

impl Yielding {
    /// Lets others run until something comes true, or a few times and for `at_most`. `now` never decreases.
    pub(crate) fn until(
        &self,
        at_most: Duration,
        now: impl Fn() -> Duration,
        is_true: impl Fn() -> bool,
    ) {
        let start = now();
        if nanos(start) < self.not_before.load(Ordering::Relaxed) {
            return;
        }
        let mut before = start;
        for yields in 0..YIELDS_MAX {
            if yields >= YIELDS_MIN && before.saturating_sub(start) >= at_most {
                return;
            }
            yield_now();
            if is_true() {
                return;
            }
            let after = now();
            let taken = after.saturating_sub(before);
            if taken > SLOW_YIELD {
                let pause = taken.saturating_mul(SLOW_YIELD_PART).min(PAUSE_MAX);
                let until = nanos(after.saturating_add(pause));
                self.not_before.store(until, Ordering::Relaxed);
                return;
            }
            before = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often others were let run when each time takes so long and what is waited for never comes true.
    fn yields(
        yielding: &Yielding,
        time: &Cell<Duration>,
        each: Duration,
        at_most: Duration,
    ) -> u32 {
        let looks = Cell::new(0);
        let now = || {
            let now = time.get();
            time.set(now + each);
            now
        };
        yielding.until(at_most, now, || {
            looks.set(looks.get() + 1);
            false
        });
        looks.get()
    }

    #[test]
    fn others_are_let_run_until_it_comes_true_or_a_few_times_and_for_so_long() {
        let (yielding, looks) = (Yielding::default(), Cell::new(0));
        yielding.until(SLOW_YIELD, Duration::default, || {
            looks.set(looks.get() + 1);
            looks.get() == 100
        });
        assert_eq!(looks.get(), 100);
        let time = Cell::default();
        let long = SLOW_YIELD * 20;
        assert_eq!(yields(&yielding, &time, SLOW_YIELD, long), 20);
        assert_eq!(yields(&yielding, &time, SLOW_YIELD / 2, long), 40);
        assert_eq!(yields(&yielding, &time, SLOW_YIELD, SLOW_YIELD), YIELDS_MIN);
        assert_eq!(yields(&yielding, &time, Duration::ZERO, long), YIELDS_MAX);
    }

    #[test]
    fn where_others_compute_they_are_let_run_a_small_part_of_the_time() {
        let (yielding, time) = (Yielding::default(), Cell::default());
        let slow = SLOW_YIELD + Duration::from_nanos(1);
        assert_eq!(yields(&yielding, &time, slow, slow), 1);
        let again = slow * (1 + SLOW_YIELD_PART);
        time.set(again.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(yields(&yielding, &time, SLOW_YIELD, slow), 0);
        time.set(again);
        assert_eq!(yields(&yielding, &time, SLOW_YIELD, slow), YIELDS_MIN);
        let (stopped, hour) = (time.get(), Duration::from_secs(3600));
        assert_eq!(yields(&yielding, &time, hour, slow), 1);
        let again = stopped + hour + PAUSE_MAX;
        time.set(again.saturating_sub(Duration::from_nanos(1)));
        assert_eq!(yields(&yielding, &time, SLOW_YIELD, slow), 0);
        time.set(again);
        assert_eq!(yields(&yielding, &time, SLOW_YIELD, slow), YIELDS_MIN);
    }
}
