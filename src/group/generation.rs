//! [`Generation`]: the number of a group's assignment.

use std::fmt;

/// The number of a group's assignment: it rises by one each time the assignment is decided anew.
///
/// 0 is the number before the first one. What an older generation gave and a newer one took away
/// can no longer be committed for.
///
/// # Examples
///
/// ```
/// use topiclog::Generation;
///
/// assert!(Generation::NONE < Generation::new(1));
/// assert_eq!(Generation::new(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Generation(u32);

impl Generation {
    /// Before the first assignment. Kafka says -1.
    pub const NONE: Self = Self(0);

    /// The generation with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The generation as a plain number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The generation after this one.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
