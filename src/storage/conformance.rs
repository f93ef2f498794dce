//! What every [`Storage`] must do, as a test that any implementation can be put to.
//!
//! It holds what a running program can see. What survives a power cut, it cannot see.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::io::{read_all, write_all_at};
use super::port::{EntryKind, OpenMode, Storage, StorageFile};

const READ_LIMIT: u64 = 1 << 20;

/// A rule of the contract of [`Storage`] that an implementation breaks.
#[derive(Debug)]
pub struct Violation {
    rule: &'static str,
    seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.rule, self.seen)
    }
}

impl std::error::Error for Violation {}

type Outcome = Result<(), String>;

/// Puts a storage to the test: `make` gives an empty one for each rule.
///
/// # Errors
///
/// The first [`Violation`] found. An error of the operating system counts as one.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use topiclog::storage::{MemoryStorage, conformance};
///
/// conformance::check(|| Arc::new(MemoryStorage::new()))?;
/// # Ok::<(), conformance::Violation>(())
/// ```
pub fn check(make: impl Fn() -> Arc<dyn Storage>) -> Result<(), Violation> {
    type Rule = fn(&dyn Storage) -> Outcome;
    let rules: [(&'static str, Rule); 15] = [
        ("a file is made once and then found", files_are_made_once),
        ("what is no file is not opened", only_files_are_opened),
        ("bytes written are read back", bytes_are_read_back),
        ("a gap reads as zeros", gaps_read_as_zeros),
        ("a file is cut and extended", lengths_are_set),
        (
            "room is taken ahead of what is written",
            room_is_taken_ahead,
        ),
        ("a reading handle does not write", readers_do_not_write),
        ("handles of one file see the same", handles_share),
        ("a directory has what was made in it", directories_list),
        (
            "a directory is removed empty",
            directories_are_removed_empty,
        ),
        (
            "a rename moves and replaces files",
            renames_move_and_replace,
        ),
        ("a rename moves a directory whole", renames_move_directories),
        ("a removed file can be read on", removed_files_are_read_on),
        ("a lock has one owner", locks_have_one_owner),
        (
            "a lock knows when its file is gone",
            locks_notice_replacement,
        ),
    ];
    for (rule, test) in rules {
        test(&*make()).map_err(|seen| Violation { rule, seen })?;
    }
    Ok(())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn text(error: io::Error) -> String {
    let kind = error.kind();
    format!("{error} ({kind:?})")
}

fn ensure(holds: bool, otherwise: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}

fn refused<T>(result: io::Result<T>, kind: io::ErrorKind, what: &str) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("{what} gave {}, not {kind:?}", text(error))),
        Ok(_) => Err(format!("{what} succeeded")),
    }
}

fn make_file(
    storage: &dyn Storage,
    path: &str,
    bytes: &[u8],
) -> Result<Arc<dyn StorageFile>, String> {
    let file = storage
        .open(Path::new(path), OpenMode::CreateNew)
        .map_err(text)?;
    write_all_at(&*file, bytes, 0).map_err(text)?;
    Ok(file)
}

fn holds(storage: &dyn Storage, path: &str, bytes: &[u8]) -> Outcome {
    let found = read_all(storage, Path::new(path), READ_LIMIT).map_err(text)?;
    ensure(found == bytes, &format!("{path} holds {found:?}"))
}

fn absent(storage: &dyn Storage, path: &str) -> Outcome {
    let opened = storage.open(Path::new(path), OpenMode::Read);
    refused(opened, io::ErrorKind::NotFound, path)
}

fn names(storage: &dyn Storage, path: &str) -> Result<Vec<(String, EntryKind)>, String> {
    let entries = storage.list(Path::new(path)).map_err(text)?;
    let mut names: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.name, entry.kind))
        .collect();
    names.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(names)
}

