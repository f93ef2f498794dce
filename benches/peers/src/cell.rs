//! One measurement. Every one is a process of its own: no store's threads, memory or open files reach
//! into another's figures, and what is opened for reading has not just been written by the reader.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::store::{Outcome, Setting, Store, Subject};
use crate::values::{Tally, Values, generate};
use crate::workloads::{BATCH, WORKLOADS, Work, Workload};

/// The first argument of a process that is a cell.
pub(crate) const ARGUMENT: &str = "--cell";

/// Before the one line that a cell prints for its parent; some stores print too.
const MARK: &str = "took nanoseconds: ";

const FILL: &str = "fill";
const MEASURE: &str = "measure";

/// The parent's side: what the work takes in an empty directory.
pub(crate) fn measure(
    workload: &Workload,
    subject: &Subject,
    records: usize,
    directory: &Path,
) -> Outcome<Duration> {
    if workload.needs_filling() {
        let filled = spawn(FILL, workload, subject, records, directory)?;
        // Who died by a signal has no exit code; who failed has one.
        let died = filled.status.code().is_none();
        if died != (workload.work == Work::Open) || !(died || filled.status.success()) {
            return Err(last_words(&filled.stderr).into());
        }
    }
    let measured = spawn(MEASURE, workload, subject, records, directory)?;
    let text = String::from_utf8_lossy(&measured.stdout);
    let nanos = text.lines().find_map(|line| line.strip_prefix(MARK));
    match nanos.filter(|_| measured.status.success()) {
        Some(nanos) => Ok(Duration::from_nanos(nanos.parse()?)),
        None => Err(last_words(&measured.stderr).into()),
    }
}

fn spawn(
    step: &str,
    workload: &Workload,
    subject: &Subject,
    records: usize,
    directory: &Path,
) -> Outcome<std::process::Output> {
    let mut cell = Command::new(std::env::current_exe()?);
    cell.args([
        ARGUMENT,
        step,
        workload.name,
        subject.name,
        &records.to_string(),
    ]);
    cell.arg(directory)
        .stdin(Stdio::null())
        .env("RUST_BACKTRACE", "0");
    Ok(cell.output()?)
}

fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("note: "));
    lines.collect::<Vec<_>>().join(" ")
}

/// The child's side.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let [step, workload, subject, records, directory] = arguments else {
        return Err("a cell is started by its parent only".into());
    };
    let mut workloads = WORKLOADS.iter();
    let workload = workloads
        .find(|known| known.name == *workload)
        .ok_or("no such workload")?;
    let mut subjects = workload.subjects();
    let subject = subjects
        .find(|known| known.name == *subject)
        .ok_or("no such subject")?;
    let bytes = generate(records.parse()?, workload.record_bytes);
    let values = Values::new(&bytes, workload.record_bytes);
    let setting = Setting {
        directory: Path::new(directory),
        level: workload.level(),
        record_bytes: workload.record_bytes,
    };
    if step == FILL {
        return fill(workload, subject, setting, values);
    }
    let is_baseline = workload
        .baselines()
        .iter()
        .any(|known| known.name == subject.name);
    let took = match workload.work {
        // What a baseline compares opening with is reading: as if all had to be looked at.
        Work::Open if !is_baseline => open(subject, setting, values)?,
        Work::Read | Work::Open => read(subject, setting, values)?,
        work => append(work, subject, setting, values)?,
    };
    println!("{MARK}{}", took.as_nanos());
    Ok(())
}

/// Leaves a closed store behind, or one whose process died.
fn fill(
    workload: &Workload,
    subject: &Subject,
    setting: Setting<'_>,
    values: Values<'_>,
) -> Outcome {
    let mut store = (subject.open)(setting)?;
    store.append_batches(values, BATCH)?;
    store.finish()?;
    if workload.work == Work::Open {
        std::process::abort();
    }
    Ok(())
}

fn append(
    work: Work,
    subject: &Subject,
    setting: Setting<'_>,
    values: Values<'_>,
) -> Outcome<Duration> {
    let mut store = (subject.open)(setting)?;
    let start = Instant::now();
    match work {
        Work::AppendBatches => store.append_batches(values, BATCH)?,
        Work::AppendDurably { threads } if threads > 1 => {
            let parts: Vec<_> = values.batches(values.count().div_ceil(threads)).collect();
            store.append_from_threads(&parts)?;
        }
        _ => store.append(values)?,
    }
    let took = start.elapsed();
    store.finish()?;
    drop(store);
    check(
        &read_all((subject.open)(setting)?.as_mut())?,
        &Tally::of(values),
    )?;
    Ok(took)
}

fn read(subject: &Subject, setting: Setting<'_>, values: Values<'_>) -> Outcome<Duration> {
    let mut store = (subject.open)(setting)?;
    let start = Instant::now();
    let found = read_all(store.as_mut())?;
    let took = start.elapsed();
    check(&found, &Tally::of(values))?;
    Ok(took)
}

fn open(subject: &Subject, setting: Setting<'_>, values: Values<'_>) -> Outcome<Duration> {
    let one = values.batches(1).next().ok_or("nothing to append")?;
    let start = Instant::now();
    let mut store = (subject.open)(setting)?;
    store.append(one)?;
    let took = start.elapsed();
    store.finish()?;
    let mut expected = Tally::of(values);
    one.iter().for_each(|record| expected.see(record));
    check(&read_all(store.as_mut())?, &expected)?;
    Ok(took)
}

fn read_all(store: &mut dyn Store) -> Outcome<Tally> {
    let mut found = Tally::default();
    store.read(&mut |record| found.see(record))?;
    Ok(found)
}

/// A store that gives back less, more or something else has not done the work.
fn check(found: &Tally, expected: &Tally) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("read back {found:?} where {expected:?} was written").into())
}
