//! [`Record`], what is sent; [`RecordRef`], what is read; [`RecordMetadata`], where it went.

use std::borrow::Cow;
use std::fmt;

use crate::convert::total;
use crate::error::{Error, ErrorKind};
use crate::name::{TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::{Timestamp, TimestampType};

/// How many bytes of a key or value a debug text shows.
const SHOWN_BYTES: usize = 64;

/// How many headers a debug text shows.
const SHOWN_HEADERS: usize = 4;

/// Bytes in a debug text: their beginning as text, and how many they are if that is not all.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..SHOWN_BYTES).unwrap_or(self.0);
        write!(f, "{:?}", String::from_utf8_lossy(start))?;
        if start.len() < self.0.len() {
            write!(f, ".. {} bytes", self.0.len())?;
        }
        Ok(())
    }
}

/// Headers in a debug text: the first of them.
struct ShownHeaders<H>(H);

impl<'a, H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone> fmt::Debug for ShownHeaders<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = self.0.clone();
        let shown = headers.map(|(key, value)| (Shown(key), value.map(Shown)));
        let mut list = f.debug_list();
        list.entries(shown.take(SHOWN_HEADERS));
        if self.0.clone().nth(SHOWN_HEADERS).is_some() {
            return list.finish_non_exhaustive();
        }
        list.finish()
    }
}

/// Bytes for a key, value or header: borrowed or owned, from text or from bytes.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct RecordBytes<'a>(Cow<'a, [u8]>);

impl RecordBytes<'_> {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn into_owned(self) -> RecordBytes<'static> {
        RecordBytes(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for RecordBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.0).fmt(f)
    }
}

impl<'a> From<&'a [u8]> for RecordBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for RecordBytes<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

/// Copies the bytes, which suits a number (`id.to_be_bytes()`): an array that lives on is better borrowed.
impl<const N: usize> From<[u8; N]> for RecordBytes<'_> {
    fn from(bytes: [u8; N]) -> Self {
        Self(Cow::Owned(bytes.to_vec()))
    }
}

impl From<Box<[u8]>> for RecordBytes<'_> {
    fn from(bytes: Box<[u8]>) -> Self {
        Self(Cow::Owned(bytes.into_vec()))
    }
}

impl<'a> From<&'a Vec<u8>> for RecordBytes<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for RecordBytes<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

impl<'a> From<&'a str> for RecordBytes<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for RecordBytes<'a> {
    fn from(text: &'a String) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for RecordBytes<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl<'a> From<Cow<'a, [u8]>> for RecordBytes<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Self {
        Self(bytes)
    }
}

impl<'a> From<Cow<'a, str>> for RecordBytes<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

/// A record to send: an optional key, an optional value, ordered headers, and, if wanted, a timestamp
/// and a partition of its own.
///
/// No key is not an empty key, and no value (a *tombstone*) is not an empty value; both are kept apart
/// on disk. Keys and values are borrowed where they can be, so building a record copies nothing.
///
/// # Examples
///
/// ```
/// use topiclog::Record;
///
/// let record = Record::new("hi there").key("user1").header("trace", "4711");
/// assert_eq!(record.key_bytes(), Some(&b"user1"[..]));
/// assert_eq!(Record::tombstone("user1").value_bytes(), None);
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
#[must_use = "a record does nothing until it is sent"]
pub struct Record<'a> {
    key: Option<RecordBytes<'a>>,
    value: Option<RecordBytes<'a>>,
    headers: Vec<(RecordBytes<'a>, Option<RecordBytes<'a>>)>,
    timestamp: Option<Timestamp>,
    partition: Option<u32>,
}

