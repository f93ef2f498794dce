//! Rebalance listeners: what they are told, in which order, and what they may do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use topiclog::{
    Consumer, Eager, Error, ErrorKind, EventLog, Offset, OffsetReset, RangeAssignor,
    RebalanceListener, Topic, TopicPartition,
};

use super::harness::{committed, drain, fill, manual, place, poll, refused, settle, with_topic};

type Calls = Arc<Mutex<Vec<String>>>;
type Act = Box<dyn FnMut(&str, &mut Consumer, &[TopicPartition]) -> Result<(), Error> + Send>;

/// Writes down what it is told, then does something.
struct Told {
    name: &'static str,
    calls: Calls,
    act: Act,
}

impl Told {
    fn hear(
        &mut self,
        what: &str,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        let numbers: Vec<_> = partitions.iter().map(TopicPartition::partition).collect();
        self.calls
            .lock()
            .unwrap()
            .push(format!("{} {what} {numbers:?}", self.name));
        (self.act)(what, consumer, partitions)
    }
}

impl RebalanceListener for Told {
    fn revoked(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        self.hear("revoked", consumer, partitions)
    }

    fn assigned(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        self.hear("assigned", consumer, partitions)
    }

    fn lost(
        &mut self,
        consumer: &mut Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        self.hear("lost", consumer, partitions)
    }
}

fn join(log: &EventLog, topic: &Topic, name: &'static str, calls: &Calls, act: Act) -> Consumer {
    let calls = Arc::clone(calls);
    let group = log.consumer_group("g").unwrap().options(manual());
    group
        .member()
        .listener(Told { name, calls, act })
        .subscribe([topic])
        .unwrap()
}

fn nothing() -> Act {
    Box::new(|_, _, _| Ok(()))
}

fn take(calls: &Calls) -> Vec<String> {
    std::mem::take(&mut *calls.lock().unwrap())
}

#[test]
fn a_partition_is_revoked_here_before_it_is_assigned_there() {
    let (log, topic, _) = with_topic(2);
    let calls = Calls::default();
    let mut a = join(&log, &topic, "a", &calls, nothing());
    settle(&mut [&mut a]);
    assert_eq!(
        take(&calls),
        ["a assigned [0, 1]"],
        "nothing is revoked at the first join"
    );
    let mut b = join(&log, &topic, "b", &calls, nothing());
    settle(&mut [&mut b, &mut a]);
    let moved = take(&calls);
    assert_eq!(moved.len(), 2, "{moved:?}");
    assert!(moved[0].starts_with("a revoked ["), "{moved:?}");
    assert_eq!(moved[0].replace("a revoked", "b assigned"), moved[1]);
    a.close().unwrap();
    settle(&mut [&mut b]);
    let moved = take(&calls);
    assert_eq!(moved.len(), 2, "{moved:?}");
    assert_eq!(moved[0].replace("a revoked", "b assigned"), moved[1]);
    b.unsubscribe().unwrap();
    assert_eq!(take(&calls), ["b revoked [0, 1]"]);
    drop(b);
    assert!(take(&calls).is_empty(), "a drop tells nobody");
}

#[test]
fn whoever_was_removed_is_told_that_its_partitions_are_lost() {
    let (log, topic, clock) = with_topic(2);
    let calls = Calls::default();
    let mut a = join(&log, &topic, "a", &calls, nothing());
    settle(&mut [&mut a]);
    take(&calls);
    clock.advance(Duration::from_secs(301));
    log.run_housekeeping();
    poll(&mut a);
    assert_eq!(take(&calls), ["a lost [0, 1]", "a assigned [0, 1]"]);
    log.delete_topic("t").unwrap();
    poll(&mut a);
    assert_eq!(take(&calls), ["a lost [0, 1]"]);
}

#[test]
fn whoever_was_removed_is_told_lost_at_close_and_unsubscribe_too() {
    let (log, topic, clock) = with_topic(2);
    let calls = Calls::default();
    for closes in [true, false] {
        let mut a = join(&log, &topic, "a", &calls, nothing());
        settle(&mut [&mut a]);
        take(&calls);
        clock.advance(Duration::from_secs(301));
        log.run_housekeeping();
        if closes {
            a.close().unwrap();
        } else {
            a.unsubscribe().unwrap();
        }
        assert_eq!(take(&calls), ["a lost [0, 1]"]);
    }
}

#[test]
fn a_listener_commits_before_somebody_else_goes_on() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 5);
    fill(&topic, 1, 5);
    let calls = Calls::default();
    let commit_first: Act = Box::new(|what, consumer, partitions| {
        if what == "revoked" {
            for at in partitions {
                assert_eq!(consumer.position(at)?, 5, "positions can be asked for");
                assert!(consumer.assignment().contains(at));
            }
            consumer.commit()?;
        }
        Ok(())
    });
    let mut a = join(&log, &topic, "a", &calls, commit_first);
    assert_eq!(drain(&mut a).len(), 10);
    let mut b = join(&log, &topic, "b", &calls, nothing());
    settle(&mut [&mut a, &mut b]);
    assert!(drain(&mut b).is_empty());
    assert_eq!(committed(&b, &place(&topic, 0)), Some(5));
}

#[test]
fn a_listener_seeks_before_the_first_record_is_read() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 5);
    fill(&topic, 1, 5);
    let calls = Calls::default();
    let seek: Act = Box::new(|what, consumer, partitions| {
        if what == "assigned" {
            for at in partitions {
                consumer.seek(at, Offset::new(3))?;
            }
        }
        Ok(())
    });
    let mut a = join(&log, &topic, "a", &calls, seek);
    let mut values = poll(&mut a);
    values.sort_unstable();
    assert_eq!(values, ["3", "3", "4", "4"]);
}

