//! Every storage does what the trait says.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use topiclog::storage::{
    DiskStorage, MemoryStorage, OpenMode, SimulatedStorage, Storage, conformance,
};

use topiclog::{ErrorKind, EventLog, OffsetTarget, Record, TopicOptions};

use super::{kind, path};

/// A directory that is removed at the end of the test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("topiclog-storage-{test}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_disk_keeps_the_contract() {
    let directory = Directory::new("contract");
    let count = Cell::new(0);
    let make = || -> Arc<dyn Storage> {
        count.set(count.get() + 1);
        let root = directory.0.join(count.get().to_string());
        Arc::new(DiskStorage::create(root).unwrap())
    };
    conformance::check(make).unwrap();
}

#[test]
fn memory_keeps_the_contract() {
    conformance::check(|| Arc::new(MemoryStorage::new())).unwrap();
}

#[test]
fn the_simulation_keeps_the_contract() {
    conformance::check(|| Arc::new(SimulatedStorage::new())).unwrap();
}

#[test]
fn a_storage_made_by_a_crash_keeps_the_contract() {
    let make = || -> Arc<dyn Storage> {
        let storage = SimulatedStorage::new();
        storage.write_file("old/file", *b"old").unwrap();
        storage.remove_file(path("old/file")).unwrap();
        storage.sync_dir(path("old")).unwrap();
        storage.remove_dir(path("old")).unwrap();
        Arc::new(storage.crash(topiclog::storage::Survival::Everything, 0))
    };
    conformance::check(make).unwrap();
}

/// Other users of the machine read no records: a log is as private as the directory above lets it be.
#[cfg(unix)]
#[test]
fn files_and_directories_are_made_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    fn modes(directory: &std::path::Path, into: &mut Vec<(PathBuf, bool, u32)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            into.push((path.clone(), metadata.is_dir(), mode));
            if metadata.is_dir() {
                modes(&path, into);
            }
        }
    }
    let directory = Directory::new("modes");
    fs::create_dir(&directory.0).unwrap();
    let log = EventLog::open(directory.0.join("made/too")).unwrap();
    let options = TopicOptions::new().segment_bytes(1024);
    let topic = log.create_topic("t", options).unwrap();
    for _ in 0..3 {
        let record = Record::new(vec![0; 600]);
        topic.producer().send_and_wait(record).unwrap();
    }
    let group = log.consumer_group("g").unwrap();
    group.reset(&topic, OffsetTarget::Earliest).unwrap();
    log.close().unwrap();
    let mut made = Vec::new();
    modes(&directory.0, &mut made);
    let files = made.iter().filter(|(_, is_directory, _)| !is_directory);
    assert!(files.count() > 5, "{made:?}");
    for (path, is_directory, mode) in made {
        let wanted = if is_directory { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{} is {mode:o}", path.display());
    }
}

/// Where its parent belongs to somebody else (not for root, who may open it all the same).
#[cfg(unix)]
#[test]
fn a_directory_that_is_there_is_opened_though_its_parent_may_not_be() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("parent");
    let root = directory.0.join("log");
    fs::create_dir_all(&root).unwrap();
    let allow = |mode| fs::set_permissions(&directory.0, fs::Permissions::from_mode(mode));
    allow(0o311).unwrap();
    let opened = DiskStorage::create(&root);
    allow(0o755).unwrap();
    opened.unwrap();
}

