//! The stores and the baselines. Each store as its own documentation shows it, with its defaults.

mod commitlog;
mod files;
mod fjall;
mod seglog;
mod sqlite;
mod topiclog;
mod yaque;

use crate::store::Subject;

pub(crate) use files::{BARE_WRITES, PLAIN_READS, PLAIN_WRITES, SYNCED_WRITES};

pub(crate) static STORES: [&Subject; 6] = [
    &topiclog::SUBJECT,
    &commitlog::SUBJECT,
    &yaque::SUBJECT,
    &seglog::SUBJECT,
    &sqlite::SUBJECT,
    &fjall::SUBJECT,
];

/// With what a user of topiclog who sends much at a time would set.
pub(crate) static STORES_IN_BATCHES: [&Subject; 7] = [
    &topiclog::SUBJECT,
    &topiclog::LARGE_BATCHES,
    &commitlog::SUBJECT,
    &yaque::SUBJECT,
    &seglog::SUBJECT,
    &sqlite::SUBJECT,
    &fjall::SUBJECT,
];
