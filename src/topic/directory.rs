//! The files at the root of a log's directory, and the directories of its topics.
//!
//! | name | what |
//! |---|---|
//! | `LOCK` | locked by the owner, whose process id it holds |
//! | `log.meta` | the log's id |
//! | `clean-close` | where every partition ended; there only between a clean close and the next open |
//! | `topics/<name>/topic.meta` | the topic's id, name and options |
//! | `topics/<name>/<partition>/` | the partition's log |
//! | `topics/%del-<id>` | a topic on its way out; removed at the next open |
//!
//! A topic's directory is its name with every character but `a-z 0-9 _ -` written as `%` and two
//! hexadecimal digits, so that it is legal and unique on every file system. So is the first letter of what is
//! a device to Windows; a name that gets too long is cut, and told apart by checksums.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, FormatError};
use crate::format::{Document, DocumentKind};
use crate::log::{CleanMark, read_document, write_document};
use crate::name::{Id, TopicName};
use crate::options::{Durability, TopicOptions};
use crate::storage::{Entry, EntryKind, Storage};
use crate::timestamp::TimestampType;

pub(super) const LOCK: &str = "LOCK";
pub(super) const TOPICS: &str = "topics";
const LOG_META: &str = "log.meta";
const CLEAN_CLOSE: &str = "clean-close";
const TOPIC_META: &str = "topic.meta";

/// The longest name of a directory; a longer one is cut and told apart by a checksum.
const DIRECTORY_NAME_BYTES_MAX: usize = 200;

#[derive(Serialize, Deserialize)]
struct LogMeta {
    id: Id,
}

impl Document for LogMeta {
    const KIND: DocumentKind = DocumentKind::LogMeta;
    const WHAT: &'static str = "log.meta";
}

/// What is kept of a topic beside its records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TopicMeta {
    pub(super) id: Id,
    pub(super) name: String,
    #[serde(with = "StoredOptions")]
    pub(super) options: TopicOptions,
}

impl Document for TopicMeta {
    const KIND: DocumentKind = DocumentKind::TopicMeta;
    const WHAT: &'static str = "topic.meta";
}

/// How options are kept in `topic.meta`: in this order, without names. Any other shape is another
/// [version](Document::VERSION), and then this one stays, to read those of the first.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TopicOptions")]
struct StoredOptions {
    partitions: u32,
    #[serde(with = "StoredDurability")]
    durability: Durability,
    #[serde(with = "StoredTimestampType")]
    timestamp_type: TimestampType,
    timestamp_before_max: Option<Duration>,
    timestamp_after_max: Option<Duration>,
    segment_bytes: u32,
    segment_age: Duration,
    index_interval_bytes: u32,
    batch_bytes: u32,
    batch_bytes_max: u32,
    linger: Duration,
    retention: Option<Duration>,
    retention_bytes: Option<u64>,
}

/// A durability is kept as its place among these.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Durability")]
enum StoredDurability {
    Memory,
    Os,
    Disk,
}

/// A timestamp type is kept as its place among these.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TimestampType")]
enum StoredTimestampType {
    CreateTime,
    LogAppendTime,
}

#[derive(Serialize, Deserialize)]
struct CleanClose {
    partitions: Vec<PartitionMark>,
}

impl Document for CleanClose {
    const KIND: DocumentKind = DocumentKind::CleanClose;
    const WHAT: &'static str = "clean-close";
}

/// Whether Windows takes a file of this name for a device.
fn is_device(name: &str) -> bool {
    let numbered = name
        .strip_prefix("com")
        .or_else(|| name.strip_prefix("lpt"));
    matches!(name, "aux" | "con" | "nul" | "prn")
        || numbered.is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
}

/// The name of a topic's directory.
fn directory_name(topic: &TopicName) -> String {
    let mut escaped = String::new();
    let device = is_device(topic.as_str());
    for (index, byte) in topic.as_str().bytes().enumerate() {
        let plain = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if plain && !(device && index == 0) {
            escaped.push(byte.into());
        } else {
            let _infallible = write!(escaped, "%{byte:02X}");
        }
    }
    if escaped.len() > DIRECTORY_NAME_BYTES_MAX {
        let forward = crc32fast::hash(topic.as_str().as_bytes());
        let backward: Vec<u8> = topic.as_str().bytes().rev().collect();
        let backward = crc32fast::hash(&backward);
        escaped.truncate(DIRECTORY_NAME_BYTES_MAX - 20);
        let _infallible = write!(escaped, "%_{forward:08x}{backward:08x}");
    }
    escaped
}

pub(super) fn topic_directory(topic: &TopicName) -> PathBuf {
    Path::new(TOPICS).join(directory_name(topic))
}

