//! What a node of Kafka answered step by step, and what a log answers to the same steps.

use super::recorded::lines;
use super::runner::Runner;

#[test]
fn a_consumer_reads_seeks_and_commits_as_in_kafka() {
    run(include_str!("recorded/consumer.txt"), 80);
}

#[test]
fn members_share_and_hand_over_as_in_kafka() {
    run(include_str!("recorded/members.txt"), 8);
}

#[test]
fn a_group_is_reset_as_by_kafkas_tool() {
    run(include_str!("recorded/resets.txt"), 30);
}

/// Runs all scripts of a file, and shows the first step of each that Kafka does otherwise.
fn run(file: &'static str, least: usize) {
    let scripts: Vec<_> = file.split("### ").skip(1).collect();
    assert!(scripts.len() >= least, "{} scripts only", scripts.len());
    let wrong: Vec<_> = scripts
        .into_iter()
        .filter_map(|script| {
            let (name, steps) = script.split_once('\n').unwrap();
            let mut runner = Runner::new();
            lines(steps).find_map(|line| {
                let ours = runner.check(line.question, line.answer).err()?;
                Some(format!("{name}: {line:?}, and here {ours}"))
            })
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
