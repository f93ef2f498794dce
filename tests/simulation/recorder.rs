//! Writes down what happens, also from inside listeners and callbacks, and says which record is which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use topiclog::{
    CommittedOffset, Consumer, Error, ErrorKind, Offset, RebalanceListener, Record, RecordRef,
    TopicPartition,
};

use super::common::{Rng, is_same};
use super::history::{Event, Outcome, Place};

/// What a consumer was told that it owns: which partition, and where it goes on if that is known.
pub(crate) type Owned = BTreeMap<TopicPartition, (Place, Option<u64>)>;

/// What the clients share with the history.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<Event>,
    /// The topics that are there, by name.
    pub(crate) topics: BTreeMap<String, u32>,
    pub(crate) owned: BTreeMap<u32, Owned>,
    pub(crate) commits: u64,
    /// How many of them have come to an end.
    pub(crate) settled: u64,
}

pub(crate) type Shared = Arc<Mutex<Recorder>>;

impl Recorder {
    pub(crate) fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(crate) fn wrong(&mut self, what: impl Into<String>) {
        self.push(Event::Wrong { what: what.into() });
    }

    /// The partition that this name means now.
    pub(crate) fn place(&self, at: &TopicPartition) -> Place {
        let topic = self.topics.get(at.topic().as_str()).copied();
        Place {
            topic: topic.unwrap_or(u32::MAX),
            partition: at.partition(),
        }
    }

    /// The partition of this name that a member owns.
    pub(crate) fn owned_place(&self, member: u32, at: &TopicPartition) -> Place {
        let owned = self.owned.get(&member).and_then(|owned| owned.get(at));
        owned.map_or_else(|| self.place(at), |(place, _)| *place)
    }

    pub(crate) fn ask_commit(&mut self, group: u32, member: u32, automatic: bool) -> u64 {
        let owned = self.owned.entry(member).or_default().values();
        let offsets = owned
            .clone()
            .filter_map(|(place, at)| at.map(|at| (*place, at)));
        let unresolved = owned.clone().filter(|(_, at)| at.is_none());
        let (offsets, unresolved) = (offsets.collect(), unresolved.map(|(at, _)| *at).collect());
        self.commits += 1;
        let commit = self.commits;
        self.push(Event::CommitAsked {
            commit,
            group,
            member,
            offsets,
            unresolved,
            automatic,
        });
        commit
    }

    pub(crate) fn commit_done(&mut self, commit: u64, result: &Result<(), Error>) {
        let outcome = match result.as_ref().map_err(Error::kind) {
            Ok(()) => Outcome::Kept,
            Err(ErrorKind::Fenced | ErrorKind::FencedInstance) => Outcome::Fenced,
            Err(ErrorKind::NotFound | ErrorKind::InvalidInput | ErrorKind::InUse) => {
                Outcome::Refused
            }
            Err(_) => Outcome::Unknown,
        };
        self.settled += 1;
        self.push(Event::CommitDone { commit, outcome });
    }

    pub(crate) fn seek(&mut self, member: u32, at: &TopicPartition, offset: u64) {
        let place = self.owned_place(member, at);
        if let Some((_, position)) = self.owned.entry(member).or_default().get_mut(at) {
            *position = Some(offset);
        }
        self.push(Event::Sought {
            member,
            place,
            offset,
        });
    }
}

/// Commits everything and writes down what became of it.
pub(crate) fn commit_all(
    consumer: &mut Consumer,
    shared: &Shared,
    group: u32,
    member: u32,
) -> Result<(), Error> {
    let commit = shared.lock().unwrap().ask_commit(group, member, false);
    let result = consumer.commit();
    shared.lock().unwrap().commit_done(commit, &result);
    result
}

/// Commits one offset and writes down what became of it.
pub(crate) fn commit_one(
    consumer: &mut Consumer,
    shared: &Shared,
    (group, member): (u32, u32),
    at: &TopicPartition,
    offset: u64,
) -> Result<(), Error> {
    let commit = {
        let mut recorder = shared.lock().unwrap();
        recorder.commits += 1;
        let (commit, place) = (recorder.commits, recorder.owned_place(member, at));
        recorder.push(Event::CommitAsked {
            commit,
            group,
            member,
            offsets: vec![(place, offset)],
            unresolved: Vec::new(),
            automatic: false,
        });
        commit
    };
    let offset = CommittedOffset::new(Offset::new(offset));
    let result = consumer.commit_offsets([(at, offset)]);
    shared.lock().unwrap().commit_done(commit, &result);
    result
}

/// What a member does when partitions come and go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Habit {
    Watch,
    CommitOnRevoke,
    CommitOneOnRevoke,
    SeekOnAssign,
}

