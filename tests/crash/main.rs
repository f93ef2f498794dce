//! The power is cut at every operation of every workload, in every way in which a disk may forget.
//!
//! Each workload notes what it tries and what was acknowledged to it. A cut after any operation leaves
//! many states; each is opened and held against the notes (`crash/check.rs`).
//!
//! `TOPICLOG_SEED` replays a run, `TOPICLOG_STATES` makes it larger.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::similar_names,
    clippy::unused_self,
    reason = "a test may panic"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

mod check;
#[path = "../common/mod.rs"]
mod common;
mod forgetful;
mod workloads;
mod world;

use check::{Cuts, Level};
use topiclog::Durability;
use world::World;

/// Cuts the power at every operation, and says how many states that made.
fn cut_everywhere(name: &str, variants: u64, run: impl FnOnce(&mut World)) {
    let mut world = World::new(name);
    run(&mut world);
    let cuts = Cuts::of(world, variants * common::scale());
    let states = cuts.power_cuts(Level::Disk);
    eprintln!("{name}: {} operations, {states} states", cuts.operations());
}

/// Also cuts the power during the opening after a cut.
fn cut_twice(name: &str, every: usize, run: impl FnOnce(&mut World)) {
    let mut world = World::new(name);
    run(&mut world);
    let cuts = Cuts::of(world, 1);
    let states = cuts.double_cuts(every, common::scale());
    eprintln!(
        "{name}: {} operations, {states} double cuts",
        cuts.operations()
    );
}

/// Kills the process at every operation; then goes on, and cuts the power.
fn kill_everywhere(name: &str, level: Level, run: impl FnOnce(&mut World)) {
    let mut world = World::new(name);
    run(&mut world);
    let cuts = Cuts::of(world, common::scale());
    let states = cuts.kills(level);
    eprintln!("{name}: {} operations, {states} kills", cuts.operations());
}

#[test]
fn waited_sends_survive_a_power_cut_at_any_operation() {
    cut_everywhere("waited sends", 40, |world| {
        workloads::waited(world, Durability::Disk);
    });
}

#[test]
fn flushed_batches_survive_a_power_cut_at_any_operation() {
    cut_everywhere("batches", 40, |world| {
        workloads::batches(world, Durability::Disk);
    });
}

#[test]
fn rolling_segments_survives_a_power_cut_at_any_operation() {
    cut_everywhere("rolls", 40, |world| {
        workloads::rolls(world, Durability::Disk);
    });
}

#[test]
fn long_segments_survive_a_power_cut_at_any_operation() {
    cut_everywhere("long", 12, |world| {
        workloads::long(world, Durability::Disk);
    });
    cut_everywhere("os long", 6, |world| {
        workloads::long(world, Durability::Os);
    });
    cut_twice("long twice", 29, |world| {
        workloads::long(world, Durability::Disk);
    });
}

#[test]
fn retention_survives_a_power_cut_at_any_operation() {
    cut_everywhere("retention", 40, |world| {
        workloads::retention(world, Durability::Disk);
    });
}

#[test]
fn deleted_records_stay_deleted_after_a_power_cut_at_any_operation() {
    cut_everywhere("delete records", 40, |world| {
        workloads::delete_records(world, Durability::Disk);
    });
    cut_everywhere("delete all", 20, |world| {
        workloads::delete_all(world, Durability::Disk);
    });
}

#[test]
fn topics_come_and_go_whole_with_a_power_cut_at_any_operation() {
    cut_everywhere("topics", 40, workloads::topics);
}

#[test]
fn altered_options_survive_a_power_cut_at_any_operation() {
    cut_everywhere("alter", 40, workloads::alter);
}

#[test]
fn closing_and_opening_survives_a_power_cut_at_any_operation() {
    cut_everywhere("close and open", 40, |world| {
        workloads::reopen(world, Durability::Disk);
    });
}

#[test]
fn a_topic_at_level_os_keeps_a_prefix_after_a_power_cut_at_any_operation() {
    cut_everywhere("os rolls", 20, |world| {
        workloads::rolls(world, Durability::Os);
    });
    cut_everywhere("os delete records", 12, |world| {
        workloads::delete_records(world, Durability::Os);
    });
    cut_everywhere("os delete all", 10, |world| {
        workloads::delete_all(world, Durability::Os);
    });
    cut_everywhere("os retention", 10, |world| {
        workloads::retention(world, Durability::Os);
    });
    cut_everywhere("os close and open", 12, |world| {
        workloads::reopen(world, Durability::Os);
    });
}

