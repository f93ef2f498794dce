//! Floor 7: [`EventLog`], the owning handle, and its builder. Wiring, no logic.

mod builder;
#[expect(clippy::module_inception, reason = "a file is called what is in it")]
mod event_log;

pub use builder::{EventLogBuilder, Housekeeping};
pub use event_log::EventLog;
