//! What the targets do with the bytes that the fuzzer gives them.
//!
//! `files` puts them where a log has its bytes, with checksums that are right, so that what they say is
//! believed; `operations` takes them for a list of things to do, beside a plain model.

mod files;
mod operations;

pub use files::{batch, index, name, offsets, segment, small_file};
pub use operations::operations;
