//! [`StickyAssignor`] and [`CooperativeStickyAssignor`]: balance first, then least movement.

use std::collections::{BTreeSet, HashMap};

use super::contract::{
    AssignableMember, AssignableTopic, Assignment, AssignmentRequest, Assignor, PartitionIndex,
};
use crate::convert::to_usize;

/// Balances the members, and moves as few partitions as that takes.
///
/// Where all members subscribe alike, their counts differ by at most one and no assignment so balanced
/// moves fewer partitions. Where they do not, no single partition could go to another subscriber and
/// leave the two of them nearer to each other. Of two members that claim a partition the one of the
/// higher generation keeps it; claims of equal generation cancel. Kafka: `StickyAssignor`, "sticky".
///
/// Kafka runs it under the eager protocol; here every assignor is cooperative unless it is wrapped in
/// [`Eager`](super::Eager), so this one differs from [`CooperativeStickyAssignor`] only in its name.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a rule without settings")]
pub struct StickyAssignor;

impl Assignor for StickyAssignor {
    fn name(&self) -> &'static str {
        "sticky"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        assign(request)
    }
}

/// Balances the members, and moves as few partitions as that takes; what does not move keeps flowing.
///
/// The rule is that of [`StickyAssignor`]. Kafka's assignor must hold moving partitions back for one
/// round; here the group does that for every assignor, by handing out only what was given up. Kafka:
/// `CooperativeStickyAssignor`, "cooperative-sticky".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a rule without settings")]
pub struct CooperativeStickyAssignor;

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &'static str {
        "cooperative-sticky"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        assign(request)
    }
}

fn assign(request: &AssignmentRequest) -> Assignment {
    let previous = Owners::claimed(request);
    let owners = if request.is_uniform() {
        uniform(request, &previous)
    } else {
        mixed(request, &previous)
    };
    let mut assignment = Assignment::new(request);
    for index in request.partitions() {
        if let Some(member) = owners.get(index) {
            assignment.give(member, index);
        }
    }
    assignment
}

/// Which member has which partition.
#[derive(Clone)]
struct Owners(Vec<Vec<Option<usize>>>);

impl Owners {
    fn none(request: &AssignmentRequest) -> Self {
        let topics = request.topics().iter();
        Self(
            topics
                .map(|topic| vec![None; to_usize(topic.partitions())])
                .collect(),
        )
    }

    /// Who had what before: the claim of the highest generation counts, two such cancel.
    fn claimed(request: &AssignmentRequest) -> Self {
        let mut owners = Self::none(request);
        let mut contested = HashMap::new();
        for (number, member) in request.members().iter().enumerate() {
            for &index in member.owned() {
                let generation = member.generation();
                let Some(rival) = owners.get(index) else {
                    // Free, or cancelled at a generation that only a higher one beats.
                    if contested.get(&index).is_none_or(|&at| generation > at) {
                        owners.set(index, Some(number));
                    }
                    continue;
                };
                let held = request
                    .members()
                    .get(rival)
                    .map_or(generation, AssignableMember::generation);
                match generation.cmp(&held) {
                    std::cmp::Ordering::Greater => owners.set(index, Some(number)),
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => {
                        owners.set(index, None);
                        contested.insert(index, generation);
                    }
                }
            }
        }
        owners
    }

    fn get(&self, index: PartitionIndex) -> Option<usize> {
        let topic = self.0.get(index.topic)?;
        topic.get(to_usize(index.partition)).copied().flatten()
    }

    fn set(&mut self, index: PartitionIndex, owner: Option<usize>) {
        let topic = self.0.get_mut(index.topic);
        if let Some(slot) = topic.and_then(|t| t.get_mut(to_usize(index.partition))) {
            *slot = owner;
        }
    }

    fn counts(&self, members: usize) -> Counts {
        let mut counts = Counts(vec![0; members]);
        for &member in self.0.iter().flatten().flatten() {
            counts.add(member);
        }
        counts
    }
}

/// How many partitions each member has.
struct Counts(Vec<usize>);

impl Counts {
    fn of(&self, member: usize) -> usize {
        self.0.get(member).copied().unwrap_or(0)
    }

    fn add(&mut self, member: usize) {
        if let Some(count) = self.0.get_mut(member) {
            *count += 1;
        }
    }

    fn take(&mut self, member: usize) {
        if let Some(count) = self.0.get_mut(member) {
            *count = count.saturating_sub(1);
        }
    }
}