/// The checksum that a log's own files start from, so that those of another log are found.
fn seed(log: Id) -> u32 {
    crc32fast::hash(log.as_bytes())
}

/// The log's id; `None` if the directory holds no log yet.
pub(super) fn read_log_id(storage: &dyn Storage) -> Result<Option<Id>, Error> {
    let meta = read_document::<LogMeta>(storage, Path::new(LOG_META), 0)?;
    if meta.is_none() && !list_directory(storage, TOPICS)?.is_empty() {
        let problem = "it is missing, but there are topics";
        let error = FormatError::damaged("log.meta", problem);
        return Err(Error::from(error).at_path(Path::new(LOG_META)));
    }
    Ok(meta.map(|meta| meta.id))
}

/// Makes a directory into a log.
pub(super) fn write_log_id(storage: &dyn Storage, id: Id) -> Result<(), Error> {
    write_document(
        storage,
        Path::new(LOG_META),
        &LogMeta { id },
        0,
        "make a log",
    )
}

/// Makes the directory of the topics, if it is not there.
pub(super) fn make_topics_directory(storage: &dyn Storage) -> Result<(), Error> {
    let path = Path::new(TOPICS);
    let made = match storage.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.and_then(|()| storage.sync_dir(Path::new(""))),
    };
    made.map_err(|error| Error::storage("make a log", path, error))
}

/// Where a partition ended: its topic, its number, and the mark.
pub(super) type PartitionMark = (Id, u32, CleanMark);

/// The marks of the last clean close, if there was one.
pub(super) fn read_clean_close(
    storage: &dyn Storage,
    log: Id,
) -> Result<Option<Vec<PartitionMark>>, Error> {
    let path = Path::new(CLEAN_CLOSE);
    let close = read_document::<CleanClose>(storage, path, seed(log))?;
    Ok(close.map(|close| close.partitions))
}

/// Takes the marks away: from now on the log may change.
pub(super) fn remove_clean_close(storage: &dyn Storage) -> Result<(), Error> {
    let path = Path::new(CLEAN_CLOSE);
    match storage.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.and_then(|()| storage.sync_dir(Path::new(""))),
    }
    .map_err(|error| Error::storage("open a log", path, error))
}

/// Leaves the marks by which the next open knows that nothing has to be scanned.
pub(super) fn write_clean_close(
    storage: &dyn Storage,
    log: Id,
    partitions: Vec<PartitionMark>,
) -> Result<(), Error> {
    let close = CleanClose { partitions };
    write_document(
        storage,
        Path::new(CLEAN_CLOSE),
        &close,
        seed(log),
        "close a log",
    )
}

/// Whether it is this topic whose directory is there, and not another of its name.
pub(super) fn is_topic(storage: &dyn Storage, log: Id, directory: &Path, id: Id) -> bool {
    let meta = read_document::<TopicMeta>(storage, &directory.join(TOPIC_META), seed(log));
    meta.is_ok_and(|meta| meta.is_some_and(|meta| meta.id == id))
}

/// What is in a directory, by name; nothing if it is not there.
fn list_directory(storage: &dyn Storage, path: &str) -> Result<Vec<Entry>, Error> {
    let mut entries = match storage.list(Path::new(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => {
            listed.map_err(|error| Error::storage("list the topics", Path::new(path), error))?
        }
    };
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    // A file system may list a name twice while its directory changes.
    entries.dedup_by(|one, other| one.name == other.name);
    Ok(entries)
}

/// Whether a topic's directory may have this name.
fn is_ours(name: &str) -> bool {
    let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'A'..=b'F' | b'_' | b'-' | b'%');
    name.bytes().all(plain)
}

/// What there is in the directory of the topics.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) topics: Vec<TopicMeta>,
    /// Directories of topics that cannot be told, and why.
    pub(super) unread: Vec<(PathBuf, Error)>,
    /// What is left of those on their way out.
    pub(super) leftovers: Vec<PathBuf>,
}

impl Listed {
    /// An error if not all topics could be told.
    pub(super) fn whole(mut self) -> Result<Self, Error> {
        if self.unread.is_empty() {
            return Ok(self);
        }
        let (_, error) = self.unread.swap_remove(0);
        Err(error)
    }
}

/// The topics there are.
pub(super) fn list_topics(storage: &dyn Storage, log: Id) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    for entry in list_directory(storage, TOPICS)? {
        let directory = Path::new(TOPICS).join(&entry.name);
        if entry.kind == EntryKind::Directory && entry.name.starts_with("%del-") {
            listed.leftovers.push(directory);
            continue;
        }
        match read_topic(storage, log, &entry, &directory) {
            Ok(meta) => listed.topics.extend(meta),
            Err(error) => listed.unread.push((directory, error)),
        }
    }
    Ok(listed)
}

