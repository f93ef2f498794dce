//! Polling: what a poll returns, how it blocks, wakes and ends.

use std::thread;
use std::time::Duration;

use topiclog::{ConsumerOptions, ErrorKind, EventLog, Offset, OffsetReset, Record, TopicOptions};

use super::harness::{drain, fill, manual, place, poll, put, refused, texts, with_topic};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_poll_returns_at_most_so_many_records_in_offset_order() {
    let (log, topic, _) = with_topic(3);
    for partition in 0..3 {
        fill(&topic, partition, 25);
    }
    let options = manual().max_poll_records(10);
    let mut reader = log
        .consumer()
        .options(options)
        .assign(&topic.partitions())
        .unwrap();
    let (mut next, mut polls) = ([0_u64; 3], 0);
    loop {
        let records = reader.poll(Duration::ZERO).unwrap();
        if records.is_empty() {
            break;
        }
        polls += 1;
        assert!(records.len() <= 10);
        assert_eq!(records.iter().count(), records.len());
        for view in records.by_partition() {
            assert!(!view.is_empty());
            let number = view.topic_partition().partition() as usize;
            assert_eq!(view.iter().count(), view.len());
            for record in &view {
                assert_eq!(record.offset(), next[number]);
                assert_eq!(record.topic(), topic.name());
                next[number] += 1;
            }
            assert_eq!(view.next_offset(), next[number]);
        }
    }
    assert_eq!(next, [25; 3]);
    assert!(polls <= 9, "{polls}");
    refused(
        log.consumer()
            .options(manual().max_poll_records(0))
            .assign(&topic.partitions()),
        ErrorKind::InvalidInput,
    );
}

#[test]
fn no_partition_starves_behind_a_long_one() {
    let (log, topic, _) = with_topic(3);
    for _batch in 0..10 {
        fill(&topic, 0, 100);
    }
    fill(&topic, 1, 5);
    fill(&topic, 2, 5);
    let options = manual().max_poll_records(10).fetch_bytes(1);
    let mut reader = log
        .consumer()
        .options(options)
        .assign(&topic.partitions())
        .unwrap();
    for _batch_and_the_others in 0..12 {
        poll(&mut reader);
    }
    for partition in [1, 2] {
        assert_eq!(reader.position(&place(&topic, partition)).unwrap(), 5);
    }
}

#[test]
fn a_partition_goes_on_until_what_was_read_ahead_is_handed_out() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 25);
    fill(&topic, 1, 25);
    let options = manual().max_poll_records(10);
    let reader = log.consumer().options(options);
    let mut reader = reader.assign(&topic.partitions()).unwrap();
    let mut turns = Vec::new();
    loop {
        let records = reader.poll(Duration::ZERO).unwrap();
        if records.is_empty() {
            break;
        }
        let parts = records.by_partition();
        let parts = parts.map(|part| (part.topic_partition().partition(), part.len()));
        turns.push(parts.collect::<Vec<_>>());
    }
    let expected = [
        vec![(0, 10)],
        vec![(0, 10)],
        vec![(0, 5), (1, 5)],
        vec![(1, 10)],
        vec![(1, 10)],
    ];
    assert_eq!(turns, expected);
}

#[test]
fn any_limit_on_a_poll_goes_through_the_same_records() {
    let (log, topic, _) = with_topic(1);
    for round in 0..10 {
        fill(&topic, 0, 1 + round * 7 % 11);
    }
    let all = |options: ConsumerOptions| {
        let mut reader = log
            .consumer()
            .options(options)
            .assign(&topic.partitions())
            .unwrap();
        let mut all = Vec::new();
        loop {
            let records = reader.poll(Duration::ZERO).unwrap();
            if records.is_empty() {
                return all;
            }
            let offsets: Vec<_> = records
                .iter()
                .map(|record| record.offset().value())
                .collect();
            all.extend(texts(&records).into_iter().zip(offsets));
        }
    };
    let expected = all(manual());
    assert!(
        expected
            .iter()
            .map(|(_, offset)| *offset)
            .eq(0..expected.len() as u64)
    );
    for limit in 1..20 {
        assert_eq!(all(manual().max_poll_records(limit)), expected);
        assert_eq!(
            all(manual().max_poll_records(limit).fetch_bytes(1)),
            expected
        );
    }
}

