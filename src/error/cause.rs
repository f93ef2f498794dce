//! The exact causes, one enum per domain, each with the [`ErrorKind`] it amounts to.

use std::borrow::Cow;
use std::time::Duration;

use super::ErrorKind;
use crate::name::GroupId;
use crate::offset::Offset;

/// The cause of an [`Error`](super::Error), whichever domain it comes from.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl Cause {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Format(cause) => cause.kind(),
            Self::Group(cause) => cause.kind(),
            Self::Input(InputError::RecordTooLarge { .. }) => ErrorKind::RecordTooLarge,
            Self::Input(_) => ErrorKind::InvalidInput,
            Self::Log(cause) => cause.kind(),
            Self::Topic(cause) => cause.kind(),
        }
    }
}

/// An argument that breaks a rule.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("topic name {problem} name={name:?}")]
    TopicName {
        name: String,
        problem: Cow<'static, str>,
    },
    #[error("group id {problem} id={id:?}")]
    GroupId {
        id: String,
        problem: Cow<'static, str>,
    },
    #[error("option {option} {problem} value={value}")]
    Option {
        option: &'static str,
        problem: Cow<'static, str>,
        value: String,
    },
    #[error("{argument} {problem} value={value}")]
    Argument {
        argument: &'static str,
        problem: &'static str,
        value: String,
    },
    #[error("record too large: {over} size={size} limit={limit}")]
    RecordTooLarge {
        over: &'static str,
        size: usize,
        limit: usize,
    },
    #[error("timestamp {problem} timestamp={timestamp}")]
    Timestamp {
        timestamp: i64,
        problem: &'static str,
    },
    #[error("the partition is not assigned to this consumer; assign it first")]
    NotAssigned,
    #[error("partition does not exist partition={partition} partitions={partitions}")]
    Partition { partition: u32, partitions: u32 },
    #[error(
        "the partitioner chose a partition that does not exist partition={partition} partitions={partitions}"
    )]
    Partitioner { partition: u32, partitions: u32 },
    #[error("{call} needs {needs}")]
    State {
        call: &'static str,
        needs: &'static str,
    },
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("damaged {what}: checksum mismatch stored={stored:08x} computed={computed:08x}")]
    Checksum {
        what: &'static str,
        stored: u32,
        computed: u32,
    },
    #[error("damaged {what}: {problem}")]
    Damaged {
        what: &'static str,
        problem: &'static str,
    },
    #[error("{what} belongs to another log, topic or partition: {field} differs")]
    Foreign {
        what: &'static str,
        field: &'static str,
    },
    #[error(
        "{what} is of a newer format, with {field} that this version does not know value={value:#x}"
    )]
    UnknownBits {
        what: &'static str,
        field: &'static str,
        value: u32,
    },
    #[error("{what} is of a newer format version={version} supported={supported}")]
    UnsupportedVersion {
        what: &'static str,
        version: u32,
        supported: u32,
    },
}

impl FormatError {
    pub(crate) const fn damaged(what: &'static str, problem: &'static str) -> Self {
        Self::Damaged { what, problem }
    }

    /// Compares a checksum with the one that the bytes have.
    pub(crate) fn match_checksums(
        what: &'static str,
        stored: u32,
        computed: u32,
    ) -> Result<(), Self> {
        if stored != computed {
            return Err(Self::Checksum {
                what,
                stored,
                computed,
            });
        }
        Ok(())
    }

    /// Says that a newer version has written something, unless these bits are all zero.
    pub(crate) const fn check_bits(
        what: &'static str,
        field: &'static str,
        value: u32,
    ) -> Result<(), Self> {
        if value == 0 {
            return Ok(());
        }
        Err(Self::UnknownBits { what, field, value })
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Checksum { .. } | Self::Damaged { .. } | Self::Foreign { .. } => {
                ErrorKind::Corrupt
            }
            Self::UnknownBits { .. } | Self::UnsupportedVersion { .. } => {
                ErrorKind::UnsupportedVersion
            }
        }
    }
}

/// What can go wrong in one partition's log.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("cannot {action}{}", what_to_do(*kind))]
    Storage {
        action: &'static str,
        kind: ErrorKind,
    },
    #[error("offset is outside the partition start={start} end={end}")]
    OffsetOutOfRange { start: Offset, end: Offset },
    #[error(
        "the partition takes no more appends, since a sync failed, a write could not be undone, or the \
         storage or clock panicked; reopen the log"
    )]
    Poisoned,
    #[error("the log is closed, which also happens when the last EventLog is dropped")]
    Closed,
    #[error("the producer is closed")]
    ProducerClosed,
    #[error("the offset range is used up")]
    OffsetsExhausted,
    #[error("no room in the send buffer after {waited:?}; raise buffer_bytes or send more slowly")]
    BufferFull { waited: Duration },
    #[error("not done after {waited:?}; the record may still be written")]
    WaitTimeout { waited: Duration },
    #[error("the log was opened read-only; open it for writing in the process that owns it")]
    ReadOnly,
}

