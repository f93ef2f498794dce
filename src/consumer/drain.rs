//! [`Drain`]: everything there is, then the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::consumer::Consumer;
use crate::error::Error;
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::topic::Records;

/// Goes through what the partitions of a consumer hold, up to the ends they had when it was made.
///
/// Made by [`Consumer::drain`].
#[derive(Debug)]
#[must_use = "nothing is read until it is iterated over"]
pub struct Drain<'c> {
    consumer: &'c mut Consumer,
    ends: BTreeMap<TopicPartition, Offset>,
}

impl<'c> Drain<'c> {
    pub(super) fn new(consumer: &'c mut Consumer, ends: BTreeMap<TopicPartition, Offset>) -> Self {
        Self { consumer, ends }
    }

    /// The consumer, for instance to commit between two polls.
    pub fn consumer(&mut self) -> &mut Consumer {
        self.consumer
    }
}

impl Iterator for Drain<'_> {
    type Item = Result<Records, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut open = false;
            for (place, end) in &self.ends {
                match self.consumer.is_past(place, *end) {
                    Ok(past) => open |= !past,
                    Err(error) => {
                        self.ends.clear();
                        return Some(Err(error));
                    }
                }
            }
            if !open {
                return None;
            }
            match self.consumer.poll(Duration::ZERO) {
                Ok(records) if records.is_empty() => {
                    // Only a partition that goes back to where it was could bring nothing for ever.
                    if !self.consumer.has_ready() {
                        return None;
                    }
                }
                Ok(records) => return Some(Ok(records)),
                Err(error) => {
                    self.ends.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
