use topiclog::{
    ConsumerOptions, Durability, EventLog, OffsetReset, Producer, Record, Topic, TopicOptions,
};

use crate::store::{Level, Outcome, Setting, Store, Subject, in_threads};
use crate::values::Values;

pub(crate) static SUBJECT: Subject = Subject {
    name: "topiclog",
    page_cache: "page cache: `Durability::Os`, each call waited for",
    disk: Ok("disk: `Durability::Disk`, waited for; threads share syncs"),
    open: |setting| open(setting, TopicOptions::new()),
};

pub(crate) static LARGE_BATCHES: Subject = Subject {
    name: "topiclog, `batch_bytes` 256 KiB",
    open: |setting| open(setting, TopicOptions::new().batch_bytes(256 * 1024)),
    ..SUBJECT
};

fn open(setting: Setting<'_>, options: TopicOptions) -> Outcome<Box<dyn Store>> {
    let log = EventLog::open(setting.directory)?;
    let options = options.durability(match setting.level {
        Level::PageCache => Durability::Os,
        Level::Disk => Durability::Disk,
    });
    let topic = log.open_or_create_topic("bench", options)?;
    let producer = topic.producer();
    Ok(Box::new(Opened {
        producer,
        topic,
        log,
    }))
}

struct Opened {
    producer: Producer,
    topic: Topic,
    log: EventLog,
}

fn send(producer: &Producer, values: Values<'_>) -> Outcome {
    for value in values.iter() {
        producer.send_and_wait(Record::new(value))?;
    }
    Ok(())
}

impl Store for Opened {
    fn append(&mut self, values: Values<'_>) -> Outcome {
        send(&self.producer, values)
    }

    fn append_batches(&mut self, values: Values<'_>, records: usize) -> Outcome {
        for batch in values.batches(records) {
            let sent = self.producer.send_all(batch.iter().map(Record::new))?;
            sent.wait()?;
        }
        Ok(())
    }

    fn append_from_threads(&mut self, parts: &[Values<'_>]) -> Outcome {
        in_threads(parts, |part| send(&self.producer.clone(), part))
    }

    fn read(&mut self, see: &mut dyn FnMut(&[u8])) -> Outcome {
        let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let consumer = self.log.consumer().options(options);
        let mut consumer = consumer.assign(&self.topic.partitions())?;
        for records in consumer.drain()? {
            for record in &records? {
                see(record.value().ok_or("a record without a value")?);
            }
        }
        Ok(())
    }
}