impl<'a> Record<'a> {
    /// A record with this value and no key.
    pub fn new(value: impl Into<RecordBytes<'a>>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// A record with a key and no value: it says that the key is gone. To the log it is a record like any
    /// other, as topics are not compacted.
    pub fn tombstone(key: impl Into<RecordBytes<'a>>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// Sets the key. Without a partitioner of one's own, records of one key go to one partition.
    pub fn key(mut self, key: impl Into<RecordBytes<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header at the end of the list. Keys may repeat (KIP-82). A key is text, borrowed or owned.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::Record;
    ///
    /// let record = (1..=3).fold(Record::new("paid 10"), |record, attempt| {
    ///     record.header(format!("attempt-{attempt}"), "refused")
    /// });
    /// assert_eq!(record.headers().len(), 3);
    /// ```
    pub fn header(
        mut self,
        key: impl Into<Cow<'a, str>>,
        value: impl Into<RecordBytes<'a>>,
    ) -> Self {
        self.headers.push((key.into().into(), Some(value.into())));
        self
    }

    /// Adds a header without a value.
    pub fn header_without_value(mut self, key: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push((key.into().into(), None));
        self
    }

    /// Takes all headers with this key away, as `remove` of Kafka's headers does: of a record that was
    /// [read](RecordRef::to_record) and is sent on, so that what each round adds does not pile up. The others
    /// keep their order.
    ///
    /// # Examples
    ///
    /// Counts the attempts in one header.
    ///
    /// ```
    /// use topiclog::Record;
    ///
    /// let again = |record: Record<'static>, attempt: u32| {
    ///     record.without_header("attempt").header("attempt", attempt.to_string())
    /// };
    /// let record = (1..=3).fold(Record::new("paid 10").header("trace", "4711"), again);
    /// let headers: Vec<_> = record.headers().collect();
    /// assert_eq!(headers, [(&b"trace"[..], Some(&b"4711"[..])), (&b"attempt"[..], Some(&b"3"[..]))]);
    /// ```
    pub fn without_header(mut self, key: &str) -> Self {
        self.headers
            .retain(|(name, _)| name.as_bytes() != key.as_bytes());
        self
    }

    /// Sets the create time. Defaults to that of the record's batch: the clock is read when the batch is
    /// opened, and again whenever the housekeeping looks at it while it lingers. Negative times are refused
    /// by the send.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Takes the create time away, so that the record gets that of its batch: of one that was
    /// [read](RecordRef::to_record) and is sent on, to be kept for as long as its new topic keeps records.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{Record, Timestamp};
    ///
    /// let old = Record::new("x").timestamp(Timestamp::EPOCH);
    /// assert_eq!(old.without_timestamp(), Record::new("x"));
    /// ```
    pub fn without_timestamp(mut self) -> Self {
        self.timestamp = None;
        self
    }

    /// Sends to this partition, whatever the partitioner would say.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// The key, if there is one.
    pub fn key_bytes(&self) -> Option<&[u8]> {
        self.key.as_ref().map(RecordBytes::as_bytes)
    }

    /// The value, if there is one.
    pub fn value_bytes(&self) -> Option<&[u8]> {
        self.value.as_ref().map(RecordBytes::as_bytes)
    }

    /// The headers in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.headers
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_ref().map(RecordBytes::as_bytes)))
    }

    #[inline]
    pub(crate) fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// The create time asked for, if any.
    pub fn timestamp_asked(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// The partition asked for, if any.
    pub fn partition_asked(&self) -> Option<u32> {
        self.partition
    }

    /// The bytes of key, value and headers together, the unit of the size limits; [`usize::MAX`] if they are
    /// more, which borrowed ones may be.
    pub fn size_bytes(&self) -> usize {
        let headers = self.headers().flat_map(|(key, value)| [Some(key), value]);
        let parts = [self.key_bytes(), self.value_bytes()];
        total(parts.into_iter().chain(headers).flatten().map(<[u8]>::len))
    }

    /// The same record, owning its bytes.
    pub fn into_owned(self) -> Record<'static> {
        Record {
            key: self.key.map(RecordBytes::into_owned),
            value: self.value.map(RecordBytes::into_owned),
            headers: self
                .headers
                .into_iter()
                .map(|(key, value)| (key.into_owned(), value.map(RecordBytes::into_owned)))
                .collect(),
            timestamp: self.timestamp,
            partition: self.partition,
        }
    }
}

/// Shows the beginning of each part only: records are as large as their topic allows.
impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("value", &self.value)
            .field("headers", &ShownHeaders(self.headers()))
            .field("timestamp", &self.timestamp.map(Timestamp::as_millis))
            .field("partition", &self.partition)
            .finish()
    }
}

/// A record as read: it borrows from the buffer that holds its batch, so reading copies nothing.
///
/// # Examples
///
/// ```
/// use topiclog::{EventLog, Offset, Record, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new())?;
/// topic.producer().send(Record::new("hello").key("k"))?.wait()?;
/// let records = topic.partition(0)?.read(Offset::ZERO)?;
/// let record = records.iter().next().unwrap();
/// assert_eq!((record.key(), record.value()), (Some(&b"k"[..]), Some(&b"hello"[..])));
/// assert_eq!(record.offset(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct RecordRef<'a> {
    pub(crate) place: &'a TopicPartition,
    pub(crate) offset: Offset,
    pub(crate) timestamp: Timestamp,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: HeadersRef<'a>,
}

impl<'a> RecordRef<'a> {
    /// The topic it was read from.
    pub fn topic(&self) -> &'a TopicName {
        self.place.topic()
    }

    /// The partition it was read from.
    pub fn partition(&self) -> u32 {
        self.place.partition()
    }

    /// Topic and partition together, as the calls of a consumer take them.
    pub fn topic_partition(&self) -> &'a TopicPartition {
        self.place
    }

    /// Its number in the partition.
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The offset to commit once it is handled: the one behind it.
    pub fn next_offset(&self) -> Offset {
        self.offset.next()
    }

    /// Its time; [`timestamp_type`](Self::timestamp_type) says whose clock.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Whether [`timestamp`](Self::timestamp) is the sender's or the log's.
    pub fn timestamp_type(&self) -> TimestampType {
        self.timestamp_type
    }

    /// The key; `None` is no key, which is not an empty one.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// The value; `None` is a tombstone, which is not an empty value.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.value
    }

    /// The headers in the order they were added.
    pub fn headers(&self) -> HeadersRef<'a> {
        self.headers
    }

    /// A copy that owns its bytes, ready to be sent again. It keeps the timestamp, not the partition.
    ///
    /// An old record is gone at the next retention pass of a topic that keeps records for less than its age,
    /// and refused by one whose [`timestamp_before_max`](crate::TopicOptions::timestamp_before_max) it is
    /// over: see [`Record::without_timestamp`].
    pub fn to_record(&self) -> Record<'static> {
        Record {
            key: self.key.map(|key| RecordBytes::from(key).into_owned()),
            value: self
                .value
                .map(|value| RecordBytes::from(value).into_owned()),
            headers: self
                .headers
                .map(|(key, value)| {
                    (
                        RecordBytes::from(key).into_owned(),
                        value.map(|value| RecordBytes::from(value).into_owned()),
                    )
                })
                .collect(),
            timestamp: Some(self.timestamp),
            partition: None,
        }
    }
}

