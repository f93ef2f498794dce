//! [`ConsumerOptions`], [`OffsetReset`] and [`CommittedOffset`]: plain values of a consumer.

use std::sync::Arc;
use std::time::Duration;

use crate::convert::to_usize;
use crate::error::Error;
use crate::group::Committed;
use crate::limits::{
    AUTO_COMMIT_DEFAULT, FETCH_BYTES_DEFAULT, MAX_POLL_INTERVAL_DEFAULT, MAX_POLL_RECORDS_DEFAULT,
    SESSION_TIMEOUT_DEFAULT,
};
use crate::name::{broken_rule, shown};
use crate::offset::Offset;

/// Where a consumer begins when nothing is committed, or when its position has left the partition.
/// Kafka: `auto.offset.reset`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OffsetReset {
    /// At the first record that is not older than this, or at the end if all are. Kafka:
    /// `by_duration`, KIP-1106.
    ByDuration(Duration),
    /// At the first record there is.
    Earliest,
    /// At the end, as it is at the first poll after the partition was assigned. The default. What was sent
    /// before that is passed over, also to partitions and topics that came while the group was at work.
    #[default]
    Latest,
    /// Nowhere: the poll fails with [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange). So a consumer
    /// learns of records that were removed before it came to them, which the other policies pass over:
    ///
    /// ```
    /// use std::time::Duration;
    /// use topiclog::{ConsumerOptions, ErrorKind, EventLog, OffsetReset, Record, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("t", TopicOptions::new())?;
    /// topic.producer().send_all((0..10).map(|n| Record::new(n.to_string())))?.wait()?;
    /// let partition = topic.partition(0)?;
    /// let options = ConsumerOptions::new().offset_reset(OffsetReset::None);
    /// let mut consumer = log.consumer().options(options).assign([&partition])?;
    /// consumer.seek_to_beginning()?;
    /// assert_eq!(consumer.position(partition.topic_partition())?.value(), 0);
    /// partition.delete_records(4.into())?;
    ///
    /// let error = consumer.poll(Duration::ZERO).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
    /// if let (Some(place), Some(at), Some(there)) =
    ///     (error.topic_partition(), error.offset(), error.offset_range())
    /// {
    ///     assert_eq!(there.start - at, 4); // so many are lost
    ///     consumer.seek(&place, there.start)?;
    /// }
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    None,
}

/// The settings of a consumer. What each is set to can be read.
///
/// # Examples
///
/// ```
/// use topiclog::{ConsumerOptions, OffsetReset};
///
/// let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest).auto_commit(None);
/// assert_eq!(options.auto_commit_time(), None);
/// assert_eq!(options.max_poll_record_count(), 500);
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[must_use = "options do nothing until something is made with them"]
pub struct ConsumerOptions {
    pub(super) offset_reset: OffsetReset,
    pub(super) auto_commit: Option<Duration>,
    pub(super) max_poll_records: usize,
    pub(super) fetch_bytes: u32,
    pub(super) max_poll_interval: Duration,
    pub(super) session_timeout: Duration,
    pub(super) client_id: String,
    pub(super) instance_id: Option<String>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ConsumerOptions {
    /// Kafka's defaults, but for those that `docs/DEFAULTS.md` names.
    pub fn new() -> Self {
        Self {
            offset_reset: OffsetReset::Latest,
            auto_commit: Some(AUTO_COMMIT_DEFAULT),
            max_poll_records: MAX_POLL_RECORDS_DEFAULT,
            fetch_bytes: FETCH_BYTES_DEFAULT,
            max_poll_interval: MAX_POLL_INTERVAL_DEFAULT,
            session_timeout: SESSION_TIMEOUT_DEFAULT,
            client_id: "consumer".to_owned(),
            instance_id: None,
        }
    }

    /// Where to begin when nothing is committed or the position has left the partition. Defaults to
    /// [`OffsetReset::Latest`]. Kafka: `auto.offset.reset`.
    pub fn offset_reset(mut self, reset: OffsetReset) -> Self {
        self.offset_reset = reset;
        self
    }

    /// How often a consumer of a group commits by itself; `None` is never. Defaults to 5 seconds. Kafka:
    /// `enable.auto.commit`, `auto.commit.interval.ms`.
    ///
    /// It happens inside poll, before partitions are given up, and at close, and covers what earlier
    /// polls returned: so a record is handled at least once as long as it is handled before the next poll.
    ///
    /// [Workers](super::Workers) commit what was handled, at the latest so long after the last time; with
    /// `None` only after the records of each poll.
    ///
    /// Also with partitions assigned by hand, there before [`assign`](super::Consumer::assign) replaces
    /// them. While the group has members such a commit is refused: poll goes on, close tells it.
    pub fn auto_commit(mut self, interval: Option<Duration>) -> Self {
        self.auto_commit = interval;
        self
    }

    /// The most records one poll returns. Defaults to 500. Kafka: `max.poll.records`.
    pub fn max_poll_records(mut self, count: usize) -> Self {
        self.max_poll_records = count;
        self
    }

    /// How much is read from a partition at once. Defaults to 1 MiB; a larger batch is read whole all the
    /// same. Kafka: `max.partition.fetch.bytes`.
    ///
    /// A partition goes on, poll by poll, until what was read of it is handed out, and only then is it
    /// another's turn, as with Kafka. So a consumer holds the memory of about one such piece, and more only
    /// where one poll takes records from several partitions or somebody keeps [`Records`](crate::Records).
    pub fn fetch_bytes(mut self, bytes: u32) -> Self {
        self.fetch_bytes = bytes;
        self
    }

    /// How long a member may stay away from poll before its partitions go to others; those of a static
    /// member wait for its [`session_timeout`](Self::session_timeout) too. Defaults to 5 minutes. Kafka:
    /// `max.poll.interval.ms`.
    ///
    /// Sleeping inside a poll is no absence; what a listener or a callback does there is.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// How long the place of a static member is kept while it is away. Defaults to 45 seconds. Kafka:
    /// `session.timeout.ms`. A member without an instance id leaves at once when it goes, so there is
    /// nothing to time out.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// A name for people. Defaults to `consumer`. Kafka: `client.id`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Makes the consumer a static member, which gets its partitions back when it returns in time. Kafka:
    /// `group.instance.id`, KIP-345. Has the rules of a topic's name, as there: 1 to 249 of the characters
    /// `a-z A-Z 0-9 . _ -`, and not `.` or `..`.
    pub fn instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.instance_id = Some(instance_id.into());
        self
    }

