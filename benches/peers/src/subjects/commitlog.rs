use commitlog::message::{MessageBuf, MessageSet as _};
use commitlog::{CommitLog, LogOptions, ReadLimit};

use crate::store::{Outcome, Setting, Store, Subject};
use crate::values::Values;

pub(crate) static SUBJECT: Subject = Subject {
    name: "commitlog",
    page_cache: "page cache",
    disk: Err("`flush` never syncs the segment"),
    open,
};

const FETCH_BYTES: usize = 1 << 20;

fn open(setting: Setting<'_>) -> Outcome<Box<dyn Store>> {
    let mut options = LogOptions::new(setting.directory);
    // The limit is on what one call appends, and by default below 1000 records of 1 KiB.
    options.message_max_bytes(16 << 20);
    Ok(Box::new(Opened(CommitLog::new(options)?)))
}

struct Opened(CommitLog);

impl Store for Opened {
    fn append(&mut self, values: Values<'_>) -> Outcome {
        for value in values.iter() {
            self.0.append_msg(value)?;
        }
        Ok(())
    }

    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome {
        let mut messages = MessageBuf::default();
        for batch in values.batches(records) {
            messages.clear();
            for value in batch.iter() {
                messages
                    .push(value)
                    .map_err(|refused| format!("{refused:?}"))?;
            }
            self.0.append(&mut messages)?;
        }
        Ok(())
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        let mut next = 0;
        loop {
            let messages = self.0.read(next, ReadLimit::max_bytes(FETCH_BYTES))?;
            if messages.is_empty() {
                return Ok(());
            }
            for message in messages.iter() {
                see(message.payload());
                next = message.offset() + 1;
            }
        }
    }
}