/// The topic whose directory this is; `None` if it is no topic's.
fn read_topic(
    storage: &dyn Storage,
    log: Id,
    entry: &Entry,
    directory: &Path,
) -> Result<Option<TopicMeta>, Error> {
    match entry.kind {
        EntryKind::Directory => {}
        // A link, which would hide what is behind it as if there were no such topic.
        EntryKind::Other if is_ours(&entry.name) => {
            let error = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(Error::storage("list a topic", directory, error));
        }
        _ => return Ok(None),
    }
    let meta_path = directory.join(TOPIC_META);
    let damaged = |problem| {
        let error = FormatError::damaged("topic.meta", problem);
        Error::from(error).at_path(&meta_path)
    };
    let read = || read_document::<TopicMeta>(storage, &meta_path, seed(log));
    let mut meta = read()?;
    if meta.is_none() && is_ours(&entry.name) && has_partitions(storage, directory) {
        // Its owner may have deleted the topic, and made another of the name since.
        meta = read()?;
        if meta.is_none() {
            return Err(damaged("it is missing, but there are partitions"));
        }
    }
    let Some(meta) = meta else {
        return Ok(None);
    };
    let name = TopicName::new(&meta.name).map_err(|_| damaged("it holds an impossible name"))?;
    let options = meta.options.check();
    options.map_err(|_| damaged("it holds impossible options"))?;
    if directory_name(&name) != entry.name {
        let error = FormatError::Foreign {
            what: "topic.meta",
            field: "name",
        };
        return Err(Error::from(error).at_path(&meta_path));
    }
    Ok(Some(meta))
}

