//! What the benches share: interleaved rounds, ratios within one round, tables, and a directory.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every bench uses a part of it"
)]

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What was asked for on the command line.
pub struct Arguments {
    pub filter: Option<String>,
    pub rounds: usize,
    pub quick: bool,
    /// Where the numbers of the curves go as well, in lines behind what is there.
    pub csv: Option<PathBuf>,
}

impl Arguments {
    pub fn parse() -> Self {
        let mut arguments = Self {
            filter: None,
            rounds: 5,
            quick: false,
            csv: None,
        };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => arguments.quick = true,
                "--rounds" => {
                    let rounds = given.next().and_then(|count| count.parse::<usize>().ok());
                    arguments.rounds = rounds.expect("--rounds needs a number").max(1);
                }
                "--csv" => {
                    let path = given.next().expect("--csv needs a file");
                    // Cargo runs a bench in the package's directory, so the path is one from there.
                    arguments.csv = Some(PathBuf::from(path));
                }
                filter => arguments.filter = Some(filter.to_owned()),
            }
        }
        arguments
    }

    pub fn wants(&self, group: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| group.starts_with(filter.as_str()))
    }

    /// A count, or a tenth of it under `--quick`.
    pub fn count(&self, full: usize) -> usize {
        if self.quick { full / 10 } else { full }
    }

    /// Writes one point of a curve to the file that was asked for: where it lies, and its value there,
    /// both with their units.
    pub fn point(&self, curve: &str, series: &str, x: (&str, f64), y: (&str, f64)) {
        let Some(path) = &self.csv else { return };
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[expect(
            clippy::disallowed_methods,
            reason = "a table of a bench is no part of a log"
        )]
        let mut file = options.open(path).expect("the file of --csv");
        let mut line = String::new();
        if file.metadata().expect("the file of --csv").len() == 0 {
            line.push_str("curve,series,x,x unit,y,y unit\n");
        }
        let (curve, series) = (curve.replace(',', ""), series.replace(',', ""));
        writeln!(line, "{curve},{series},{},{},{:.6},{}", x.1, x.0, y.1, y.0).unwrap();
        file.write_all(line.as_bytes()).expect("the file of --csv");
    }
}

pub fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench measures by the real clock"
    )]
    Instant::now()
}

/// The time that a piece of work takes.
pub fn time(work: impl FnOnce()) -> Duration {
    let start = now();
    work();
    start.elapsed()
}

/// One line of a table: a piece of work, run once per round.
pub struct Cell<'a> {
    name: &'static str,
    acknowledged: &'static str,
    records: usize,
    bytes: usize,
    run: Box<dyn FnMut() -> Duration + 'a>,
    beside: bool,
    nanos: Vec<f64>,
}

/// A table of cells that are measured against its baselines, round by round.
pub struct Table<'a> {
    title: String,
    baselines: usize,
    cells: Vec<Cell<'a>>,
}

impl<'a> Table<'a> {
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            baselines: 0,
            cells: Vec::new(),
        }
    }

    /// Adds what the others are compared to; every baseline makes a column.
    pub fn baseline(
        &mut self,
        name: &'static str,
        records: usize,
        bytes: usize,
        run: impl FnMut() -> Duration + 'a,
    ) {
        self.cell(name, "-", records, bytes, run);
        self.baselines += 1;
    }

    /// Compares the cell that was added last also to the one before it.
    pub fn compare_to_line_above(&mut self) {
        self.cells.last_mut().unwrap().beside = true;
    }

    pub fn cell(
        &mut self,
        name: &'static str,
        acknowledged: &'static str,
        records: usize,
        bytes: usize,
        run: impl FnMut() -> Duration + 'a,
    ) {
        self.cells.push(Cell {
            name,
            acknowledged,
            records,
            bytes,
            run: Box::new(run),
            beside: false,
            nanos: Vec::new(),
        });
    }

    /// Runs all cells in turn, so many times, and prints medians. A ratio is formed within each round,
    /// and its median printed: what disturbs a round disturbs both of its parts.
    /// Gives the medians, in nanoseconds per record, in the order of the cells.
    pub fn run(mut self, rounds: usize) -> Vec<f64> {
        for _round in 0..rounds {
            for cell in &mut self.cells {
                let elapsed = (cell.run)();
                cell.nanos
                    .push(elapsed.as_secs_f64() * 1e9 / cell.records as f64);
            }
        }
        println!("\n## {}\n", self.title);
        print!("| what | acknowledged | ns/record | records/s | MB/s |");
        let baselines = &self.cells[..self.baselines];
        for baseline in baselines {
            print!(" x {} |", baseline.name);
        }
        let beside = self.cells.iter().any(|cell| cell.beside);
        if beside {
            print!(" x line above |");
        }
        print!("\n|---|---|--:|--:|--:|");
        let columns = self.baselines + usize::from(beside);
        println!("{}", "--:|".repeat(columns));
        let mut medians = Vec::new();
        let mut above: Option<&Cell<'_>> = None;
        for cell in &self.cells {
            let nanos = median(cell.nanos.clone());
            medians.push(nanos);
            let bytes = cell.bytes as f64 / cell.records as f64;
            print!(
                "| {} | {} | {} | {} | {:.0} |",
                cell.name,
                cell.acknowledged,
                digits(nanos),
                thousands(1e9 / nanos),
                bytes / nanos * 1e3
            );
            let above = above.replace(cell).filter(|_| cell.beside);
            for other in baselines.iter().chain(above) {
                let ratios = other.nanos.iter().zip(&cell.nanos);
                print!(
                    " {:.2} |",
                    median(ratios.map(|(base, own)| base / own).collect())
                );
            }
            println!("{}", if beside && !cell.beside { "  |" } else { "" });
        }
        medians
    }
}

/// Three digits are as many as a run can tell.
fn digits(nanos: f64) -> String {
    if nanos < 100.0 {
        format!("{nanos:.1}")
    } else {
        thousands(nanos)
    }
}

pub fn thousands(number: f64) -> String {
    let plain = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The shares of a distribution that are told; the last is its maximum.
pub const PERCENTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

/// What this share of the sorted times does not exceed.
pub fn percentile(sorted: &[u64], share: f64) -> Duration {
    let place = (sorted.len() as f64 * share) as usize;
    Duration::from_nanos(sorted[place.min(sorted.len() - 1)])
}

/// Percentiles of latencies, up to 99.99.
pub fn percentiles(mut nanos: Vec<u64>) -> String {
    nanos.sort_unstable();
    let [p50, p90, p99, p999, p9999, max] = PERCENTILES.map(|share| percentile(&nanos, share));
    format!(
        "p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?}, p99.99 {p9999:.1?}, max {max:.1?}"
    )
}

/// A directory on the disk that is measured, removed when dropped: `TOPICLOG_BENCH_DIR`, or cargo's.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let root = std::env::var_os("TOPICLOG_BENCH_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        let path = root.join(format!("topiclog-bench-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a directory to measure in");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Values that do not compress, one after the other.
pub struct Values {
    bytes: Vec<u8>,
    size: usize,
}

impl Values {
    pub fn new(count: usize, size: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut bytes = vec![0; count * size];
        for word in bytes.chunks_exact_mut(4) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..4]);
        }
        Self { bytes, size }
    }

    pub fn iter(&self) -> std::slice::ChunksExact<'_, u8> {
        self.bytes.chunks_exact(self.size)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn count(&self) -> usize {
        self.bytes.len() / self.size
    }
}
