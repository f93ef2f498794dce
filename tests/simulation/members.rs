//! What members of groups do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use topiclog::clock::Clock;
use topiclog::{
    ConsumerOptions, CooperativeStickyAssignor, Departure, Eager, Error, ErrorKind, Generation,
    MemberBuilder, Offset, OffsetReset, RangeAssignor, RoundRobinAssignor, StickyAssignor,
    TopicPartition,
};

use super::common::Rng;
use super::history::{Event, Place, Stop};
use super::recorder::{Habit, Witness, commit_all, commit_one, identify};
use super::world::{AUTO_COMMIT, GroupKind, MAX_POLL_INTERVAL, Member, SESSION_TIMEOUT, World};

const MEMBERS_MAX: usize = 4;

/// What somebody hears who is no member any more.
const FENCED: &[ErrorKind] = &[ErrorKind::Fenced, ErrorKind::FencedInstance];

fn with_assignor(builder: MemberBuilder, kind: u64) -> MemberBuilder {
    match kind {
        0 => builder,
        1 => builder.assignor(RoundRobinAssignor),
        2 => builder.assignor(StickyAssignor).assignor(RangeAssignor),
        3 | 4 => builder.assignor(CooperativeStickyAssignor),
        5 => builder.assignor(Eager::new(RangeAssignor)),
        _ => builder.assignor(Eager::new(StickyAssignor)),
    }
}

impl World {
    fn any_group(&mut self) -> GroupKind {
        self.rng.pick(&self.groups.clone())
    }

    fn any_member(&mut self) -> Option<usize> {
        let count = u64::try_from(self.members.len()).unwrap();
        (count > 0).then(|| usize::try_from(self.rng.below(count)).unwrap())
    }

    /// What a member owns, and where it is in it.
    fn any_owned(&mut self, at: usize) -> Option<(TopicPartition, Place, Option<u64>)> {
        let number = self.members[at].number;
        let recorder = self.shared.lock().unwrap();
        let owned = recorder.owned.get(&number)?.iter();
        let owned: Vec<_> = owned
            .map(|(at, (place, position))| (at.clone(), *place, *position))
            .collect();
        drop(recorder);
        (!owned.is_empty()).then(|| self.rng.pick(&owned))
    }

    pub(crate) fn join(&mut self) {
        let kind = self.any_group();
        let members = self.members.iter().filter(|m| m.group == kind.number);
        if members.count() < MEMBERS_MAX {
            let instance = self.rng.chance(30).then(|| self.rng.below(2));
            let instance = instance.map(|number| format!("i{number}"));
            let automatic = self.rng.chance(40);
            let pattern = self.rng.chance(60);
            self.join_as(kind, instance, automatic, pattern);
        }
    }

    fn join_as(
        &mut self,
        kind: GroupKind,
        instance: Option<String>,
        automatic: bool,
        pattern: bool,
    ) {
        let number = self.next_member;
        self.next_member += 1;
        let (habit, few) = (
            self.rng.pick(&[
                Habit::Watch,
                Habit::CommitOnRevoke,
                Habit::CommitOneOnRevoke,
                Habit::SeekOnAssign,
            ]),
            self.rng.pick(&[1, 3, 10, 500]),
        );
        let mut options = ConsumerOptions::new()
            .offset_reset(OffsetReset::Earliest)
            .auto_commit(automatic.then_some(AUTO_COMMIT))
            .max_poll_records(few)
            .fetch_bytes(self.rng.pick(&[100, 1000, 100_000]))
            .max_poll_interval(MAX_POLL_INTERVAL)
            .session_timeout(SESSION_TIMEOUT);
        if let Some(instance) = &instance {
            options = options.instance_id(instance);
        }
        let witness = Witness {
            group: kind.number,
            member: number,
            habit,
            rng: Rng::new(self.rng.next()),
            shared: Arc::clone(&self.shared),
        };
        let builder = self.group(kind.number).member();
        let builder = with_assignor(builder.options(options).listener(witness), kind.assignor);
        let mut topics: Vec<_> = self
            .topics
            .values()
            .map(|known| known.topic.clone())
            .collect();
        let joined = if pattern {
            builder.subscribe_matching(|_| true)
        } else {
            topics.retain(|_| self.rng.chance(70));
            builder.subscribe(&topics)
        };
        let names: Vec<_> = topics.iter().map(|topic| topic.name().as_str()).collect();
        self.act(format!(
            "member {number} joins group {} as {instance:?}, {names:?} or all: {pattern}, \
             automatic: {automatic}, {habit:?}, {few} records",
            kind.number
        ));
        match joined {
            Ok(consumer) => {
                self.push(Event::Joined {
                    group: kind.number,
                    member: number,
                });
                self.members.push(Member {
                    number,
                    group: kind.number,
                    consumer,
                    automatic,
                    instance,
                    fenced: false,
                    last_poll: self.clock.monotonic(),
                });
                self.doubt_namesakes(self.members.len() - 1);
            }
            Err(error) => self.judge("join", &error, &[]),
        }
    }