#[cfg(unix)]
#[test]
fn links_and_pipes_on_the_disk_are_refused_without_waiting() {
    let directory = Directory::new("links");
    let storage = DiskStorage::create(&directory.0).unwrap();
    fs::write(directory.0.join("file"), b"secret").unwrap();
    std::os::unix::fs::symlink("file", directory.0.join("link")).unwrap();
    std::os::unix::fs::symlink("nothing", directory.0.join("dangling")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(directory.0.join("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    for name in ["link", "dangling", "pipe"] {
        for mode in [OpenMode::Read, OpenMode::ReadWrite] {
            let opened = storage.open(path(name), mode);
            assert_eq!(kind(opened), io::ErrorKind::InvalidInput, "{name} {mode:?}");
        }
        let locked = storage.lock(path(name), "");
        assert_eq!(kind(locked), io::ErrorKind::InvalidInput, "{name}");
        let made = storage.open(path(name), OpenMode::CreateNew);
        assert_eq!(kind(made), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert!(!directory.0.join("nothing").exists());
}

#[cfg(unix)]
#[test]
fn links_to_directories_are_refused_but_for_the_root() {
    let (directory, elsewhere) = (Directory::new("linked"), Directory::new("elsewhere"));
    fs::create_dir_all(&directory.0).unwrap();
    fs::create_dir_all(elsewhere.0.join("within")).unwrap();
    let root = directory.0.join("root");
    std::os::unix::fs::symlink(&elsewhere.0, &root).unwrap();
    let storage = DiskStorage::create(&root).unwrap();
    assert_eq!(storage.list(path("")).unwrap().len(), 1);
    std::os::unix::fs::symlink(elsewhere.0.join("within"), root.join("link")).unwrap();
    let (listed, made) = (storage.list(path("link")), storage.create_dir(path("link")));
    assert_eq!(kind(listed), io::ErrorKind::NotADirectory);
    assert_eq!(kind(made), io::ErrorKind::NotADirectory);
    assert!(storage.list(path("within")).unwrap().is_empty());
}

/// A topic whose directory is a link would else be as if it were not there.
#[cfg(unix)]
#[test]
fn a_log_with_a_link_where_a_topic_should_be_is_not_opened() {
    let directory = Directory::new("linked-topic");
    let kind = || EventLog::open(&directory.0).map(drop).unwrap_err().kind();
    let log = EventLog::open(&directory.0).unwrap();
    log.create_topic("t", TopicOptions::new()).unwrap();
    drop(log);
    let (topic, aside) = (directory.0.join("topics/t"), directory.0.join("aside"));
    // No topic's directory has such a name.
    std::os::unix::fs::symlink(&aside, directory.0.join("topics/lost+found")).unwrap();
    drop(EventLog::open(&directory.0).unwrap());
    fs::rename(&topic, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &topic).unwrap();
    assert_eq!(kind(), ErrorKind::Io);
    fs::remove_file(&topic).unwrap();
    fs::rename(directory.0.join("topics"), directory.0.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", directory.0.join("topics")).unwrap();
    fs::remove_file(directory.0.join("log.meta")).unwrap();
    assert_eq!(kind(), ErrorKind::Io);
    assert!(!directory.0.join("log.meta").exists(), "nothing is made");
}

#[test]
fn paths_that_leave_the_simulation_are_refused() {
    let storage = SimulatedStorage::new();
    for bad in ["../a", "/a", "a/../../b"] {
        let opened = storage.open(path(bad), OpenMode::CreateNew);
        assert!(opened.is_err(), "{bad}");
    }
    assert_eq!(
        kind(storage.open(path(""), OpenMode::Read)),
        io::ErrorKind::InvalidInput
    );
    assert_eq!(storage.files(), []);
}

#[test]
fn damage_put_in_by_a_test_is_durable_and_seen_through_open_handles() {
    let storage = SimulatedStorage::new();
    storage.write_file("a/b/c", *b"abc").unwrap();
    let file = storage.open(path("a/b/c"), OpenMode::Read).unwrap();
    storage.flip_bit("a/b/c", 8).unwrap();
    let mut bytes = [0; 3];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 3);
    assert_eq!(&bytes, b"acc");
    for survival in super::ALL {
        let after = storage.crash(survival, 1);
        assert_eq!(after.read_file("a/b/c").unwrap(), b"acc", "{survival:?}");
        assert_eq!(after.files(), [(PathBuf::from("a/b/c"), 3)]);
    }
    assert_eq!(
        kind(storage.flip_bit("a/b/c", 24)),
        io::ErrorKind::UnexpectedEof
    );
    assert_eq!(kind(storage.flip_bit("x", 0)), io::ErrorKind::NotFound);
    assert_eq!(
        kind(storage.write_file("a/b", *b"x")),
        io::ErrorKind::IsADirectory
    );
    assert_eq!(
        kind(storage.write_file("a/b/c/d", *b"x")),
        io::ErrorKind::NotADirectory
    );
    assert_eq!(storage.read_file("a/b"), None);
}

#[test]
fn a_deep_copy_goes_its_own_way() {
    let storage = SimulatedStorage::new();
    let file = super::make(&storage, "a");
    super::write(&*file, b"one", 0);
    let copy = storage.deep_copy();
    super::write(&*file, b"two", 0);
    assert_eq!(copy.read_file("a").unwrap(), b"one");
    let after = copy.crash(topiclog::storage::Survival::Nothing, 0);
    assert_eq!(after.read_file("a").unwrap(), b"one");
    assert_eq!(storage.read_file("a").unwrap(), b"two");
}

/// The note was removed before the new one was written: whoever met that moment was told of no process.
#[test]
#[cfg(unix)]
fn whoever_is_refused_a_lock_is_told_by_whom() {
    let directory = Directory::new("noted");
    let storage = DiskStorage::create(&directory.0).unwrap();
    let notes = ["1111111", "22"];
    drop(storage.lock(path("LOCK"), notes[0]).unwrap());
    let (storage, refused) = (&storage, AtomicU32::new(0));
    let refused = &refused;
    std::thread::scope(|scope| {
        for note in notes {
            scope.spawn(move || {
                for _again in 0..5_000 {
                    if let Err(error) = storage.lock(path("LOCK"), note) {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        let told = error.to_string();
                        assert!(notes.contains(&&*told), "{told:?}");
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    eprintln!("{} refused", refused.load(Ordering::Relaxed));
}