    /// What [`offset_reset`](Self::offset_reset) set.
    pub fn offset_reset_policy(&self) -> OffsetReset {
        self.offset_reset
    }

    /// What [`auto_commit`](Self::auto_commit) set.
    pub fn auto_commit_time(&self) -> Option<Duration> {
        self.auto_commit
    }

    /// What [`max_poll_records`](Self::max_poll_records) set.
    pub fn max_poll_record_count(&self) -> usize {
        self.max_poll_records
    }

    /// In bytes: what [`fetch_bytes`](Self::fetch_bytes) set.
    pub fn fetch_size(&self) -> u32 {
        self.fetch_bytes
    }

    /// What [`max_poll_interval`](Self::max_poll_interval) set.
    pub fn max_poll_time(&self) -> Duration {
        self.max_poll_interval
    }

    /// What [`session_timeout`](Self::session_timeout) set.
    pub fn session_time(&self) -> Duration {
        self.session_timeout
    }

    /// What [`client_id`](Self::client_id) set.
    pub fn client_id_str(&self) -> &str {
        &self.client_id
    }

    /// What [`instance_id`](Self::instance_id) set; `None` if the consumer is no static member.
    pub fn instance_id_str(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |option, problem, value: &str| Err(Error::bad_option(option, problem, value));
        if self.max_poll_records == 0 {
            return refuse("max_poll_records", "must not be 0", "0");
        }
        if let Some(id) = &self.instance_id
            && let Some(problem) = broken_rule(id)
        {
            let value = format!("{:?}", shown(id));
            return Err(Error::bad_option("instance_id", problem, value));
        }
        if self.max_poll_interval.is_zero() {
            return refuse("max_poll_interval", "must not be 0", "0");
        }
        Ok(())
    }

    /// Whether a policy says where to begin where there is no position, or not there any more.
    pub(super) fn resets(&self) -> bool {
        self.offset_reset != OffsetReset::None
    }

    /// What a partition is read by at once.
    pub(super) fn read_bytes(&self) -> usize {
        to_usize(self.fetch_bytes)
    }
}

/// An offset to commit, or that was committed: the *next* one to read.
///
/// # Examples
///
/// ```
/// use topiclog::{CommittedOffset, Offset};
///
/// let last_handled = Offset::new(41);
/// let commit = CommittedOffset::new(last_handled.next()).with_metadata("after the first hundred");
/// assert_eq!(commit.offset(), Offset::new(42));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommittedOffset {
    offset: Offset,
    metadata: Arc<str>,
}

impl CommittedOffset {
    /// The next offset to read: that of the last record handled, plus one.
    pub fn new(offset: Offset) -> Self {
        Self {
            offset,
            metadata: Arc::from(""),
        }
    }

    /// Adds a note for whoever asks later; at most
    /// [`OFFSET_METADATA_CHARACTERS_MAX`](crate::limits::OFFSET_METADATA_CHARACTERS_MAX) characters.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Arc<str>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// The next offset to read.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The note that was committed with it; empty if there is none.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    pub(super) fn shared_metadata(&self) -> &Arc<str> {
        &self.metadata
    }
}

impl From<Offset> for CommittedOffset {
    fn from(offset: Offset) -> Self {
        Self::new(offset)
    }
}

impl From<Committed> for CommittedOffset {
    fn from(committed: Committed) -> Self {
        Self::new(committed.offset).with_metadata(committed.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let options = ConsumerOptions::new();
        assert_eq!(options, ConsumerOptions::default());
        assert_eq!(options.offset_reset_policy(), OffsetReset::Latest);
        assert_eq!(options.auto_commit_time(), Some(Duration::from_secs(5)));
        assert_eq!(options.max_poll_record_count(), 500);
        assert_eq!(options.fetch_size(), 1_048_576);
        assert_eq!(options.max_poll_time(), Duration::from_secs(300));
        assert_eq!(options.session_time(), Duration::from_secs(45));
        assert_eq!(options.client_id_str(), "consumer");
        assert_eq!(options.instance_id_str(), None);
    }

    #[test]
    fn each_option_is_read_as_it_was_set() {
        let second = Duration::from_secs(1);
        let options = ConsumerOptions::new()
            .offset_reset(OffsetReset::Earliest)
            .auto_commit(None)
            .max_poll_records(2)
            .fetch_bytes(3)
            .max_poll_interval(4 * second)
            .session_timeout(5 * second)
            .client_id("six")
            .instance_id("seven");
        assert_eq!(options.offset_reset_policy(), OffsetReset::Earliest);
        assert_eq!(options.auto_commit_time(), None);
        assert_eq!(options.max_poll_record_count(), 2);
        assert_eq!(options.fetch_size(), 3);
        assert_eq!(options.max_poll_time(), 4 * second);
        assert_eq!(options.session_time(), 5 * second);
        assert_eq!(options.client_id_str(), "six");
        assert_eq!(options.instance_id_str(), Some("seven"));
    }
}
