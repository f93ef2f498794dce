//! [`Error`]: a cause with the place where it happened.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cause::{Cause, FormatError, GroupError, InputError, LogError, TopicError};
use super::kind::ErrorKind;
use crate::name::{TopicName, TopicPartition};
use crate::offset::Offset;

/// Anything that can go wrong in this crate.
///
/// One word in size and cheap to clone: every delivery of a batch that failed gets the same error.
///
/// # Examples
///
/// ```
/// use topiclog::{ErrorKind, EventLog, TopicOptions};
///
/// let log = EventLog::in_memory()?;
/// log.create_topic("payment-done", TopicOptions::new())?;
/// let error = log.create_topic("payment-done", TopicOptions::new()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::AlreadyExists);
/// assert_eq!(error.to_string(), "topic exists already topic=payment-done");
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    cause: Cause,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    topic: Option<TopicName>,
    partition: Option<u32>,
    offset: Option<Offset>,
    path: Option<PathBuf>,
    position: Option<u64>,
}

impl Error {
    fn new(cause: Cause, source: Option<Arc<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::new(Inner {
            cause,
            source,
            topic: None,
            partition: None,
            offset: None,
            path: None,
            position: None,
        }))
    }

    /// An option that breaks a rule.
    pub(crate) fn bad_option(
        option: &'static str,
        problem: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
    ) -> Self {
        let (problem, value) = (problem.into(), value.to_string());
        let error = InputError::Option {
            option,
            problem,
            value,
        };
        error.into()
    }

    /// An argument that breaks a rule.
    pub(crate) fn bad_argument(
        argument: &'static str,
        problem: &'static str,
        value: impl fmt::Display,
    ) -> Self {
        let value = value.to_string();
        let error = InputError::Argument {
            argument,
            problem,
            value,
        };
        error.into()
    }

    /// A call that needs something else first.
    pub(crate) fn bad_state(call: &'static str, needs: &'static str) -> Self {
        InputError::State { call, needs }.into()
    }

    /// A failure of the storage while doing `action` ("write a batch").
    pub(crate) fn storage(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::system(action, source).at_path(path)
    }

    /// A failure of the operating system while doing `action` ("start a worker"), which concerns no file.
    pub(crate) fn system(action: &'static str, source: io::Error) -> Self {
        let kind = storage_kind(&source);
        let cause = Cause::Log(LogError::Storage { action, kind });
        Self::new(cause, Some(Arc::new(source)))
    }

    /// A failure of the caller's own handler of records.
    pub(crate) fn handler(source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::new(Cause::Group(GroupError::Handler), Some(source.into()))
    }

    /// The same failure where nobody knows what the storage holds now: [`ErrorKind::Full`] would say that
    /// nothing was written and that it may be tried again.
    pub(crate) fn with_unknown_outcome(mut self) -> Self {
        if let Cause::Log(LogError::Storage { action, kind }) = &self.0.cause
            && *kind == ErrorKind::Full
        {
            let (action, kind) = (*action, ErrorKind::Io);
            Arc::make_mut(&mut self.0).cause = Cause::Log(LogError::Storage { action, kind });
        }
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.cause.kind()
    }

    /// Whether bytes are not what they should be, or a newer version's: nothing is to be built on them, and
    /// nothing written over them.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Corrupt | ErrorKind::UnsupportedVersion
        )
    }

    /// Whether the same call may succeed later without anything else being done by the program.
    pub fn is_retriable(&self) -> bool {
        self.kind().is_retriable()
    }

    /// The topic concerned, if known.
    pub fn topic(&self) -> Option<&TopicName> {
        self.0.topic.as_ref()
    }

    /// The partition concerned, if known.
    pub fn partition(&self) -> Option<u32> {
        self.0.partition
    }

    /// Topic and partition together, if both are known.
    pub fn topic_partition(&self) -> Option<TopicPartition> {
        let topic = self.0.topic.clone()?;
        Some(TopicPartition::new(topic, self.0.partition?))
    }

    /// The offset concerned, if known: of damage, the first that cannot be read.
    pub fn offset(&self) -> Option<Offset> {
        self.0.offset
    }

    /// The file or directory concerned, if known, relative to the log's own directory; of a log that could
    /// not be opened, together with that.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The byte in that file, if known.
    pub fn position(&self) -> Option<u64> {
        self.0.position
    }

    /// Of [`ErrorKind::OffsetOutOfRange`]: the offsets that there are, the end exclusive. `None` if there was
    /// no position that could be outside, since nothing is committed.
    pub fn offset_range(&self) -> Option<Range<Offset>> {
        match self.0.cause {
            Cause::Log(LogError::OffsetOutOfRange { start, end }) => Some(start..end),
            _ => None,
        }
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.0.cause
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn in_topic(self, topic: &TopicName) -> Self {
        self.with(|inner| inner.topic = Some(topic.clone()))
    }

    pub(crate) fn in_partition(self, place: &TopicPartition) -> Self {
        self.with(|inner| {
            inner.topic = Some(place.topic().clone());
            inner.partition = Some(place.partition());
        })
    }

    pub(crate) fn at_offset(self, offset: Offset) -> Self {
        self.with(|inner| inner.offset = Some(offset))
    }

    pub(crate) fn at_path(self, path: &Path) -> Self {
        self.with(|inner| inner.path = Some(path.to_path_buf()))
    }

    pub(crate) fn at_position(self, position: u64) -> Self {
        self.with(|inner| inner.position = Some(position))
    }
}