fn has_partitions(storage: &dyn Storage, directory: &Path) -> bool {
    storage.list(directory).is_ok_and(|entries| {
        entries
            .iter()
            .any(|entry| entry.name.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Puts a topic's metadata into its directory, which must be there.
pub(super) fn write_topic_meta(
    storage: &dyn Storage,
    log: Id,
    directory: &Path,
    meta: &TopicMeta,
) -> Result<(), Error> {
    let (path, action) = (directory.join(TOPIC_META), "write a topic's metadata");
    write_document(storage, &path, meta, seed(log), action)
}

/// Makes a topic's directory. The topic is there once its metadata is: what a power cut leaves before
/// that is an empty directory, which the next topic of the name takes over.
pub(super) fn create_topic_directory(
    storage: &dyn Storage,
    log: Id,
    directory: &Path,
    meta: &TopicMeta,
) -> Result<(), Error> {
    let fail = |error| Error::storage("make a topic", directory, error);
    match storage.create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(fail(error)),
        _ => {}
    }
    let made = write_topic_meta(storage, log, directory, meta).and_then(|()| {
        let synced = storage.sync_dir(Path::new(TOPICS));
        synced.map_err(|error| fail(error).with_unknown_outcome())
    });
    if made.is_err() {
        // Without its metadata it is no topic, whether or not the rest can be removed.
        remove_tree(storage, directory);
    }
    made
}

/// Takes a topic's directory out of the way, for good once this returns; its files go later.
///
/// # Errors
///
/// With the error, whether the directory is out of the way all the same: until the next open at least, and a
/// power cut may bring it back as it was.
pub(super) fn retire_topic_directory(
    storage: &dyn Storage,
    directory: &Path,
    id: Id,
) -> Result<PathBuf, (Error, bool)> {
    let retired = Path::new(TOPICS).join(format!("%del-{id}"));
    let fail = |error| Error::storage("delete a topic", directory, error);
    storage
        .rename(directory, &retired)
        .map_err(|error| (fail(error), false))?;
    // It is not renamed back then: after a sync that failed another one would not tell which of the two names
    // is on disk, and what is acknowledged under the old one might go with the new one.
    storage
        .sync_dir(Path::new(TOPICS))
        .map_err(|error| (fail(error).with_unknown_outcome(), true))?;
    Ok(retired)
}

/// Makes durable what names there are at the root and of topics: a process that was killed leaves some
/// that are to be seen and not yet on disk.
pub(super) fn sync_names(storage: &dyn Storage, topics: &[TopicMeta]) -> Result<(), Error> {
    let sync = |path: &Path| {
        storage
            .sync_dir(path)
            .map_err(|error| Error::storage("open a log", path, error))
    };
    sync(Path::new(""))?;
    sync(Path::new(TOPICS))?;
    for meta in topics {
        if let Ok(name) = TopicName::new(&meta.name) {
            sync(&topic_directory(&name))?;
        }
    }
    Ok(())
}

/// Removes a directory with all in it, as far as it can: what is left is tried again at the next open.
pub(super) fn remove_tree(storage: &dyn Storage, directory: &Path) {
    for entry in storage.list(directory).unwrap_or_default() {
        let path = directory.join(&entry.name);
        if entry.kind == EntryKind::Directory {
            remove_tree(storage, &path);
        } else {
            let _later = storage.remove_file(&path);
        }
    }
    let _later = storage.remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::seal_document;
    use crate::{ErrorKind, EventLog, Offset, Record};

    /// As FORMAT.md has it; the directories of earlier versions do not have every option at every value.
    #[test]
    fn topic_metadata_has_the_bytes_that_the_format_says() {
        let second = Duration::from_secs(1);
        let options = TopicOptions::new()
            .partitions(300)
            .durability(Durability::Os)
            .timestamp_type(TimestampType::LogAppendTime)
            .timestamp_before_max(Some(2 * second))
            .timestamp_after_max(None)
            .segment_bytes(70_000)
            .segment_age(3 * second)
            .index_interval_bytes(5)
            .batch_bytes(6)
            .batch_bytes_max(7)
            .linger(Duration::from_nanos(8))
            .retention(Some(9 * second))
            .retention_bytes(Some(1 << 40));
        let (id, name) = (Id::from_bytes([7; 16]), "t".to_owned());
        let bytes = seal_document(&TopicMeta { id, name, options }, 0).unwrap();
        let value: [&[u8]; 15] = [
            &[7; 16],
            &[1, b't'],
            &[251, 44, 1],
            &[1],
            &[1],
            &[1, 2, 0],
            &[0],
            &[252, 112, 17, 1, 0],
            &[3, 0],
            &[5],
            &[6],
            &[7],
            &[0, 8],
            &[1, 9, 0],
            &[1, 253, 0, 0, 0, 0, 0, 1, 0, 0],
        ];
        assert_eq!(bytes[16..], value.concat());
    }

    #[test]
    fn a_directory_name_is_legal_everywhere_and_unique() {
        let name = |text: &str| directory_name(&TopicName::new(text).unwrap());
        assert_eq!(name("payment-done"), "payment-done");
        assert_eq!(name("A.b"), "%41%2Eb");
        assert_eq!(name("..."), "%2E%2E%2E");
        assert_eq!(name("CON"), "%43%4F%4E");
        assert_eq!(
            (name("con"), name("lpt1")),
            ("%63on".into(), "%6Cpt1".into())
        );
        assert_eq!(
            (name("cons"), name("lpt10")),
            ("cons".into(), "lpt10".into())
        );
        // Up to 200 bytes as it is, beyond that with two checksums behind its first 180.
        let (as_it_is, cut) = ("a".repeat(200), name(&"a".repeat(201)));
        assert_eq!(name(&as_it_is), as_it_is);
        assert_eq!((cut.len(), &cut[..182]), (198, &*("a".repeat(180) + "%_")));
        let (long, other) = ("A".repeat(249), format!("{}B", "A".repeat(248)));
        assert!(name(&long).len() <= DIRECTORY_NAME_BYTES_MAX);
        assert_ne!(name(&long), name(&other));
    }

    /// The second took the directory over: the metadata, and with it the records, of the first were gone.
    #[test]
    fn of_two_names_that_would_have_one_directory_there_is_only_one() {
        let ending_in = |end: &str| TopicName::new("x".repeat(180) + end).unwrap();
        let name = ending_in(&"a".repeat(69));
        let other =
            ending_in("qqqaqqqaaqaaaaqqaaqqaqaaaqqqqqqqqqqqqqqqaaaqaqqaaqqaaaaqaaqqqaqqqaaaa");
        assert_eq!(topic_directory(&name), topic_directory(&other));
        let log = EventLog::in_memory().unwrap();
        let options = TopicOptions::new;
        let topic = log.create_topic(&name, options()).unwrap();
        topic.producer().send_and_wait(Record::new("x")).unwrap();
        let refused = [
            log.create_topic(&other, options()).unwrap_err(),
            log.open_or_create_topic(&other, options()).unwrap_err(),
            log.validate_topic(&other, &options()).unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert!(error.to_string().contains("directory"), "{error}");
        }
        let there = log.topic(&name).unwrap().partition(0).unwrap();
        assert_eq!(there.read(Offset::ZERO).unwrap().len(), 1);
        log.delete_topic(&name).unwrap();
        log.create_topic(&other, options()).unwrap();
    }
}
