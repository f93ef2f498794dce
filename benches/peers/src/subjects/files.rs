//! What the machine itself does with the same bytes: no framing, no checksum, no index, no recovery.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use crate::store::{Level, Outcome, Setting, Store, Subject};
use crate::values::Values;

const MIB: usize = 1 << 20;

const NEVER_SYNCED: Result<&str, &str> = Err("not asked for");

pub(crate) static PLAIN_WRITES: Subject = Subject {
    name: "1 MiB writes",
    page_cache: "page cache, but 1 MiB at a time",
    disk: NEVER_SYNCED,
    open: |setting| open(setting, MIB),
};

pub(crate) static PLAIN_READS: Subject = Subject {
    name: "1 MiB reads",
    page_cache: "-",
    disk: NEVER_SYNCED,
    open: |setting| open(setting, MIB),
};

pub(crate) static BARE_WRITES: Subject = Subject {
    name: "write per record",
    page_cache: "page cache",
    disk: NEVER_SYNCED,
    open: |setting| open(setting, 1),
};

pub(crate) static SYNCED_WRITES: Subject = Subject {
    name: "write + fdatasync",
    page_cache: "page cache",
    disk: Ok("disk: `fdatasync` per record, one thread, growing file"),
    open: |setting| open(setting, 1),
};

fn open(setting: Setting<'_>, piece_bytes: usize) -> Outcome<Box<dyn Store>> {
    let path = setting.directory.join("plain");
    let file = OpenOptions::new().create(true).append(true).open(&path)?;
    Ok(Box::new(Plain {
        path,
        file,
        synced: setting.level == Level::Disk,
        // A piece is whole records.
        piece: (piece_bytes / setting.record_bytes).max(1),
        record_bytes: setting.record_bytes,
    }))
}

struct Plain {
    path: PathBuf,
    file: File,
    synced: bool,
    piece: usize,
    record_bytes: usize,
}

impl Store for Plain {
    fn append(&mut self, values: Values<'_>) -> Outcome {
        for piece in values.batches(self.piece) {
            self.file.write_all(piece.bytes())?;
            if self.synced {
                self.file.sync_data()?;
            }
        }
        Ok(())
    }

    /// The baseline stays what it is.
    fn append_batches(&mut self, values: Values<'_>, _records: usize) -> Outcome {
        self.append(values)
    }

    /// The baseline stays what it is.
    fn append_from_threads(&mut self, parts: &[Values<'_>]) -> Outcome {
        parts.iter().try_for_each(|part| self.append(*part))
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        let piece_bytes = MIB / self.record_bytes * self.record_bytes;
        let file = File::open(&self.path)?;
        let mut buffer = Vec::with_capacity(piece_bytes);
        loop {
            buffer.clear();
            let wanted = u64::try_from(piece_bytes)?;
            if (&file).take(wanted).read_to_end(&mut buffer)? == 0 {
                return Ok(());
            }
            buffer.chunks(self.record_bytes).for_each(&mut *see);
        }
    }
}
