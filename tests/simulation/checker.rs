//! Goes over a history, and says where it breaks a promise. It knows nothing but the events.

use std::collections::{BTreeMap, BTreeSet};

use topiclog::Durability;

use super::history::{Event, Outcome, Place, Stop};
use super::offsets::{Commits, Store};

pub(crate) type Verdict = Result<(), String>;

/// What is known of a record that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) producer: u32,
    pub(crate) topic: u32,
    pub(crate) partition: Option<u32>,
    pub(crate) at: Option<(Place, u64)>,
    /// It was not written, or is lost for good.
    pub(crate) gone: bool,
}

/// A record at an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) id: u64,
    /// It was acknowledged or read, so it has to be there.
    pub(crate) firm: bool,
    pub(crate) read: bool,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) level: Durability,
    pub(crate) trimmed: bool,
    pub(crate) alive: bool,
    /// Whether what is asked of it still counts.
    pub(crate) sure: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) bound: BTreeMap<u64, Bound>,
    pub(crate) by_producer: BTreeMap<(u32, u64), u64>,
    pub(crate) start: u64,
    /// All that it ever was.
    pub(crate) starts: BTreeSet<u64>,
    /// No record is known from here on.
    pub(crate) end: u64,
    /// Acknowledged, but nobody was told where.
    pub(crate) unplaced: BTreeSet<u64>,
}

/// Where a member goes on in a partition.
#[derive(Clone, Debug)]
pub(crate) enum Position {
    /// It has read nothing yet and begins at one of these.
    Unknown(BTreeSet<Option<u64>>),
    At(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) group: u32,
    pub(crate) held: BTreeMap<Place, Position>,
    pub(crate) doubtful: bool,
    pub(crate) removed: bool,
    pub(crate) generation: u32,
}

#[derive(Debug)]
pub(crate) struct Checker {
    pub(crate) topics: BTreeMap<u32, Topic>,
    pub(crate) partitions: BTreeMap<Place, Partition>,
    pub(crate) records: BTreeMap<u64, Sent>,
    pub(crate) faults: bool,
    pub(crate) members: BTreeMap<u32, Member>,
    /// By group: who owns what.
    pub(crate) owners: BTreeMap<(u32, Place), u32>,
    pub(crate) generations: BTreeMap<u32, u32>,
    pub(crate) commits: Commits,
    /// By group: the records that some member was handed.
    pub(crate) delivered: BTreeMap<u32, BTreeSet<u64>>,
    /// Offsets below are passed over as documented: a weaker topic lost them, the group's commit did not.
    pub(crate) exempt: BTreeMap<(u32, Place), u64>,
    pub(crate) stopped: Stop,
    pub(crate) groups: BTreeSet<u32>,
}

pub(crate) fn fail<T>(what: String) -> Result<T, String> {
    Err(what)
}

impl Checker {
    pub(crate) fn new() -> Self {
        Self {
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            records: BTreeMap::new(),
            faults: false,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            generations: BTreeMap::new(),
            commits: Commits::new(Durability::Disk),
            delivered: BTreeMap::new(),
            exempt: BTreeMap::new(),
            stopped: Stop::Closed,
            groups: BTreeSet::new(),
        }
    }