#[test]
fn any_start_and_any_limit_on_a_poll_give_the_records_from_there_on() {
    let (log, topic, _) = with_topic(1);
    for count in [1, 7, 12] {
        fill(&topic, 0, count);
    }
    let place = place(&topic, 0);
    for start in 0..=20 {
        for limit in 1..=21 {
            let options = manual().max_poll_records(limit);
            let reader = log.consumer().options(options);
            let mut reader = reader.assign(&topic.partitions()).unwrap();
            reader.seek(&place, Offset::new(start)).unwrap();
            let mut next = start;
            loop {
                let records = reader.poll(Duration::ZERO).unwrap();
                if records.is_empty() {
                    break;
                }
                assert!(records.len() <= limit);
                assert_eq!(records.iter().count(), records.len());
                for record in &records {
                    assert_eq!(record.offset(), next, "from {start}, {limit} a poll");
                    next += 1;
                }
                assert_eq!(reader.position(&place).unwrap(), next);
            }
            assert_eq!(next, 20, "from {start}, {limit} a poll");
        }
    }
}

/// So that `collect` takes the room it needs at once.
#[test]
fn an_iterator_over_records_says_at_each_step_how_many_are_left() {
    let (log, topic, _) = with_topic(3);
    for (partition, count) in [(0, 5), (2, 1), (1, 8), (0, 3), (2, 9)] {
        fill(&topic, partition, count);
    }
    let steps = |mut iterator: topiclog::RecordsIter<'_>, count: usize| {
        for left in (0..=count).rev() {
            assert_eq!(iterator.size_hint(), (left, Some(left)));
            assert_eq!(iterator.len(), left);
            assert_eq!(iterator.next().is_some(), left > 0);
        }
        assert_eq!((iterator.next().is_none(), iterator.len()), (true, 0));
    };
    for limit in 1..=26 {
        let options = manual().max_poll_records(limit);
        let reader = log.consumer().options(options);
        let mut reader = reader.assign(&topic.partitions()).unwrap();
        // Into the middle of a batch.
        reader.seek(&place(&topic, 1), Offset::new(3)).unwrap();
        let mut seen = 0;
        for records in reader.drain().unwrap() {
            let records = records.unwrap();
            seen += records.len();
            steps(records.iter(), records.len());
            for view in records.by_partition() {
                steps(view.iter(), view.len());
            }
        }
        assert_eq!(seen, 26 - 3);
    }
}

#[test]
fn records_outlive_later_polls_and_can_be_sent_to_other_threads() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 300);
    fill(&topic, 1, 300);
    let options = manual().max_poll_records(50);
    let mut reader = log
        .consumer()
        .options(options)
        .assign(&topic.partitions())
        .unwrap();
    let mut kept = Vec::new();
    for records in reader.drain().unwrap() {
        kept.push(records.unwrap());
    }
    drop((reader, log));
    let mut values = Vec::new();
    for records in kept {
        for (place, part) in records.into_partitions() {
            let part = thread::spawn(move || texts(&part)).join().unwrap();
            values.extend(part.into_iter().map(|value| (place.partition(), value)));
        }
    }
    for partition in 0..2 {
        let of = values.iter().filter(|(number, _)| *number == partition);
        assert!(
            of.map(|(_, value)| value.parse::<usize>().unwrap())
                .eq(0..300)
        );
    }
}