/// Shows the beginning of key and value only.
impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordRef")
            .field("partition", &format_args!("{}", self.place))
            .field("offset", &self.offset.value())
            .field("timestamp", &self.timestamp.as_millis())
            .field("key", &self.key.map(Shown))
            .field("value", &self.value.map(Shown))
            .finish_non_exhaustive()
    }
}

/// The headers of a record as read: an iterator of keys and values in their order.
#[derive(Clone, Copy, Default)]
pub struct HeadersRef<'a> {
    /// What is left: per header a key length, a value length, the key and the value.
    pub(crate) rest: &'a [u8],
}

/// Shows the first of them.
impl fmt::Debug for HeadersRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownHeaders(*self).fmt(f)
    }
}

impl<'a> HeadersRef<'a> {
    /// The value of the last header with this key, as `lastHeader` of Kafka: the inner `None` is a
    /// header without a value.
    pub fn last(mut self, key: &str) -> Option<Option<&'a [u8]>> {
        let mut found = None;
        for (name, value) in self.by_ref() {
            if name == key.as_bytes() {
                found = Some(value);
            }
        }
        found
    }
}

/// The bit of a length that says "no value"; lengths themselves have at most 31 bits.
pub(crate) const NULL_LENGTH: u32 = 1 << 31;

#[expect(
    clippy::copy_iterator,
    reason = "a view, copied whole; iterating consumes the copy"
)]
impl<'a> Iterator for HeadersRef<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key_length, rest) = self.rest.split_first_chunk::<4>()?;
        let (value_length, rest) = rest.split_first_chunk::<4>()?;
        let key_length = crate::convert::to_usize(u32::from_le_bytes(*key_length));
        let (key, rest) = rest.split_at_checked(key_length)?;
        let value_length = u32::from_le_bytes(*value_length);
        if value_length == NULL_LENGTH {
            self.rest = rest;
            return Some((key, None));
        }
        let (value, rest) = rest.split_at_checked(crate::convert::to_usize(value_length))?;
        self.rest = rest;
        Some((key, Some(value)))
    }
}

/// Where a record went: what an acknowledged send returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The partition it was written to.
    pub partition: u32,
    /// Its number there.
    pub offset: Offset,
    /// Its timestamp as stored.
    pub timestamp: Timestamp,
}

/// A send that was refused: the record, handed back, and why.
///
/// Converts into [`Error`](crate::Error), so `?` works in a function that returns either. Where `?` makes
/// something else of it, a `Box<dyn Error>` for instance, the [`Error`](crate::Error) is its
/// [`source`](std::error::Error::source), with the same text: convert first to have the
/// [`Error`](crate::Error) itself.
///
/// # Examples
///
/// ```
/// use topiclog::{Error, ErrorKind, EventLog, Record, Topic, TopicOptions};
///
/// fn place(topic: &Topic, order: &str) -> Result<(), Box<dyn std::error::Error>> {
///     topic.producer().send_and_wait(Record::new(order)).map_err(Error::from)?;
///     Ok(())
/// }
///
/// let log = EventLog::in_memory()?;
/// let topic = log.create_topic("t", TopicOptions::new().batch_bytes_max(512))?;
/// let error = place(&topic, &"x".repeat(1000)).unwrap_err();
/// let error = error.downcast_ref::<Error>().unwrap();
/// assert_eq!(error.kind(), ErrorKind::RecordTooLarge);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct SendError(Box<(Record<'static>, Error)>);

impl SendError {
    pub(crate) fn new(record: Record<'_>, error: Error) -> Self {
        Self(Box::new((record.into_owned(), error)))
    }

    /// The record that was not sent.
    pub fn record(&self) -> &Record<'static> {
        &self.0.0
    }

    /// What to do about it: that of the [`error`](Self::error).
    pub fn kind(&self) -> ErrorKind {
        self.0.1.kind()
    }

    /// Why it was not sent.
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// Both, to be sent again or kept.
    pub fn into_parts(self) -> (Record<'static>, Error) {
        *self.0
    }
}

/// Says what its source says too: whoever prints only this learns what to do.
impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.error())
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        error.0.1
    }
}
