//! [`Offset`]: the number of a record in its partition.

use std::fmt;
use std::num::TryFromIntError;
use std::ops::{Add, Sub};

/// The number of a record in its partition: 0 for the first, then one more for each.
///
/// The offset of an acknowledged record is never used for another one, not after retention, and not after
/// any crash that the topic's [durability](crate::Durability) names. One that it does not name, as the end of
/// the process at level `Memory`, may take the last records, and then their offsets are given again. Gaps are
/// legal. Where an offset ends a range it is exclusive: all intervals in this crate are half-open.
///
/// # Examples
///
/// ```
/// use topiclog::Offset;
///
/// let last_handled = Offset::new(41);
/// assert_eq!(last_handled.next(), Offset::new(42)); // the one to commit
/// assert_eq!(Offset::new(10) - Offset::new(4), 6);
/// assert_eq!(Offset::new(7).to_string(), "7");
/// ```
///
/// With serde it is its number.
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
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// The end of the number range, as in Kafka: the largest `i64`. No record ever has it.
    pub const MAX: Self = Self(9_223_372_036_854_775_807);

    /// The offset with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The offset as a plain number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Whether a record may have it, or end there: what a file says need not be so.
    pub(crate) fn is_possible(self) -> bool {
        self <= Self::MAX
    }

    /// The offset after this one: what to commit when this record has been handled.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Add<u64> for Offset {
    type Output = Self;

    /// Saturates at the end of the number range.
    fn add(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Sub for Offset {
    type Output = u64;

    /// How many offsets lie between the two; 0 if `earlier` is the later one.
    fn sub(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<u64> for Offset {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl From<Offset> for u64 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

/// Kafka's offsets are of this type.
impl TryFrom<i64> for Offset {
    type Error = TryFromIntError;

    fn try_from(value: i64) -> Result<Self, TryFromIntError> {
        u64::try_from(value).map(Self)
    }
}

impl TryFrom<Offset> for i64 {
    type Error = TryFromIntError;

    fn try_from(offset: Offset) -> Result<Self, TryFromIntError> {
        Self::try_from(offset.0)
    }
}

impl PartialEq<u64> for Offset {
    fn eq(&self, other: &u64) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