fn files_are_made_once(storage: &dyn Storage) -> Outcome {
    let path = Path::new("a");
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        refused(
            storage.open(path, mode),
            io::ErrorKind::NotFound,
            "opening nothing",
        )?;
    }
    let file = make_file(storage, "a", b"")?;
    ensure(file.is_empty().map_err(text)?, "a new file is not empty")?;
    let again = storage.open(path, OpenMode::CreateNew);
    refused(again, io::ErrorKind::AlreadyExists, "making it again")?;
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        storage.open(path, mode).map_err(text)?;
    }
    let orphan = storage.open(Path::new("no/such"), OpenMode::CreateNew);
    refused(
        orphan,
        io::ErrorKind::NotFound,
        "a file without a directory",
    )
}

fn only_files_are_opened(storage: &dyn Storage) -> Outcome {
    let path = Path::new("d");
    storage.create_dir(path).map_err(text)?;
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        let opened = storage.open(path, mode);
        refused(opened, io::ErrorKind::InvalidInput, "opening a directory")?;
    }
    let made = storage.open(path, OpenMode::CreateNew);
    refused(
        made,
        io::ErrorKind::AlreadyExists,
        "a file in a directory's place",
    )?;
    let removed = storage.remove_file(path);
    ensure(removed.is_err(), "a directory was removed as a file")?;
    make_file(storage, "f", b"")?;
    let removed = storage.remove_dir(Path::new("f"));
    ensure(removed.is_err(), "a file was removed as a directory")?;
    let listed = storage.list(Path::new("f"));
    ensure(listed.is_err(), "a file was listed as a directory")?;
    let below = storage.open(Path::new("f/g"), OpenMode::CreateNew);
    ensure(below.is_err(), "a file was made below a file")
}

fn bytes_are_read_back(storage: &dyn Storage) -> Outcome {
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let file = make_file(storage, "a", &bytes)?;
    holds(storage, "a", &bytes)?;
    write_all_at(&*file, b"xyz", 5_000).map_err(text)?;
    let mut middle = [0; 5];
    let count = file.read_at(&mut middle, 4_999).map_err(text)?;
    ensure(
        count > 0 && middle.starts_with(b"\x87xyz\x8b".get(..count).unwrap_or_default()),
        &format!("read {count} bytes: {middle:?}"),
    )?;
    for position in [10_000, 10_001, u64::from(u32::MAX)] {
        let count = file.read_at(&mut middle, position).map_err(text)?;
        ensure(count == 0, "something was read behind the end")?;
    }
    let count = file.read_at(&mut [], 0).map_err(text)?;
    ensure(count == 0, "something was read into nothing")?;
    ensure(
        file.len().map_err(text)? == 10_000,
        "overwriting changed the length",
    )?;
    file.sync_data().map_err(text)?;
    file.sync_all().map_err(text)?;
    storage.sync_dir(Path::new("")).map_err(text)
}

fn gaps_read_as_zeros(storage: &dyn Storage) -> Outcome {
    let file = make_file(storage, "a", b"ab")?;
    write_all_at(&*file, b"z", 5).map_err(text)?;
    holds(storage, "a", b"ab\0\0\0z")?;
    let count = file.write_at(b"", 100).map_err(text)?;
    ensure(count == 0, "writing nothing wrote something")?;
    ensure(
        file.len().map_err(text)? == 6,
        "writing nothing changed the length",
    )
}

fn lengths_are_set(storage: &dyn Storage) -> Outcome {
    let file = make_file(storage, "a", b"abcdef")?;
    file.set_len(2).map_err(text)?;
    holds(storage, "a", b"ab")?;
    file.set_len(4).map_err(text)?;
    holds(storage, "a", b"ab\0\0")?;
    file.set_len(0).map_err(text)?;
    ensure(
        file.is_empty().map_err(text)?,
        "a file cut to nothing is not empty",
    )?;
    ensure(file.set_len(u64::MAX).is_err(), "a file was made endless")?;
    ensure(file.is_empty().map_err(text)?, "a refused length was set")
}

fn room_is_taken_ahead(storage: &dyn Storage) -> Outcome {
    let file = make_file(storage, "a", b"abc")?;
    // A hint, so it may fail; what is there stays, and nothing but zeros comes behind it.
    let _hint = file.allocate(5);
    let _hint = file.allocate(1);
    write_all_at(&*file, b"z", 5).map_err(text)?;
    holds(storage, "a", b"abc\0\0z")?;
    let _hint = file.allocate(8);
    file.set_len(6).map_err(text)?;
    holds(storage, "a", b"abc\0\0z")
}

