//! What a power cut takes from the simulated storage, and what it never takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use topiclog::storage::{Fault, OpenMode, OperationKind, SimulatedStorage, Storage, Survival};

use super::{ALL, contents_after_crashes, durable, make, path, root, write};

#[test]
fn bytes_survive_a_power_cut_only_after_a_sync() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", b"kept");
    write(&*file, b"XX", 1);
    write(&*file, b" lost", 4);
    let left = |survival| storage.crash(survival, 0).read_file("a").unwrap();
    assert_eq!(left(Survival::Nothing), b"kept");
    assert_eq!(left(Survival::NamesOnly), b"kept");
    assert_eq!(left(Survival::Zeros), b"kept\0\0\0\0\0");
    assert_eq!(left(Survival::Everything), b"kXXt lost");
    file.sync_data().unwrap();
    for survival in ALL {
        let after = storage.crash(survival, 5);
        assert_eq!(after.read_file("a").unwrap(), b"kXXt lost", "{survival:?}");
    }
}

#[test]
fn a_name_survives_a_power_cut_only_after_its_directory_is_synced() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    write(&*file, b"synced", 0);
    file.sync_all().unwrap();
    assert_eq!(storage.crash(Survival::Nothing, 0).files(), []);
    let after = storage.crash(Survival::NamesOnly, 0);
    assert_eq!(after.read_file("a").unwrap(), b"synced");
    assert_eq!(
        contents_after_crashes(&storage, "a"),
        [None, Some(b"synced".to_vec())]
    );
    storage.sync_dir(root()).unwrap();
    let after = storage.crash(Survival::Nothing, 0);
    assert_eq!(after.read_file("a").unwrap(), b"synced");
}

#[test]
fn a_name_without_synced_bytes_names_an_empty_file() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    write(&*file, b"lost", 0);
    storage.sync_dir(root()).unwrap();
    let after = storage.crash(Survival::Nothing, 0);
    assert_eq!(after.read_file("a").unwrap(), b"");
}

#[test]
fn a_directory_without_a_durable_name_vanishes_with_all_below_it() {
    let storage = SimulatedStorage::new();
    storage.create_dir(path("d")).unwrap();
    durable(&storage, "d/f", b"x");
    assert_eq!(storage.crash(Survival::Nothing, 0).files(), []);
    assert!(
        storage
            .crash(Survival::Nothing, 0)
            .list(root())
            .unwrap()
            .is_empty()
    );
    storage.sync_dir(root()).unwrap();
    let after = storage.crash(Survival::Nothing, 0);
    assert_eq!(after.files(), [(PathBuf::from("d/f"), 1)]);
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let storage = SimulatedStorage::new();
    durable(&storage, "a", b"x");
    storage.remove_file(path("a")).unwrap();
    assert_eq!(
        contents_after_crashes(&storage, "a"),
        [None, Some(b"x".to_vec())]
    );
    storage.sync_dir(root()).unwrap();
    assert_eq!(contents_after_crashes(&storage, "a"), [None]);
}

#[test]
fn a_rename_leaves_the_old_name_or_the_new_one_and_either_content_whole() {
    let storage = SimulatedStorage::new();
    durable(&storage, "new", b"new");
    durable(&storage, "there", b"old");
    storage.rename(path("new"), path("there")).unwrap();
    let mut seen = [0, 0];
    for seed in 0..1_000 {
        let after = storage.crash(Survival::Random, seed);
        let there = after.read_file("there").unwrap();
        if let Some(new) = after.read_file("new") {
            assert_eq!((new, there), (b"new".to_vec(), b"old".to_vec()));
            seen[0] += 1;
        } else {
            assert_eq!(there, b"new");
            seen[1] += 1;
        }
    }
    assert!(seen[0] > 100 && seen[1] > 100, "{seen:?}");
}

#[test]
fn a_rename_of_an_unsynced_file_may_leave_it_empty() {
    let storage = SimulatedStorage::new();
    durable(&storage, "there", b"old");
    let file = make(&storage, "there.tmp");
    write(&*file, b"new", 0);
    storage.rename(path("there.tmp"), path("there")).unwrap();
    storage.sync_dir(root()).unwrap();
    let after = storage.crash(Survival::Nothing, 0);
    assert_eq!(after.read_file("there").unwrap(), b"");
}

