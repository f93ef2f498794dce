use std::path::{Path, PathBuf};

use yaque::{Receiver, Sender, TryRecvError, TrySendError};

use crate::store::{Outcome, Setting, Store, Subject};
use crate::values::Values;

pub(crate) static SUBJECT: Subject = Subject {
    name: "yaque",
    page_cache: "page cache; reading takes records away",
    disk: Err("never syncs"),
    open,
};

/// Records taken at a time.
const FETCH_RECORDS: usize = 1000;

fn open(setting: Setting<'_>) -> Outcome<Box<dyn Store>> {
    let queue = setting.directory.join("queue");
    let sender = open_sender(&queue)?;
    Ok(Box::new(Opened { sender, queue }))
}

/// A process that was killed leaves its lock behind, and its successor has to remove it.
fn open_sender(queue: &Path) -> Outcome<Sender> {
    match Sender::open(queue) {
        Ok(sender) => Ok(sender),
        Err(_locked) => {
            yaque::recovery::recover(queue)?;
            Ok(Sender::open(queue)?)
        }
    }
}

struct Opened {
    sender: Sender,
    queue: PathBuf,
}

/// Without what was refused, which is borrowed.
fn refusal<T>(error: TrySendError<T>) -> String {
    match error {
        TrySendError::Io(error) => error.to_string(),
        TrySendError::QueueFull { .. } => "the queue is full".to_owned(),
    }
}

impl Store for Opened {
    fn append(&mut self, values: Values<'_>) -> Outcome {
        for value in values.iter() {
            self.sender.try_send(value).map_err(refusal)?;
        }
        Ok(())
    }

    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome {
        for batch in values.batches(records) {
            self.sender.try_send_batch(batch.iter()).map_err(refusal)?;
        }
        Ok(())
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        let mut receiver = Receiver::open(&self.queue)?;
        loop {
            match receiver.try_recv_batch_up_to(FETCH_RECORDS) {
                Ok(batch) if batch.is_empty() => return Ok(()),
                Ok(batch) => {
                    batch.iter().for_each(|value| see(value));
                    batch.commit()?;
                }
                Err(TryRecvError::QueueEmpty) => return Ok(()),
                Err(TryRecvError::Io(error)) => return Err(error.into()),
            }
        }
    }
}
