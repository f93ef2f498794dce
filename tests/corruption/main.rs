//! Bytes flipped, files cut, swapped, missing, strange: each is reported or harmless, never silent.
//!
//! `TOPICLOG_SEED` replays a run, `TOPICLOG_STATES` makes it larger.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "a test may panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod forged;
mod offsets;
mod untrue;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Rng, clock, is_same, record};
use topiclog::storage::{SimulatedStorage, Storage, Survival};
use topiclog::{Durability, Error, EventLog, Offset, TopicOptions};

const TOPICS: [(&str, u64, u64); 3] = [("first", 1, 0), ("Second.one", 2, 4), ("os", 3, 0)];
const RECORDS: u64 = 14;

/// Three topics of several segments each, one of them with its first records deleted.
fn filled() -> (SimulatedStorage, EventLog) {
    let storage = SimulatedStorage::new();
    let log = common::open(&storage, &clock());
    for (name, tag, start) in TOPICS {
        let options = TopicOptions::new()
            .segment_bytes(1400)
            .index_interval_bytes(300)
            .timestamp_after_max(None)
            .retention(None);
        let level = if name == "os" {
            Durability::Os
        } else {
            Durability::Disk
        };
        let topic = log.create_topic(name, options.durability(level)).unwrap();
        for _ in 0..RECORDS {
            common::send_next(&topic, tag, 0).unwrap();
        }
        let partition = topic.partition(0).unwrap();
        partition.delete_records(Offset::new(start)).unwrap();
        assert!(partition.segment_count() > 3);
    }
    (storage, log)
}

fn closed() -> SimulatedStorage {
    let (storage, log) = filled();
    log.close().unwrap();
    storage.deep_copy()
}

/// What came of a damaged directory.
#[derive(Debug, Default)]
struct Verdict {
    errors: Vec<Error>,
    /// The bytes put aside as torn: said, though not as damage.
    cut: u64,
    /// By topic: the offsets that could be read, from the log start on.
    read: BTreeMap<&'static str, (u64, u64)>,
}

impl Verdict {
    fn is_whole(&self) -> bool {
        TOPICS
            .iter()
            .all(|(name, _, start)| self.read.get(name) == Some(&(*start, RECORDS)))
    }
}

/// Opens and reads everything. Whatever can be read must be right.
fn examine(storage: &SimulatedStorage, context: &str) -> Verdict {
    let mut verdict = Verdict::default();
    let log = match common::try_open(storage.clone(), &clock()) {
        Ok(log) => log,
        Err(error) => {
            verdict.errors.push(error);
            return verdict;
        }
    };
    verdict.errors.extend(
        log.recovery_report()
            .damaged()
            .map(|(_, error)| error.clone()),
    );
    verdict.cut = log.recovery_report().cut_bytes();
    match log.verify() {
        Ok(report) => verdict.errors.extend(report.problems),
        Err(error) => verdict.errors.push(error),
    }
    for (name, tag, _) in TOPICS {
        let Ok(topic) = log.topic(name) else { continue };
        let partition = topic.partition(0).unwrap();
        let start = partition.offsets().log_start;
        let mut next = start.value();
        for records in partition.scan(start) {
            let records = match records {
                Ok(records) => records,
                Err(error) => {
                    verdict.errors.push(error);
                    break;
                }
            };
            for read in &records {
                assert_eq!(read.offset(), Offset::new(next), "{context}");
                assert!(is_same(&read, &record(tag, 0, next)), "{context}: {read:?}");
                next += 1;
            }
        }
        verdict.read.insert(name, (start.value(), next));
        for offset in start.value()..next {
            // Read from there, whatever is left of the index.
            match partition.read(Offset::new(offset)) {
                Ok(records) => {
                    let first = records.iter().next().expect(context);
                    assert_eq!(first.offset(), Offset::new(offset), "{context}");
                }
                Err(error) => verdict.errors.push(error),
            }
            // By its time a record is found too, or an error is.
            let time = record(tag, 0, offset).timestamp_asked().unwrap();
            match partition.offset_for_time(time) {
                Ok(Some((found, at))) => assert!(at >= time && found <= Offset::new(offset)),
                Ok(None) => panic!("{context}: {name}: no record as young as that at {offset}"),
                Err(error) => verdict.errors.push(error),
            }
        }
    }
    verdict
}