#[test]
fn a_move_between_directories_is_durable_once_both_are_synced_and_never_loses_the_file() {
    for (first, second) in [("from", "to"), ("to", "from")] {
        let storage = SimulatedStorage::new();
        storage.create_dir(path("from")).unwrap();
        storage.create_dir(path("to")).unwrap();
        storage.sync_dir(root()).unwrap();
        durable(&storage, "from/a", b"x");
        storage.rename(path("from/a"), path("to/b")).unwrap();
        storage.sync_dir(path(first)).unwrap();
        for seed in 0..100 {
            let files = storage.crash(Survival::Random, seed).files();
            assert_eq!(files.len(), 1, "{files:?}");
        }
        let after = storage.crash(Survival::Nothing, 0);
        assert_eq!(after.files(), [(PathBuf::from("from/a"), 1)]);
        storage.sync_dir(path(second)).unwrap();
        let after = storage.crash(Survival::Nothing, 0);
        assert_eq!(after.files(), [(PathBuf::from("to/b"), 1)]);
    }
}

#[test]
fn a_name_given_anew_never_loses_the_file_that_had_it() {
    let storage = SimulatedStorage::new();
    durable(&storage, "a", b"first");
    storage.rename(path("a"), path("b")).unwrap();
    durable_bytes(&storage, "a", b"second");
    for seed in 0..1_000 {
        let after = storage.crash(Survival::Random, seed);
        let kept = ["a", "b"].map(|name| after.read_file(name).unwrap_or_default());
        assert!(kept.contains(&b"first".to_vec()), "{kept:?}");
    }
}

#[test]
fn names_that_have_nothing_in_common_survive_in_any_combination() {
    let storage = SimulatedStorage::new();
    durable(&storage, "a", b"");
    storage.rename(path("a"), path("b")).unwrap();
    make(&storage, "c");
    storage.create_dir(path("d")).unwrap();
    let names = |seed| {
        let entries = storage.crash(Survival::Random, seed).list(root()).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    };
    let mut seen: Vec<Vec<String>> = (0..1_000).map(names).collect();
    seen.sort();
    seen.dedup();
    let seen: Vec<String> = seen.iter().map(|names| names.concat()).collect();
    assert_eq!(seen, ["a", "ac", "acd", "ad", "b", "bc", "bcd", "bd"]);
}

#[test]
fn a_durable_removal_takes_along_the_unsynced_names_that_the_file_had_before() {
    let storage = SimulatedStorage::new();
    storage.create_dir(path("d")).unwrap();
    storage.sync_dir(root()).unwrap();
    make(&storage, "a");
    storage.rename(path("a"), path("d/b")).unwrap();
    storage.remove_file(path("d/b")).unwrap();
    storage.sync_dir(path("d")).unwrap();
    for seed in 0..100 {
        assert_eq!(storage.crash(Survival::Random, seed).files(), []);
    }
}

/// A file whose bytes are synced and whose name is not.
fn durable_bytes(storage: &SimulatedStorage, name: &str, bytes: &[u8]) {
    let file = make(storage, name);
    write(&*file, bytes, 0);
    file.sync_data().unwrap();
}

#[test]
fn unsynced_writes_survive_in_any_combination() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", b"...");
    for position in 0..3 {
        write(&*file, b"x", position);
    }
    let whole = |content: &Option<Vec<u8>>| {
        let content = content.as_ref().unwrap();
        content.iter().all(|byte| b".x".contains(byte))
    };
    let contents = contents_after_crashes(&storage, "a");
    assert!(contents.iter().all(whole), "{contents:?}");
    assert_eq!(contents.len(), 8, "{contents:?}");
}

#[test]
fn an_unsynced_cut_may_be_undone_and_a_synced_one_not() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", b"abcdef");
    file.set_len(2).unwrap();
    assert_eq!(
        contents_after_crashes(&storage, "a"),
        [Some(b"ab".to_vec()), Some(b"abcdef".to_vec())]
    );
    file.sync_data().unwrap();
    file.set_len(4).unwrap();
    let left = storage.crash(Survival::Everything, 0);
    assert_eq!(left.read_file("a").unwrap(), b"ab\0\0");
    let left = storage.crash(Survival::Nothing, 0);
    assert_eq!(left.read_file("a").unwrap(), b"ab");
}

#[test]
fn a_torn_write_spoils_no_synced_byte() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", &[1; 700]);
    write(&*file, &[2; 2_000], 100);
    let (mut cut, mut zeros, mut noise, mut holes) = (0, 0, 0, 0);
    for content in contents_after_crashes(&storage, "a") {
        let content = content.unwrap();
        assert!(content[..100].iter().all(|byte| *byte == 1));
        let synced = &content[100..700];
        assert!(synced.iter().all(|byte| [1, 2].contains(byte)));
        for sector in [&synced[..412], &synced[412..]] {
            assert!(sector.iter().all(|byte| *byte == sector[0]));
        }
        let fresh = &content[700..];
        cut += usize::from(content.len() % 512 == 0);
        zeros += usize::from(content.len() == 2_100 && fresh.iter().all(|byte| *byte == 0));
        noise += usize::from(fresh.iter().any(|byte| *byte > 2));
        holes += usize::from(fresh.contains(&0) && fresh.ends_with(&[2]));
    }
    assert!(
        cut > 0 && zeros > 0 && noise > 0 && holes > 0,
        "{cut} cut, {zeros} zeros, {noise} noise, {holes} with holes"
    );
}

