//! [`Panics`]: what is done for many goes on though it panics for one.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Catches the panics of a storage or a clock of the user's until everybody has had a turn.
#[derive(Debug, Default)]
pub(crate) struct Panics(Option<Box<dyn Any + Send>>);

impl Panics {
    /// Does something. Nothing comes of it if it panics.
    pub(crate) fn catch<T>(&mut self, act: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(act)) {
            Ok(done) => Some(done),
            Err(panic) => {
                self.0 = Some(panic);
                None
            }
        }
    }

    /// Lets the last panic go on, if there was one.
    pub(crate) fn resume(self) {
        if let Some(panic) = self.0 {
            resume_unwind(panic);
        }
    }
}