/// What an error of the storage asks of the caller.
fn storage_kind(error: &io::Error) -> ErrorKind {
    // EMFILE and ENFILE have no `io::ErrorKind` of their own.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::WriteZero
        | io::ErrorKind::OutOfMemory => ErrorKind::Full,
        _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) && cfg!(unix) => ErrorKind::Full,
        _ => ErrorKind::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        inner.cause.fmt(f)?;
        if let Some(topic) = &inner.topic {
            write!(f, " topic={topic}")?;
        }
        if let Some(partition) = inner.partition {
            write!(f, " partition={partition}")?;
        }
        if let Some(offset) = inner.offset {
            write!(f, " offset={offset}")?;
        }
        if let Some(path) = &inner.path {
            write!(f, " path={}", path.display())?;
        }
        if let Some(position) = inner.position {
            write!(f, " position={position}")?;
        }
        Ok(())
    }
}

/// Shows the kind, the text, and those of all its sources: what a `main` that returns it prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.to_string();
        write!(f, "{:?}: {last}", self.kind())?;
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let text = error.to_string();
            // One that only carries another, as that of a refused send does, has its text.
            if text != last {
                write!(f, ": {text}")?;
                last = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

impl From<FormatError> for Error {
    #[cold]
    fn from(cause: FormatError) -> Self {
        Self::new(Cause::Format(cause), None)
    }
}

impl From<GroupError> for Error {
    #[cold]
    fn from(cause: GroupError) -> Self {
        Self::new(Cause::Group(cause), None)
    }
}

impl From<InputError> for Error {
    #[cold]
    fn from(cause: InputError) -> Self {
        Self::new(Cause::Input(cause), None)
    }
}

impl From<LogError> for Error {
    #[cold]
    fn from(cause: LogError) -> Self {
        Self::new(Cause::Log(cause), None)
    }
}

impl From<TopicError> for Error {
    #[cold]
    fn from(cause: TopicError) -> Self {
        Self::new(Cause::Topic(cause), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_and_tells_its_place() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let topic = TopicName::new("t").unwrap();
        let error = Error::from(LogError::Poisoned)
            .in_partition(&TopicPartition::new(topic, 3))
            .at_offset(Offset::new(7));
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(
            error.to_string().ends_with("topic=t partition=3 offset=7"),
            "{error}"
        );
    }

    #[test]
    fn an_error_that_concerns_no_file_shows_no_path() {
        let refused = || io::Error::from(io::ErrorKind::WouldBlock);
        let error = Error::system("start a worker", refused());
        assert_eq!(error.to_string(), "cannot start a worker");
        assert_eq!((error.kind(), error.path()), (ErrorKind::Io, None));
        let error = Error::storage("write", Path::new("x"), refused());
        assert_eq!(error.to_string(), "cannot write path=x");
    }

    /// It ended at the first source, which is often the one that says the least.
    #[test]
    fn what_is_printed_for_a_programmer_names_every_source() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let template = Error::storage("read a template", Path::new("x"), missing);
        let error = format!("{:?}", Error::handler(template.into()));
        let told = "Handler: the handler failed: cannot read a template path=x: entity not found";
        assert_eq!(error, told);
    }

    /// By the numbers that Unix has for them.
    #[cfg(unix)]
    #[test]
    fn a_full_disk_and_no_descriptors_are_full_and_other_faults_are_io() {
        for (code, kind) in [
            (28, ErrorKind::Full),
            (24, ErrorKind::Full),
            (5, ErrorKind::Io),
        ] {
            let error = Error::storage("write", Path::new("x"), io::Error::from_raw_os_error(code));
            assert_eq!(error.kind(), kind, "{error:?}");
        }
    }
}
