//! [`LogOffsets`], where a partition begins and ends, and the live marks behind it.

use std::ops::Range;

use crate::offset::Offset;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Where a partition begins and ends, at one moment. All ranges are half-open.
///
/// `log_start <= high_watermark <= log_end` and `recovery_point <= log_end`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogOffsets {
    /// The first offset that can still be read.
    pub log_start: Offset,
    /// The end of what consumers may see: all below has reached the topic's durability.
    pub high_watermark: Offset,
    /// The offset that the next record written will get.
    pub log_end: Offset,
    /// The first offset not known to be on disk.
    pub recovery_point: Offset,
}

impl LogOffsets {
    /// Of a partition that has just been opened: all of it is on disk, and to be seen.
    pub(super) fn opened(offsets: Range<Offset>) -> Self {
        Self {
            log_start: offsets.start,
            high_watermark: offsets.end,
            log_end: offsets.end,
            recovery_point: offsets.end,
        }
    }
}

/// The marks as they move. Each only rises; a reader may see one of them move before another.
///
/// Whoever raises the high watermark then looks whether somebody has to be told, and whoever wants to be
/// told then looks at the high watermark. One of them must see the other, so these two go by one order.
#[derive(Debug, Default)]
pub(super) struct Marks {
    log_start: AtomicU64,
    high_watermark: AtomicU64,
    log_end: AtomicU64,
    recovery_point: AtomicU64,
}

impl Marks {
    pub(super) fn new(offsets: LogOffsets) -> Self {
        Self {
            log_start: AtomicU64::new(offsets.log_start.value()),
            high_watermark: AtomicU64::new(offsets.high_watermark.value()),
            log_end: AtomicU64::new(offsets.log_end.value()),
            recovery_point: AtomicU64::new(offsets.recovery_point.value()),
        }
    }

    /// A snapshot in which the order of the marks holds: read from the lowest up, and raised to it.
    pub(super) fn snapshot(&self) -> LogOffsets {
        let log_start = self.log_start();
        let recovery_point = Offset::new(self.recovery_point.load(Ordering::Acquire));
        let high_watermark = self.high_watermark().max(log_start);
        let log_end = self.log_end().max(high_watermark).max(recovery_point);
        LogOffsets {
            log_start,
            high_watermark,
            log_end,
            recovery_point,
        }
    }

    #[inline]
    pub(super) fn log_start(&self) -> Offset {
        Offset::new(self.log_start.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn high_watermark(&self) -> Offset {
        Offset::new(self.high_watermark.load(Ordering::SeqCst))
    }

    pub(super) fn log_end(&self) -> Offset {
        Offset::new(self.log_end.load(Ordering::Acquire))
    }

    pub(super) fn recovery_point(&self) -> Offset {
        Offset::new(self.recovery_point.load(Ordering::Acquire))
    }

    pub(super) fn raise_log_start(&self, to: Offset) {
        self.log_start.fetch_max(to.value(), Ordering::AcqRel);
    }

    pub(super) fn raise_high_watermark(&self, to: Offset) {
        self.high_watermark.fetch_max(to.value(), Ordering::SeqCst);
    }

    pub(super) fn raise_log_end(&self, to: Offset) {
        self.log_end.fetch_max(to.value(), Ordering::AcqRel);
    }

    pub(super) fn raise_recovery_point(&self, to: Offset) {
        self.recovery_point.fetch_max(to.value(), Ordering::AcqRel);
    }
}
