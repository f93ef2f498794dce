//! [`Gathering`]: who is expected before the next sync, so that one sync does for all.

use std::time::Duration;

/// What part of a sync it is worth to let those come who are expected.
const PART_OF_A_SYNC: u32 = 2;

/// It is never worth more. And one who waits for a sync that takes longer had better sleep.
const AT_MOST: Duration = Duration::from_micros(250);

/// What it takes until one who was told has sent its next record. Where for all together that is as long as
/// a sync, it is better done while one runs.
const EACH: Duration = Duration::from_micros(4);

/// For so many syncs nobody is waited for, once that was in vain.
const RESTS: u32 = 8;

/// Threads that wait for each of their records come back soon after each sync. If the first of them did not
/// let the others come, it would sync for itself, and they would wait for that and for another one.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// How many have come to wait for a sync since the log was opened.
    came: u64,
    /// How many of these had come when the last one began, and how many of those it was the first for.
    begun: u64,
    served: u64,
    /// How many will have come when all are back who waited at its end.
    all: u64,
    /// How long it took, and which of all partitions' syncs it was.
    took: Duration,
    number: u64,
    /// How many had come when somebody began to wait for others.
    waits_since: Option<u64>,
    /// For how many syncs nobody is waited for.
    rests: u32,
}

impl Gathering {
    /// One more comes.
    pub(super) fn come(&mut self) {
        self.came += 1;
    }

    /// Whether others are worth waiting for if so many come now. `last_sync` is that of all partitions: where
    /// senders go from one to another, nobody can tell to which they come back.
    pub(super) fn expects_others(&self, coming: u32, last_sync: u64) -> bool {
        let expected = u128::from(self.all.saturating_sub(self.begun));
        self.came + u64::from(coming) < self.all
            && self.rests == 0
            && self.number == last_sync
            && expected * EACH.as_nanos() <= self.took.as_nanos()
    }

    /// Somebody waits for them. Returns for how long.
    pub(super) fn wait(&mut self) -> Duration {
        self.waits_since.get_or_insert(self.came);
        (self.took / PART_OF_A_SYNC).min(AT_MOST)
    }

    /// How long a sync takes, if it may be waited for without sleeping.
    pub(super) fn short_sync(&self) -> Duration {
        Some(self.took)
            .filter(|took| *took <= AT_MOST)
            .unwrap_or_default()
    }

    /// A sync begins for all who have come.
    pub(super) fn begin(&mut self) {
        self.rests = match self.waits_since.take() {
            Some(came) if came == self.came => RESTS,
            _ => self.rests.saturating_sub(1),
        };
        self.served = self.came - self.begun;
        self.begun = self.came;
    }

    /// It ends: those for whom it was may come back, and who came meanwhile is there.
    pub(super) fn end(&mut self, took: Duration, number: u64) {
        self.all = self.came + std::mem::take(&mut self.served);
        (self.took, self.number) = (took, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(80);

    impl Gathering {
        fn sync(&mut self, coming_before: u32, coming_meanwhile: u32) {
            (0..coming_before).for_each(|_| self.come());
            self.begin();
            (0..coming_meanwhile).for_each(|_| self.come());
            self.end(SYNC, 1);
        }
    }

    #[test]
    fn who_waits_alone_expects_nobody() {
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            assert!(!gathering.expects_others(1, 1));
            gathering.sync(1, 0);
        }
    }

    #[test]
    fn those_told_and_those_who_came_meanwhile_are_expected() {
        let mut gathering = Gathering::default();
        gathering.sync(3, 2);
        assert!(gathering.expects_others(2, 1));
        assert!(!gathering.expects_others(3, 1));
        // Only one of the three comes back.
        gathering.sync(1, 0);
        assert!(gathering.expects_others(2, 1));
        assert!(!gathering.expects_others(3, 1));
        gathering.sync(0, 0);
        assert!(!gathering.expects_others(0, 1));
    }

    #[test]
    fn they_are_given_a_part_of_a_sync() {
        let mut gathering = Gathering::default();
        gathering.sync(2, 0);
        assert_eq!(gathering.wait(), SYNC / PART_OF_A_SYNC);
        assert_eq!(gathering.short_sync(), SYNC);
        gathering.end(Duration::from_secs(1), 1);
        assert_eq!(gathering.wait(), AT_MOST);
        assert_eq!(gathering.short_sync(), Duration::ZERO);
    }

    #[test]
    fn so_many_that_they_take_as_long_as_a_sync_are_not_waited_for() {
        let mut gathering = Gathering::default();
        gathering.sync(20, 0);
        assert!(gathering.expects_others(1, 1));
        gathering.sync(20, 1);
        assert!(!gathering.expects_others(1, 1));
    }

    #[test]
    fn where_nobody_came_nobody_is_waited_for_in_a_while() {
        let mut gathering = Gathering::default();
        gathering.sync(2, 1);
        gathering.wait();
        gathering.sync(1, 1);
        assert!(gathering.expects_others(1, 1));
        gathering.wait();
        for _ in 0..RESTS {
            gathering.sync(0, 2);
            assert!(!gathering.expects_others(0, 1));
        }
        gathering.sync(0, 2);
        assert!(gathering.expects_others(0, 1));
    }

    #[test]
    fn nobody_is_waited_for_who_may_come_to_another_partition() {
        let mut gathering = Gathering::default();
        gathering.sync(2, 0);
        assert!(gathering.expects_others(1, 1));
        assert!(!gathering.expects_others(1, 2));
    }
}
