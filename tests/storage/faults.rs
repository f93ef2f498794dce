//! What the simulated storage does when it is told to fail, and when it is full.

use std::io;

use topiclog::storage::{Fault, OpenMode, OperationKind, SimulatedStorage, Storage, Survival};

use super::{durable, kind, make, path, root, write};

#[test]
fn a_fault_hits_at_its_operation_once_for_ever_or_until_it_heals() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    let lengths = |count: usize| -> Vec<bool> {
        let asked = (0..count).map(|_| file.len());
        asked.map(|length| length.is_ok()).collect()
    };
    assert_eq!(storage.operations(), 1);
    storage.fail(Fault::error(5).after(1));
    assert_eq!(lengths(3), [true, false, true]);
    storage.fail(Fault::error(5).at(5).times(2));
    assert_eq!(lengths(4), [true, false, false, true]);
    storage.fail(Fault::error(5).forever());
    assert_eq!(lengths(2), [false, false]);
    storage.heal();
    assert_eq!(lengths(1), [true]);
    assert_eq!((storage.operations(), storage.faults_hit()), (11, 5));
}

#[test]
fn a_fault_under_a_path_hits_what_is_done_there_and_nothing_else() {
    let storage = SimulatedStorage::new();
    for directory in ["d", "d/e", "de"] {
        storage.create_dir(path(directory)).unwrap();
    }
    let names = ["d/a", "d/e/b", "de/c", "f"];
    let files = names.map(|name| make(&storage, name));
    let fail = |under: &[&str]| {
        storage.heal();
        let fault = Fault::error(5).forever();
        let fault = under.iter().fold(fault, |fault, path| fault.under(*path));
        storage.fail(fault);
        files.each_ref().map(|file| file.len().is_err())
    };
    assert_eq!(fail(&["d"]), [true, true, false, false]);
    assert_eq!(fail(&["d/e/b"]), [false, true, false, false]);
    assert_eq!(fail(&["d/e", "f"]), [false, true, false, true]);
    assert_eq!(fail(&["x", "d/a/b"]), [false; 4]);
    assert_eq!(fail(&[""]), [true; 4]);
    assert_eq!(fail(&["d"]), [true, true, false, false]);
    storage
        .open(path("d/a"), OpenMode::Read)
        .map(drop)
        .unwrap_err();
    storage.list(path("d")).unwrap_err();
    storage.list(path("de")).unwrap();
    // Either of the two.
    storage.rename(path("f"), path("d/f")).unwrap_err();
    storage.rename(path("d/a"), path("a")).unwrap_err();
    storage.rename(path("f"), path("g")).unwrap();
    // A file is where it was moved to, and nowhere once it is removed.
    storage.heal();
    storage.rename(path("g"), path("d/g")).unwrap();
    assert_eq!(fail(&["d/g"]), [false, false, false, true]);
    storage.heal();
    storage.remove_file(path("d/g")).unwrap();
    assert_eq!(fail(&["d"]), [true, true, false, false]);
}

#[test]
fn every_operation_can_fail_and_then_has_done_nothing() {
    let storage = SimulatedStorage::new();
    storage.create_dir(path("empty")).unwrap();
    let file = durable(&storage, "a", b"abc");
    let changes = storage.journal().len();
    let before = storage.operations();
    storage.fail(Fault::error(24).forever());
    let results = [
        storage.open(path("a"), OpenMode::Read).map(drop),
        storage.open(path("b"), OpenMode::CreateNew).map(drop),
        storage.create_dir(path("d")),
        storage.rename(path("a"), path("b")),
        storage.remove_file(path("a")),
        storage.remove_dir(path("empty")),
        storage.list(root()).map(drop),
        storage.sync_dir(root()),
        storage.lock(path("lock"), "").map(drop),
        file.read_at(&mut [0], 0).map(drop),
        file.write_at(b"x", 0).map(drop),
        file.len().map(drop),
        file.is_empty().map(drop),
        file.set_len(0),
    ];
    let count = u64::try_from(results.len()).unwrap();
    for result in results {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(24));
    }
    assert_eq!(storage.operations() - before, count);
    assert_eq!(storage.faults_hit(), count);
    assert_eq!(storage.journal().len(), changes);
    assert_eq!(storage.read_file("a").unwrap(), b"abc");
    assert_eq!(storage.operations() - before, count);
}