    pub(crate) fn poll_any(&mut self) {
        if let Some(at) = self.any_member() {
            let _seen_by_the_checker = self.poll(at);
        }
    }

    /// Returns how many records came, or what kind of error.
    fn poll(&mut self, at: usize) -> Result<usize, ErrorKind> {
        let member = &mut self.members[at];
        let (number, group, automatic) = (member.number, member.group, member.automatic);
        self.act(format!("member {number} polls"));
        let commit = automatic.then(|| self.ask_automatic(group, number));
        self.doubt_namesakes(at);
        let member = &mut self.members[at];
        let polled = member.consumer.poll(Duration::ZERO);
        member.last_poll = self.clock.monotonic();
        let generation = member.consumer.generation().map_or(0, Generation::value);
        let result = match polled {
            Ok(records) => {
                let mut recorder = self.shared.lock().unwrap();
                recorder.push(Event::Polled {
                    member: number,
                    generation,
                });
                for record in &records {
                    let (place, offset) = (
                        recorder.owned_place(number, record.topic_partition()),
                        record.offset().value(),
                    );
                    let id = identify(&record);
                    recorder.push(Event::Delivered {
                        group,
                        member: number,
                        place,
                        offset,
                        id,
                    });
                    let owned = recorder.owned.entry(number).or_default();
                    if let Some((_, position)) = owned.get_mut(record.topic_partition()) {
                        *position = Some(offset + 1);
                    }
                }
                Ok(records.len())
            }
            Err(error) => {
                let taken = self.is_taken(at);
                let expected: &[_] = if taken {
                    &[ErrorKind::FencedInstance]
                } else {
                    &[]
                };
                self.judge("poll", &error, expected);
                Err(error.kind())
            }
        };
        self.settle_automatic(commit);
        if result == Err(ErrorKind::FencedInstance) {
            let member = self.members.remove(at).number;
            self.push(Event::Gone { member });
        }
        result
    }

    /// Others of the same instance id: whoever joins last, also after it was removed, fences the rest.
    fn namesakes(&self, at: usize) -> impl Iterator<Item = u32> {
        let this = &self.members[at];
        let others = self.members.iter().filter(move |other| {
            this.instance.is_some()
                && (other.group, &other.instance) == (this.group, &this.instance)
                && other.number != this.number
        });
        others.map(|other| other.number)
    }

    fn is_taken(&self, at: usize) -> bool {
        self.namesakes(at).next().is_some() || self.members[at].fenced
    }

    fn doubt_namesakes(&mut self, at: usize) {
        let namesakes: Vec<_> = self.namesakes(at).collect();
        for member in namesakes {
            self.push(Event::Doubtful { member });
            // It may be the last to hear of it, when the other is long gone.
            let other = self.members.iter_mut().find(|other| other.number == member);
            other.unwrap().fenced = true;
        }
    }

    fn ask_automatic(&self, group: u32, member: u32) -> u64 {
        let mut recorder = self.shared.lock().unwrap();
        recorder.ask_commit(group, member, true)
    }

    /// Without faults a look at what is committed tells whether an automatic commit was made.
    fn settle_automatic(&mut self, commit: Option<u64>) {
        let Some(commit) = commit else { return };
        if !self.faulty && !self.poisonous {
            self.look_at_commits();
        }
        let outcome = if self.faulty || self.poisonous {
            super::history::Outcome::Unknown
        } else {
            super::history::Outcome::Refused
        };
        self.push(Event::CommitDone { commit, outcome });
    }

    pub(crate) fn commit(&mut self) {
        let Some(at) = self.any_member() else { return };
        let member = &mut self.members[at];
        let (number, group) = (member.number, member.group);
        let shared = Arc::clone(&self.shared);
        let result = commit_all(&mut member.consumer, &shared, group, number);
        self.act(format!(
            "member {number} commits: {:?}",
            result.as_ref().err().map(Error::kind)
        ));
        self.judge_commit(result);
    }

