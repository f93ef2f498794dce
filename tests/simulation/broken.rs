//! The checker can fail: every broken promise, by the shortest history that breaks it.

use topiclog::Durability;

use super::checker::Checker;
use super::history::{Event, Outcome, Place, Stop};

const P: Place = Place {
    topic: 0,
    partition: 0,
};

fn begun(level: Durability) -> Vec<Event> {
    vec![
        Event::Begun {
            offsets: Durability::Disk,
        },
        Event::TopicMade {
            topic: 0,
            level,
            trimmed: false,
        },
    ]
}

fn sent(id: u64) -> Event {
    Event::Sent {
        id,
        producer: 0,
        topic: 0,
        partition: Some(0),
    }
}

fn acked(id: u64, offset: u64) -> Event {
    Event::Acked {
        id,
        place: P,
        offset: Some(offset),
    }
}

/// A topic with records 0 to `count` - 1 at these offsets.
fn with_records(count: u64) -> Vec<Event> {
    let mut history = begun(Durability::Disk);
    for id in 0..count {
        history.extend([sent(id), acked(id, id)]);
    }
    history
}

fn joined(member: u32) -> [Event; 2] {
    let places = vec![P];
    [
        Event::Joined { group: 0, member },
        Event::Assigned {
            group: 0,
            member,
            places,
        },
    ]
}

fn delivered(member: u32, offset: u64, id: Option<u64>) -> Event {
    Event::Delivered {
        group: 0,
        member,
        place: P,
        offset,
        id,
    }
}

fn asked(commit: u64, member: u32, offset: u64) -> Event {
    Event::CommitAsked {
        commit,
        group: 0,
        member,
        offsets: vec![(P, offset)],
        unresolved: Vec::new(),
        automatic: false,
    }
}

fn done(commit: u64, outcome: Outcome) -> Event {
    Event::CommitDone { commit, outcome }
}

fn committed(offset: Option<u64>, fresh: bool) -> Event {
    Event::Committed {
        group: 0,
        place: P,
        offset,
        fresh,
    }
}

fn contents(records: &[(u64, u64)], fresh: bool) -> Event {
    Event::Contents {
        place: P,
        start: 0,
        end: records.last().map_or(0, |(offset, _)| offset + 1),
        records: records.iter().map(|(at, id)| (*at, Some(*id))).collect(),
        fresh,
    }
}

fn stopped(how: Stop) -> Event {
    Event::Stopped { how }
}

fn verdict(history: &[Event]) -> Result<(), String> {
    let mut checker = Checker::new();
    history.iter().try_for_each(|event| checker.take(event))?;
    checker.finish()
}

/// Everything but the last event is right, and the last one is what the checker objects to.
#[track_caller]
fn breaks(mut history: Vec<Event>, last: Event, why: &str) {
    let mut checker = Checker::new();
    for event in &history {
        assert_eq!(checker.take(event), Ok(()), "{event:?}");
    }
    history.push(last);
    let what = verdict(&history).unwrap_err();
    assert!(what.contains(why), "{what}");
}

#[test]
fn a_history_that_keeps_every_promise_is_accepted() {
    let mut history = with_records(3);
    history.extend(joined(1));
    history.extend([delivered(1, 0, Some(0)), delivered(1, 1, Some(1))]);
    history.extend([
        asked(1, 1, 2),
        done(1, Outcome::Kept),
        committed(Some(2), false),
    ]);
    history.extend([
        stopped(Stop::PowerCut),
        contents(&[(0, 0), (1, 1), (2, 2)], true),
    ]);
    history.push(committed(Some(2), true));
    history.extend(joined(2));
    history.push(delivered(2, 2, Some(2)));
    verdict(&history).unwrap();
}

#[test]
fn lost_records_are_found() {
    let mut history = with_records(3);
    history.push(stopped(Stop::PowerCut));
    breaks(
        history.clone(),
        contents(&[(0, 0), (1, 1)], true),
        "is lost",
    );
    // At level `Os` a power cut takes the last ones, and a kill takes none.
    let weak = |how| {
        let mut history = history.clone();
        history[1] = begun(Durability::Os).remove(1);
        *history.last_mut().unwrap() = stopped(how);
        history
    };
    let mut cut = weak(Stop::PowerCut);
    breaks(
        cut.clone(),
        contents(&[(0, 0), (2, 2)], true),
        "later ones are not",
    );
    breaks(
        weak(Stop::Killed),
        contents(&[(0, 0), (1, 1)], true),
        "is lost",
    );
    cut.push(contents(&[(0, 0), (1, 1)], true));
    verdict(&cut).unwrap();
    breaks(
        cut,
        contents(&[(0, 0), (1, 1), (2, 2)], false),
        "after it was gone",
    );
}