#[test]
fn a_fault_of_one_kind_leaves_the_others_alone() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    let fault = Fault::error(28).forever().only(OperationKind::Write);
    storage.fail(fault.only(OperationKind::SetLen));
    assert_eq!(kind(file.write_at(b"x", 0)), io::ErrorKind::StorageFull);
    assert_eq!(kind(file.set_len(1)), io::ErrorKind::StorageFull);
    file.sync_data().unwrap();
    assert_eq!(file.len().unwrap(), 0);
}

#[test]
fn a_short_transfer_moves_about_half_and_never_nothing_unless_asked() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    let short = || storage.fail(Fault::short());
    short();
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    write(&*file, b"def", 3);
    let mut buffer = [0; 10];
    short();
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 3);
    short();
    assert_eq!(file.len().unwrap(), 6);
    assert_eq!(file.read_at(&mut buffer[..1], 0).unwrap(), 1);
    short();
    assert_eq!(file.write_at(b"x", 0).unwrap(), 1);
    storage.fail(Fault::zero().times(2));
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 0);
    assert_eq!(file.write_at(b"x", 0).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 6);
}

#[test]
fn a_refused_write_may_have_written_a_part() {
    let mut lengths: Vec<usize> = (0..200)
        .map(|seed| {
            let storage = SimulatedStorage::new();
            let file = make(&storage, "a");
            storage.fail(Fault::error(5).partial_writes(seed));
            assert_eq!(
                file.write_at(b"abc", 0).unwrap_err().raw_os_error(),
                Some(5)
            );
            let content = storage.read_file("a").unwrap();
            assert!(b"abc".starts_with(&content));
            content.len()
        })
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    assert_eq!(lengths, [0, 1, 2, 3]);
}

#[test]
fn a_full_disk_takes_what_fits_then_nothing_and_goes_on_once_space_is_free() {
    let storage = SimulatedStorage::new();
    let old = durable(&storage, "old", b"0123456789");
    let file = make(&storage, "new");
    storage.set_capacity(Some(14));
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 4);
    assert_eq!(kind(file.write_at(b"ef", 4)), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(b"ABCD", 0).unwrap(), 4);
    assert_eq!(kind(file.set_len(5)), io::ErrorKind::StorageFull);
    old.set_len(9).unwrap();
    assert_eq!(file.write_at(b"ef", 4).unwrap(), 1);
    assert_eq!(kind(file.write_at(b"f", 5)), io::ErrorKind::StorageFull);
    storage.remove_file(path("old")).unwrap();
    let while_open = kind(file.write_at(b"f", 5));
    assert_eq!(while_open, io::ErrorKind::StorageFull);
    drop(old);
    assert_eq!(file.write_at(b"fghi", 5).unwrap(), 4);
    storage.set_capacity(None);
    assert_eq!(file.write_at(&[0; 100], 9).unwrap(), 100);
    assert!(storage.lock(path("lock"), "note").is_ok());
}

#[test]
fn a_lock_is_taken_on_a_full_disk() {
    let storage = SimulatedStorage::new();
    storage.set_capacity(Some(2));
    let lock = storage.lock(path("lock"), "process 7").unwrap();
    assert!(lock.still_holds());
    assert_eq!(storage.read_file("lock").unwrap(), b"pr");
}

#[test]
fn names_whose_sync_failed_are_durable_after_the_next_one() {
    let storage = SimulatedStorage::new();
    make(&storage, "a");
    storage.fail(Fault::error(24).only(OperationKind::SyncDir));
    assert!(storage.sync_dir(root()).is_err());
    assert_eq!(storage.crash(Survival::Nothing, 0).files(), []);
    storage.sync_dir(root()).unwrap();
    assert_eq!(storage.crash(Survival::Nothing, 0).files().len(), 1);
}

#[test]
fn a_write_at_a_wild_position_is_an_error() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    for position in [u64::MAX, u64::MAX - 1, 1 << 40] {
        assert!(file.write_at(b"x", position).is_err());
    }
    assert!(file.set_len(u64::MAX).is_err());
    assert_eq!(file.len().unwrap(), 0);
}
