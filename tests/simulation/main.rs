//! The whole system in one thread: producers, groups, time, failing storage, crashes; every step drawn from
//! a seed, and the history of what the clients saw held against the promises.
//!
//! `TOPICLOG_SEED=17` replays one history and prints its steps; `TOPICLOG_HISTORIES=20000` runs more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::too_many_arguments,
    reason = "a test may panic"
)]

mod broken;
mod checker;
mod checker_log;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod history;
mod members;
mod offsets;
mod recorder;
mod sending;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use world::World;

const HISTORIES: u64 = 4000;
const STEPS: u64 = 120;

/// Says which history failed, and how it went.
struct Story(u64, World);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let trace = &self.1.trace;
            let from = trace.len().saturating_sub(40);
            eprintln!("history TOPICLOG_SEED={} ended with:", self.0);
            for (number, step) in trace.iter().enumerate().skip(from) {
                eprintln!("{number:4} {step}");
            }
        }
    }
}

fn step(world: &mut World) {
    match world.rng.below(100) {
        0..=15 => world.send(),
        16..=20 => world.send_all(),
        21..=23 => world.flush(),
        24..=29 => {
            let millis = world.rng.pick(&[1, 5, 20, 500]);
            world.pass(Duration::from_millis(millis));
        }
        30..=32 => {
            let seconds = world.rng.pick(&[1, 6, 11, 31, 31, 70]);
            world.pass(Duration::from_secs(seconds));
        }
        33..=37 => world.tidy(),
        38..=61 => world.poll_any(),
        62..=66 => world.commit(),
        67..=69 => world.commit_some(),
        70..=73 => world.commit_async(),
        74 | 75 => world.seek(),
        76 | 77 => world.pause(),
        78..=82 => world.join(),
        83..=85 => world.leave(),
        86 => world.remove_members(),
        87 => world.describe(),
        88 | 89 => match world.rng.below(4) {
            0 => world.delete_topic(),
            1 => world.add_partitions(),
            2 => world.delete_records(),
            _ => world.make_topic(),
        },
        90 => world.contents(false),
        91..=93 => world.break_something(),
        94 => world.fill_disk(),
        95..=97 => world.heal(),
        _ => world.crash(),
    }
    world.observe();
}

/// One history; returns what happened in it.
fn run(seed: u64, aloud: bool) -> Vec<String> {
    let mut story = Story(seed, World::new(seed, aloud));
    let world = &mut story.1;
    for _ in 0..3 {
        world.join();
    }
    for _ in 0..world.rng.below(STEPS) + STEPS / 2 {
        step(world);
    }
    world.drain();
    std::mem::take(&mut story.1.trace)
}

#[test]
fn a_history_of_everything_keeps_every_promise() {
    if let Some(seed) = common::number_from("TOPICLOG_SEED") {
        run(seed, true);
        return;
    }
    let histories = common::number_from("TOPICLOG_HISTORIES").unwrap_or(HISTORIES);
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= histories {
                        return;
                    }
                    run(seed, false);
                }
            });
        }
    });
}

#[test]
fn a_seed_gives_the_same_history_again() {
    for seed in 0..20 {
        let (first, second) = (run(seed, false), run(seed, false));
        for (number, (one, other)) in first.iter().zip(&second).enumerate() {
            assert_eq!(one, other, "step {number} of TOPICLOG_SEED={seed}");
        }
        assert_eq!(first.len(), second.len(), "TOPICLOG_SEED={seed}");
    }
}