#[test]
fn a_failed_sync_loses_the_pages_though_a_later_one_succeeds() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", b"kept");
    write(&*file, b"lost", 4);
    storage.fail(Fault::error(5).only(OperationKind::Sync));
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    assert_eq!(storage.read_file("a").unwrap(), b"keptlost");
    let left = |survival| storage.crash(survival, 0).read_file("a").unwrap();
    assert_eq!(left(Survival::Nothing), b"kept");
    assert_eq!(left(Survival::Everything), b"keptlost");

    write(&*file, b"more", 8);
    file.sync_all().unwrap();
    assert_eq!(left(Survival::Nothing), b"kept\0\0\0\0more");
    assert_eq!(left(Survival::Everything), b"keptlostmore");
    assert!(contents_after_crashes(&storage, "a").contains(&Some(b"keptlostmore".to_vec())));

    write(&*file, b"anew", 4);
    file.sync_all().unwrap();
    assert_eq!(left(Survival::Nothing), b"keptanewmore");
    assert_eq!(
        contents_after_crashes(&storage, "a"),
        [Some(b"keptanewmore".to_vec())]
    );
}

#[test]
fn what_survived_a_first_power_cut_survives_the_second() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", b"one");
    write(&*file, b"two", 3);
    make(&storage, "b");
    for survival in ALL {
        let after = storage.crash(survival, 3);
        let again = after.crash(Survival::Nothing, 0);
        assert_eq!(after.files(), again.files(), "{survival:?}");
        assert_eq!(after.read_file("a"), again.read_file("a"), "{survival:?}");

        let left = after.read_file("a").unwrap();
        let file = after.open(path("a"), OpenMode::ReadWrite).unwrap();
        file.set_len(0).unwrap();
        write(&*file, b"recovered", 0);
        let again = after.crash(Survival::Nothing, 0);
        assert_eq!(again.read_file("a"), Some(left), "{survival:?}");
        file.sync_data().unwrap();
        let again = after.crash(Survival::Nothing, 0);
        assert_eq!(again.read_file("a").unwrap(), b"recovered", "{survival:?}");
    }
}

#[test]
fn a_killed_process_leaves_everything_and_makes_nothing_durable() {
    let storage = SimulatedStorage::new();
    let file = durable(&storage, "a", b"one");
    write(&*file, b"two", 3);
    let lock = storage.lock(path("lock"), "owner").unwrap();
    let killed = storage.kill();
    assert!(lock.still_holds());
    assert!(killed.lock(path("lock"), "next").is_ok());
    assert_eq!(killed.read_file("a").unwrap(), b"onetwo");
    let left = killed.crash(Survival::Nothing, 0);
    assert_eq!(left.read_file("a").unwrap(), b"one");

    let journal = storage.journal();
    assert_eq!(journal.kill(1).read_file("a").unwrap(), b"");
    assert_eq!(journal.kill(1).journal().len(), 1);
    let file = killed.open(path("a"), OpenMode::ReadWrite).unwrap();
    file.sync_data().unwrap();
    let left = killed.crash(Survival::Nothing, 0);
    assert_eq!(left.read_file("a").unwrap(), b"onetwo");
}

#[test]
fn a_crash_releases_locks_and_takes_faults_back() {
    let storage = SimulatedStorage::new();
    let _lock = storage.lock(path("lock"), "owner").unwrap();
    storage.fail(Fault::error(5).forever());
    storage.set_capacity(Some(0));
    let after = storage.crash(Survival::Everything, 0);
    assert!(after.lock(path("lock"), "next").is_ok());
    assert_eq!(after.read_file("lock").unwrap(), b"next");
}

#[test]
fn a_journal_knows_what_was_acknowledged_at_each_moment() {
    let storage = SimulatedStorage::new();
    let file = make(&storage, "a");
    storage.mark(1);
    write(&*file, b"x", 0);
    storage.mark(2);
    storage.mark(3);
    let journal = storage.journal();
    write(&*file, b"y", 0);
    assert_eq!((journal.len(), journal.is_empty()), (2, false));
    assert_eq!(storage.journal().len(), 3);
    let acknowledged = [0, 1, 2, 9].map(|k| journal.acknowledged_before(k));
    assert_eq!(acknowledged, [None, Some(1), Some(3), Some(3)]);
    assert_eq!(journal.marks_before(2).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!([0, 1, 2].map(|k| journal.unsynced(k)), [0, 1, 2]);
}

/// A generator of its own, so that the test does not draw what the storage draws.
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*seed >> 33) % below
}