    /// Takes the next event; the error says which promise it breaks.
    pub(crate) fn take(&mut self, event: &Event) -> Verdict {
        match event {
            Event::Begun { offsets } => self.commits = Commits::new(*offsets),
            Event::TopicMade {
                topic,
                level,
                trimmed,
            } => {
                let topic_made = Topic {
                    level: *level,
                    trimmed: *trimmed,
                    alive: true,
                    sure: true,
                };
                self.topics.insert(*topic, topic_made);
            }
            Event::TopicDeleted { topic } => self.topic(*topic)?.alive = false,
            Event::TopicDoubtful { topic } => self.topic(*topic)?.sure = false,
            Event::TopicFound { topic, there } => self.topic_found(*topic, *there)?,
            Event::Faults { active } => self.faults_change(*active),
            Event::Sent {
                id,
                producer,
                topic,
                partition,
            } => {
                let sent = Sent {
                    producer: *producer,
                    topic: *topic,
                    partition: *partition,
                    at: None,
                    gone: false,
                };
                self.records.insert(*id, sent);
            }
            Event::Acked { id, place, offset } => self.acked(*id, *place, *offset)?,
            Event::NotWritten { id } => self.not_written(*id)?,
            Event::LogStart { place, offset } => self.log_start(*place, *offset)?,
            Event::Contents {
                place,
                start,
                end,
                records,
                fresh,
            } => self.contents(*place, *start, *end, records, *fresh)?,
            Event::Joined { group, member } => {
                self.member(*member).group = *group;
                self.groups.insert(*group);
            }
            Event::Assigned {
                group,
                member,
                places,
            } => self.assigned(*group, *member, places)?,
            Event::Released { member, places } => {
                for place in places {
                    self.release(*member, *place);
                }
            }
            Event::Gone { member } => {
                for place in self
                    .member(*member)
                    .held
                    .keys()
                    .copied()
                    .collect::<Vec<_>>()
                {
                    self.release(*member, place);
                }
                self.members.remove(member);
            }
            Event::Doubtful { member } => self.member(*member).doubtful = true,
            Event::Polled { member, generation } => self.polled(*member, *generation)?,
            Event::Described {
                group,
                generation,
                members,
            } => self.described(*group, *generation, members)?,
            Event::Delivered {
                group,
                member,
                place,
                offset,
                id,
            } => self.delivered(*group, *member, *place, *offset, *id)?,
            Event::Sought {
                member,
                place,
                offset,
            } => {
                let position = self.member(*member).held.get_mut(place);
                *position.ok_or("a seek in what is not owned")? = Position::At(*offset);
            }
            Event::CommitAsked {
                commit,
                group,
                member,
                offsets,
                unresolved,
                automatic,
            } => self.commit_asked(*commit, *group, *member, offsets, unresolved, *automatic),
            Event::CommitDone { commit, outcome } => self.commit_done(*commit, *outcome)?,
            Event::Committed {
                group,
                place,
                offset,
                fresh,
            } => self.committed(*group, *place, *offset, *fresh)?,
            Event::Stopped { how } => {
                self.stopped = *how;
                self.members.clear();
                self.owners.clear();
                self.generations.clear();
                self.commits.stop();
            }
            Event::Drained { group, place, lag } => {
                if self.is_sure(place.topic) && *lag != Some(0) {
                    return fail(format!("group {group} ends {lag:?} behind in {place:?}"));
                }
            }
            Event::Wrong { what } => return fail(what.clone()),
        }
        Ok(())
    }

