//! Senders that have to wait while somebody else is at the disk, and do not wait for ever.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use topiclog::storage::{
    Entry, Fault, MemoryStorage, OpenMode, OperationKind, SimulatedStorage, Storage, StorageFile,
    StorageLock,
};
use topiclog::{
    ConsumerOptions, Deliveries, ErrorKind, EventLog, OffsetReset, Record, Topic, TopicOptions,
};

use super::harness::{builder, clock, refused};

/// Stops the next sync of a file until it is let go.
type Gate = Arc<Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>>;

/// Files in memory with a gate before their syncs.
#[derive(Debug)]
struct Gated(MemoryStorage, Gate);

#[derive(Debug)]
struct GatedFile(Arc<dyn StorageFile>, Gate);

impl Storage for Gated {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.0.open(path, mode)?;
        Ok(Arc::new(GatedFile(file, Arc::clone(&self.1))))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Box<dyn StorageLock>> {
        self.0.lock(path, note)
    }
}

impl StorageFile for GatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        self.0.write_at(bytes, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let gate = self.1.lock().unwrap().take();
        if let Some((reached, go)) = gate {
            reached.send(()).unwrap();
            go.recv().unwrap();
        }
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[test]
fn whoever_waits_behind_a_slow_disk_may_give_up_and_ask_again() {
    let gate = Gate::default();
    let storage = Gated(MemoryStorage::new(), Arc::clone(&gate));
    let log = builder(&clock()).storage(storage).buffer_bytes(10_000);
    let log = log.open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let ((reached, at_disk), (go, gone)) = (mpsc::channel(), mpsc::channel());
    *gate.lock().unwrap() = Some((reached, gone));
    thread::scope(|scope| {
        let slow = scope.spawn(|| topic.producer().send_and_wait(Record::new("slow")));
        at_disk.recv().unwrap();
        let producer = topic.producer().max_block(Duration::from_millis(1));
        // Room for one of them, and not for two.
        let large = vec![7; 6000];
        let behind = producer.send(Record::new(&large)).unwrap();
        refused(behind.wait_timeout(Duration::ZERO), ErrorKind::Timeout);
        let all: Deliveries = [&behind, &behind].into_iter().cloned().collect();
        assert_eq!(all.len(), 2);
        refused(
            all.wait_timeout(Duration::from_millis(1)),
            ErrorKind::Timeout,
        );
        let error = producer.send(Record::new(&large)).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::Timeout);
        assert_eq!(error.record().value_bytes(), Some(&large[..]));
        let error = producer.send_all([Record::new(&large)]).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::Timeout);
        // That at once.
        let impatient = topic.producer().max_block(Duration::ZERO);
        refused(impatient.send(Record::new(&large)), ErrorKind::Timeout);
        go.send(()).unwrap();
        assert_eq!(slow.join().unwrap().unwrap().offset, 0);
        all.wait_timeout(Duration::MAX).unwrap();
        assert_eq!(behind.wait_timeout(Duration::MAX).unwrap().offset, 1);
        assert_eq!(
            producer.send_and_wait(Record::new(&large)).unwrap().offset,
            2
        );
    });
}

#[test]
fn of_records_sent_together_nothing_is_told_before_all_is_known_and_then_the_first_failure() {
    let storage = SimulatedStorage::new();
    let log = builder(&clock()).storage(storage.clone()).open().unwrap();
    let options = TopicOptions::new().partitions(3);
    let topic = log.create_topic("t", options).unwrap();
    assert!(matches!(Deliveries::default().try_result(), Some(Ok(()))));
    let to = |partition| Record::new("x").partition(partition);
    let together = topic.producer().send_all([0, 1, 2].map(to)).unwrap();
    topic.producer().send_and_wait(to(0)).unwrap();
    assert!(together.try_result().is_none());
    storage.fail(Fault::error(5).only(OperationKind::Sync).forever());
    let waited = together.wait().unwrap_err();
    let told = together.try_result().unwrap().unwrap_err();
    assert_eq!((told.kind(), told.partition()), (waited.kind(), Some(1)));
}

#[test]
fn single_deliveries_are_waited_for_together_and_the_first_failure_is_told() {
    let storage = SimulatedStorage::new();
    let log = builder(&clock()).storage(storage.clone()).open().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(2))
        .unwrap();
    let send = |partition| topic.producer().send(Record::new("x").partition(partition));
    topic
        .producer()
        .send_and_wait(Record::new("x").partition(0))
        .unwrap();
    let all: Result<Deliveries, _> = [0, 1, 1, 0].map(send).into_iter().collect();
    let mut all = all.unwrap();
    all.push(send(0).unwrap());
    assert_eq!(all.len(), 5);
    all.wait().unwrap();
    assert!(matches!(all.try_result(), Some(Ok(()))));
    all.extend([send(1).unwrap(), send(0).unwrap()]);
    storage.fail(Fault::error(5).only(OperationKind::Sync).forever());
    assert_eq!(all.wait().unwrap_err().partition(), Some(1));
    assert_eq!(all.try_result().unwrap().unwrap_err().partition(), Some(1));
}

/// What the documentation says of a log in memory: nothing is written by itself, whatever time passes.
#[test]
fn without_a_housekeeping_thread_a_record_stays_in_its_batch_until_somebody_needs_it() {
    type Need = fn(&EventLog, &Topic);
    let waits: Need = |_, topic| drop(topic.producer().send(Record::new("y")).unwrap().wait());
    let flushes: Need = |_, topic| topic.flush().unwrap();
    let steps: Need = |log, _| (0..3).for_each(|_| log.run_housekeeping());
    let polls: Need = |log, topic| {
        let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
        reader.seek_to_beginning().unwrap();
        assert_eq!(reader.poll(Duration::ZERO).unwrap().len(), 3);
    };
    for need in [waits, flushes, steps, polls] {
        let log = EventLog::in_memory().unwrap();
        let options = TopicOptions::new().linger(Duration::from_nanos(1));
        let topic = log.create_topic("t", options).unwrap();
        let delivery = topic.producer().send(Record::new("x")).unwrap();
        let together = topic.producer().send_all(["y"; 2].map(Record::new));
        let together = together.unwrap();
        assert!(delivery.try_result().is_none() && together.try_result().is_none());
        need(&log, &topic);
        assert!(matches!(delivery.try_result(), Some(Ok(_))));
        assert!(matches!(together.try_result(), Some(Ok(()))));
    }
}

#[test]
fn a_consumer_that_waits_is_woken_by_records_that_are_sent_together() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let consumer = log.consumer().options(options);
    let mut consumer = consumer.assign(&topic.partitions()).unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(move || consumer.poll(Duration::MAX).unwrap().len());
        // Should it not wait by then, it finds them all the same.
        (0..2000).for_each(|_| thread::yield_now());
        let records = ["a", "b"].map(Record::new);
        let sent = topic.producer().send_all(records).unwrap();
        assert_eq!(reading.join().unwrap(), 2);
        sent.wait().unwrap();
    });
}

#[test]
fn with_a_manual_clock_each_record_has_the_time_at_which_it_was_sent() {
    let clock = clock();
    let log = builder(&clock).in_memory().open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let sent = ["a", "b", "c"].map(|value| {
        let sent = topic.producer().send(Record::new(value)).unwrap();
        let now = log.now();
        clock.advance(Duration::from_millis(1));
        (sent, now)
    });
    for (sent, time) in sent {
        assert_eq!(sent.wait().unwrap().timestamp, time);
    }
}