/// Reported or harmless; and if it lies in a segment, the segments before it can be read.
fn check(storage: &SimulatedStorage, path: Option<&Path>, context: &str) -> bool {
    let verdict = examine(storage, context);
    if verdict.is_whole() {
        return true;
    }
    // With the mark of the close gone too, the end may be taken for torn; it is kept aside and said.
    let said = !verdict.errors.is_empty() || (path.is_none() && verdict.cut > 0);
    assert!(said, "{context}: silent: {:?}", verdict.read);
    for error in &verdict.errors {
        assert!(error.path().is_some(), "{context}: {error:?} names no file");
    }
    let Some(path) = path.filter(|path| path.extension().is_some_and(|suffix| suffix == "log"))
    else {
        return false;
    };
    for (name, _, start) in TOPICS {
        let (read_start, end) = verdict.read[name];
        let least = if path.starts_with(Path::new("topics").join(escaped(name))) {
            path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
        } else {
            RECORDS
        };
        assert_eq!(read_start, start, "{context}");
        assert!(
            end >= least.max(start),
            "{context}: {name} can be read only up to {end}"
        );
    }
    false
}

fn escaped(name: &str) -> String {
    let escape = |byte: char| match byte {
        'a'..='z' | '0'..='9' | '-' | '_' => byte.to_string(),
        other => format!("%{:02X}", u32::from(other)),
    };
    name.chars().map(escape).collect()
}

fn files(storage: &SimulatedStorage) -> Vec<(PathBuf, Vec<u8>)> {
    let files = storage.files().into_iter();
    files
        .map(|(path, _)| (path.clone(), storage.read_file(path).unwrap()))
        .collect()
}

/// The same with one file's bytes changed.
fn with(storage: &SimulatedStorage, path: &Path, bytes: impl Into<Vec<u8>>) -> SimulatedStorage {
    let copy = storage.deep_copy();
    copy.write_file(path, bytes).unwrap();
    copy
}

#[test]
fn every_byte_flipped_in_a_closed_log_is_reported_or_harmless() {
    let storage = closed();
    assert!(examine(&storage, "untouched").errors.is_empty());
    let mut rng = Rng::new(common::seed());
    let (mut states, mut reported) = (0, 0);
    for (path, good) in files(&storage) {
        for at in 0..good.len() {
            for round in 0..=common::scale() {
                let mask = if round == 0 { 0xFF } else { 1 << rng.below(8) };
                let mut bad = good.clone();
                bad[at] ^= mask;
                let context = format!("{} byte {at} ^ {mask:#x}", path.display());
                reported += u64::from(!check(&with(&storage, &path, bad), Some(&path), &context));
                states += 1;
            }
        }
    }
    eprintln!("{states} flips, {reported} reported");
}

#[test]
fn every_length_cut_in_a_closed_log_is_reported_or_harmless() {
    let storage = closed();
    let mut states = 0;
    for (path, good) in files(&storage) {
        for length in 0..good.len() {
            let context = format!("{} cut to {length}", path.display());
            check(
                &with(&storage, &path, &good[..length]),
                Some(&path),
                &context,
            );
            states += 1;
        }
    }
    eprintln!("{states} cuts");
}

#[test]
fn zeros_and_noise_in_a_closed_log_are_reported_or_harmless() {
    let storage = closed();
    let mut rng = Rng::new(common::seed());
    for (path, good) in files(&storage) {
        for round in 0..60 * common::scale() {
            let from = rng.below(good.len() as u64) as usize;
            let upto = from + 1 + rng.below((good.len() - from) as u64) as usize;
            let (zeroed, noise) = (rng.chance(50), rng.next() as u8);
            let mut bad = good.clone();
            for byte in &mut bad[from..upto] {
                *byte = if zeroed {
                    0
                } else {
                    byte.wrapping_mul(31) ^ noise
                };
            }
            let context = format!(
                "{} round {round}: {from}..{upto} overwritten",
                path.display()
            );
            check(&with(&storage, &path, bad), Some(&path), &context);
        }
        for tail in [&[0; 1][..], &[0; 700], &[255; 3], &good] {
            let mut longer = good.clone();
            longer.extend_from_slice(tail);
            let context = format!("{} with {} bytes more", path.display(), tail.len());
            check(&with(&storage, &path, longer), Some(&path), &context);
        }
    }
}

