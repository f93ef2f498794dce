//! Bugs of what a program does inside a poll: listeners, callbacks, handlers that are made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use topiclog::clock::{Clock, ManualClock};
use topiclog::storage::SimulatedStorage;
use topiclog::{
    Consumer, ConsumerGroup, ConsumerOptions, Durability, Error, ErrorKind, EventLog, Housekeeping,
    Offset, OffsetReset, RebalanceListener, Record, RecordRef, RoundRobinAssignor, Timestamp,
    Topic, TopicName, TopicOptions, TopicPartition,
};

use super::common::clock;
use super::send;

/// More than a member may stay away.
const TOO_LONG: Duration = Duration::from_secs(301);

type Calls = Arc<Mutex<Vec<String>>>;
type Act = dyn FnMut(&str, &mut Consumer) -> Result<(), Error> + Send;

/// Does something whenever it is told something, and keeps what that was.
struct Acts {
    calls: Calls,
    act: Box<Act>,
}

impl Acts {
    fn hear(
        &mut self,
        what: &str,
        consumer: &mut Consumer,
        places: &[TopicPartition],
    ) -> Result<(), Error> {
        let places: Vec<_> = places.iter().map(ToString::to_string).collect();
        let call = format!("{what} {}", places.join(" "));
        self.calls.lock().unwrap().push(call);
        (self.act)(what, consumer)
    }
}

impl RebalanceListener for Acts {
    fn revoked(&mut self, consumer: &mut Consumer, at: &[TopicPartition]) -> Result<(), Error> {
        self.hear("revoked", consumer, at)
    }

    fn assigned(&mut self, consumer: &mut Consumer, at: &[TopicPartition]) -> Result<(), Error> {
        self.hear("assigned", consumer, at)
    }

    fn lost(&mut self, consumer: &mut Consumer, at: &[TopicPartition]) -> Result<(), Error> {
        self.hear("lost", consumer, at)
    }
}

/// A log whose commits count as soon as they are handed to it, with topic `t` and group `g`.
fn world() -> (EventLog, ManualClock, Topic, ConsumerGroup) {
    let clock = clock();
    let log = EventLog::builder()
        .in_memory()
        .clock(clock.clone())
        .seed(7)
        .offsets_durability(Durability::Memory)
        .open()
        .unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let group = log.consumer_group("g").unwrap();
    let group = group.options(options.auto_commit(None));
    (log, clock, topic, group)
}

fn acting(
    calls: &Calls,
    act: impl FnMut(&str, &mut Consumer) -> Result<(), Error> + Send + 'static,
) -> Acts {
    let (calls, act) = (Arc::clone(calls), Box::new(act));
    Acts { calls, act }
}

fn take(calls: &Calls) -> Vec<String> {
    std::mem::take(&mut *calls.lock().unwrap())
}

/// A poll that did not come back, since a listener, a callback or the making of a handler did not, kept its
/// partitions for ever: a member was taken to be alive for as long as its poll lasted.
#[test]
fn what_the_program_does_inside_a_poll_counts_against_max_poll_interval() {
    let (log, clock, topic, group) = world();
    let gone = Arc::new(Mutex::new(Vec::new()));
    let stays_away = {
        let (log, clock, group, gone) = (log.clone(), clock, group.clone(), Arc::clone(&gone));
        move || {
            clock.advance(TOO_LONG);
            log.run_housekeeping();
            gone.lock()
                .unwrap()
                .push(group.describe().members.is_empty());
        }
    };

    let calls = Calls::default();
    let (mut first, slow) = (true, stays_away.clone());
    let listener = acting(&calls, move |_, _| {
        if std::mem::take(&mut first) {
            slow();
        }
        Ok(())
    });
    let mut member = group
        .member()
        .listener(listener)
        .subscribe([&topic])
        .unwrap();
    let _none = member.poll(Duration::ZERO).unwrap();
    assert_eq!(take(&calls), ["assigned t-0", "lost t-0", "assigned t-0"]);

    let slow = stays_away.clone();
    member.commit_async(move |_| slow()).unwrap();
    let _none = member.poll(Duration::ZERO).unwrap();
    assert_eq!(take(&calls), ["lost t-0", "assigned t-0"]);
    drop(member);

    let workers = group
        .workers(1)
        .subscribe([&topic])
        .unwrap()
        .until_drained();
    let first = AtomicBool::new(true);
    workers
        .run_by_partition(|_| {
            if first.swap(false, Ordering::SeqCst) {
                stays_away();
            }
            Ok(|_: RecordRef<'_>| Ok(()))
        })
        .unwrap();
    assert_eq!(*gone.lock().unwrap(), [true, true, true]);
}

/// A listener panicked and the panic was caught: the consumer had lost its listener, took itself to be inside
/// of one for ever, and never timed out.
#[test]
fn a_listener_that_panics_leaves_the_consumer_in_order() {
    let (log, clock, topic, group) = world();
    send(&topic, 3);
    let calls = Calls::default();
    let listener = acting(&calls, |what, _| {
        assert_ne!(what, "assigned", "as the test wants it");
        Ok(())
    });
    let mut member = group
        .member()
        .listener(listener)
        .subscribe([&topic])
        .unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        member.poll(Duration::ZERO).map(|records| records.len())
    }));
    assert!(panicked.is_err());
    assert_eq!(member.poll(Duration::ZERO).unwrap().len(), 3);
    clock.advance(TOO_LONG);
    log.run_housekeeping();
    assert!(group.describe().members.is_empty());
    member.unsubscribe().unwrap();
    assert_eq!(take(&calls), ["assigned t-0", "lost t-0"]);
}

