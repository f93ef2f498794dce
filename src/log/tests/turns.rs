//! One writes for others, and does no more than his turn.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::log::Listener;
use crate::log::queue::RUN_BYTES;
use crate::{EventLog, Record, TopicOptions};

/// Tells that something was written, and waits until it may go on.
#[derive(Debug)]
struct Pause(Mutex<(Sender<()>, Receiver<()>)>);

impl Listener for Pause {
    fn notify(&self) {
        let ends = self.0.lock().unwrap();
        let _nobody_looks_any_more = ends.0.send(()).map(|()| ends.1.recv());
    }
}

/// Whoever wrote for others went on as long as these sent without waiting, though his own record was
/// acknowledged.
#[test]
fn who_writes_for_others_is_let_go_after_one_round() {
    let log = EventLog::in_memory().unwrap();
    let options = TopicOptions::new().linger(Duration::MAX);
    let topic = log.create_topic("t", options).unwrap();
    let partition = topic.partition(0).unwrap();
    let producer = topic.producer();
    let send_a_run = || {
        for _ in 0..RUN_BYTES / 1024 + 2 {
            producer.send(Record::new(vec![7; 1024])).unwrap();
        }
    };
    let waited = producer.send(Record::new("waited for")).unwrap();
    let ((wrote, written), (go, may)) = (channel(), channel());
    let (done, watchdog) = channel();
    let held = partition.log.writer.lock();
    let sender = std::thread::spawn(move || {
        let told = waited.wait();
        done.send(told.is_ok()).unwrap();
    });
    while !partition.log.queue.lock().busy {
        std::thread::yield_now();
    }
    send_a_run();
    assert!(!partition.log.queue.lock().full.is_empty());
    partition
        .log
        .listen(Arc::new(Pause(Mutex::new((wrote, may)))));
    drop(held);
    written.recv().unwrap();
    // A second round could not be done now.
    let held = partition.log.writer.lock();
    go.send(()).unwrap();
    drop(go);
    let told = watchdog.recv_timeout(Duration::from_secs(60));
    drop(held);
    assert_eq!(told, Ok(true));
    sender.join().unwrap();
    topic.flush().unwrap();
}
