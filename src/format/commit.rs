//! The records of the topic of committed offsets.
//!
//! ```text
//!  of a commit:    key    version 1     u8        value  version 1                          u8
//!                         group         text             topic id                           id
//!                         topic         text             offset: the next to read           u64
//!                         partition     u32              time of the commit, ms since 1970  i64
//!                                                        metadata                           text
//!
//!  of a group:     key    version 2     u8        value  version 1                          u8
//!                         group         text             without members since, ms since    i64
//!                                                        1970
//! ```
//!
//! In bincode's standard encoding, as the values of [documents](super::Document) are. The first byte of a key
//! says whose it is; Kafka tells its keys apart in the same way. A record without a value takes back what an
//! earlier one of its key says.
//!
//! No checksum and no identity of their own: the batch that they lie in has both.

use serde::{Deserialize, Serialize};

use crate::error::FormatError;
use crate::name::{GroupId, Id, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;

const WHAT: &str = "committed offset";

/// The version of both values.
const VERSION: u8 = 1;

/// The first byte of a key.
const COMMIT_KEY: u8 = 1;
const GROUP_KEY: u8 = 2;

#[derive(Serialize, Deserialize)]
struct CommitKey<'a> {
    version: u8,
    group: &'a str,
    topic: &'a str,
    partition: u32,
}

#[derive(Serialize, Deserialize)]
struct EncodedCommit<'a> {
    version: u8,
    topic_id: Id,
    offset: u64,
    timestamp: i64,
    metadata: &'a str,
}

#[derive(Serialize, Deserialize)]
struct GroupKey<'a> {
    version: u8,
    group: &'a str,
}

#[derive(Serialize, Deserialize)]
struct EncodedGroup {
    version: u8,
    empty_since: i64,
}

/// What is committed for a partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CommitValue<'a> {
    pub(crate) topic_id: Id,
    pub(crate) offset: Offset,
    pub(crate) timestamp: Timestamp,
    pub(crate) metadata: &'a str,
}

/// What a record says of its group.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum CommitRecord<'a> {
    /// What is committed for a partition; `None` if that was removed.
    Commit(TopicPartition, Option<CommitValue<'a>>),
    /// Since when it has had no members; `None` if it has some, or no offsets.
    EmptySince(Option<Timestamp>),
}

/// The key of what a group commits for a partition.
pub(crate) fn encode_commit_key(
    group: &GroupId,
    place: &TopicPartition,
) -> Result<Vec<u8>, FormatError> {
    encode(&CommitKey {
        version: COMMIT_KEY,
        group: group.as_str(),
        topic: place.topic().as_str(),
        partition: place.partition(),
    })
}

/// The key of since when a group has had no members.
pub(crate) fn encode_group_key(group: &GroupId) -> Result<Vec<u8>, FormatError> {
    let (version, group) = (GROUP_KEY, group.as_str());
    encode(&GroupKey { version, group })
}

/// Since when a group has had no members.
pub(crate) fn encode_empty_since(since: Timestamp) -> Result<Vec<u8>, FormatError> {
    encode(&EncodedGroup {
        version: VERSION,
        empty_since: since.as_millis(),
    })
}

impl<'a> CommitValue<'a> {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        encode(&EncodedCommit {
            version: VERSION,
            topic_id: self.topic_id,
            offset: self.offset.value(),
            timestamp: self.timestamp.as_millis(),
            metadata: self.metadata,
        })
    }

    fn decode(value: &'a [u8]) -> Result<Self, FormatError> {
        check_version(value)?;
        let value: EncodedCommit<'_> = decode(value)?;
        Ok(Self {
            topic_id: value.topic_id,
            offset: Offset::new(value.offset),
            timestamp: Timestamp::from_millis(value.timestamp),
            metadata: value.metadata,
        })
    }
}

/// Reads a record by its key and value.
pub(crate) fn decode_commit_record<'a>(
    key: &[u8],
    value: Option<&'a [u8]>,
) -> Result<(GroupId, CommitRecord<'a>), FormatError> {
    match key.first() {
        Some(&COMMIT_KEY) | None => {
            let key: CommitKey<'_> = decode(key)?;
            let group = group_of(key.group)?;
            let topic =
                TopicName::new(key.topic).map_err(|_| damaged("it names an impossible topic"))?;
            let place = TopicPartition::new(topic, key.partition);
            let value = value.map(CommitValue::decode).transpose()?;
            Ok((group, CommitRecord::Commit(place, value)))
        }
        Some(&GROUP_KEY) => {
            let key: GroupKey<'_> = decode(key)?;
            let group = group_of(key.group)?;
            let since = value.map(decode_empty_since).transpose()?;
            Ok((group, CommitRecord::EmptySince(since)))
        }
        Some(&version) => Err(unsupported(version, GROUP_KEY)),
    }
}