/// All members subscribe alike: everybody has a quota, which differs by at most one between two members.
///
/// Least movement: a member loses only what is above its quota, and the greater quotas go first to those
/// who already have as much.
fn uniform(request: &AssignmentRequest, previous: &Owners) -> Owners {
    let members = request.members().len();
    let total = request.partitions().count();
    let (Some(low), Some(mut greater)) = (total.checked_div(members), total.checked_rem(members))
    else {
        return Owners::none(request);
    };
    let before = previous.counts(members);
    let mut quotas = vec![low; members];
    for rich in [true, false] {
        for (member, quota) in quotas.iter_mut().enumerate() {
            if greater > 0 && (before.of(member) > low) == rich {
                *quota += 1;
                greater -= 1;
            }
        }
    }

    let mut owners = Owners::none(request);
    let mut counts = Counts(vec![0; members]);
    let mut free = Vec::new();
    for index in request.partitions() {
        match previous.get(index) {
            Some(member) if counts.of(member) < quotas.get(member).copied().unwrap_or(0) => {
                owners.set(index, Some(member));
                counts.add(member);
            }
            _ => free.push(index),
        }
    }

    // What is left is dealt in a circle, so that a newcomer gets some of every topic.
    let mut free = free.into_iter();
    let mut hungry: Vec<usize> = (0..members).collect();
    loop {
        hungry.retain(|&member| counts.of(member) < quotas.get(member).copied().unwrap_or(0));
        if hungry.is_empty() {
            return owners;
        }
        for &member in &hungry {
            let Some(index) = free.next() else {
                return owners;
            };
            owners.set(index, Some(member));
            counts.add(member);
        }
    }
}

/// Members subscribe to different topics: everybody keeps what they had, the rest goes where there is
/// least, and then partitions move one by one as long as a move levels two members.
fn mixed(request: &AssignmentRequest, previous: &Owners) -> Owners {
    let subscribers = request.subscribers();
    let of_topic = |topic: usize| subscribers.get(topic).map_or(&[][..], Vec::as_slice);
    let mut owners = previous.clone();
    let mut counts = owners.counts(request.members().len());

    // Those that few members can take go first, while there is still a choice for the others.
    let mut topics: Vec<usize> = (0..request.topics().len()).collect();
    topics.sort_by_key(|&topic| of_topic(topic).len());
    for &topic in &topics {
        let mut takers: BTreeSet<(usize, usize)> = of_topic(topic)
            .iter()
            .map(|&member| (counts.of(member), member))
            .collect();
        let partitions = request
            .topics()
            .get(topic)
            .map_or(0, AssignableTopic::partitions);
        for partition in 0..partitions {
            let index = PartitionIndex { topic, partition };
            if owners.get(index).is_some() {
                continue;
            }
            let Some((count, member)) = takers.pop_first() else {
                break;
            };
            owners.set(index, Some(member));
            counts.add(member);
            takers.insert((count + 1, member));
        }
    }

    // Each move lowers the sum of the squared counts, so this ends.
    loop {
        let mut moved = false;
        for &topic in &topics {
            moved |= level_topic(topic, of_topic(topic), previous, &mut owners, &mut counts);
        }
        if !moved {
            return owners;
        }
    }
}

/// Moves partitions of one topic from its fullest owner to its emptiest subscriber while that levels
/// them; says whether it moved any.
fn level_topic(
    topic: usize,
    subscribers: &[usize],
    previous: &Owners,
    owners: &mut Owners,
    counts: &mut Counts,
) -> bool {
    let mut stacks: HashMap<usize, Vec<u32>> = HashMap::new();
    for (partition, owner) in (0..).zip(owners.0.get(topic).into_iter().flatten()) {
        if let Some(owner) = *owner {
            stacks.entry(owner).or_default().push(partition);
        }
    }
    for (owner, stack) in &mut stacks {
        // The last one goes first: what its owner has not had before costs nobody anything.
        stack.sort_by_key(|&partition| {
            let kept = previous.get(PartitionIndex { topic, partition }) == Some(*owner);
            (!kept, partition)
        });
    }
    let mut givers: BTreeSet<(usize, usize)> = stacks
        .keys()
        .map(|&member| (counts.of(member), member))
        .collect();
    let mut takers: BTreeSet<(usize, usize)> = subscribers
        .iter()
        .map(|&member| (counts.of(member), member))
        .collect();
    let mut moved = false;
    while let (Some(&(high, giver)), Some(&(low, taker))) = (givers.last(), takers.first()) {
        let Some(partition) = (high >= low + 2)
            .then(|| stacks.get_mut(&giver).and_then(Vec::pop))
            .flatten()
        else {
            break;
        };
        moved = true;
        owners.set(PartitionIndex { topic, partition }, Some(taker));
        counts.take(giver);
        counts.add(taker);
        let received = stacks.entry(taker).or_default();
        received.push(partition);
        givers.remove(&(high, giver));
        takers.remove(&(high, giver));
        takers.remove(&(low, taker));
        givers.remove(&(low, taker));
        if stacks.get(&giver).is_some_and(|stack| !stack.is_empty()) {
            givers.insert((high - 1, giver));
        }
        takers.insert((high - 1, giver));
        takers.insert((low + 1, taker));
        givers.insert((low + 1, taker));
    }
    moved
}
