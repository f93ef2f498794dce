//! Errors: one opaque type with a coarse, prescriptive [`ErrorKind`].
//!
//! [`Error`] is one word, cheap to clone, and says what the caller should do ([`Error::kind`]), where it
//! happened ([`Error::topic`], [`Error::partition`], [`Error::offset`], [`Error::path`],
//! [`Error::position`]) and why (its text and its source). The exact causes are private enums, one per
//! domain, all in `cause.rs`, so that they can grow without breaking anybody.
//!
//! Texts are lower case: what failed, then `key=value` pairs. A source is never repeated in the text.

mod cause;
#[expect(clippy::module_inception, reason = "a file is called what is in it")]
mod error;
mod kind;

pub(crate) use cause::{Cause, FormatError, GroupError, InputError, LogError, TopicError};
pub use error::Error;
pub use kind::ErrorKind;

/// The result of most calls of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