fn decode_empty_since(value: &[u8]) -> Result<Timestamp, FormatError> {
    check_version(value)?;
    let value: EncodedGroup = decode(value)?;
    Ok(Timestamp::from_millis(value.empty_since))
}

fn group_of(id: &str) -> Result<GroupId, FormatError> {
    GroupId::new(id).map_err(|_| damaged("it names an impossible group"))
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, FormatError> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|_| damaged("it cannot be encoded"))
}

fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, FormatError> {
    match bincode::serde::borrow_decode_from_slice(bytes, bincode::config::standard()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        _ => Err(damaged("it cannot be decoded")),
    }
}

fn damaged(problem: &'static str) -> FormatError {
    FormatError::damaged(WHAT, problem)
}

/// A version that is not known was written by a newer crate.
fn unsupported(version: u8, supported: u8) -> FormatError {
    FormatError::UnsupportedVersion {
        what: WHAT,
        version: version.into(),
        supported: supported.into(),
    }
}

/// Looks at the version before anything else: what follows it in a newer value is not known.
fn check_version(value: &[u8]) -> Result<(), FormatError> {
    match value.first() {
        Some(&VERSION) => Ok(()),
        Some(&version) => Err(unsupported(version, VERSION)),
        None => Err(damaged("its value is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupId {
        GroupId::new("g").unwrap()
    }

    fn place() -> TopicPartition {
        TopicPartition::new(TopicName::new("topic").unwrap(), 300)
    }

    const COMMIT: CommitValue<'_> = CommitValue {
        topic_id: Id::from_bytes([7; 16]),
        offset: Offset::new(42),
        timestamp: Timestamp::from_millis(-1),
        metadata: "note",
    };

    #[test]
    fn a_commit_has_the_bytes_that_are_drawn_and_comes_back() {
        let key = encode_commit_key(&group(), &place()).unwrap();
        assert_eq!(key, b"\x01\x01g\x05topic\xfb\x2c\x01");
        let value = COMMIT.encode().unwrap();
        let mut drawn = vec![1];
        drawn.extend([7; 16]);
        drawn.extend(b"\x2a\x01\x04note");
        assert_eq!(value, drawn);
        let commit = CommitRecord::Commit(place(), Some(COMMIT));
        let found = decode_commit_record(&key, Some(&value)).unwrap();
        assert_eq!(found, (group(), commit));
        let removed = CommitRecord::Commit(place(), None);
        let found = decode_commit_record(&key, None).unwrap();
        assert_eq!(found, (group(), removed));
    }

    #[test]
    fn a_group_without_members_has_the_bytes_that_are_drawn_and_comes_back() {
        let key = encode_group_key(&group()).unwrap();
        assert_eq!(key, b"\x02\x01g");
        let value = encode_empty_since(Timestamp::from_millis(3)).unwrap();
        assert_eq!(value, b"\x01\x06");
        let since = CommitRecord::EmptySince(Some(Timestamp::from_millis(3)));
        let found = decode_commit_record(&key, Some(&value)).unwrap();
        assert_eq!(found, (group(), since));
        let found = decode_commit_record(&key, None).unwrap();
        assert_eq!(found, (group(), CommitRecord::EmptySince(None)));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let newer = |error| matches!(error, FormatError::UnsupportedVersion { .. });
        let damage = |error| matches!(error, FormatError::Damaged { .. });
        let key = encode_commit_key(&group(), &place()).unwrap();
        let mut value = COMMIT.encode().unwrap();
        assert!(newer(decode_commit_record(&[3], None).unwrap_err()));
        assert!(damage(decode_commit_record(&[], None).unwrap_err()));
        for cut in 1..key.len() {
            let cut = decode_commit_record(&key[..cut], Some(&value));
            assert!(damage(cut.unwrap_err()));
        }
        for cut in 0..value.len() {
            let cut = decode_commit_record(&key, Some(&value[..cut]));
            assert!(damage(cut.unwrap_err()));
        }
        // Of its version nothing comes behind the last field.
        let (longer_key, longer) = ([&key[..], &[0]].concat(), [&value[..], &[0]].concat());
        assert!(damage(
            decode_commit_record(&longer_key, Some(&value)).unwrap_err()
        ));
        assert!(damage(
            decode_commit_record(&key, Some(&longer)).unwrap_err()
        ));
        value[0] = 2;
        let found = decode_commit_record(&key, Some(&value));
        assert!(newer(found.unwrap_err()));
        // What a newer one holds is not ours to decode.
        value.push(7);
        let group_key = encode_group_key(&group()).unwrap();
        for key in [key, group_key] {
            let found = decode_commit_record(&key, Some(&value));
            assert!(newer(found.unwrap_err()));
        }
        let blank = decode_commit_record(b"\x02\x01 ", None);
        assert!(damage(blank.unwrap_err()));
        let slash = decode_commit_record(b"\x01\x01g\x01/\x00", None);
        assert!(damage(slash.unwrap_err()));
    }
}
