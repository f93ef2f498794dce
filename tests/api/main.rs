//! The promises of the crate as a user sees them, one module per promise.
//!
//! No test sleeps or looks at a clock on the wall: the time is a `ManualClock`, and threads meet over
//! channels and joins.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test may panic"
)]

mod assigned;
mod closing;
mod committing;
mod components;
mod consume;
mod errors;
mod expiry;
mod fixture;
mod group_admin;
mod groups;
mod handlers;
mod harness;
mod listeners;
mod opening;
mod produce;
mod retention;
mod topics;
mod values;
mod waiting;
mod workers;
