use rusqlite::Connection;

use crate::store::{Level, Outcome, Setting, Store, Subject};
use crate::values::Values;

pub(crate) static SUBJECT: Subject = Subject {
    name: "SQLite",
    page_cache: "page cache: WAL, `synchronous` OFF, a transaction per call",
    disk: Ok("disk: WAL, `synchronous` FULL, a transaction per record; threads take turns"),
    open,
};

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS log (offset INTEGER PRIMARY KEY, value BLOB NOT NULL)";
const INSERT: &str = "INSERT INTO log (value) VALUES (?1)";
const SELECT: &str = "SELECT value FROM log ORDER BY offset";

fn open(setting: Setting<'_>) -> Outcome<Box<dyn Store>> {
    let connection = Connection::open(setting.directory.join("log.sqlite"))?;
    let synchronous = match setting.level {
        Level::PageCache => "OFF",
        Level::Disk => "FULL",
    };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute_batch(TABLE)?;
    Ok(Box::new(Opened(connection)))
}

struct Opened(Connection);

fn insert(connection: &Connection, values: Values<'_>) -> Outcome {
    let mut insert = connection.prepare_cached(INSERT)?;
    for value in values.iter() {
        insert.execute([value])?;
    }
    Ok(())
}

impl Store for Opened {
    /// Every statement outside a transaction is one.
    fn append(&mut self, values: Values<'_>) -> Outcome {
        insert(&self.0, values)
    }

    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome {
        for batch in values.batches(records) {
            let transaction = self.0.transaction()?;
            insert(&transaction, batch)?;
            transaction.commit()?;
        }
        Ok(())
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        let mut select = self.0.prepare_cached(SELECT)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            see(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }
}