#[test]
fn a_poll_without_subscription_or_assignment_is_refused() {
    let (log, topic, _) = with_topic(1);
    let mut reader = log.consumer().assign([]).unwrap();
    refused(reader.poll(Duration::ZERO), ErrorKind::InvalidInput);
    reader.assign(&topic.partitions()).unwrap();
    assert!(poll(&mut reader).is_empty());
    reader.unsubscribe().unwrap();
    refused(reader.poll(LONG), ErrorKind::InvalidInput);
}

#[test]
fn what_is_sent_wakes_a_poll_that_waits() {
    let log = EventLog::in_memory().unwrap();
    let topic = log
        .create_topic("t", TopicOptions::new().partitions(4))
        .unwrap();
    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    reader.seek_to_beginning().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut seen = 0;
            while seen < 200 {
                seen += reader.poll(LONG).unwrap().len();
            }
            seen
        });
        // Nobody waits for them, and the linger never ends: the consumer has them written.
        topic.alter(|options| options.linger(LONG)).unwrap();
        let producer = topic.producer();
        for number in 0..200_u32 {
            producer
                .send(Record::new("x").partition(number % 4))
                .unwrap();
        }
        assert_eq!(waiting.join().unwrap(), 200);
    });
}

#[test]
fn a_poll_returns_empty_after_its_timeout() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let mut reader = log.consumer().assign(&topic.partitions()).unwrap();
    assert!(reader.poll(Duration::ZERO).unwrap().is_empty());
    assert!(reader.poll(Duration::from_millis(1)).unwrap().is_empty());
}

#[test]
fn a_waker_ends_the_poll_that_waits_or_the_next_one_and_loses_nothing() {
    let log = EventLog::in_memory().unwrap();
    let topic = log.create_topic("t", TopicOptions::new()).unwrap();
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    let waker = reader.waker();
    put(&topic, 0, "x");
    waker.wake();
    waker.clone().wake();
    refused(reader.poll(LONG), ErrorKind::Interrupted);
    assert_eq!(poll(&mut reader), ["x"], "once, and no record is lost");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.poll(LONG).map(|records| records.len()));
        waker.wake();
        refused(waiting.join().unwrap(), ErrorKind::Interrupted);
    });
}

#[test]
fn a_drain_ends_where_the_partitions_ended_when_it_began() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 0, 10);
    // Sent, and waited for by nobody.
    topic
        .producer()
        .send(Record::new("lingers").partition(1))
        .unwrap();
    let options = manual().max_poll_records(3);
    let mut reader = log
        .consumer()
        .options(options)
        .assign(&topic.partitions())
        .unwrap();
    let mut seen = 0;
    for records in reader.drain().unwrap() {
        seen += records.unwrap().len();
        put(&topic, 0, "more"); // for ever, if it went on to the end as it is now
    }
    assert!((11..30).contains(&seen), "{seen}");
    drain(&mut reader);
    assert!(drain(&mut reader).is_empty());
    // A paused partition is left out.
    put(&topic, 0, "paused");
    put(&topic, 1, "y");
    reader.pause(&[place(&topic, 0)]).unwrap();
    assert_eq!(drain(&mut reader), ["y"]);
    reader.resume(&[place(&topic, 0)]).unwrap();
    assert_eq!(drain(&mut reader), ["paused"]);
}

#[test]
fn a_drain_from_which_a_rebalance_takes_the_rest_ends_without_an_empty_piece() {
    let (log, topic, _) = with_topic(2);
    fill(&topic, 1, 3);
    let options = manual().max_poll_records(1);
    let group = log.consumer_group("g").unwrap().options(options);
    let mut first = group.subscribe([&topic]).unwrap();
    let mut seen = Vec::new();
    let mut second = None;
    for records in first.drain().unwrap() {
        seen.push(texts(&records.unwrap()));
        if second.is_none() {
            let other = second.insert(group.subscribe([&topic]).unwrap());
            assert!(poll(other).is_empty());
        }
    }
    assert_eq!(seen, [["0"]]);
    assert_eq!(first.assignment(), [place(&topic, 0)]);
}