/// Writes down which partitions a member owns.
pub(crate) struct Witness {
    pub(crate) group: u32,
    pub(crate) member: u32,
    pub(crate) habit: Habit,
    pub(crate) rng: Rng,
    pub(crate) shared: Shared,
}

impl Witness {
    fn released(&self, partitions: &[TopicPartition]) {
        let mut recorder = self.shared.lock().unwrap();
        let owned = recorder.owned.entry(self.member).or_default();
        let mut places = Vec::new();
        for at in partitions {
            places.extend(owned.remove(at).map(|(place, _)| place));
        }
        if places.len() != partitions.len() {
            recorder.wrong(format!(
                "member {} was told to give up {partitions:?} and had not got all of it",
                self.member
            ));
        }
        let member = self.member;
        recorder.push(Event::Released { member, places });
    }
}

impl RebalanceListener for Witness {
    fn revoked(&mut self, consumer: &mut Consumer, at: &[TopicPartition]) -> Result<(), Error> {
        let who = (self.group, self.member);
        let result = match self.habit {
            Habit::CommitOnRevoke => commit_all(consumer, &self.shared, self.group, self.member),
            Habit::CommitOneOnRevoke => {
                let first = &at[0];
                let recorder = self.shared.lock().unwrap();
                let owned = recorder.owned.get(&self.member);
                let position = owned.and_then(|owned| owned.get(first)?.1);
                drop(recorder);
                position.map_or(Ok(()), |offset| {
                    commit_one(consumer, &self.shared, who, first, offset)
                })
            }
            Habit::Watch | Habit::SeekOnAssign => Ok(()),
        };
        self.released(at);
        result
    }

    fn assigned(&mut self, consumer: &mut Consumer, at: &[TopicPartition]) -> Result<(), Error> {
        {
            let mut recorder = self.shared.lock().unwrap();
            let places: Vec<_> = at.iter().map(|at| recorder.place(at)).collect();
            let owned = recorder.owned.entry(self.member).or_default();
            for (at, place) in at.iter().zip(&places) {
                owned.insert(at.clone(), (*place, None));
            }
            let (group, member) = (self.group, self.member);
            recorder.push(Event::Assigned {
                group,
                member,
                places,
            });
        }
        if self.habit == Habit::SeekOnAssign && self.rng.chance(50) {
            let at = self.rng.pick(at);
            let position = consumer.position(&at)?.value();
            let offset = self.rng.below(position + 1);
            consumer.seek(&at, Offset::new(offset))?;
            self.shared.lock().unwrap().seek(self.member, &at, offset);
        }
        Ok(())
    }

    fn lost(&mut self, consumer: &mut Consumer, at: &[TopicPartition]) -> Result<(), Error> {
        if self.habit == Habit::CommitOneOnRevoke {
            let (first, offset) = (&at[0], self.rng.below(5));
            // The history says that it is gone before it tries.
            let place = self.shared.lock().unwrap().owned_place(self.member, first);
            self.released(at);
            let mut recorder = self.shared.lock().unwrap();
            let owned = recorder.owned.entry(self.member).or_default();
            owned.insert(first.clone(), (place, None));
            drop(recorder);
            let who = (self.group, self.member);
            let result = commit_one(consumer, &self.shared, who, first, offset);
            let mut recorder = self.shared.lock().unwrap();
            recorder.owned.entry(self.member).or_default().remove(first);
            if result.is_ok() {
                recorder.wrong(format!("{first} was lost, and a commit for it was kept"));
            }
            return Ok(());
        }
        self.released(at);
        Ok(())
    }
}

/// The record of a number: keys, values and headers of all shapes.
pub(crate) fn record(id: u64) -> Record<'static> {
    let mut rng = Rng::new(id.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ 0x51);
    let mut value = format!("{id}.").into_bytes();
    let length = [0, 0, 10, 40, 90, 200, 400][usize::try_from(rng.below(7)).unwrap()];
    while value.len() < length {
        value.extend(rng.next().to_le_bytes());
    }
    let mut record = match rng.below(12) {
        0 => Record::tombstone(format!("{id}.")),
        1 => Record::new(value).key(""),
        2..=6 => Record::new(value).key(format!("key{}", rng.below(5))),
        _ => Record::new(value),
    };
    for _ in 0..rng.below(8).saturating_sub(5) {
        let name = ["trace", "a", "b"][usize::try_from(rng.below(3)).unwrap()];
        record = if rng.chance(30) {
            record.header_without_value(name)
        } else {
            record.header(name, rng.next().to_le_bytes().to_vec())
        };
    }
    record
}

/// Which record this is, if it is one that was sent, to the last byte.
pub(crate) fn identify(read: &RecordRef<'_>) -> Option<u64> {
    let bytes = read.value().or_else(|| read.key())?;
    let end = bytes.iter().position(|byte| *byte == b'.')?;
    let id = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    is_same(read, &record(id)).then_some(id)
}
