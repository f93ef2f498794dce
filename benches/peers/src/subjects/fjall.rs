use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::store::{Level, Outcome, Setting, Store, Subject, in_threads};
use crate::values::Values;

pub(crate) static SUBJECT: Subject = Subject {
    name: "fjall",
    page_cache: "page cache: its journal is flushed by every write",
    disk: Ok("disk: `persist(SyncData)` after every record"),
    open,
};

fn open(setting: Setting<'_>) -> Outcome<Box<dyn Store>> {
    let database = Database::builder(setting.directory.join("fjall")).open()?;
    let keyspace = database.keyspace("bench", KeyspaceCreateOptions::default)?;
    let next = match keyspace.last_key_value() {
        Some(last) => u64::from_be_bytes((*last.key()?).try_into()?) + 1,
        None => 0,
    };
    Ok(Box::new(Opened {
        database,
        keyspace,
        next: AtomicU64::new(next),
        level: setting.level,
    }))
}

struct Opened {
    database: Database,
    keyspace: Keyspace,
    /// The key of the next record: a tree of keys makes a log when it is counted up.
    next: AtomicU64,
    level: Level,
}

impl Opened {
    fn key(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }

    fn insert(&self, values: Values<'_>) -> Outcome {
        for value in values.iter() {
            self.keyspace.insert(self.key(), value)?;
            self.acknowledge()?;
        }
        Ok(())
    }

    fn acknowledge(&self) -> Outcome {
        match self.level {
            Level::PageCache => Ok(()),
            Level::Disk => Ok(self.database.persist(PersistMode::SyncData)?),
        }
    }
}

impl Store for Opened {
    fn append(&mut self, values: Values<'_>) -> Outcome {
        self.insert(values)
    }

    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome {
        for batch in values.batches(records) {
            let mut writes = self.database.batch();
            for value in batch.iter() {
                writes.insert(&self.keyspace, self.key(), value);
            }
            writes.commit()?;
            self.acknowledge()?;
        }
        Ok(())
    }

    fn append_from_threads(&mut self, parts: &[Values<'_>]) -> Outcome {
        in_threads(parts, |part| self.insert(part))
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        for entry in self.keyspace.iter() {
            see(&entry.value()?);
        }
        Ok(())
    }
}