#[test]
fn a_listener_may_not_poll_and_its_error_is_the_polls() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 1);
    let calls = Calls::default();
    let polls: Act = Box::new(|_, consumer, _| {
        refused(consumer.drain().map(drop), ErrorKind::InvalidInput);
        consumer.poll(Duration::ZERO).map(drop)
    });
    let mut a = join(&log, &topic, "a", &calls, polls);
    let error = refused(a.poll(Duration::ZERO), ErrorKind::InvalidInput);
    assert!(error.contains("listener"), "{error}");
    // The rebalance itself was done.
    assert_eq!(a.assignment().len(), 2);
    assert_eq!(poll(&mut a), ["0"]);
}

#[test]
fn the_first_error_is_returned_after_everything_else_was_done() {
    let (log, topic, _) = with_topic(2);
    let calls = Calls::default();
    let group = log.consumer_group("g").unwrap();
    // It can neither commit what it lost nor fail to get it back.
    let commits: Act = Box::new(|what, consumer, _| {
        if what == "lost" {
            consumer.commit()
        } else {
            Ok(())
        }
    });
    let mut a = join(&log, &topic, "a", &calls, commits);
    settle(&mut [&mut a]);
    group.remove_all_members();
    fill(&topic, 0, 1);
    take(&calls);
    let error = refused(a.poll(Duration::ZERO), ErrorKind::Fenced);
    assert!(error.contains("UNKNOWN_MEMBER_ID"), "{error}");
    assert_eq!(take(&calls), ["a lost [0, 1]", "a assigned [0, 1]"]);
    assert_eq!(poll(&mut a), ["0"]);
}

#[test]
fn of_two_errors_the_first_is_returned() {
    let (log, topic, _) = with_topic(2);
    let calls = Calls::default();
    let group = log.consumer_group("g").unwrap();
    // The first is that it is no member any more, the second that it may not poll in here.
    let fails: Act = Box::new(|what, consumer, _| match what {
        "lost" => consumer.commit(),
        _ => consumer.poll(Duration::ZERO).map(drop),
    });
    let mut a = join(&log, &topic, "a", &calls, fails);
    refused(a.poll(Duration::ZERO), ErrorKind::InvalidInput);
    group.remove_all_members();
    refused(a.poll(Duration::ZERO), ErrorKind::Fenced);
    let told = ["a assigned [0, 1]", "a lost [0, 1]", "a assigned [0, 1]"];
    assert_eq!(take(&calls), told);
}

/// Hears of nothing but what is revoked.
struct Revoked(Calls);

impl RebalanceListener for Revoked {
    fn revoked(&mut self, _: &mut Consumer, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut calls = self.0.lock().unwrap();
        calls.extend(partitions.iter().map(ToString::to_string));
        Ok(())
    }
}

#[test]
fn what_is_lost_counts_as_revoked_unless_told_otherwise() {
    let (log, topic, _) = with_topic(1);
    let (group, calls) = (log.consumer_group("g").unwrap(), Calls::default());
    let listener = Revoked(Arc::clone(&calls));
    let mut member = group
        .member()
        .listener(listener)
        .subscribe([&topic])
        .unwrap();
    poll(&mut member);
    assert!(take(&calls).is_empty());
    group.remove_all_members();
    poll(&mut member);
    assert_eq!(take(&calls), ["t-0"]);
}

#[test]
fn a_listener_that_unsubscribes_is_obeyed() {
    let (log, topic, _) = with_topic(2);
    let calls = Calls::default();
    let leaves: Act = Box::new(|what, consumer, _| {
        if what == "assigned" {
            consumer.unsubscribe()
        } else {
            Ok(())
        }
    });
    let mut a = join(&log, &topic, "a", &calls, leaves);
    fill(&topic, 0, 1);
    assert!(poll(&mut a).is_empty());
    assert!(a.assignment().is_empty());
    let mut b = join(&log, &topic, "b", &calls, nothing());
    assert_eq!(drain(&mut b).len(), 1);
}

/// Kafka: all that a member owns is revoked, and what comes back of it is another time assigned, not paused.
#[test]
fn under_the_eager_protocol_everything_is_given_up_first_and_comes_back_without_its_pause() {
    let (log, topic, _) = with_topic(4);
    fill(&topic, 0, 1);
    let calls = Calls::default();
    let join = |name| {
        let (calls, act) = (Arc::clone(&calls), nothing());
        let options = manual().offset_reset(OffsetReset::Earliest);
        let group = log.consumer_group("g").unwrap().options(options);
        let member = group.member().listener(Told { name, calls, act });
        let member = member.assignor(Eager::new(RangeAssignor));
        member.subscribe([&topic]).unwrap()
    };
    let mut a = join("a");
    a.pause([&place(&topic, 0)]).unwrap_err();
    assert_eq!(poll(&mut a).len(), 1);
    a.seek_to_beginning().unwrap();
    a.pause([&place(&topic, 0)]).unwrap();
    assert_eq!(poll(&mut a).len(), 0);
    let mut b = join("b");
    settle(&mut [&mut a, &mut b]);
    assert_eq!(
        take(&calls),
        [
            "a assigned [0, 1, 2, 3]",
            "a revoked [0, 1, 2, 3]",
            "a assigned [0, 1]",
            "b assigned [2, 3]"
        ]
    );
    assert_eq!(a.paused(), []);
}
