//! What the housekeeping does for one partition: writes what has lingered, and tells other processes how far
//! they may read.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::accumulator::Attention;
use super::queue::Queue;
use super::round::Goal;

/// Ticks without work after which a partition leaves the list of those that are looked at.
const IDLE_TICKS: u32 = 40;

impl Log {
    /// A moment of housekeeping: writes what has lingered, and tells other processes how far they may read,
    /// at most once in each `publish_interval`. Returns how soon this log wants another.
    pub(super) fn tick(&self, now: Duration, publish_interval: Duration) -> Attention {
        let published = self.publish(now, publish_interval);
        let mut queue = self.queue.lock();
        let attention = if mem::take(&mut queue.watched.written_at_once) {
            Attention::Seldom
        } else {
            Attention::Often
        };
        let Some(opened) = queue.waiting().next().map(|first| first.opened()) else {
            if attention == Attention::Seldom {
                queue.watched.idle_ticks = 0;
                return attention;
            }
            queue.watched.idle_ticks += 1;
            // Looked at once more, now that nobody can be about to write.
            let published = published && self.is_published();
            if queue.watched.idle_ticks < IDLE_TICKS || !published || queue.busy {
                return attention;
            }
            queue.watched.idle_ticks = 0;
            self.unlist(&mut queue);
            return Attention::None;
        };
        queue.watched.idle_ticks = 0;
        queue.keep_time(self.place.now());
        let lingered = now.saturating_sub(opened) >= queue.options.linger;
        if lingered && !queue.busy {
            self.drive(&mut queue, Goal::Acknowledged);
            queue.watched.written_at_once = false;
        }
        attention
    }

    /// Puts the log, which accepts records, on the list of those that the housekeeping looks at. Whoever
    /// closes it takes it off for good.
    pub(super) fn list(self: &Arc<Self>, queue: &mut Queue) {
        if !mem::replace(&mut queue.listed, true) {
            self.accumulator.list(self);
        }
    }

    /// Takes the log off the list of those that the housekeeping looks at.
    pub(super) fn unlist(&self, queue: &mut Queue) {
        queue.listed = false;
        self.accumulator.unlist(self);
    }

    /// Has the housekeeping write the checkpoint that the opening could not write.
    pub(crate) fn publish_later(self: &Arc<Self>) {
        if !self.is_published() {
            self.list(&mut self.queue.lock());
        }
    }

    /// Whether the last checkpoint is up to date.
    fn is_published(&self) -> bool {
        self.published.lock().high_watermark == self.marks.high_watermark()
    }

    /// Writes a checkpoint if the high watermark has moved since the last. One that could not be written is
    /// tried again when the interval has passed. Returns whether the last one is up to date. No sender
    /// waits for the file.
    fn publish(&self, now: Duration, interval: Duration) -> bool {
        let high_watermark = self.marks.high_watermark();
        let mut published = self.published.lock();
        if published.high_watermark == high_watermark {
            return true;
        }
        if now.saturating_sub(published.at) < interval {
            return false;
        }
        let checkpoint = {
            let Some(mut writer) = self.writer.try_lock() else {
                return false;
            };
            // Not the recovery point: a roll that failed has synced what was written, and told nobody.
            writer.checkpoint(self.marks.log_end(), high_watermark)
        };
        published.at = now;
        let written = checkpoint.is_none_or(|it| self.place.write_checkpoint(&it));
        if written {
            published.high_watermark = high_watermark;
        }
        written
    }
}
