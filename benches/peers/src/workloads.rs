//! What is measured.

use crate::store::{Level, Subject};
use crate::subjects::{
    BARE_WRITES, PLAIN_READS, PLAIN_WRITES, STORES, STORES_IN_BATCHES, SYNCED_WRITES,
};

static WRITES: [&Subject; 2] = [&PLAIN_WRITES, &BARE_WRITES];
static SYNCS: [&Subject; 1] = [&SYNCED_WRITES];
static READS: [&Subject; 1] = [&PLAIN_READS];

/// Records that one call appends, where calls append more than one.
pub(crate) const BATCH: usize = 1000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    /// One call per record.
    Append,
    /// One call per [`BATCH`] records.
    AppendBatches,
    /// One call per record from each of so many threads, and on disk when it returns.
    AppendDurably { threads: usize },
    /// Everything, in a process that did not write it.
    Read,
    /// Open what a process that died has left, and append one record.
    Open,
}

#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    pub(crate) records: usize,
    pub(crate) record_bytes: usize,
}

impl Workload {
    pub(crate) fn level(&self) -> Level {
        match self.work {
            Work::AppendDurably { .. } => Level::Disk,
            _ => Level::PageCache,
        }
    }

    /// Whether another process has to write first what this one finds.
    pub(crate) fn needs_filling(&self) -> bool {
        matches!(self.work, Work::Read | Work::Open)
    }

    /// What the stores are compared to; each makes a column of ratios.
    pub(crate) fn baselines(&self) -> &'static [&'static Subject] {
        match self.work {
            Work::Append | Work::AppendBatches => &WRITES,
            Work::AppendDurably { .. } => &SYNCS,
            Work::Read | Work::Open => &READS,
        }
    }

    /// The baselines, then the stores.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &'static Subject> {
        let stores: &[_] = match self.work {
            Work::AppendBatches => &STORES_IN_BATCHES,
            _ => &STORES,
        };
        self.baselines().iter().chain(stores).copied()
    }
}

pub(crate) static WORKLOADS: [Workload; 8] = [
    Workload {
        name: "append-100",
        title: "Append, one record of 100 B per call",
        work: Work::Append,
        records: 200_000,
        record_bytes: 100,
    },
    Workload {
        name: "append-1024",
        title: "Append, one record of 1 KiB per call",
        work: Work::Append,
        records: 100_000,
        record_bytes: 1024,
    },
    Workload {
        name: "batches-100",
        title: "Append, 1000 records of 100 B per call",
        work: Work::AppendBatches,
        records: 1_000_000,
        record_bytes: 100,
    },
    Workload {
        name: "batches-1024",
        title: "Append, 1000 records of 1 KiB per call",
        work: Work::AppendBatches,
        records: 200_000,
        record_bytes: 1024,
    },
    Workload {
        name: "durable-1",
        title: "Durable append, one thread, one record of 100 B per call",
        work: Work::AppendDurably { threads: 1 },
        records: 2000,
        record_bytes: 100,
    },
    Workload {
        name: "durable-8",
        title: "Durable append, 8 threads, one record of 100 B per call",
        work: Work::AppendDurably { threads: 8 },
        records: 4000,
        record_bytes: 100,
    },
    Workload {
        name: "read-100",
        title: "Read back everything, records of 100 B, page cache warm",
        work: Work::Read,
        records: 1_000_000,
        record_bytes: 100,
    },
    Workload {
        name: "open-1024",
        title: "Open after the writer has died, and append one record of 1 KiB",
        work: Work::Open,
        // No multiple of 100,000: commitlog panics at an append after opening if its index, which has
        // room for so many, is exactly full.
        records: 120_000,
        record_bytes: 1024,
    },
];
