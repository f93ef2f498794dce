//! What Apache Kafka answered to the same questions, and what this crate answers.
//!
//! The answers lie in `recorded/`, one line each; the README beside tells how to record them again.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod functions;
mod recorded;
mod runner;
mod scripts;
