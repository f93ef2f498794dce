//! The checker of the random histories: clients that believe only what they were told, and the rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Committed, Committer, Effects, Generation, Group, GroupState, Id, MemberId, Offset,
    OffsetCommit, Reconcile, Script, Timestamp, TopicName, TopicPartition,
};
use crate::error::{Cause, GroupError};

/// A small generator of numbers that depend on the seed alone (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + u32::try_from(self.below(usize::try_from(high - low + 1).unwrap())).unwrap()
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What has become of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// A member, and here.
    Member,
    /// Removed, and does not know it yet.
    Removed,
    /// Its instance id was taken, and it does not know it yet.
    Fenced,
    /// Left, or learned that it is no member.
    Gone,
}

/// One consumer, by what it was told.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: MemberId,
    pub(super) instance: Option<Arc<str>>,
    pub(super) fate: Fate,
    /// Whether it joined or was woken, and no poll since had nothing: the flag that spares a real client the
    /// lock.
    pub(super) flag: bool,
    pub(super) generation: Generation,
    pub(super) topics: Vec<TopicName>,
    /// Told to give up; its listener is at work.
    pub(super) revoking: Vec<TopicPartition>,
}

type Key = (Id, u32);

/// The world of one history: the group, the clients, and who owns what as far as anybody was told.
pub(super) struct Model {
    pub(super) script: Script,
    pub(super) clients: Vec<Client>,
    /// Whether all members ask for the eager protocol.
    pub(super) eager: bool,
    owners: BTreeMap<Key, (usize, Generation)>,
    generation: Generation,
    /// Accepted commits, in the order of the log, and which of them still wait to be applied.
    log: Vec<(TopicPartition, Committed)>,
    unapplied: Vec<usize>,
}