/// A listener left the group and failed: its error was dropped, and the poll slept on without a subscription.
#[test]
fn a_poll_whose_listener_leaves_the_group_ends_with_its_error() {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let log = EventLog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        for fails in [true, false] {
            let listener = acting(&Calls::default(), move |what, consumer| {
                if what == "assigned" {
                    consumer.unsubscribe()?;
                }
                if fails {
                    consumer.enforce_rebalance()
                } else {
                    Ok(())
                }
            });
            let group = log.consumer_group("g").unwrap();
            let member = group.member().listener(listener);
            let mut member = member.subscribe([&topic]).unwrap();
            let polled = member.poll(Duration::from_secs(600));
            assert_eq!(
                polled.map(|records| records.len()).ok(),
                (!fails).then_some(0)
            );
        }
        done.send(()).unwrap();
    });
    // On a failure the poll is left behind until the process ends.
    ended.recv_timeout(Duration::from_secs(40)).unwrap();
}

/// A listener left the group when it was told what is lost: what came in the same step was taken on all the
/// same, by somebody who was no member any more.
#[test]
fn whoever_leaves_on_losing_something_is_given_nothing() {
    for comes_again in [false, true] {
        let (log, _clock, topic, group) = world();
        let calls = Calls::default();
        let listener = acting(&calls, move |what, consumer| {
            if what == "lost" {
                consumer.unsubscribe()?;
                if comes_again {
                    let topics: [&Topic; 0] = [];
                    consumer.subscribe(topics)?;
                }
            }
            Ok(())
        });
        let member = group.member().listener(listener);
        let mut member = member.subscribe_matching(|_| true).unwrap();
        let _none = member.poll(Duration::ZERO).unwrap();
        log.delete_topic("t").unwrap();
        let _other = log.create_topic("u", TopicOptions::new()).unwrap();
        let _none = member.poll(Duration::ZERO).unwrap();
        assert_eq!(take(&calls), ["assigned t-0", "lost t-0"]);
        assert!(member.assignment().is_empty());
        if comes_again {
            // The same when everything is lost: it must not join twice.
            member.subscribe([&log.topic("u").unwrap()]).unwrap();
            let _none = member.poll(Duration::ZERO).unwrap();
            group.remove_all_members();
            let _none = member.poll(Duration::ZERO).unwrap();
            assert_eq!(group.describe().members.len(), 1);
        } else {
            let error = member.poll(Duration::ZERO).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        drop(topic);
    }
}

/// A member was closed before it had heard that a topic is gone: its partitions were told as revoked, as if
/// they could still be committed.
#[test]
fn what_went_with_its_topic_is_lost_at_close_too() {
    for closes in [true, false] {
        let (log, _clock, topic, group) = world();
        let other = log.create_topic("u", TopicOptions::new()).unwrap();
        let calls = Calls::default();
        let listener = acting(&calls, |_, _| Ok(()));
        let member = group.member().listener(listener);
        let mut member = member.subscribe([&topic, &other]).unwrap();
        let _none = member.poll(Duration::ZERO).unwrap();
        log.delete_topic("t").unwrap();
        if closes {
            member.close().unwrap();
        } else {
            member.unsubscribe().unwrap();
        }
        assert_eq!(
            take(&calls),
            ["assigned t-0 u-0", "lost t-0", "revoked u-0"]
        );
    }
}

/// A callback took long inside a poll that did not wait: the member was taken to be away since the beginning
/// of the poll, and was removed too soon.
#[test]
fn the_time_away_begins_when_the_poll_ends() {
    let (log, clock, topic, group) = world();
    let mut member = group.subscribe([&topic]).unwrap();
    let _none = member.poll(Duration::ZERO).unwrap();
    let slow = clock.clone();
    member
        .commit_async(move |_| slow.advance(TOO_LONG / 2))
        .unwrap();
    let _none = member.poll(Duration::ZERO).unwrap();
    clock.advance(TOO_LONG * 3 / 4);
    log.run_housekeeping();
    assert_eq!(group.describe().members.len(), 1);
}

#[test]
fn a_poll_that_may_wait_is_no_time_away_however_long_it_has_to_write() {
    let (storage, clock) = (SimulatedStorage::new(), clock());
    let acts = super::acts::Acts::on(&storage);
    let builder = EventLog::builder().storage(acts.clone());
    let builder = builder.clock(clock.clone());
    let log = builder.housekeeping(Housekeeping::Manual).open().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let group = log.consumer_group("g").unwrap();
    let mut member = group.subscribe([&topic]).unwrap();
    let _none = member.poll(Duration::ZERO).unwrap();
    topic.producer().send(Record::new("lingers")).unwrap();
    let slow = clock.clone();
    acts.before_write(move || slow.advance(TOO_LONG / 2));
    let records = member.poll(Duration::from_secs(1)).unwrap();
    assert_eq!(records.len(), 1);
    for (time, members) in [(TOO_LONG * 3 / 4, 1), (TOO_LONG / 4, 0)] {
        clock.advance(time);
        log.run_housekeeping();
        assert_eq!(group.describe().members.len(), members);
    }
}

/// A listener's error ended the poll before it was known where the gained partition begins: what was sent
/// before the next poll was passed over.
#[test]
fn a_partition_begins_at_the_end_of_the_poll_that_gained_it_though_that_fails() {
    for drains in [false, true] {
        let (_log, _clock, topic, group) = world();
        let group = group.options(ConsumerOptions::new().offset_reset(OffsetReset::Latest));
        let nowhere = TopicPartition::new(TopicName::new("u").unwrap(), 0);
        let mut fails = true;
        let acts = acting(&Calls::default(), move |_, consumer| {
            if std::mem::take(&mut fails) {
                consumer.seek(&nowhere, Offset::ZERO)?;
            }
            Ok(())
        });
        let mut consumer = group.member().listener(acts).subscribe([&topic]).unwrap();
        let gained = if drains {
            consumer.drain().map(drop)
        } else {
            consumer.poll(Duration::ZERO).map(drop)
        };
        gained.unwrap_err();
        send(&topic, 1);
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 1);
    }
}