fn readers_do_not_write(storage: &dyn Storage) -> Outcome {
    make_file(storage, "a", b"abc")?;
    let file = storage.open(Path::new("a"), OpenMode::Read).map_err(text)?;
    ensure(file.write_at(b"x", 0).is_err(), "it wrote")?;
    ensure(file.set_len(0).is_err(), "it cut the file")?;
    holds(storage, "a", b"abc")
}

fn handles_share(storage: &dyn Storage) -> Outcome {
    let first = make_file(storage, "a", b"abc")?;
    let second = storage
        .open(Path::new("a"), OpenMode::ReadWrite)
        .map_err(text)?;
    write_all_at(&*second, b"def", 3).map_err(text)?;
    ensure(first.len().map_err(text)? == 6, "the other's length is old")?;
    let mut byte = [0];
    let count = first.read_at(&mut byte, 5).map_err(text)?;
    ensure(count == 1 && byte == *b"f", "the other's bytes are old")
}

fn directories_list(storage: &dyn Storage) -> Outcome {
    ensure(names(storage, "")?.is_empty(), "a new storage is not empty")?;
    storage.create_dir(Path::new("d")).map_err(text)?;
    let again = storage.create_dir(Path::new("d"));
    refused(again, io::ErrorKind::AlreadyExists, "making it again")?;
    let orphan = storage.create_dir(Path::new("no/such"));
    refused(orphan, io::ErrorKind::NotFound, "a directory in nothing")?;
    storage.create_dir(Path::new("d/e")).map_err(text)?;
    make_file(storage, "d/f", b"")?;
    make_file(storage, "d/e/g", b"")?;
    let directory = |name: &str| (name.to_owned(), EntryKind::Directory);
    let file = |name: &str| (name.to_owned(), EntryKind::File);
    for (path, wanted) in [
        ("", vec![directory("d")]),
        ("d", vec![directory("e"), file("f")]),
        ("d/e", vec![file("g")]),
    ] {
        let found = names(storage, path)?;
        ensure(found == wanted, &format!("{path:?} lists {found:?}"))?;
        storage.sync_dir(Path::new(path)).map_err(text)?;
    }
    let nowhere = Path::new("nowhere");
    refused(
        storage.list(nowhere),
        io::ErrorKind::NotFound,
        "listing nothing",
    )?;
    refused(
        storage.sync_dir(nowhere),
        io::ErrorKind::NotFound,
        "syncing nothing",
    )
}

fn directories_are_removed_empty(storage: &dyn Storage) -> Outcome {
    let path = Path::new("d");
    refused(
        storage.remove_dir(path),
        io::ErrorKind::NotFound,
        "removing nothing",
    )?;
    storage.create_dir(path).map_err(text)?;
    make_file(storage, "d/f", b"")?;
    let full = storage.remove_dir(path);
    refused(
        full,
        io::ErrorKind::DirectoryNotEmpty,
        "removing a full one",
    )?;
    storage.remove_file(Path::new("d/f")).map_err(text)?;
    storage.remove_dir(path).map_err(text)?;
    ensure(names(storage, "")?.is_empty(), "it is still listed")
}

fn renames_move_and_replace(storage: &dyn Storage) -> Outcome {
    let (from, to) = (Path::new("a"), Path::new("b"));
    refused(
        storage.rename(from, to),
        io::ErrorKind::NotFound,
        "renaming nothing",
    )?;
    let moved = make_file(storage, "a", b"new")?;
    let replaced = make_file(storage, "b", b"old")?;
    storage.rename(from, to).map_err(text)?;
    absent(storage, "a")?;
    holds(storage, "b", b"new")?;
    write_all_at(&*moved, b"N", 0).map_err(text)?;
    holds(storage, "b", b"New")?;
    let mut bytes = [0; 3];
    let count = replaced.read_at(&mut bytes, 0).map_err(text)?;
    ensure(
        count > 0 && b"old".starts_with(bytes.get(..count).unwrap_or_default()),
        "a replaced file is not read on",
    )?;
    storage.rename(to, to).map_err(text)?;
    holds(storage, "b", b"New")?;
    let away = storage.rename(to, Path::new("no/such"));
    refused(away, io::ErrorKind::NotFound, "renaming into nothing")?;
    storage.create_dir(Path::new("d")).map_err(text)?;
    storage.rename(to, Path::new("d/c")).map_err(text)?;
    absent(storage, "b")?;
    holds(storage, "d/c", b"New")
}

