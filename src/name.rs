//! Names, parsed once and valid ever after: [`TopicName`], [`GroupId`], [`TopicPartition`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, InputError};
use crate::limits::{GROUP_ID_BYTES_MAX, TOPIC_NAME_BYTES_MAX};

/// What a name has in common with the text it is.
macro_rules! as_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        /// As the derived `Eq`, `Ord` and `Hash` are those of the text, a map by name is looked up by text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self.0 == **other
            }
        }

        impl PartialEq<$name> for str {
            fn eq(&self, other: &$name) -> bool {
                *other == *self
            }
        }

        impl PartialEq<$name> for &str {
            fn eq(&self, other: &$name) -> bool {
                *other == **self
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

pub(crate) use as_text;

/// How a name that follows a rule is made of text.
macro_rules! from_checked_text {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(text)
            }
        }
    };
}

/// The name of a topic: 1 to 249 of the characters `a-z A-Z 0-9 . _ -`, but not `.` or `..`.
///
/// The rule is Kafka's (`Topic.java`). Cheap to clone.
///
/// # Examples
///
/// ```
/// use topiclog::{ErrorKind, TopicName};
///
/// assert_eq!(TopicName::new("payment-done")?.as_str(), "payment-done");
/// assert_eq!("payment-done".parse::<TopicName>()?, TopicName::new("payment-done")?);
/// assert_eq!(TopicName::new("../x").unwrap_err().kind(), ErrorKind::InvalidInput);
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the rule that is broken.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        match broken_rule(name) {
            None => Ok(Self(name.into())),
            Some(problem) => Err(InputError::TopicName {
                name: shown(name),
                problem,
            }
            .into()),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the crate itself keeps this topic: its name starts with two underscores.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }
}

/// What is wrong with the name of a topic, or with what has the same rules in Kafka.
pub(crate) fn broken_rule(name: &str) -> Option<Cow<'static, str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Some("must not be empty".into())
    } else if name == "." || name == ".." {
        Some("must not be \".\" or \"..\"".into())
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        Some(format!("must have at most {TOPIC_NAME_BYTES_MAX} characters").into())
    } else if !name.bytes().all(is_plain) {
        Some("must consist of the characters a-z A-Z 0-9 . _ -".into())
    } else {
        None
    }
}

as_text!(TopicName);
from_checked_text!(TopicName);

/// The name of a consumer group: 1 to 255 bytes, not only white space.
///
/// Kafka: `group.id`, which must not be blank. Cheap to clone.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Checks a group id.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the rule that is broken.
    pub fn new(id: impl AsRef<str>) -> Result<Self, Error> {
        let id = id.as_ref();
        let problem = if id.trim().is_empty() {
            "must not be blank".into()
        } else if id.len() > GROUP_ID_BYTES_MAX {
            format!("must have at most {GROUP_ID_BYTES_MAX} bytes").into()
        } else {
            return Ok(Self(id.into()));
        };
        Err(InputError::GroupId {
            id: shown(id),
            problem,
        }
        .into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

as_text!(GroupId);
from_checked_text!(GroupId);

/// A topic's name with the number of one of its partitions.
///
/// # Examples
///
/// ```
/// use topiclog::{TopicName, TopicPartition};
///
/// let first = TopicPartition::new(TopicName::new("payment-done")?, 0);
/// assert_eq!(first.to_string(), "payment-done-0");
/// assert_eq!("payment-done-0".parse::<TopicPartition>()?, first);
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicPartition {
    topic: TopicName,
    partition: u32,
}

impl TopicPartition {
    /// Names a partition; whether it exists is not checked.
    pub fn new(topic: TopicName, partition: u32) -> Self {
        Self { topic, partition }
    }

    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The partition's number, counted from 0.
    pub fn partition(&self) -> u32 {
        self.partition
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Reads what [`Display`](fmt::Display) writes: the name may contain `-`, so the last one counts.
impl FromStr for TopicPartition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.rsplit_once('-').and_then(|(topic, number)| {
            let partition = number.parse::<u32>().ok()?;
            // The number has one spelling, without a sign or zeros in front.
            (partition.to_string() == number).then_some((topic, partition))
        });
        let Some((topic, partition)) = parsed else {
            let problem = "must be a topic's name, a - and a number";
            let value = format!("{:?}", shown(text));
            return Err(Error::bad_argument("partition", problem, value));
        };
        Ok(Self::new(TopicName::new(topic)?, partition))
    }
}

/// A name for an error message, which escapes it: cut where it grows too long.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(60).collect()
}

/// A random 128-bit number that tells two logs, or two topics of one name, apart.
///
/// Kafka: the topic id of KIP-516. Printed as 32 hexadecimal digits, and read from them.
///
/// # Examples
///
/// ```
/// use topiclog::Id;
///
/// let id: Id = "00112233445566778899aabbccddeeff".parse()?;
/// assert_eq!(id.as_bytes()[1], 0x11);
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize,
)]
pub struct Id([u8; 16]);

impl Id {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Reads what [`Display`](fmt::Display) writes, also with capital letters.
impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The conversion takes a sign, and fewer digits.
        let whole = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if whole => Ok(Self(number.to_be_bytes())),
            _ => {
                let value = format!("{:?}", shown(text));
                Err(Error::bad_argument(
                    "id",
                    "must be 32 hexadecimal digits",
                    value,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        for good in [
            "a",
            "payment-done",
            "A.b_c-9",
            "...",
            "__x",
            &"x".repeat(249),
        ] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(250);
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "/etc",
            "a/b",
            "a\\b",
            "a b",
            "a\0b",
            "zahlung-é",
            &long,
        ] {
            let error = TopicName::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
            assert!(error.to_string().contains("must"), "{error}");
        }
    }

    #[test]
    fn a_group_id_is_not_blank() {
        assert!(GroupId::new("notifications").is_ok());
        for bad in ["", "  ", &"g".repeat(256)] {
            assert_eq!(
                GroupId::new(bad).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
    }
}