/// The callback of a commit came after it was told that the partitions are given up.
#[test]
fn the_callback_of_a_commit_comes_before_what_it_was_for_is_revoked() {
    let log = EventLog::builder().storage(SimulatedStorage::new());
    let log = log.housekeeping(Housekeeping::Thread).open().unwrap();
    let two = TopicOptions::new().partitions(2);
    let topic = log.create_topic("t", two).unwrap();
    let group = log.consumer_group("g").unwrap();
    let group = group.options(ConsumerOptions::new().auto_commit(None));
    let calls = Calls::default();
    let acts = acting(&calls, |_, _| Ok(()));
    let mut consumer = group.member().listener(acts).subscribe([&topic]).unwrap();
    let _joined = consumer.poll(Duration::ZERO).unwrap();
    let mut other = group.subscribe([&topic]).unwrap();
    let _decides = other.poll(Duration::ZERO).unwrap();
    take(&calls);
    let told = Arc::clone(&calls);
    let committed = move |_| told.lock().unwrap().push("committed".to_owned());
    consumer.commit_async(committed).unwrap();
    let _gives_up = consumer.poll(Duration::ZERO).unwrap();
    let told = take(&calls);
    assert_eq!((told.len(), &*told[0]), (2, "committed"), "{told:?}");
}

