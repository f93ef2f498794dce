//! Small metadata files: a serialised value in a checksummed, versioned envelope.
//!
//! ```text
//!  at  size  field
//!   0     8  magic "topicdoc"
//!   8     2  version of the document
//!  10     2  kind of the document
//!  12     4  CRC-32 of bytes 0 to 12 and 16 to the end, seeded with the identity of the file
//!  16        the value, in bincode's standard encoding
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bytes::{array_at, put, u16_at, u32_at};
use super::identity::checksum;
use crate::error::FormatError;

const MAGIC: [u8; 8] = *b"topicdoc";
const HEADER_BYTES: usize = 16;

/// The most memory that decoding a document may ask for.
const DECODE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Tells the documents apart on disk.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(crate) enum DocumentKind {
    StartOffset = 1,
    LogMeta = 2,
    TopicMeta = 3,
    CleanClose = 4,
    LastClose = 5,
    #[cfg(test)]
    Sample = 999,
}

impl DocumentKind {
    const fn number(self) -> u16 {
        #[expect(
            clippy::as_conversions,
            reason = "the only way to the number of a variant"
        )]
        {
            self as u16
        }
    }
}

/// A value that is kept in a file of its own.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// Which one it is.
    const KIND: DocumentKind;
    /// Raised when the value's shape changes. Then [`decode`](Self::decode) has to be written: what earlier
    /// versions have left is read for ever.
    const VERSION: u16 = 1;
    /// What it is called in an error.
    const WHAT: &'static str;

    /// Reads the value as a version has written it: any from 1 to [`VERSION`](Self::VERSION).
    fn decode(_version: u16, value: &[u8]) -> Result<Self, FormatError> {
        const {
            assert!(Self::VERSION == 1, "older versions have to be read too");
        }
        decode_value(Self::WHAT, value)
    }
}

fn crc(seed: u32, head: &[u8; HEADER_BYTES], body: &[u8]) -> u32 {
    checksum(checksum(seed, head.split_at(12).0), body)
}

/// A document as bytes.
pub(crate) fn seal_document<D: Document>(document: &D, seed: u32) -> Result<Vec<u8>, FormatError> {
    let mut bytes = vec![0; HEADER_BYTES];
    put(&mut bytes, 0, MAGIC);
    put(&mut bytes, 8, D::VERSION.to_le_bytes());
    put(&mut bytes, 10, D::KIND.number().to_le_bytes());
    let body = bincode::serde::encode_to_vec(document, bincode::config::standard())
        .map_err(|_| FormatError::damaged(D::WHAT, "it cannot be encoded"))?;
    let crc = crc(seed, &array_at(&bytes, 0), &body);
    put(&mut bytes, 12, crc.to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads a document back.
pub(crate) fn open_document<D: Document>(bytes: &[u8], seed: u32) -> Result<D, FormatError> {
    let damaged = |problem| FormatError::damaged(D::WHAT, problem);
    let Some((head, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(damaged("the file is too short"));
    };
    if array_at(head, 0) != MAGIC {
        return Err(damaged("the magic is wrong"));
    }
    FormatError::match_checksums(D::WHAT, u32_at(head, 12), crc(seed, head, body))?;
    if u16_at(head, 10) != D::KIND.number() {
        return Err(damaged("it is a document of another kind"));
    }
    match u16_at(head, 8) {
        0 => Err(damaged("there is no version 0")),
        version if version > D::VERSION => Err(FormatError::UnsupportedVersion {
            what: D::WHAT,
            version: version.into(),
            supported: D::VERSION.into(),
        }),
        version => D::decode(version, body),
    }
}

/// Reads all of a value in the shape that it was written in.
fn decode_value<T: DeserializeOwned>(what: &'static str, value: &[u8]) -> Result<T, FormatError> {
    let config = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
    match bincode::serde::decode_from_slice(value, config) {
        Ok((decoded, used)) if used == value.len() => Ok(decoded),
        Ok(_) => Err(FormatError::damaged(what, "bytes are left over")),
        Err(_) => Err(FormatError::damaged(what, "its value cannot be decoded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Sample {
        name: String,
        number: u64,
    }

    impl Document for Sample {
        const KIND: DocumentKind = DocumentKind::Sample;
        const WHAT: &'static str = "sample";
    }

    #[test]
    fn a_document_comes_back_as_it_was_and_any_damage_is_found() {
        let sample = Sample {
            name: "x".into(),
            number: 300,
        };
        let good = seal_document(&sample, 1).unwrap();
        assert_eq!(open_document::<Sample>(&good, 1).unwrap(), sample);
        assert!(open_document::<Sample>(&good, 2).is_err());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open_document::<Sample>(&bad, 1).is_err(), "byte {at}");
            assert!(
                open_document::<Sample>(&good[..at], 1).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_document_may_be_long() {
        let name = "x".repeat(3 << 20);
        let sample = Sample { name, number: 1 };
        let sealed = seal_document(&sample, 1).unwrap();
        assert_eq!(open_document::<Sample>(&sealed, 1).unwrap(), sample);
    }

    /// Its checksum is right, so that whoever wrote it meant something by them.
    #[test]
    fn nothing_is_left_over_behind_the_value_of_a_document() {
        let sample = Sample {
            name: "x".into(),
            number: 300,
        };
        let mut longer = seal_document(&sample, 0).unwrap();
        longer.push(0);
        let error = open_document::<Sample>(&with_version(1, longer), 0).unwrap_err();
        assert_eq!(error.to_string(), "damaged sample: bytes are left over");
    }

    /// The sample as a later version of the crate might keep it.
    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Later {
        name: String,
        number: u64,
        note: Option<String>,
    }

    impl Document for Later {
        const KIND: DocumentKind = DocumentKind::Sample;
        const VERSION: u16 = 2;
        const WHAT: &'static str = "sample";

        fn decode(version: u16, value: &[u8]) -> Result<Self, FormatError> {
            if version > 1 {
                return decode_value(Self::WHAT, value);
            }
            let Sample { name, number } = decode_value(Self::WHAT, value)?;
            let note = None;
            Ok(Self { name, number, note })
        }
    }

    /// A document with any version, whatever its shape.
    fn with_version(version: u16, mut document: Vec<u8>) -> Vec<u8> {
        put(&mut document, 8, version.to_le_bytes());
        let crc = crc(0, &array_at(&document, 0), &document[HEADER_BYTES..]);
        put(&mut document, 12, crc.to_le_bytes());
        document
    }

    #[test]
    fn a_later_version_reads_an_older_one_and_only_a_newer_one_is_unsupported() {
        let (name, number) = ("x".to_owned(), 300);
        let older = Sample { name, number };
        let older = seal_document(&older, 0).unwrap();
        let (name, note) = ("x".to_owned(), None);
        let later = Later { name, number, note };
        assert_eq!(open_document::<Later>(&older, 0).unwrap(), later);
        let sealed = seal_document(&later, 0).unwrap();
        assert_eq!(open_document::<Later>(&sealed, 0).unwrap(), later);
        // The version says which shape it is, whatever the bytes would do for.
        let error = open_document::<Later>(&with_version(2, older.clone()), 0).unwrap_err();
        assert!(matches!(error, FormatError::Damaged { .. }), "{error}");
        let newer = FormatError::UnsupportedVersion {
            what: "sample",
            version: 2,
            supported: 1,
        };
        let error = open_document::<Sample>(&sealed, 0).unwrap_err();
        assert_eq!(error.to_string(), newer.to_string());
        let error = open_document::<Sample>(&with_version(0, older), 0).unwrap_err();
        assert_eq!(error.to_string(), "damaged sample: there is no version 0");
    }
}
