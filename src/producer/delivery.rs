//! [`Delivery`]: a record that was sent, on its way to being acknowledged.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::log::{Queued, Ticket};
use crate::record::RecordMetadata;

/// A record that was sent: ask it where the record went, or let it go.
///
/// Only the `Delivery` reliably reports a failure. [`Producer::flush`](crate::Producer::flush) and
/// [`EventLog::close`](crate::EventLog::close) report those that happen while they wait, and a record may be
/// written, or fail to be, before that. So whoever has to know, as a consumer that commits next, keeps every
/// `Delivery` and waits for it; [`Producer::send_all`](crate::Producer::send_all) gives one for many records.
///
/// Whether anybody waits changes only when the record is written: a waiting sender writes it at once,
/// for itself and everybody queued; otherwise it waits for its batch to fill or its linger to end.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// let delivery = topic.producer().send(Record::new("hi there").key("user1"))?;
/// let at = delivery.wait()?;
/// assert_eq!((at.partition, at.offset.value()), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Delivery(pub(super) Queued);

impl Delivery {
    /// Waits until the record is acknowledged at its topic's durability.
    ///
    /// # Durability
    ///
    /// On return without an error the record has reached it. After an error other than
    /// [`Full`](crate::ErrorKind::Full) it may be there when the log is opened again.
    ///
    /// # Errors
    ///
    /// Why it was not written: [`Full`](crate::ErrorKind::Full) (nothing of its batch was; send it
    /// again), [`Poisoned`](crate::ErrorKind::Poisoned) or [`Io`](crate::ErrorKind::Io) (it may show up
    /// after the log is reopened), [`Closed`](crate::ErrorKind::Closed),
    /// [`NotFound`](crate::ErrorKind::NotFound) if the topic was deleted.
    pub fn wait(&self) -> Result<RecordMetadata, Error> {
        self.0.wait(None)
    }

    /// Waits as [`wait`](Self::wait) does, but at most `timeout` while another thread is writing.
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::ErrorKind::Timeout) if it is still not known; ask again. Else those of
    /// [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<RecordMetadata, Error> {
        self.0.wait(Some(timeout))
    }

    /// What became of the record, if that is known yet; does not wait and does not write.
    pub fn try_result(&self) -> Option<Result<RecordMetadata, Error>> {
        self.0.try_result()
    }
}

/// Records that were sent: wait for all of them, or let them go.
///
/// Made by [`Producer::send_all`](crate::Producer::send_all), or collected from single deliveries, of which
/// it keeps what those of one batch share. Where each record went, only its own [`Delivery`] tells.
///
/// # Examples
///
/// ```
/// use topiclog::{Deliveries, EventLog, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// let producer = topic.producer();
/// let mut sent = Deliveries::default();
/// for line in ["one", "two"] {
///     sent.push(producer.send(Record::new(line))?);
/// }
/// sent.wait()?;
/// assert_eq!(topic.partition(0)?.offsets().high_watermark, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// One per batch, in the order of the records.
    pub(super) tickets: Vec<Arc<Ticket>>,
    pub(super) count: usize,
}

impl Deliveries {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes one more record to wait for.
    pub fn push(&mut self, delivery: Delivery) {
        let ticket = delivery.0.ticket;
        self.count += 1;
        ticket.add_to(&mut self.tickets);
    }

    /// Waits until all records are acknowledged at their topic's durability, or have failed.
    ///
    /// # Durability
    ///
    /// On return without an error all of them have reached it.
    ///
    /// # Errors
    ///
    /// The first failure among them, as [`Delivery::wait`] tells it. The records of other batches may
    /// have been written all the same.
    pub fn wait(&self) -> Result<(), Error> {
        self.wait_at_most(None)
    }

    /// Waits as [`wait`](Self::wait) does, but at most `timeout` in all while other threads are writing.
    ///
    /// # Errors
    ///
    /// [`Timeout`](crate::ErrorKind::Timeout) if of some it is still not known, and none before them has
    /// failed; ask again. Else those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.wait_at_most(Some(timeout))
    }

    fn wait_at_most(&self, timeout: Option<Duration>) -> Result<(), Error> {
        let (mut left, mut result) = (timeout, Ok(()));
        // From the last: whoever waits for a batch writes those before it too, all at once.
        for ticket in self.tickets.iter().rev() {
            let log = ticket.log();
            let before = timeout.map(|_| log.monotonic());
            if let Err(error) = log.wait(ticket, left) {
                result = Err(error);
            }
            let passed = before.map(|before| log.monotonic().saturating_sub(before));
            left = left
                .zip(passed)
                .map(|(left, passed)| left.saturating_sub(passed));
        }
        result
    }

    /// What became of the records, if that is known of all of them; does not wait and does not write. An
    /// error is the one that [`wait`](Self::wait) would return.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// let deliveries = topic.producer().send_all(["one", "two"].map(Record::new))?;
    /// assert!(deliveries.try_result().is_none());
    /// topic.flush()?;
    /// assert!(deliveries.try_result().is_some_and(|result| result.is_ok()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_result(&self) -> Option<Result<(), Error>> {
        let mut result = Ok(());
        for ticket in &self.tickets {
            if let (Err(error), Ok(())) = (ticket.outcome()?, &result) {
                result = Err(error.clone());
            }
        }
        Some(result)
    }
}

impl Extend<Delivery> for Deliveries {
    fn extend<I: IntoIterator<Item = Delivery>>(&mut self, deliveries: I) {
        deliveries
            .into_iter()
            .for_each(|delivery| self.push(delivery));
    }
}

impl FromIterator<Delivery> for Deliveries {
    fn from_iter<I: IntoIterator<Item = Delivery>>(deliveries: I) -> Self {
        let mut all = Self::default();
        all.extend(deliveries);
        all
    }
}
