//! The three storages keep one contract, and the simulated one forgets what a real disk may forget.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod contract;
mod faults;
mod power_cuts;

use std::io;
use std::path::Path;
use std::sync::Arc;

use topiclog::storage::{OpenMode, SimulatedStorage, Storage, StorageFile, Survival};

const ALL: [Survival; 5] = [
    Survival::Everything,
    Survival::NamesOnly,
    Survival::Nothing,
    Survival::Random,
    Survival::Zeros,
];

fn path(path: &str) -> &Path {
    Path::new(path)
}

fn root() -> &'static Path {
    Path::new("")
}

fn make(storage: &SimulatedStorage, name: &str) -> Arc<dyn StorageFile> {
    storage.open(path(name), OpenMode::CreateNew).unwrap()
}

fn write(file: &dyn StorageFile, bytes: &[u8], position: u64) {
    assert_eq!(file.write_at(bytes, position).unwrap(), bytes.len());
}

/// A file that no power cut takes away.
fn durable(storage: &SimulatedStorage, name: &str, bytes: &[u8]) -> Arc<dyn StorageFile> {
    let file = make(storage, name);
    write(&*file, bytes, 0);
    file.sync_data().unwrap();
    storage.sync_dir(path(name).parent().unwrap()).unwrap();
    file
}

/// What a read returns after each of many random crashes, without doubles.
fn contents_after_crashes(storage: &SimulatedStorage, name: &str) -> Vec<Option<Vec<u8>>> {
    let crash = |seed| storage.crash(Survival::Random, seed).read_file(name);
    let mut contents: Vec<_> = (0..2_000).map(crash).collect();
    contents.sort();
    contents.dedup();
    contents
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().unwrap().kind()
}
