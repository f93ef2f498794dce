use std::path::PathBuf;

use seglog::read::Reader;
use seglog::write::Writer;

use crate::store::{Level, Outcome, Setting, Store, Subject};
use crate::values::Values;

pub(crate) static SUBJECT: Subject = Subject {
    name: "seglog",
    page_cache: "page cache, but opening drops what no commit, which syncs, has covered",
    disk: Ok("disk: `commit` per record; threads take turns"),
    open,
};

/// It is one file of a size that is given beforehand: enough for every workload.
const SEGMENT_BYTES: usize = 512 << 20;

fn open(setting: Setting<'_>) -> Outcome<Box<dyn Store>> {
    let path = setting.directory.join("segment");
    let writer = if path.exists() {
        Writer::open(&path, SEGMENT_BYTES, 0)?
    } else {
        Writer::create(&path, SEGMENT_BYTES, 0)?
    };
    Ok(Box::new(Opened {
        path,
        next: writer.last_committed_position().map_or(0, |last| last + 1),
        writer,
        level: setting.level,
    }))
}

struct Opened {
    path: PathBuf,
    writer: Writer<0>,
    /// The position of the next record, which is the caller's to count.
    next: u64,
    level: Level,
}

impl Opened {
    fn acknowledge(&mut self) -> Outcome {
        match self.level {
            Level::PageCache => Ok(self.writer.flush_writer()?),
            Level::Disk => self.finish(),
        }
    }
}

impl Store for Opened {
    fn append(&mut self, values: Values<'_>) -> Outcome {
        self.append_batches(values, 1)
    }

    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome {
        for batch in values.batches(records) {
            for value in batch.iter() {
                self.writer.append_data(value)?;
                self.next += 1;
            }
            self.acknowledge()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Outcome {
        self.writer.commit(self.next.saturating_sub(1))?;
        Ok(())
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        let flushed = self.writer.flushed_offset();
        let mut reader = Reader::<0>::open_read_only(&self.path, Some(flushed))?;
        let mut records = reader.iter(0);
        while let Some(record) = records.next_record()? {
            see(&record.data);
        }
        Ok(())
    }
}
