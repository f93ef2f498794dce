//! [`RebalanceListener`]: is told when partitions come and go.

use super::consumer::Consumer;
use crate::error::Error;
use crate::name::TopicPartition;

/// Is told when partitions come and go, in the thread that polls.
///
/// Kafka: `ConsumerRebalanceListener`. A partition is revoked from one member before another is told that
/// it has it. Inside, the consumer may commit, seek and be asked for its positions, but not polled.
///
/// An error is returned by the poll, after everything else of the rebalance was done; a panic goes on then,
/// and leaves the consumer in order. If it leaves the group, nothing more is told for that membership.
///
/// The time that it takes counts against
/// [`max_poll_interval`](super::ConsumerOptions::max_poll_interval): if it does not come back, its partitions
/// go to others.
///
/// # Examples
///
/// ```
/// use topiclog::{Consumer, Error, RebalanceListener, TopicPartition};
///
/// /// Commits what is done before somebody else goes on with it.
/// struct CommitFirst;
///
/// impl RebalanceListener for CommitFirst {
///     fn revoked(&mut self, consumer: &mut Consumer, _: &[TopicPartition]) -> Result<(), Error> {
///         consumer.commit()
///     }
/// }
/// ```
pub trait RebalanceListener: Send {
    /// These partitions are about to be given up; they are still owned, and may be committed.
    ///
    /// # Errors
    ///
    /// Whatever the poll shall return.
    fn revoked(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        let _ = (consumer, partitions);
        Ok(())
    }

    /// These partitions were gained; positions may be set before the first record is read.
    ///
    /// # Errors
    ///
    /// Whatever the poll shall return.
    fn assigned(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        let _ = (consumer, partitions);
        Ok(())
    }

    /// These partitions are gone already: the member had stopped polling and was removed, or the topic
    /// was deleted. Commits for them are refused. Does as [`revoked`](Self::revoked) does unless told
    /// otherwise.
    ///
    /// # Errors
    ///
    /// Whatever the poll shall return.
    fn lost(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        self.revoked(consumer, partitions)
    }
}

/// So that which one it is can be decided at run time. There is no such thing for an `Arc`: a listener is
/// told through `&mut`.
impl<L: RebalanceListener + ?Sized> RebalanceListener for Box<L> {
    fn revoked(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        (**self).revoked(consumer, partitions)
    }

    fn assigned(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        (**self).assigned(consumer, partitions)
    }

    fn lost(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        (**self).lost(consumer, partitions)
    }
}
