//! What a store has to do to be measured.

use std::error::Error;
use std::path::Path;
use std::sync::Mutex;

use crate::values::Values;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// How far a record must have come before it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// It survives the end of the process.
    PageCache,
    /// It survives a power cut.
    Disk,
}

/// Where and how a store is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) level: Level,
    /// For the baselines only: a file of bytes does not tell where a record ends.
    pub(crate) record_bytes: usize,
}

/// A store, or a baseline, with what its acknowledgement means.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Where an acknowledged record is when the page cache is asked for.
    pub(crate) page_cache: &'static str,
    /// By what an acknowledged record is on disk, or why none can be.
    pub(crate) disk: Result<&'static str, &'static str>,
    pub(crate) open: fn(Setting<'_>) -> Outcome<Box<dyn Store>>,
}

impl Subject {
    /// What an acknowledgement means at this level, or why there is none.
    pub(crate) fn promise(&self, level: Level) -> Result<&'static str, &'static str> {
        match level {
            Level::PageCache => Ok(self.page_cache),
            Level::Disk => self.disk,
        }
    }
}

/// An open store.
pub(crate) trait Store: Send {
    /// One call per record, each acknowledged before the next.
    fn append(&mut self, values: Values<'_>) -> Outcome;

    /// One call per `records` records, each acknowledged before the next.
    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome;

    /// A thread per part; each record acknowledged before its thread's next.
    ///
    /// As written here for a handle that one thread at a time may use: they take turns.
    fn append_from_threads(&mut self, parts: &[Values<'_>]) -> Outcome {
        let turns = Mutex::new(self);
        in_threads(parts, |part| {
            part.batches(1).try_for_each(|one| {
                let mut store = turns.lock().map_err(|_| "another thread has panicked")?;
                store.append(one)
            })
        })
    }

    /// Does what has to be done, before the end of the process, for appended records to be read later.
    fn finish(&mut self) -> Outcome {
        Ok(())
    }

    /// Shows every record, from the first to the last.
    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome;
}

/// Does the work on each part in a thread of its own.
pub(crate) fn in_threads(
    parts: &[Values<'_>],
    work: impl Fn(Values<'_>) -> Outcome + Sync,
) -> Outcome {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = parts
            .iter()
            .map(|part| scope.spawn(move || work(*part)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}