fn pick<T: Copy>(seed: &mut u64, from: &[T]) -> T {
    let count = u64::try_from(from.len()).unwrap();
    let at = usize::try_from(draw(seed, count)).unwrap();
    *from.get(at).unwrap()
}

/// One random operation, which changes at most one thing; errors are as welcome as successes.
fn step(storage: &SimulatedStorage, seed: &mut u64) {
    let names = ["a", "b", "d/a", "d/b", "e/a", "e/b", "d", "e", "d/e"];
    let (one, other) = (path(pick(seed, &names)), path(pick(seed, &names)));
    let position = draw(seed, 2_000);
    let bytes = vec![b'x'; usize::try_from(draw(seed, 1_500)).unwrap()];
    let file = || storage.open(one, OpenMode::ReadWrite);
    let _any = match draw(seed, 16) {
        0..=2 => storage.open(one, OpenMode::CreateNew).map(drop),
        3..=5 => file().and_then(|file| file.write_at(&bytes, position).map(drop)),
        6 => file().and_then(|file| file.set_len(position)),
        7..=8 => file().and_then(|file| file.sync_data()),
        9..=10 => storage.sync_dir(one.parent().unwrap()),
        11 => storage.create_dir(one),
        12 => storage.remove_file(one),
        13 => storage.remove_dir(one),
        14 => storage.rename(one, other),
        _ => {
            storage.fail(Fault::error(5).only(OperationKind::Sync));
            Ok(())
        }
    };
}

type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn contents(storage: &SimulatedStorage) -> Contents {
    let files = storage.files().into_iter();
    files
        .map(|(path, _)| (path.clone(), storage.read_file(&path)))
        .collect()
}

#[test]
fn at_every_moment_a_kill_leaves_what_was_visible_and_the_same_seed_the_same_crash() {
    for history in 0..300 {
        let mut seed = history;
        let storage = SimulatedStorage::new();
        let mut visible = vec![contents(&storage)];
        for _ in 0..60 {
            step(&storage, &mut seed);
            let now = contents(&storage);
            visible.resize(storage.journal().len() + 1, now);
        }
        let journal = storage.journal();
        for k in (0..=journal.len()).rev().chain(0..=journal.len()) {
            let everything = journal.crash(k, Survival::Everything, history);
            assert_eq!(
                contents(&everything),
                visible[k],
                "history {history} at {k}"
            );
            if k % 8 == 0 {
                assert!(
                    contents(&journal.kill(k)) == visible[k],
                    "history {history} at {k}"
                );
                let random = contents(&journal.crash(k, Survival::Random, history));
                let apart = journal.clone();
                let again = contents(&apart.crash(k, Survival::Random, history));
                assert!(random == again, "history {history} at {k}");
            }
        }
        let now = storage.crash(Survival::Random, history);
        let then = journal.crash(journal.len(), Survival::Random, history);
        assert!(contents(&now) == contents(&then), "history {history}");
    }
}

#[test]
fn at_every_moment_what_is_durable_survives_every_power_cut() {
    for history in 0..200 {
        let mut seed = history;
        let storage = SimulatedStorage::new();
        storage.create_dir(path("safe")).unwrap();
        storage.sync_dir(root()).unwrap();
        let file = durable(&storage, "safe/file", b"");
        let safe = storage.journal().len();
        for count in 1..=40_u64 {
            step(&storage, &mut seed);
            storage.heal();
            if count % 4 == 0 {
                let length = file.len().unwrap();
                write(&*file, &[u8::try_from(count).unwrap(); 300], length);
                file.sync_data().unwrap();
                storage.mark(length + 300);
            }
        }
        let whole = storage.read_file("safe/file").unwrap();
        let journal = storage.journal();
        for k in safe..=journal.len() {
            let kept = journal.acknowledged_before(k).unwrap_or(0);
            let kept = &whole[..usize::try_from(kept).unwrap()];
            for (variant, survival) in ALL.into_iter().enumerate() {
                let after = journal.crash(k, survival, history + u64::try_from(variant).unwrap());
                let found = after.read_file("safe/file").unwrap();
                assert!(
                    found.starts_with(kept),
                    "history {history} at {k}: {survival:?}"
                );
            }
        }
    }
}