#[test]
fn records_that_are_wrong_are_found() {
    let history = with_records(2);
    breaks(history.clone(), acked(0, 5), "is at 5");
    breaks(
        history.clone(),
        contents(&[(0, 0), (1, 1), (2, 9)], false),
        "never sent",
    );
    let mut garbled = contents(&[(0, 0), (1, 1)], false);
    if let Event::Contents { records, .. } = &mut garbled {
        records[1].1 = None;
    }
    breaks(history.clone(), garbled, "not as it was sent");
    let mut two = history.clone();
    two.push(sent(2));
    breaks(two.clone(), acked(2, 1), "both at 1");
    two.push(Event::NotWritten { id: 2 });
    breaks(
        two,
        contents(&[(0, 0), (1, 1), (2, 2)], false),
        "after it was gone",
    );
    let mut order = begun(Durability::Disk);
    order.extend([sent(0), sent(1), acked(1, 0)]);
    breaks(order, acked(0, 1), "out of the order");
}

#[test]
fn two_owners_are_found() {
    let mut history = with_records(1);
    history.extend(joined(1));
    let [second, assigned] = joined(2);
    history.push(second);
    breaks(history.clone(), assigned.clone(), "owns it");
    let mut expired = history.clone();
    expired.extend([
        Event::Doubtful { member: 1 },
        assigned.clone(),
        delivered(2, 0, Some(0)),
    ]);
    verdict(&expired).unwrap();
    let described = Event::Described {
        group: 0,
        generation: 1,
        members: vec![(Some(1), vec![P]), (Some(2), vec![P])],
    };
    breaks(history, described, "two owners");
}

#[test]
fn commits_that_must_not_be_kept_are_found() {
    let mut history = with_records(2);
    history.extend(joined(1));
    history.push(delivered(1, 0, Some(0)));
    let mut taken = history.clone();
    taken.push(Event::Doubtful { member: 1 });
    taken.extend(joined(2));
    taken.push(asked(1, 1, 1));
    breaks(taken.clone(), done(1, Outcome::Kept), "does not own");
    taken.push(done(1, Outcome::Fenced));
    breaks(taken, committed(Some(1), false), "has committed");
    let mut live = history.clone();
    live.push(asked(1, 1, 1));
    breaks(live.clone(), done(1, Outcome::Fenced), "may not commit");
    live.push(done(1, Outcome::Kept));
    breaks(live.clone(), committed(None, false), "has committed None");
    breaks(
        live.clone(),
        committed(Some(2), false),
        "has committed Some(2)",
    );
    live.extend([stopped(Stop::PowerCut), contents(&[(0, 0), (1, 1)], true)]);
    breaks(live, committed(None, true), "has committed None");
}

#[test]
fn deliveries_from_the_wrong_place_are_found() {
    let mut history = with_records(4);
    history.extend(joined(1));
    breaks(
        history.clone(),
        delivered(1, 1, Some(1)),
        "was to go on from",
    );
    history.extend([delivered(1, 0, Some(0)), delivered(1, 1, Some(1))]);
    breaks(
        history.clone(),
        delivered(1, 1, Some(1)),
        "was to go on from",
    );
    breaks(
        history.clone(),
        delivered(1, 3, Some(3)),
        "was to go on from",
    );
    breaks(history.clone(), delivered(1, 2, None), "not as it was sent");
    let not_mine = delivered(2, 2, Some(2));
    breaks(history.clone(), not_mine, "does not own it");
    history.extend([
        asked(1, 1, 2),
        done(1, Outcome::Kept),
        committed(Some(2), false),
    ]);
    history.push(Event::Released {
        member: 1,
        places: vec![P],
    });
    history.extend(joined(2));
    breaks(
        history.clone(),
        delivered(2, 1, Some(1)),
        "was to go on from",
    );
    breaks(history, delivered(2, 3, Some(3)), "was to go on from");
}

#[test]
fn what_never_came_and_what_goes_back_is_found() {
    let mut history = with_records(2);
    history.extend(joined(1));
    history.push(delivered(1, 0, Some(0)));
    assert!(verdict(&history).unwrap_err().contains("never came"));
    let polled = |generation| Event::Polled {
        member: 1,
        generation,
    };
    history.push(polled(3));
    breaks(history.clone(), polled(2), "from generation 3 to 2");
    let lag = Event::Drained {
        group: 0,
        place: P,
        lag: Some(1),
    };
    breaks(history.clone(), lag, "behind");
    let place = P;
    breaks(
        history.clone(),
        Event::LogStart { place, offset: 1 },
        "nobody deletes",
    );
    history[1] = Event::TopicMade {
        topic: 0,
        level: Durability::Disk,
        trimmed: true,
    };
    history.push(Event::LogStart { place, offset: 1 });
    breaks(
        history.clone(),
        Event::LogStart { place, offset: 0 },
        "went back",
    );
    history.push(Event::TopicDeleted { topic: 0 });
    let found = Event::TopicFound {
        topic: 0,
        there: true,
    };
    breaks(history, found, "was deleted before");
}