#[test]
fn a_drain_does_not_wait_for_a_topic_that_was_deleted_since() {
    let (log, topic, _) = with_topic(1);
    fill(&topic, 0, 10);
    let mut reader = log
        .consumer()
        .options(manual())
        .assign(&topic.partitions())
        .unwrap();
    let mut records = reader.drain().unwrap();
    log.delete_topic(topic.name().as_str()).unwrap();
    assert!(records.next().is_none());
}

#[test]
fn without_a_commit_the_reset_policy_says_where_to_begin() {
    let (log, topic, clock) = with_topic(1);
    for _ in 0..4 {
        put(&topic, 0, "x");
        clock.advance(Duration::from_secs(60));
    }
    let position = |reset| {
        let options = ConsumerOptions::new().offset_reset(reset);
        let mut reader = log
            .consumer()
            .options(options)
            .assign(&topic.partitions())
            .unwrap();
        reader.position(&place(&topic, 0))
    };
    assert_eq!(position(OffsetReset::Earliest).unwrap(), 0);
    assert_eq!(position(OffsetReset::Latest).unwrap(), 4);
    let text = refused(position(OffsetReset::None), ErrorKind::OffsetOutOfRange);
    assert!(text.contains("or set offset_reset"), "{text}");
    let by = |seconds| position(OffsetReset::ByDuration(Duration::from_secs(seconds))).unwrap();
    assert_eq!(
        (by(60), by(61), by(180), by(100_000)),
        (3.into(), 3.into(), 1.into(), 0.into())
    );
    assert_eq!(by(1), 4, "none is that young: the end");
    assert_eq!(position(OffsetReset::ByDuration(Duration::MAX)).unwrap(), 0);
    let mut none = log
        .consumer()
        .options(ConsumerOptions::new().offset_reset(OffsetReset::None))
        .assign(&topic.partitions())
        .unwrap();
    refused(none.poll(Duration::ZERO), ErrorKind::OffsetOutOfRange);
    refused(
        none.drain().unwrap().next().unwrap(),
        ErrorKind::OffsetOutOfRange,
    );
    none.seek(&place(&topic, 0), 3.into()).unwrap();
    assert_eq!(poll(&mut none).len(), 1);
}

#[test]
fn out_of_range_the_reset_policy_says_where_to_go_on() {
    let (log, topic, clock) = with_topic(1);
    for _ in 0..4 {
        put(&topic, 0, "x");
        clock.advance(Duration::from_secs(60));
    }
    topic
        .partition(0)
        .unwrap()
        .delete_records(1.into())
        .unwrap();
    let after = |reset, from: u64| {
        let options = ConsumerOptions::new()
            .offset_reset(reset)
            .max_poll_records(1);
        let mut reader = log
            .consumer()
            .options(options)
            .assign(&topic.partitions())
            .unwrap();
        reader.seek(&place(&topic, 0), from.into()).unwrap();
        // It is taken as it is, and met at the poll.
        assert_eq!(reader.position(&place(&topic, 0)).unwrap(), from);
        let records = reader.poll(Duration::ZERO)?;
        let first = records.iter().next().map(|record| record.offset().value());
        Ok::<_, topiclog::Error>((first, reader.position(&place(&topic, 0)).unwrap().value()))
    };
    for from in [0, 5, u64::MAX] {
        assert_eq!(after(OffsetReset::Earliest, from).unwrap(), (Some(1), 2));
        assert_eq!(after(OffsetReset::Latest, from).unwrap(), (None, 4));
        let two = OffsetReset::ByDuration(Duration::from_secs(120));
        assert_eq!(after(two, from).unwrap(), (Some(2), 3));
        refused(after(OffsetReset::None, from), ErrorKind::OffsetOutOfRange);
    }
    assert_eq!(
        after(OffsetReset::None, 4).unwrap(),
        (None, 4),
        "the end is inside"
    );
}