fn renames_move_directories(storage: &dyn Storage) -> Outcome {
    let (from, to) = (Path::new("d"), Path::new("e"));
    storage.create_dir(from).map_err(text)?;
    storage.create_dir(Path::new("d/in")).map_err(text)?;
    make_file(storage, "d/in/f", b"x")?;
    let inside = storage.rename(from, Path::new("d/in/d"));
    ensure(inside.is_err(), "a directory was moved into itself")?;
    storage.rename(from, to).map_err(text)?;
    holds(storage, "e/in/f", b"x")?;
    refused(storage.list(from), io::ErrorKind::NotFound, "the old name")?;
    make_file(storage, "g", b"")?;
    let over = storage.rename(to, Path::new("g"));
    ensure(over.is_err(), "a directory replaced a file")?;
    let over = storage.rename(Path::new("g"), to);
    ensure(over.is_err(), "a file replaced a directory")
}

fn removed_files_are_read_on(storage: &dyn Storage) -> Outcome {
    let path = Path::new("a");
    refused(
        storage.remove_file(path),
        io::ErrorKind::NotFound,
        "removing nothing",
    )?;
    let file = make_file(storage, "a", b"abc")?;
    storage.remove_file(path).map_err(text)?;
    absent(storage, "a")?;
    ensure(names(storage, "")?.is_empty(), "it is still listed")?;
    make_file(storage, "a", b"another")?;
    ensure(file.len().map_err(text)? == 3, "its length changed")?;
    let mut byte = [0];
    let count = file.read_at(&mut byte, 2).map_err(text)?;
    ensure(count == 1 && byte == *b"c", "its bytes are gone")
}

fn locks_have_one_owner(storage: &dyn Storage) -> Outcome {
    let path = Path::new("lock");
    let first = storage.lock(path, "process 1").map_err(text)?;
    ensure(first.still_holds(), "a new lock does not hold")?;
    match storage.lock(path, "process 2") {
        Ok(_) => return Err("there were two owners".to_owned()),
        Err(error) => {
            let kind = error.kind();
            ensure(
                kind == io::ErrorKind::WouldBlock,
                &format!("refused as {kind:?}"),
            )?;
            let note = error.to_string();
            // Where locks are mandatory the note of another cannot be read.
            ensure(
                cfg!(windows) || note == "process 1",
                &format!("the refusal says {note:?}"),
            )?;
        }
    }
    let other = storage
        .lock(Path::new("other"), "process 2")
        .map_err(text)?;
    drop(first);
    let again = storage.lock(path, "3").map_err(text)?;
    ensure(
        again.still_holds() && other.still_holds(),
        "a lock was lost",
    )?;
    drop(again);
    storage.create_dir(Path::new("d")).map_err(text)?;
    let directory = storage.lock(Path::new("d"), "");
    refused(
        directory,
        io::ErrorKind::InvalidInput,
        "locking a directory",
    )
}

fn locks_notice_replacement(storage: &dyn Storage) -> Outcome {
    if cfg!(windows) {
        // A file that is open cannot be removed there.
        return Ok(());
    }
    let path = Path::new("lock");
    let first = storage.lock(path, "first").map_err(text)?;
    storage.remove_file(path).map_err(text)?;
    ensure(!first.still_holds(), "the file is removed, and it holds")?;
    let second = storage.lock(path, "second").map_err(text)?;
    ensure(!first.still_holds(), "the file is another, and it holds")?;
    ensure(second.still_holds(), "the new owner does not hold")?;
    drop(first);
    ensure(second.still_holds(), "the old owner took the lock along")?;
    let third = storage.lock(path, "third");
    refused(third, io::ErrorKind::WouldBlock, "a third owner's lock")
}
