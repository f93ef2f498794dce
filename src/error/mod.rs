//! Errors: one opaque type with a coarse, prescriptive [`ErrorKind`].
//!
//! [`Error`] is one word, cheap to clone, and says what the caller should do ([`Error::kind`]), where it
//! happened ([`Error::topic`], [`Error::partition`], [`Error::offset`], [`Error::path`],
//! [`Error::position`]) and why (its text and its source). The exact causes are private enums, one per
//! domain, all in `cause.rs`, so that they can grow without breaking anybody; `context.rs` has [`Error`].
//!
//! Texts are lower case: what failed, then `key=value` pairs. A source is never repeated in the text.

mod cause;
mod context;
mod kind;

pub(crate) use cause::{Cause, FormatError, GroupError, InputError, LogError, TopicError};
pub use context::Error;
pub use kind::ErrorKind;