#[test]
fn files_missing_swapped_and_doubled_are_reported_or_harmless() {
    let storage = closed();
    let files = files(&storage);
    for (path, good) in &files {
        let copy = storage.deep_copy();
        copy.remove_file(path).unwrap();
        check(&copy, None, &format!("{} missing", path.display()));
        for (other, other_bytes) in &files {
            if path < other {
                let copy = with(&with(&storage, path, &other_bytes[..]), other, &good[..]);
                let context = format!("{} and {} swapped", path.display(), other.display());
                check(&copy, None, &context);
            }
            if path != other {
                let copy = with(&storage, path, &other_bytes[..]);
                check(
                    &copy,
                    None,
                    &format!("{} over {}", other.display(), path.display()),
                );
            }
        }
        // A directory where a file is expected.
        let copy = storage.deep_copy();
        copy.remove_file(path).unwrap();
        copy.create_dir(path).unwrap();
        check(&copy, None, &format!("{} a directory", path.display()));
    }
}

#[test]
fn an_older_state_of_a_file_is_reported_or_harmless() {
    let (storage, log) = filled();
    let old = files(&storage);
    log.close().unwrap();
    let closed = storage.deep_copy();
    for (path, bytes) in old {
        check(
            &with(&closed, &path, bytes),
            None,
            &format!("{} of before", path.display()),
        );
    }
}

#[test]
fn strange_files_and_directories_are_left_alone() {
    let storage = closed();
    let directories = ["", "topics/", "topics/first/", "topics/first/0/"];
    let names = [
        ".DS_Store",
        "copy of log.meta",
        "00000000000000000000.log.bak",
        "copy of 00000000000000000000.log",
        "notes.txt",
        "x.tmp",
        "99999999999999999999.log",
        "-1",
    ];
    for directory in directories {
        for name in names {
            let path = format!("{directory}{name}");
            let copy = with(&storage, Path::new(&path), &b"not ours"[..]);
            assert!(check(&copy, None, &path), "{path} is harmless");
            assert_eq!(
                copy.read_file(&path).unwrap(),
                b"not ours",
                "{path} is left alone"
            );
            let copy = storage.deep_copy();
            copy.write_file(format!("{path}/inside"), &b"not ours"[..])
                .unwrap();
            assert!(
                check(&copy, None, &path),
                "{path} as a directory is harmless"
            );
            assert_eq!(
                copy.read_file(format!("{path}/inside")).unwrap(),
                b"not ours"
            );
        }
    }
    // A segment that does not follow: put aside, not taken in, not thrown away.
    let copy = with(
        &storage,
        Path::new("topics/first/0/00000000000000009999.log"),
        &b"noise"[..],
    );
    check(&copy, None, "a segment of noise");
    let kept = files(&copy).into_iter().any(|(_, bytes)| bytes == b"noise");
    assert!(kept, "its bytes are still there");
}

#[test]
fn damage_below_what_is_proven_is_reported_after_a_crash_and_the_rest_is_kept_aside() {
    let (storage, _log) = filled();
    let crashed = storage.crash(Survival::Nothing, 0);
    let (mut states, mut cut) = (0, 0);
    for (path, good) in files(&crashed) {
        let is_segment = path.extension().is_some_and(|suffix| suffix == "log");
        if !is_segment || path.starts_with("topics/os") {
            continue;
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            let copy = with(&crashed, &path, bad);
            let context = format!("{} byte {at}, not closed", path.display());
            let verdict = examine(&copy, &context);
            states += 1;
            for (name, _, start) in TOPICS.iter().take(2) {
                let (read_start, end) = verdict.read[name];
                if (read_start, end) == (*start, RECORDS) || !verdict.errors.is_empty() {
                    continue;
                }
                assert_eq!(
                    (read_start, end),
                    (*start, RECORDS - 1),
                    "{context}: silent"
                );
                let kept = copy
                    .files()
                    .iter()
                    .any(|(path, _)| path.extension().is_some_and(|suffix| suffix == "cut"));
                assert!(kept, "{context}: what was cut off is kept");
                cut += 1;
            }
        }
    }
    eprintln!("{states} flips, {cut} cut off");
}