    /// Everything that is there at the end was handed to every group.
    pub(crate) fn finish(&self) -> Verdict {
        for (place, partition) in &self.partitions {
            if !self.is_sure(place.topic) {
                continue;
            }
            for group in &self.groups {
                let delivered = self.delivered.get(group);
                let exempt = self.exempt.get(&(*group, *place)).copied().unwrap_or(0);
                let from = partition.start.max(exempt);
                for (offset, bound) in partition.bound.range(from..) {
                    if bound.firm && !delivered.is_some_and(|all| all.contains(&bound.id)) {
                        let id = bound.id;
                        return fail(format!(
                            "record {id} at {offset} of {place:?} never came to group {group}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn topic(&mut self, topic: u32) -> Result<&mut Topic, String> {
        let found = self.topics.get_mut(&topic);
        found.ok_or_else(|| format!("topic {topic} was never made"))
    }

    pub(crate) fn topic_found(&mut self, topic: u32, there: bool) -> Verdict {
        let known = self.topic(topic)?;
        if known.sure && known.alive != there {
            let (verb, before) = if there {
                ("is there", "deleted")
            } else {
                ("is gone", "there")
            };
            return fail(format!("topic {topic} {verb}, and was {before} before"));
        }
        known.alive = there;
        Ok(())
    }

    pub(crate) fn is_sure(&self, topic: u32) -> bool {
        let topic = self.topics.get(&topic);
        topic.is_some_and(|topic| topic.alive && topic.sure)
    }

    pub(crate) fn level(&self, place: Place) -> Durability {
        self.topics
            .get(&place.topic)
            .map_or(Durability::Memory, |topic| topic.level)
    }

    pub(crate) fn member(&mut self, member: u32) -> &mut Member {
        self.members.entry(member).or_default()
    }

    pub(crate) fn assigned(&mut self, group: u32, member: u32, places: &[Place]) -> Verdict {
        for place in places {
            if let Some(owner) = self.owners.insert((group, *place), member)
                && owner != member
            {
                let owner_is_live = self.members.get(&owner).is_some_and(|m| !m.doubtful);
                if owner_is_live {
                    return fail(format!(
                        "{place:?} was given to {member} of group {group}, and {owner} owns it"
                    ));
                }
            }
            let mut candidates = self.commits.visible(group, *place);
            let end = self.partitions.get(place).map_or(0, |p| p.end);
            if self.lost_some(*place) && candidates.iter().flatten().any(|from| *from > end) {
                // It may be met outside, and moved to the start, by a poll that fails after that.
                candidates.insert(None);
            }
            let this = self.member(member);
            // Only a member that is here is given anything.
            (this.doubtful, this.removed) = (false, false);
            this.held.insert(*place, Position::Unknown(candidates));
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, member: u32, place: Place) {
        let this = self.member(member);
        this.held.remove(&place);
        let group = this.group;
        if self.owners.get(&(group, place)) == Some(&member) {
            self.owners.remove(&(group, place));
        }
    }

    pub(crate) fn polled(&mut self, member: u32, generation: u32) -> Verdict {
        let this = self.member(member);
        this.doubtful = false;
        this.removed = false;
        if generation < this.generation {
            let before = this.generation;
            return fail(format!(
                "member {member} went from generation {before} to {generation}"
            ));
        }
        this.generation = generation;
        let this = &self.members[&member];
        let beyond = |place: &Place, from: u64| {
            let end = self.partitions.get(place).map_or(0, |p| p.end);
            self.lost_some(*place) && from > end
        };
        let lost: Vec<_> = this
            .held
            .iter()
            .filter(|(place, position)| match position {
                Position::At(at) => beyond(place, *at),
                Position::Unknown(starts) => {
                    starts.iter().flatten().any(|start| beyond(place, *start))
                }
            })
            .map(|(place, _)| *place)
            .collect();
        // Its poll has moved it to the start, if it has looked there.
        for place in lost {
            let position = self.member(member).held.get_mut(&place);
            match position {
                Some(Position::Unknown(starts)) => drop(starts.insert(None)),
                Some(Position::At(at)) => {
                    let starts = BTreeSet::from([Some(*at), None]);
                    self.member(member)
                        .held
                        .insert(place, Position::Unknown(starts));
                }
                None => {}
            }
        }
        Ok(())
    }

    pub(crate) fn described(
        &mut self,
        group: u32,
        generation: u32,
        members: &[(Option<u32>, Vec<Place>)],
    ) -> Verdict {
        let before = self.generations.insert(group, generation).unwrap_or(0);
        if generation < before {
            return fail(format!(
                "group {group} went from generation {before} to {generation}"
            ));
        }
        let mut owned = BTreeSet::new();
        for place in members.iter().flat_map(|(_, places)| places) {
            if !owned.insert(*place) {
                return fail(format!("{place:?} has two owners in group {group}"));
            }
        }
        for (number, member) in &mut self.members {
            if member.group != group {
                continue;
            }
            let found = members.iter().find(|(other, _)| *other == Some(*number));
            match found {
                None if !member.doubtful && !member.held.is_empty() => {
                    return fail(format!("group {group} does not know its member {number}"));
                }
                None => member.removed = true,
                Some((_, places)) if !member.doubtful => {
                    let topics = &self.topics;
                    let counts = |place: &&Place| {
                        let topic = &topics[&place.topic];
                        topic.alive && topic.sure
                    };
                    let held = member.held.keys().filter(counts);
                    if !held.eq(places.iter().filter(counts)) {
                        return fail(format!(
                            "member {number} holds {:?}, group {group} says {places:?}",
                            member.held.keys()
                        ));
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn delivered(
        &mut self,
        group: u32,
        member: u32,
        place: Place,
        offset: u64,
        id: Option<u64>,
    ) -> Verdict {
        let Some(id) = id else {
            return fail(format!(
                "the record at {offset} of {place:?} is not as it was sent"
            ));
        };
        let end = self.partitions.get(&place).map_or(0, |p| p.end);
        self.bind(place, offset, id, true, true)?;
        self.delivered.entry(group).or_default().insert(id);
        let Some(position) = self.member(member).held.get(&place).cloned() else {
            return fail(format!(
                "member {member} was handed {place:?} and does not own it"
            ));
        };
        // Beyond the end, after a weaker topic lost records, the reset policy decides.
        let lost_some = self.lost_some(place);
        // What is acknowledged in memory is not in the log yet, so nobody outside knows where that ends.
        let end = match self.level(place) {
            Durability::Memory => offset,
            _ => end,
        };
        let partition = self.partitions.entry(place).or_default();
        // No record that has to be there lies between the place to go on from and this one. What was read
        // ahead may still come after it was deleted.
        let follows = |from: u64| {
            let passed = from.max(partition.start)..offset.max(from).max(partition.start);
            offset >= from && !partition.bound.range(passed).any(|(_, bound)| bound.firm)
        };
        let goes_on = |from: u64| follows(from) || (from > end && lost_some && follows(0));
        let right = match &position {
            Position::At(position) => goes_on(*position),
            Position::Unknown(starts) => starts.iter().any(|start| goes_on(start.unwrap_or(0))),
        };
        if !right && self.is_sure(place.topic) {
            return fail(format!(
                "member {member} was handed {offset} of {place:?}, and was to go on from {position:?}"
            ));
        }
        self.member(member)
            .held
            .insert(place, Position::At(offset + 1));
        Ok(())
    }

    /// Whether a partition may ever end before what was once committed.
    pub(crate) fn lost_some(&self, place: Place) -> bool {
        self.level(place) != Durability::Disk
    }

    pub(crate) fn commit_asked(
        &mut self,
        commit: u64,
        group: u32,
        member: u32,
        offsets: &[(Place, u64)],
        unresolved: &[Place],
        automatic: bool,
    ) {
        let owns = |place: &Place| self.owners.get(&(group, *place)) == Some(&member);
        let this = self.members.get(&member);
        let removed = this.is_some_and(|this| this.removed);
        let doubtful = this.is_none_or(|this| this.doubtful);
        let owned = offsets.iter().all(|(place, _)| owns(place)) && !removed;
        let alive =
            |place: &Place| self.topics[&place.topic].alive && self.topics[&place.topic].sure;
        let places = || offsets.iter().map(|(place, _)| place).chain(unresolved);
        let surely_owned = owned && !doubtful && places().all(|place| alive(place) && owns(place));
        // A position that is nowhere, or outside the partition, is moved to the log start by a poll, and
        // that poll may have been some time ago.
        let mut maybe = Vec::new();
        let starts = |place: &Place| self.partitions.get(place).map(|p| p.starts.clone());
        let mut moved = |place: &Place, from: Option<u64>| {
            let partition = self.partitions.get(place);
            let (start, end) = partition.map_or((0, 0), |p| (p.start, p.end));
            let from_end = if self.lost_some(*place) {
                end
            } else {
                u64::MAX
            };
            let end = match self.level(*place) {
                Durability::Memory => 0,
                _ => from_end,
            };
            if from.is_none_or(|from| from < start || from > end) {
                let starts = starts(place).unwrap_or_else(|| BTreeSet::from([0]));
                maybe.extend(starts.iter().map(|start| (*place, *start)));
            }
            maybe.extend(from.map(|from| (*place, from)));
        };
        for place in unresolved {
            if let Some(Position::Unknown(starts)) = this.and_then(|this| this.held.get(place)) {
                for start in starts {
                    moved(place, *start);
                }
            }
        }
        for (place, offset) in offsets {
            moved(place, Some(*offset));
            // An earlier poll has met it outside.
            if let Some(Position::Unknown(_)) = this.and_then(|this| this.held.get(place)) {
                moved(place, None);
            }
        }
        let offsets = offsets.to_vec();
        let store = Store {
            group,
            member,
            offsets,
            maybe,
            owned,
            surely_owned,
            automatic,
        };
        self.commits.ask(commit, store);
    }

    pub(crate) fn commit_done(&mut self, commit: u64, outcome: Outcome) -> Verdict {
        let changed = self.commits.done(commit, outcome)?;
        for (group, place) in changed {
            self.note_start(group, place);
        }
        Ok(())
    }

    /// Whoever has not begun yet may begin at what is committed now.
    pub(crate) fn note_start(&mut self, group: u32, place: Place) {
        let visible = self.commits.visible(group, place);
        for member in self.members.values_mut().filter(|m| m.group == group) {
            if let Some(Position::Unknown(starts)) = member.held.get_mut(&place) {
                starts.extend(&visible);
            }
        }
    }

    pub(crate) fn committed(
        &mut self,
        group: u32,
        place: Place,
        offset: Option<u64>,
        fresh: bool,
    ) -> Verdict {
        if !self.is_sure(place.topic) {
            return Ok(());
        }
        let power_cut = fresh && self.stopped == Stop::PowerCut;
        self.commits
            .observe(group, place, offset, fresh, power_cut)?;
        self.note_start(group, place);
        if let (true, Some(offset)) = (fresh, offset) {
            let end = self.partitions.get(&place).map_or(0, |p| p.end);
            if offset > end {
                if !self.lost_some(place) {
                    return fail(format!(
                        "{offset} is committed in {place:?}, which ends at {end}"
                    ));
                }
                self.exempt.insert((group, place), offset);
            }
        }
        Ok(())
    }
}