#[test]
fn a_topic_at_level_memory_keeps_a_prefix_after_a_power_cut_at_any_operation() {
    cut_everywhere("memory batches", 10, |world| {
        workloads::batches(world, Durability::Memory);
    });
    cut_everywhere("memory rolls", 10, |world| {
        workloads::rolls(world, Durability::Memory);
    });
    cut_everywhere("memory close", 6, |world| {
        workloads::reopen(world, Durability::Memory);
    });
}

#[test]
fn a_second_power_cut_at_any_operation_of_recovery_loses_nothing_more() {
    cut_twice("rolls twice", 11, |world| {
        workloads::rolls(world, Durability::Disk);
    });
    cut_twice("batches twice", 11, |world| {
        workloads::batches(world, Durability::Disk);
    });
    cut_twice("os rolls twice", 11, |world| {
        workloads::rolls(world, Durability::Os);
    });
    cut_twice("topics twice", 17, workloads::topics);
}

#[test]
fn a_second_power_cut_at_any_operation_of_recovery_brings_nothing_back() {
    cut_twice("retention twice", 23, |world| {
        workloads::retention(world, Durability::Disk);
    });
    cut_twice("delete twice", 17, |world| {
        workloads::delete_records(world, Durability::Disk);
    });
    cut_twice("delete all twice", 17, |world| {
        workloads::delete_all(world, Durability::Disk);
    });
    cut_twice("reopen twice", 17, |world| {
        workloads::reopen(world, Durability::Disk);
    });
}

#[test]
fn a_killed_process_keeps_what_was_acknowledged_at_level_os() {
    kill_everywhere("os rolls killed", Level::Os, |world| {
        workloads::rolls(world, Durability::Os);
    });
    kill_everywhere("os batches killed", Level::Os, |world| {
        workloads::batches(world, Durability::Os);
    });
    kill_everywhere("os long killed", Level::Os, |world| {
        workloads::long(world, Durability::Os);
    });
    kill_everywhere("os delete killed", Level::Os, |world| {
        workloads::delete_records(world, Durability::Os);
    });
}

#[test]
fn what_follows_a_kill_survives_a_power_cut() {
    kill_everywhere("rolls killed", Level::Os, |world| {
        workloads::rolls(world, Durability::Disk);
    });
    kill_everywhere("topics killed", Level::Os, workloads::topics);
    kill_everywhere("alter killed", Level::Os, workloads::alter);
    kill_everywhere("retention killed", Level::Os, |world| {
        workloads::retention(world, Durability::Disk);
    });
    kill_everywhere("reopen killed", Level::Os, |world| {
        workloads::reopen(world, Durability::Disk);
    });
}

/// Leaves out each sync of a workload in turn, and wants the cuts to find that something is lost.
fn leave_out_each_sync(name: &str, run: impl Fn(&mut World)) {
    let mut world = World::new(name);
    run(&mut world);
    let syncs = world.medium.asked();
    for (number, sync) in syncs.iter().enumerate() {
        // An opening syncs all names, which a process that died may have left as they were.
        if (1..=4).contains(&number) {
            assert!(sync.starts_with("names of"), "{name}: {sync}");
            continue;
        }
        let mut world = World::forgetting(name, Some(number));
        run(&mut world);
        let cuts = Cuts::of(world, 6);
        let found = catch_unwind(AssertUnwindSafe(|| cuts.power_cuts(Level::Disk)));
        assert!(
            found.is_err(),
            "{name}: nobody misses sync {number}, {sync}"
        );
    }
    eprintln!("{name}: {} syncs", syncs.len());
}

/// Hundreds of failures are wanted here, and each tells its story: the last one counts.
#[test]
fn every_sync_is_missed_if_it_is_left_out() {
    leave_out_each_sync("waited", |world| workloads::waited(world, Durability::Disk));
    leave_out_each_sync("rolls", |world| workloads::rolls(world, Durability::Disk));
    leave_out_each_sync("long", |world| workloads::long(world, Durability::Disk));
    leave_out_each_sync("topics", workloads::topics);
}
