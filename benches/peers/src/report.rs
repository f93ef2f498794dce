//! The tables.

use std::time::Duration;

use crate::store::Subject;
use crate::workloads::{Work, Workload};

/// One subject of a table, with what its rounds took.
pub(crate) struct Row {
    pub(crate) subject: &'static Subject,
    pub(crate) took: Vec<Duration>,
    pub(crate) failure: Option<String>,
}

impl Row {
    pub(crate) fn new(subject: &'static Subject) -> Self {
        Self {
            subject,
            took: Vec::new(),
            failure: None,
        }
    }

    fn seconds(&self) -> impl Iterator<Item = f64> {
        self.took.iter().map(Duration::as_secs_f64)
    }
}

/// Prints medians. A ratio is formed within each round, since what disturbs a round disturbs both of its
/// parts.
pub(crate) fn print(workload: &Workload, records: usize, rows: &[Row]) {
    let is_open = workload.work == Work::Open;
    let baselines = rows.get(..workload.baselines().len()).unwrap_or_default();
    let size = workload.record_bytes;
    println!("\n## {}\n", workload.title);
    println!(
        "`{}`: {} records of {size} B.\n",
        workload.name,
        thousands(to_f64(records))
    );
    print!(
        "| store | an acknowledged record is in the | {}",
        if is_open {
            "ms |"
        } else {
            "records/s | MB/s |"
        }
    );
    for baseline in baselines {
        print!(" x {} |", baseline.subject.name);
    }
    print!("\n|---|---|--:|{}", if is_open { "" } else { "--:|" });
    println!("{}", "--:|".repeat(baselines.len()));
    for row in rows {
        let promise = match (&row.failure, row.subject.promise(workload.level())) {
            (Some(failure), _) => format!("**failed**: {failure}"),
            (None, Ok(promise)) => promise.to_owned(),
            (None, Err(reason)) => format!("cannot: {reason}"),
        };
        print!("| {} | {promise} |", row.subject.name);
        let figure = |number: Option<f64>, shown: &dyn Fn(f64) -> String| {
            print!(" {} |", number.map_or_else(|| "-".to_owned(), shown));
        };
        let seconds = median(row.seconds().collect());
        if is_open {
            figure(seconds, &|seconds| format!("{:.1}", seconds * 1e3));
        } else {
            figure(seconds, &|seconds| thousands(to_f64(records) / seconds));
            figure(seconds, &|seconds| {
                format!("{:.0}", to_f64(records * size) / seconds / 1e6)
            });
        }
        for baseline in baselines {
            let rounds = baseline.seconds().zip(row.seconds());
            let ratio = median(rounds.map(|(base, own)| base / own).collect());
            figure(ratio, &|ratio| {
                format!("{ratio:.*}", if ratio < 0.1 { 3 } else { 2 })
            });
        }
        println!();
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn thousands(number: f64) -> String {
    let plain = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure that is printed with few digits"
)]
fn to_f64(number: usize) -> f64 {
    number as f64
}