impl Model {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script,
            clients: Vec::new(),
            eager: false,
            owners: BTreeMap::new(),
            generation: Generation::NONE,
            log: Vec::new(),
            unapplied: Vec::new(),
        }
    }

    pub(super) fn group(&mut self) -> (&mut Group, Duration) {
        (&mut self.script.group, self.script.now)
    }

    pub(super) fn with_fate(&self, fates: &[Fate]) -> Vec<usize> {
        (0..self.clients.len())
            .filter(|&client| fates.contains(&self.clients[client].fate))
            .collect()
    }

    fn key(&self, place: &TopicPartition) -> Option<Key> {
        let shape = self.script.topics.get(place.topic())?;
        (place.partition() < shape.partitions).then_some((shape.id, place.partition()))
    }

    /// The client ceases to be a member, by whatever way.
    pub(super) fn lose(&mut self, client: usize, fate: Fate) {
        self.owners.retain(|_, (owner, _)| *owner != client);
        self.clients[client].fate = fate;
        self.clients[client].revoking.clear();
    }

    pub(super) fn by_id(&self, id: &MemberId) -> Option<usize> {
        self.clients.iter().rposition(|client| client.id == *id)
    }

    /// Polls, and holds what the group says against what everybody else was told.
    pub(super) fn poll(&mut self, client: usize) -> Option<Reconcile> {
        let id = self.clients[client].id.clone();
        let (group, now) = self.group();
        let reconcile = match (group.poll(now, &id), self.clients[client].fate) {
            (Ok(reconcile), Fate::Member) => reconcile,
            (Err(error), fate) => {
                match (error.cause(), fate) {
                    (Cause::Group(GroupError::UnknownMember), Fate::Removed)
                    | (Cause::Group(GroupError::FencedInstance), Fate::Fenced) => {
                        self.lose(client, Fate::Gone);
                    }
                    (Cause::Group(GroupError::BadAssignment { .. }), Fate::Member) => {}
                    _ => panic!("{error:?} for a client that is {fate:?}"),
                }
                return None;
            }
            (Ok(_), fate) => panic!("a poll succeeds for a client that is {fate:?}"),
        };
        for place in &reconcile.revoke {
            let key = self.key(place).expect("what is revoked exists");
            assert_eq!(
                self.owners[&key].0, client,
                "{place} is revoked of its owner"
            );
        }
        if !reconcile.revoke.is_empty() {
            assert!(
                reconcile.assigned.is_empty(),
                "first revoked, then assigned"
            );
        }
        for assigned in &reconcile.assigned {
            let place = &assigned.partition;
            let key = self.key(place).expect("what is assigned exists");
            assert_eq!(key.0, assigned.topic_id);
            let wants = &self.clients[client].topics;
            assert!(wants.contains(place.topic()), "{place} is not subscribed");
            let rival = self.owners.insert(key, (client, reconcile.generation));
            assert_eq!(rival, None, "{place} has an owner already");
        }
        if self.eager && !reconcile.assigned.is_empty() {
            let mut since = self.owners.values().map(|(_, since)| *since);
            let one = since.all(|since| since == reconcile.generation);
            assert!(one, "all gave up all before anybody got some");
        }
        let state = &mut self.clients[client];
        assert!(reconcile.generation >= state.generation);
        state.generation = reconcile.generation;
        state.revoking.clone_from(&reconcile.revoke);
        state.flag = !reconcile.is_empty();
        Some(reconcile)
    }

    /// Gives up the first `count` of what the client was told to give up.
    pub(super) fn release(&mut self, client: usize, count: usize) {
        let revoking = &mut self.clients[client].revoking;
        let now_released: Vec<_> = revoking.drain(..count.min(revoking.len())).collect();
        for place in &now_released {
            if let Some(key) = self.key(place)
                && self
                    .owners
                    .get(&key)
                    .is_some_and(|(owner, _)| *owner == client)
            {
                self.owners.remove(&key);
            }
        }
        let id = self.clients[client].id.clone();
        let (group, now) = self.group();
        group.release(now, &id, &now_released).unwrap();
    }

    /// Tries a commit, and holds the answer against who owns the partition.
    pub(super) fn commit(
        &mut self,
        client: Option<(usize, Generation)>,
        place: TopicPartition,
        offset: u64,
    ) {
        let key = self.key(&place);
        let commit = OffsetCommit {
            partition: place,
            topic_id: None,
            offset: Offset::new(offset),
            metadata: "".into(),
        };
        let may = match client {
            None => key.is_some() && self.script.group.member_count() == 0,
            Some((client, generation)) => key.is_some_and(|key| {
                let owner = self.owners.get(&key);
                generation <= self.script.group.generation()
                    && owner.is_some_and(|(own, since)| *own == client && *since <= generation)
            }),
        };
        let id = client.map(|(client, generation)| (&self.clients[client].id, generation));
        let committer = id.map_or(Committer::Outsider, |(id, generation)| {
            Committer::Member(id, generation)
        });
        let commits = std::slice::from_ref(&commit);
        let answer = self.script.group.check_commit(committer, commits);
        assert_eq!(answer.is_ok(), may, "{commit:?} by {client:?}: {answer:?}");
        let (Some((topic_id, _)), true) = (key, may) else {
            return;
        };
        self.unapplied.push(self.log.len());
        let kept = Committed {
            offset: commit.offset,
            metadata: commit.metadata,
            topic_id,
            timestamp: Timestamp::EPOCH,
            log_offset: Offset::new(u64::try_from(self.log.len()).unwrap()),
        };
        self.log.push((commit.partition, kept));
    }

    /// Applies one of the commits that wait, in no particular order.
    pub(super) fn apply_one(&mut self, random: &mut Random) -> bool {
        if self.unapplied.is_empty() {
            return false;
        }
        let at = random.below(self.unapplied.len());
        let (place, committed) = self.log[self.unapplied.swap_remove(at)].clone();
        self.script.group.apply_commit(place, committed);
        true
    }

    /// Takes note of what the last call asks for, and that topics which went took their owners along.
    pub(super) fn absorb(&mut self) {
        let Effects { wake, .. } = self.script.effects();
        for id in wake {
            if let Some(client) = self.by_id(&id) {
                self.clients[client].flag = true;
            }
        }
        let alive: Vec<Id> = self.script.topics.values().map(|shape| shape.id).collect();
        self.owners.retain(|(topic, _), _| alive.contains(topic));
    }

    /// Everything that must hold after every step.
    pub(super) fn check(&mut self) {
        let described = self.script.group.describe();
        assert!(described.generation >= self.generation, "generations rise");
        self.generation = described.generation;
        let here = described.members.iter().filter(|member| !member.away);
        assert_eq!(
            here.clone().count(),
            self.with_fate(&[Fate::Member]).len(),
            "the members are those that joined and did not go"
        );
        for member in here {
            let client = self.by_id(&member.member_id).unwrap();
            assert_eq!(self.clients[client].fate, Fate::Member);
            let told = self
                .owners
                .iter()
                .filter(|(_, (owner, _))| *owner == client);
            assert_eq!(told.count(), member.current.len(), "{}", member.member_id);
            for place in &member.current {
                let key = self.key(place).expect("what is owned exists");
                assert_eq!(self.owners[&key].0, client, "{place}");
            }
        }
        let mut targets = BTreeMap::new();
        for member in &described.members {
            for place in &member.target {
                assert!(
                    member.topics.contains(place.topic()),
                    "{place} is subscribed"
                );
                assert!(self.key(place).is_some(), "{place} exists");
                assert_eq!(targets.insert(place, &member.member_id), None, "{place}");
            }
            if member.away {
                assert!(member.current.is_empty(), "nobody acts for who is away");
            }
        }
    }

    /// Lets the members go on until nobody has anything to do, which must be soon, and then everything
    /// must be where it belongs. Only members that were woken poll.
    pub(super) fn settle(&mut self, honest: bool, random: &mut Random) {
        for _ in 0..6 {
            let mut woken = self.with_fate(&[Fate::Member]);
            woken.retain(|&client| self.clients[client].flag);
            for client in woken {
                let mut polls = 0;
                while self.clients[client].flag {
                    polls += 1;
                    assert!(polls < 10, "a member's polls come to an end");
                    let refused = self.poll(client).is_none();
                    if !refused {
                        self.release(client, usize::MAX);
                    }
                    self.absorb();
                    self.check();
                    if refused {
                        // Told so, once or at each poll; the others go on meanwhile.
                        break;
                    }
                }
            }
        }
        let described = self.script.group.describe();
        let expected = if described.members.is_empty() {
            GroupState::Empty
        } else {
            GroupState::Stable
        };
        // An assignor that lies is asked again after a while.
        let waits = !honest && described.state == GroupState::Assigning;
        assert!(waits || described.state == expected);
        let mut wanted: Vec<TopicName> = Vec::new();
        let mut targets = 0;
        for member in &described.members {
            targets += member.target.len();
            wanted.extend(member.topics.iter().cloned());
            if !member.away {
                assert_eq!(member.current, member.target, "{}", member.member_id);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        let partitions: u32 = wanted
            .iter()
            .map(|t| self.script.topics[t].partitions)
            .sum();
        if honest {
            assert_eq!(
                u32::try_from(targets).unwrap(),
                partitions,
                "all are dealt out"
            );
        }

        while self.apply_one(random) {}
        let mut last = BTreeMap::new();
        for (place, committed) in &self.log {
            let shape = self.script.topics.get(place.topic());
            if shape.is_some_and(|shape| shape.id == committed.topic_id) {
                last.insert(place, committed);
            }
        }
        let found: BTreeMap<_, _> = self.script.group.all_committed().collect();
        assert_eq!(found, last, "the commits that are last in the log");
    }
}