/// A topic was deleted between the group's answer and the look at it: its partition was never told to be
/// there, and then to be lost.
#[test]
fn what_was_never_told_to_be_there_is_not_told_to_be_lost() {
    let (log, _clock, topic, group) = world();
    let (calls, inner) = (Calls::default(), log.clone());
    let acts = acting(&calls, move |what, _| match what {
        "lost" => inner.delete_topic("u"),
        _ => Ok(()),
    });
    let member = group.member().listener(acts);
    let mut consumer = member.subscribe_matching(|_| true).unwrap();
    let _joined = consumer.poll(Duration::ZERO).unwrap();
    take(&calls);
    log.create_topic("u", TopicOptions::new()).unwrap();
    log.delete_topic("t").unwrap();
    for _poll in 0..3 {
        let _none = consumer.poll(Duration::ZERO).unwrap();
    }
    drop(topic);
    assert_eq!(take(&calls), ["lost t-0"]);
}

/// A consumer that was first given its partitions forgot its listener and its assignors.
#[test]
fn a_consumer_that_subscribes_later_has_the_listener_it_was_made_with() {
    let (_log, _clock, topic, group) = world();
    let calls = Calls::default();
    let acts = acting(&calls, |_, _| Ok(()));
    let member = group.member().listener(acts).assignor(RoundRobinAssignor);
    let mut consumer = member.assign(&topic.partitions()).unwrap();
    consumer.unsubscribe().unwrap();
    consumer.subscribe([&topic]).unwrap();
    let _joined = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(take(&calls), ["assigned t-0"]);
    assert_eq!(group.describe().assignor.as_deref(), Some("roundrobin"));
}

/// A topic was deleted in the callback of an earlier commit, for which a commit of positions waits: that one
/// was refused as a whole, since it had looked at the positions before.
#[test]
fn a_topic_that_is_deleted_in_a_callback_keeps_no_positions_from_being_committed() {
    for gives_up in [false, true] {
        let (log, _clock, topic, group) = world();
        let gone = log.create_topic("gone", TopicOptions::new()).unwrap();
        send(&topic, 2);
        send(&gone, 1);
        let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let group = group.options(options);
        let mut member = group.subscribe([&topic, &gone]).unwrap();
        assert_eq!(member.poll(Duration::ZERO).unwrap().len(), 3);
        let nothing: [(&TopicPartition, Offset); 0] = [];
        let other = log.clone();
        let callback = move |_: Result<(), Error>| other.delete_topic("gone").unwrap();
        member.commit_offsets_async(nothing, callback).unwrap();
        if gives_up {
            member.subscribe(&[]).unwrap();
            assert!(member.poll(Duration::ZERO).unwrap().is_empty());
        } else {
            member.commit().unwrap();
        }
        let place = topic.partition(0).unwrap().topic_partition().clone();
        let committed = group.committed();
        assert_eq!(committed, [(place, Offset::new(2).into())]);
    }
}

/// Deletes a topic when it is asked for the time, once it is told which log.
#[derive(Clone, Debug)]
struct Deletes(ManualClock, Arc<Mutex<Option<EventLog>>>);

impl Clock for Deletes {
    fn wall(&self) -> Timestamp {
        let log = self.1.lock().unwrap().take();
        if let Some(log) = log {
            log.delete_topic("gone").unwrap();
        }
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn is_manual(&self) -> bool {
        true
    }
}

/// A topic was deleted after a commit had looked at the positions: all of them were refused.
#[test]
fn a_topic_that_is_deleted_during_a_commit_keeps_no_positions_from_being_committed() {
    for (is_member, waits) in [(true, true), (true, false), (false, true), (false, false)] {
        let clock = Deletes(clock(), Arc::default());
        let builder = EventLog::builder().in_memory().clock(clock.clone());
        let builder = builder.housekeeping(Housekeeping::Manual);
        let log = builder.open().unwrap();
        let [topic, gone] =
            ["t", "gone"].map(|name| log.create_topic(name, TopicOptions::new()).unwrap());
        send(&topic, 2);
        send(&gone, 1);
        let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
        let options = options.auto_commit(None);
        let group = log.consumer_group("g").unwrap().options(options);
        let mut consumer = if is_member {
            group.subscribe([&topic, &gone]).unwrap()
        } else {
            let partitions = [&topic, &gone].map(|topic| topic.partition(0).unwrap());
            group.member().assign(&partitions).unwrap()
        };
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 3);
        *clock.1.lock().unwrap() = Some(log.clone());
        if waits {
            consumer.commit().unwrap();
        } else {
            consumer
                .commit_async(|committed| committed.unwrap())
                .unwrap();
            consumer.close().unwrap();
        }
        assert!(log.topic("gone").is_err());
        let place = topic.partition(0).unwrap().topic_partition().clone();
        let committed = group.committed();
        assert_eq!(committed, [(place, Offset::new(2).into())]);
    }
}
