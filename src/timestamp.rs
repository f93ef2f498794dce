//! [`Timestamp`]: milliseconds since the Unix epoch, as Kafka counts them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, InputError};

/// A point in wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
///
/// It is data, never a measure of waiting: waits and leases go by a monotonic clock.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use topiclog::Timestamp;
///
/// let noon = Timestamp::from_millis(1_700_000_000_000);
/// assert_eq!(noon + Duration::from_secs(1), Timestamp::from_millis(1_700_000_001_000));
/// ```
///
/// With serde it is the number of its milliseconds.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// The earliest value the type can hold; less than that of any record.
    pub const MIN: Self = Self(i64::MIN);

    /// The latest value the type can hold.
    pub const MAX: Self = Self(i64::MAX);

    /// The point so many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Refuses one before the epoch, which no record has.
    pub(crate) fn check_not_negative(self) -> Result<(), Error> {
        if self < Self::EPOCH {
            let (timestamp, problem) = (self.0, "must not be negative");
            return Err(InputError::Timestamp { timestamp, problem }.into());
        }
        Ok(())
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at the end of the number range.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at the end of the number range.
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

impl From<Timestamp> for SystemTime {
    /// A time that the system cannot hold becomes the epoch. On Unix there is none; on Windows, those before
    /// the year 1601 and after 30827.
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_millis(timestamp.0.unsigned_abs());
        let time = if timestamp.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        };
        time.unwrap_or(UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose clock stamped a record. Kafka: `message.timestamp.type`, KIP-32.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TimestampType {
    /// The sender's: the record's own timestamp, or if it has none the time of its batch as it was sent: see
    /// [`Record::timestamp`](crate::Record::timestamp). The default.
    #[default]
    CreateTime,
    /// The log's: every record of a batch gets the time at which the batch was written.
    LogAppendTime,
}