/// What there is to do about a failure of the storage, as far as its kind tells.
const fn what_to_do(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Full => {
            ": the storage is full, or a quota or descriptor limit is reached; free some and try again"
        }
        _ => "",
    }
}

impl LogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Storage { kind, .. } => *kind,
            Self::OffsetOutOfRange { .. } => ErrorKind::OffsetOutOfRange,
            Self::Poisoned => ErrorKind::Poisoned,
            Self::Closed | Self::ProducerClosed => ErrorKind::Closed,
            Self::OffsetsExhausted => ErrorKind::Full,
            Self::BufferFull { .. } | Self::WaitTimeout { .. } => ErrorKind::Timeout,
            Self::ReadOnly => ErrorKind::ReadOnly,
        }
    }
}

/// What can go wrong with topics and the directory that holds them.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("topic exists already")]
    AlreadyExists,
    #[error("another topic has the directory that this name would have; choose another name")]
    SameDirectory,
    #[error("no such topic")]
    NotFound,
    #[error("there is no log in the directory")]
    NoLog,
    #[error("the log's path, or one above it, is not a directory")]
    NotADirectory,
    #[error("partitions can only be added partitions={now} asked={asked}")]
    FewerPartitions { now: u32, asked: u32 },
    #[error(
        "the topic is internal: names that begin with two underscores are the crate's own, to be read only \
         (INVALID_TOPIC_EXCEPTION)"
    )]
    Internal,
    #[error(
        "the directory is in use by process pid={pid}; open it read-only, or stop that process; within one \
         process share the EventLog"
    )]
    Busy { pid: String },
    #[error(
        "the directory was removed or replaced while it was open, or this process is a fork of its owner"
    )]
    Replaced,
}

impl TopicError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::AlreadyExists | Self::SameDirectory => ErrorKind::AlreadyExists,
            Self::NotFound | Self::NoLog => ErrorKind::NotFound,
            Self::FewerPartitions { .. } | Self::Internal | Self::NotADirectory => {
                ErrorKind::InvalidInput
            }
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Replaced => ErrorKind::Io,
        }
    }
}

/// What can go wrong in a consumer group. Kafka's name of each error stands in its text.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum GroupError {
    #[error("no such group (GROUP_ID_NOT_FOUND) group={group}")]
    GroupNotFound { group: GroupId },
    #[error(
        "the group has members; stop them first, or remove static ones that are away \
         (NON_EMPTY_GROUP) group={group} members={members}"
    )]
    NonEmptyGroup { group: GroupId, members: usize },
    #[error("a live member subscribes to the topic (GROUP_SUBSCRIBED_TO_TOPIC)")]
    SubscribedToTopic,
    #[error(
        "the group has no static member of this instance id (UNKNOWN_MEMBER_ID) group={group} \
         instance={instance:?}"
    )]
    NoSuchInstance { group: GroupId, instance: String },
    #[error("not a member of the group any more; poll again to rejoin (UNKNOWN_MEMBER_ID)")]
    UnknownMember,
    #[error("another consumer took this one's instance id; close this one (FENCED_INSTANCE_ID)")]
    FencedInstance,
    #[error("the assignment is of an older generation; poll again (ILLEGAL_GENERATION)")]
    IllegalGeneration,
    #[error("the partition is not assigned to this member; assignments arrive in polls")]
    NotAssigned,
    #[error("the group's members have no assignor in common (INCONSISTENT_GROUP_PROTOCOL)")]
    InconsistentProtocol,
    #[error("the assignor gave an impossible assignment: {problem}")]
    BadAssignment { problem: &'static str },
    #[error(
        "offset metadata is too long (OFFSET_METADATA_TOO_LARGE) characters={characters} limit={limit}"
    )]
    MetadataTooLarge { characters: usize, limit: usize },
    #[error(
        "no committed offset, and the reset policy is none; seek, commit an offset, or set offset_reset"
    )]
    NoOffset,
    #[error("nothing is committed that could be shifted; reset to another target first")]
    NothingToShift,
    #[error("woken by request")]
    Interrupted,
    #[error("the handler failed")]
    Handler,
}

impl GroupError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::GroupNotFound { .. } | Self::NoSuchInstance { .. } => ErrorKind::NotFound,
            Self::NonEmptyGroup { .. } | Self::SubscribedToTopic => ErrorKind::InUse,
            Self::UnknownMember | Self::IllegalGeneration | Self::NotAssigned => ErrorKind::Fenced,
            Self::FencedInstance => ErrorKind::FencedInstance,
            Self::InconsistentProtocol
            | Self::NothingToShift
            | Self::BadAssignment { .. }
            | Self::MetadataTooLarge { .. } => ErrorKind::InvalidInput,
            Self::NoOffset => ErrorKind::OffsetOutOfRange,
            Self::Interrupted => ErrorKind::Interrupted,
            Self::Handler => ErrorKind::Handler,
        }
    }
}
