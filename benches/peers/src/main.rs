//! topiclog beside the crates that its users would take instead. See `benches/README.md`.
//!
//! ```text
//! cargo run --release -- [FILTER] [--rounds N] [--quick]
//! ```

mod cell;
mod report;
mod store;
mod subjects;
mod values;
mod workloads;

use std::path::{Path, PathBuf};

use report::Row;
use store::Outcome;
use workloads::{WORKLOADS, Workload};

const USAGE: &str = "usage: topiclog-peers [FILTER] [--rounds N] [--quick]";

/// What was asked for on the command line.
struct Arguments {
    filter: Option<String>,
    rounds: usize,
    quick: bool,
}

impl Arguments {
    fn parse(given: &[String]) -> Option<Self> {
        let mut arguments = Self {
            filter: None,
            rounds: 5,
            quick: false,
        };
        let mut given = given.iter();
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--quick" => arguments.quick = true,
                "--rounds" => {
                    arguments.rounds = given.next()?.parse().ok().filter(|count| *count > 0)?;
                }
                option if option.starts_with('-') => return None,
                filter => arguments.filter = Some(filter.to_owned()),
            }
        }
        Some(arguments)
    }

    fn wants(&self, workload: &Workload) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| workload.name.contains(filter.as_str()))
    }
}

fn main() -> Outcome {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = given.split_first()
        && first == cell::ARGUMENT
    {
        return cell::run(rest);
    }
    let arguments = Arguments::parse(&given).ok_or(USAGE)?;
    let wanted: Vec<_> = WORKLOADS
        .iter()
        .filter(|known| arguments.wants(known))
        .collect();
    if wanted.is_empty() {
        let known: Vec<_> = WORKLOADS.iter().map(|known| known.name).collect();
        return Err(format!("no workload of that name among {}", known.join(", ")).into());
    }
    let mut failed = false;
    for workload in wanted {
        let records = workload.records / if arguments.quick { 10 } else { 1 };
        let mut rows: Vec<Row> = workload.subjects().map(Row::new).collect();
        // A virtual machine may get the memory of its page cache only now: that is not the first one's
        // cost, so its first time does not count.
        if let Some(first) = workload.subjects().next() {
            measure(workload, &mut Row::new(first), records)?;
        }
        for round in 1..=arguments.rounds {
            // In turns, since a shared machine changes its speed by the minute.
            for row in &mut rows {
                eprintln!("{}, round {round}: {}", workload.name, row.subject.name);
                measure(workload, row, records)?;
            }
        }
        failed |= rows.iter().any(|row| row.failure.is_some());
        report::print(workload, records, &rows);
    }
    if failed {
        return Err("some measurements failed: the tables say which".into());
    }
    Ok(())
}

/// Adds one round to a row, unless the store does not promise what is measured, or has failed before.
fn measure(workload: &Workload, row: &mut Row, records: usize) -> Outcome {
    if row.failure.is_some() || row.subject.promise(workload.level()).is_err() {
        return Ok(());
    }
    let directory = Directory::new()?;
    match cell::measure(workload, row.subject, records, &directory.0) {
        Ok(took) => row.took.push(took),
        Err(error) => row.failure = Some(error.to_string()),
    }
    Ok(())
}

/// An empty directory on the disk that is measured, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Outcome<Self> {
        let root = match std::env::var_os("TOPICLOG_BENCH_DIR") {
            Some(root) => PathBuf::from(root),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/data"),
        };
        // One at a time is in use.
        let path = root.join(format!("topiclog-peers-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}