    fn judge_commit(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            // Whether a refusal is right is for the checker to say.
            self.judge("commit", &error, FENCED);
        }
    }

    pub(crate) fn commit_some(&mut self) {
        let Some(at) = self.any_member() else { return };
        let Some((partition, _, Some(position))) = self.any_owned(at) else {
            return;
        };
        let offset = if self.rng.chance(60) {
            position - self.rng.below(position.min(3) + 1)
        } else {
            self.rng.below(position + 1)
        };
        let member = &mut self.members[at];
        let who = (member.group, member.number);
        let shared = Arc::clone(&self.shared);
        let result = commit_one(&mut member.consumer, &shared, who, &partition, offset);
        let number = who.1;
        self.act(format!("member {number} commits {offset} of {partition}"));
        self.judge_commit(result);
    }

    pub(crate) fn commit_async(&mut self) {
        let Some(at) = self.any_member() else { return };
        let member = &mut self.members[at];
        let (number, group) = (member.number, member.group);
        let commit = self.shared.lock().unwrap().ask_commit(group, number, false);
        let shared = Arc::clone(&self.shared);
        let result = member.consumer.commit_async(move |result| {
            shared.lock().unwrap().commit_done(commit, &result);
        });
        self.act(format!("member {number} commits without waiting"));
        if result.is_err() {
            self.shared.lock().unwrap().commit_done(commit, &result);
        }
        self.judge_commit(result);
    }

    pub(crate) fn seek(&mut self) {
        let Some(at) = self.any_member() else { return };
        let Some((partition, _, Some(position))) = self.any_owned(at) else {
            return;
        };
        let offset = self.rng.below(position + 1);
        let member = &mut self.members[at];
        let number = member.number;
        let result = member.consumer.seek(&partition, Offset::new(offset));
        self.act(format!("member {number} seeks {offset} of {partition}"));
        match result {
            Ok(()) => self.shared.lock().unwrap().seek(number, &partition, offset),
            Err(error) => self.judge("seek", &error, &[]),
        }
    }

    pub(crate) fn pause(&mut self) {
        let Some(at) = self.any_member() else { return };
        let member = &mut self.members[at];
        let (number, assignment) = (member.number, member.consumer.assignment());
        let paused = member.consumer.paused();
        let result = if paused.is_empty() {
            let first = assignment.iter().take(1);
            member.consumer.pause(first)
        } else {
            member.consumer.resume(&paused)
        };
        self.act(format!(
            "member {number} pauses, or goes on with {paused:?}"
        ));
        if let Err(error) = result {
            self.judge("pause", &error, &[]);
        }
    }

    pub(crate) fn leave(&mut self) {
        let Some(at) = self.any_member() else { return };
        match self.rng.below(5) {
            0 | 1 => {
                let member = self.members.remove(at);
                self.act(format!("member {} is dropped", member.number));
                let number = member.number;
                self.push(Event::Gone { member: number });
                drop(member);
            }
            2 => {
                let member = &mut self.members[at];
                let number = member.number;
                let result = member.consumer.enforce_rebalance();
                self.act(format!("member {number} asks for a rebalance"));
                if let Err(error) = result {
                    self.judge("enforce", &error, FENCED);
                }
            }
            _ => self.close(at),
        }
    }

    /// Closes a member. If it commits by itself, its positions are what is committed.
    fn close(&mut self, at: usize) {
        let departure = self
            .rng
            .pick(&[Departure::Default, Departure::Default, Departure::Leave]);
        let (number, group) = (self.members[at].number, self.members[at].group);
        let (automatic, taken) = (self.members[at].automatic, self.is_taken(at));
        let doubtful =
            taken || self.members[at].last_poll + MAX_POLL_INTERVAL <= self.clock.monotonic();
        self.act(format!("member {number} closes, {departure:?}"));
        let commit = automatic.then(|| self.ask_automatic(group, number));
        let owned = self
            .shared
            .lock()
            .unwrap()
            .owned
            .get(&number)
            .cloned()
            .unwrap_or_default();
        let known_member = self.knows_member(at);
        let member = self.members.remove(at);
        let result = member.consumer.close_with(departure);
        let closed = result.is_ok();
        if let Err(error) = result {
            self.judge("close", &error, FENCED);
        }
        if closed && automatic && !doubtful && known_member {
            let alive = self.alive_places();
            let committed: BTreeMap<_, _> = self.group(group).committed().into_iter().collect();
            for (at, (place, position)) in owned {
                let found = committed
                    .get(&at)
                    .map(|committed| committed.offset().value());
                let start = self.start_of(place);
                // A weaker topic may have lost what lay before the position, which moves it.
                if let Some(position) = position
                    && self.is_at_disk(&at)
                    && alive.contains(&place)
                    && found != Some(position)
                    && found != Some(position.max(start))
                {
                    self.wrong(format!(
                        "member {number} closed at {position} of {at}, committed is {found:?}"
                    ));
                }
            }
        }
        self.push(Event::Gone { member: number });
        self.settle_automatic(commit);
    }

    /// Whether the group still has it, so that its commits count.
    fn knows_member(&self, at: usize) -> bool {
        let member = &self.members[at];
        let description = self.group(member.group).describe();
        let id = member.consumer.member_id();
        description
            .members
            .iter()
            .any(|other| !other.away && Some(&other.member_id) == id)
    }

    pub(crate) fn remove_members(&mut self) {
        let kind = self.any_group();
        self.act(format!("all members of group {} are removed", kind.number));
        for member in self.members.iter().filter(|m| m.group == kind.number) {
            let member = member.number;
            self.push(Event::Doubtful { member });
        }
        self.group(kind.number).remove_all_members();
    }

    /// Compares what the group says with what its members were told.
    pub(crate) fn describe(&mut self) {
        for kind in self.groups.clone() {
            let description = self.group(kind.number).describe();
            let place = |at: &TopicPartition| self.shared.lock().unwrap().place(at);
            let number = |id: &topiclog::MemberId| {
                let mut members = self.members.iter();
                let found = members.find(|member| member.consumer.member_id() == Some(id));
                found.map(|member| member.number)
            };
            let members = description.members.iter().map(|member| {
                let mut places: Vec<_> = member.current.iter().map(place).collect();
                places.sort_unstable();
                (number(&member.member_id), places)
            });
            let members = members.collect();
            self.act(format!("group {} is {}", kind.number, description.state));
            self.push(Event::Described {
                group: kind.number,
                generation: description.generation.value(),
                members,
            });
        }
    }

    /// Heals everything, has everybody read to the end and commit, and looks at what is left.
    pub(crate) fn drain(&mut self) {
        self.heal();
        if self.rng.chance(50) || self.poisonous {
            let how = self.rng.pick(&[Stop::Killed, Stop::PowerCut, Stop::Closed]);
            self.stop(how);
            self.reopen();
            self.observe();
        }
        for member in &mut self.members {
            let paused = member.consumer.paused();
            if let Err(error) = member.consumer.resume(&paused) {
                self.shared
                    .lock()
                    .unwrap()
                    .wrong(format!("resume failed: {error:?}"));
            }
        }
        for kind in self.groups.clone() {
            self.join_as(kind, None, false, true);
        }
        self.flush_all();
        let (mut quiet, mut rounds) = (0, 0);
        // Longer than any place is kept.
        while quiet < 6 {
            rounds += 1;
            if rounds > 400 {
                self.wrong("the groups do not come to an end");
                break;
            }
            let mut came = 0;
            for at in (0..self.members.len()).rev() {
                came += self.poll(at).unwrap_or(0);
                self.observe();
            }
            quiet = if came == 0 { quiet + 1 } else { 0 };
            if came == 0 {
                self.pass(Duration::from_secs(3));
                self.tidy();
                self.observe();
            }
        }
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            let (number, group) = (member.number, member.group);
            let shared = Arc::clone(&self.shared);
            let result = commit_all(&mut member.consumer, &shared, group, number);
            if let Err(error) = result {
                self.judge("the last commit", &error, &[]);
            }
        }
        self.observe();
        self.contents(false);
        self.describe();
        for kind in self.groups.clone() {
            for known in self.topics.values() {
                for lag in self.group(kind.number).lag(&known.topic) {
                    let place = Place {
                        topic: known.number,
                        partition: lag.topic_partition.partition(),
                    };
                    self.push(Event::Drained {
                        group: kind.number,
                        place,
                        lag: lag.lag,
                    });
                }
            }
        }
        self.finish();
    }
}
