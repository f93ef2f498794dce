//! [`ErrorKind`]: what the caller should do.

use std::fmt;

/// What the caller of a failed operation should do about it.
///
/// Variants may be added in minor releases; treat an unknown one like [`Io`](Self::Io).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The topic or group is there already: use it, or choose another name.
    AlreadyExists,
    /// Another process, or another handle in this one, holds the directory: stop it or open read-only.
    Busy,
    /// The log or producer was closed: open a new one. A log is closed also when its last
    /// [`EventLog`](crate::EventLog) is dropped.
    Closed,
    /// Bytes on disk disagree with their checksum: the error names file and position. What lies before
    /// stays readable. If a reader has met it, so does what lies behind:
    /// [`Partition::next_readable`](crate::Partition::next_readable) says from where on. If opening the log
    /// has, the partition takes no appends. The way out: copy what can be read into another topic, delete
    /// this one, and create it anew.
    Corrupt,
    /// This member no longer owns what it acts on: poll again (which rejoins) and go on from there.
    Fenced,
    /// Another consumer took this one's instance id and goes on in its place: close this one. Whatever it
    /// does fails in this way from then on.
    FencedInstance,
    /// The storage is full, or a quota or descriptor limit is reached: nothing was written; free some
    /// room and try again. What [retention](crate::TopicOptions::retention_bytes) would remove goes at once
    /// with [`run_housekeeping`](crate::EventLog::run_housekeeping), and else up to five minutes later. A
    /// consumer whose commit fails so makes room by deleting what it has handled
    /// ([`delete_records`](crate::Partition::delete_records)), and then commits; of a segment that is still
    /// written to this may give nothing back, so let [`segment_bytes`](crate::TopicOptions::segment_bytes) be
    /// a small part of the disk.
    Full,
    /// The caller's own handler failed: the source is its error, the place names the record, which was
    /// not committed. Mend the cause, and go on with that record.
    Handler,
    /// The group has members, be they static ones that are away, or one of them subscribes to the topic: stop
    /// them first, or remove the static ones.
    InUse,
    /// A blocked call was woken by request: carry on.
    Interrupted,
    /// An argument or option is wrong, the number of a partition that the topic does not have among them, or
    /// the call does not fit what it is made on: the text says which.
    InvalidInput,
    /// The storage failed in some other way: the source says how.
    Io,
    /// There is no such topic, group or static member, or no log in the directory: make it first, or mend the
    /// name. A partition that a topic does not have is [`InvalidInput`](Self::InvalidInput).
    NotFound,
    /// The position lies outside the partition: reset it; [`Error::offset_range`](crate::Error::offset_range)
    /// says what there is. Also of a consumer without a committed offset whose reset policy is
    /// [`None`](crate::OffsetReset::None): it wants a seek or a commit.
    OffsetOutOfRange,
    /// The partition takes no more appends, since a sync failed, a write failed and could not be undone, or
    /// the storage or the clock panicked: reopen the log.
    Poisoned,
    /// The log was opened read-only: open it for writing in the process that owns it.
    ReadOnly,
    /// The record, with its batch, is larger than the topic or the log allows: the text names the limit.
    /// Raise that, or send something smaller.
    RecordTooLarge,
    /// The time given ran out: the call's documentation says what may have happened by then.
    Timeout,
    /// The file was written by a newer version: upgrade the crate. Nothing was changed.
    UnsupportedVersion,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anything else being done by the program.
    pub fn is_retriable(self) -> bool {
        match self {
            Self::Busy | Self::Full | Self::Interrupted | Self::Timeout => true,
            Self::AlreadyExists
            | Self::Closed
            | Self::Corrupt
            | Self::Fenced
            | Self::FencedInstance
            | Self::Handler
            | Self::InUse
            | Self::InvalidInput
            | Self::Io
            | Self::NotFound
            | Self::OffsetOutOfRange
            | Self::Poisoned
            | Self::ReadOnly
            | Self::RecordTooLarge
            | Self::UnsupportedVersion => false,
        }
    }
}

/// A few words, in small letters: `not found`, `record too large`. What failed, and how, is told by the
/// [`Error`](crate::Error).
impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AlreadyExists => "already exists",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Corrupt => "corrupt",
            Self::Fenced => "fenced",
            Self::FencedInstance => "instance fenced",
            Self::Full => "full",
            Self::Handler => "handler failed",
            Self::InUse => "in use",
            Self::Interrupted => "interrupted",
            Self::InvalidInput => "invalid input",
            Self::Io => "i/o error",
            Self::NotFound => "not found",
            Self::OffsetOutOfRange => "offset out of range",
            Self::Poisoned => "poisoned",
            Self::ReadOnly => "read-only",
            Self::RecordTooLarge => "record too large",
            Self::Timeout => "timed out",
            Self::UnsupportedVersion => "unsupported version",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rejoin_mends_or_nothing_does_is_not_to_be_tried_again_as_it_is() {
        for kind in [ErrorKind::Fenced, ErrorKind::FencedInstance] {
            assert!(!kind.is_retriable(), "{kind:?}");
        }
        assert!(ErrorKind::Interrupted.is_retriable());
    }
}
