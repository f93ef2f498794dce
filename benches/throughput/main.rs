//! What the log costs beside what the machine costs. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench throughput -- [FILTER] [--rounds N] [--quick] [--csv FILE]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a bench prints, and stops at the first surprise"
)]

#[path = "../common/mod.rs"]
mod common;

mod append;
mod fixture;
mod latency;
mod machine;
mod open;
mod partitions;
mod read;
mod size;
mod work;

use common::Arguments;

const MIB: usize = 1 << 20;
const BATCH: usize = 1000;

fn main() {
    if let Ok(task) = std::env::var("TOPICLOG_BENCH_TASK") {
        return open::task(&task);
    }
    let arguments = Arguments::parse();
    // The log has a housekeeping thread, as every service has threads of its own, and with a second thread
    // in the process each system call costs some more: so it is for the baselines too.
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    let groups: [(&str, fn(&Arguments)); 10] = [
        ("append", append::append),
        ("producers", append::producers),
        ("durable", append::durable),
        ("read", read::read),
        ("latency", latency::latency),
        ("open", open::open),
        ("partitions", partitions::many),
        ("spread", size::spread),
        ("fixture", fixture::fixture),
        // The last one: the disk is busy for some time with what it has written.
        ("size", size::log_size),
    ];
    for (name, run) in groups {
        if arguments.wants(name) {
            run(&arguments);
        }
    }
}
