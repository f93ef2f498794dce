//! Random histories: clients come, go, stall, return and commit, topics come and go, and after every
//! step the rules of `model` hold.
//!
//! `TOPICLOG_SEED=17` replays one history and prints its steps; `TOPICLOG_HISTORIES=100000` runs more.

use std::sync::Arc;

use super::model::{Client, Fate, Model, Random};
use super::{
    Assignment, AssignmentRequest, Assignor, Departure, Generation, GroupOptions, JoinRequest,
    Script, Subscription, TopicName, TopicPartition, member, secs, topic,
};
use crate::error::{Cause, GroupError};
use crate::group::{
    CooperativeStickyAssignor, Eager, PartitionIndex, RangeAssignor, RoundRobinAssignor,
    StickyAssignor,
};

const STEPS: usize = 100;
const HISTORIES: u64 = 6_000;

/// Gives impossible answers to every third group size.
#[derive(Debug)]
struct Unreliable;

impl Assignor for Unreliable {
    fn name(&self) -> &'static str {
        "unreliable"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        let mut assignment = RangeAssignor.assign(request);
        if request.members().len() % 3 == 2 {
            let (topic, partition) = (0, 1_000);
            assignment.give(0, PartitionIndex { topic, partition });
        }
        assignment
    }
}

/// Says which history failed, and how it went.
struct Trace {
    seed: u64,
    steps: Vec<String>,
    aloud: bool,
}

impl Trace {
    fn step(&mut self, step: String) {
        if self.aloud {
            println!("{:3} {step}", self.steps.len());
        }
        self.steps.push(step);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.steps.len().saturating_sub(25);
            eprintln!("history TOPICLOG_SEED={} ended with:", self.seed);
            for (number, step) in self.steps.iter().enumerate().skip(from) {
                eprintln!("{number:3} {step}");
            }
        }
    }
}

/// One history: what it draws from, and the world it acts on.
struct History {
    random: Random,
    model: Model,
    trace: Trace,
    assignors: Vec<Arc<dyn Assignor>>,
    honest: bool,
    joined: usize,
}

impl History {
    fn new(seed: u64, aloud: bool) -> Self {
        let mut random = Random::new(seed);
        let mut honest = true;
        let kind = random.below(9);
        let assignors: Vec<Arc<dyn Assignor>> = match kind {
            0 => vec![Arc::new(RangeAssignor), Arc::new(CooperativeStickyAssignor)],
            1 => vec![Arc::new(RoundRobinAssignor)],
            2 => vec![Arc::new(StickyAssignor), Arc::new(RangeAssignor)],
            3 | 4 => vec![Arc::new(CooperativeStickyAssignor)],
            5 => vec![Arc::new(Eager::new(RangeAssignor))],
            6 => vec![Arc::new(Eager::new(StickyAssignor))],
            7 => vec![
                Arc::new(Eager::new(RangeAssignor)),
                Arc::new(CooperativeStickyAssignor),
            ],
            _ => {
                honest = false;
                vec![Arc::new(Unreliable)]
            }
        };
        let options = GroupOptions {
            initial_rebalance_delay: secs(if random.one_in(5) { 3 } else { 0 }),
            ..GroupOptions::default()
        };
        let script = Script::with_options("t0:3 t1:2", options);
        let mut model = Model::new(script);
        model.eager = matches!(kind, 5 | 6);
        let steps = Vec::new();
        Self {
            random,
            model,
            trace: Trace { seed, steps, aloud },
            assignors,
            honest,
            joined: 0,
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.model.absorb();
            self.model.check();
            if self.random.one_in(30) {
                self.settle();
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.trace.step("settle".to_owned());
        self.pass(3);
        self.model.settle(self.honest, &mut self.random);
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..=3 => self.join(),
            4 | 5 => self.leave(),
            6..=15 => self.poll(),
            16..=21 => self.release(),
            22..=27 => self.commit(),
            28..=30 => {
                self.model.apply_one(&mut self.random);
            }
            31 | 32 => self.change_topics(),
            33 => self.subscribe(),
            34 => self.administer(),
            35 | 36 => self.stall(),
            37 | 38 => self.come_to(),
            _ => {
                let seconds = u64::from(self.random.between(1, 30));
                self.trace.step(format!("{seconds} s pass"));
                self.pass(seconds);
            }
        }
    }

    fn one_with(&mut self, fates: &[Fate]) -> Option<usize> {
        let clients = self.model.with_fate(fates);
        (!clients.is_empty()).then(|| self.random.pick(&clients))
    }

    fn wishes(&mut self) -> (Subscription, Vec<TopicName>) {
        let all: Vec<_> = (0..4).map(|number| topic(&format!("t{number}"))).collect();
        let mut topics: Vec<_> = all.clone();
        match self.random.below(6) {
            0..=2 => {}
            3 | 4 => topics.retain(|_| self.random.below(3) > 0),
            _ => {
                let even = |name: &TopicName| matches!(name.as_str(), "t0" | "t2");
                topics.retain(even);
                return (Subscription::pattern(even), topics);
            }
        }
        (Subscription::topics(topics.clone()), topics)
    }

    fn join(&mut self) {
        let instance: Option<Arc<str>> = self
            .random
            .one_in(2)
            .then(|| format!("i{}", self.random.below(3)).into());
        self.join_as(instance);
    }

    fn join_as(&mut self, instance: Option<Arc<str>>) {
        let (subscription, topics) = self.wishes();
        let id = member(&format!("m{}", self.joined));
        self.joined += 1;
        self.trace
            .step(format!("{id} joins as {instance:?} for {topics:?}"));
        let mut request = JoinRequest::new(id.clone(), "c", subscription);
        request.instance_id.clone_from(&instance);
        request.assignors.clone_from(&self.assignors);
        if self.random.one_in(4) {
            request.assignors.rotate_left(1);
        }
        let odd = self.random.one_in(20);
        if odd {
            request.assignors = vec![Arc::new(Unreliable)];
        }
        let catalog = self.model.script.catalog();
        let (group, now) = self.model.group();
        match group.join(now, request, &catalog) {
            Ok(joined) => {
                self.honest &= !odd;
                self.model.eager &= !odd;
                let holder = self
                    .model
                    .with_fate(&[Fate::Member])
                    .into_iter()
                    .find(|&c| instance.is_some() && self.model.clients[c].instance == instance);
                if let Some(holder) = holder {
                    self.model.lose(holder, Fate::Fenced);
                }
                self.model.clients.push(Client {
                    id,
                    instance,
                    fate: Fate::Member,
                    flag: true,
                    generation: joined.generation,
                    topics,
                    revoking: Vec::new(),
                });
            }
            Err(error) => match error.cause() {
                Cause::Group(GroupError::InconsistentProtocol) => {}
                _ => panic!("{error:?}"),
            },
        }
    }

    fn leave(&mut self) {
        let fates = [Fate::Member, Fate::Removed, Fate::Fenced];
        let Some(client) = self.one_with(&fates) else {
            return;
        };
        let how = [Departure::Default, Departure::Leave, Departure::Remain];
        let departure = self.random.pick(&how);
        let id = self.model.clients[client].id.clone();
        self.trace.step(format!("{id} leaves, {departure:?}"));
        let (group, now) = self.model.group();
        // One that was late may be gone, and its place still be there to be given up.
        let has_place = group.roster.key_of_away(&id).is_some();
        let outcome = group.leave(now, &id, departure);
        assert_eq!(
            outcome.is_ok(),
            self.model.clients[client].fate == Fate::Member
                || (has_place && departure == Departure::Leave)
        );
        self.model.lose(client, Fate::Gone);
    }

    /// A member polls, most of the time only if it was woken.
    fn poll(&mut self) {
        let Some(client) = self.one_with(&[Fate::Member]) else {
            return;
        };
        if self.model.clients[client].flag || self.random.one_in(4) {
            let id = self.model.clients[client].id.clone();
            let outcome = self.model.poll(client);
            self.trace.step(format!("{id} polls: {outcome:?}"));
        } else {
            self.touch(client);
        }
    }

    fn touch(&mut self, client: usize) {
        let id = self.model.clients[client].id.clone();
        let (group, now) = self.model.group();
        group.touch(now, &id);
    }

    fn release(&mut self) {
        let mut clients = self.model.with_fate(&[Fate::Member]);
        clients.retain(|&client| !self.model.clients[client].revoking.is_empty());
        if clients.is_empty() {
            return;
        }
        let client = self.random.pick(&clients);
        let count = 1 + self.random.below(4);
        let id = self.model.clients[client].id.clone();
        self.trace.step(format!("{id} releases {count}"));
        self.model.release(client, count);
    }

    /// Anybody tries to commit for anything, members mostly by their own generation.
    fn commit(&mut self) {
        let name = topic(&format!("t{}", self.random.below(4)));
        let place = TopicPartition::new(name, self.random.between(0, 4));
        let offset = u64::from(self.random.between(0, 100));
        let client = match self.random.below(self.model.clients.len() + 1) {
            0 => None,
            number => {
                let generation = self.model.clients[number - 1].generation;
                let any = Generation::new(self.random.between(0, generation.value() + 1));
                let generation = self.random.pick(&[generation, generation, any]);
                Some((number - 1, generation))
            }
        };
        self.trace
            .step(format!("{client:?} commits {offset} for {place}"));
        self.model.commit(client, place, offset);
    }

    fn change_topics(&mut self) {
        let name = format!("t{}", self.random.below(4));
        let known = self.model.script.topics.get(&topic(&name)).copied();
        match known {
            Some(_) if self.random.one_in(3) => {
                self.trace.step(format!("{name} is deleted"));
                self.model.script.delete(&name);
            }
            Some(shape) if self.random.one_in(3) => {
                self.trace.step(format!("{name} is made anew"));
                self.model.script.topics.remove(&topic(&name));
                self.model
                    .script
                    .create(&format!("{name}:{}", shape.partitions));
            }
            Some(shape) => {
                let partitions = (shape.partitions + 1).min(5);
                self.trace
                    .step(format!("{name} has {partitions} partitions"));
                self.model.script.create(&format!("{name}:{partitions}"));
            }
            None => {
                self.trace.step(format!("{name} is created"));
                let partitions = self.random.between(1, 4);
                self.model.script.create(&format!("{name}:{partitions}"));
            }
        }
    }

    fn subscribe(&mut self) {
        let Some(client) = self.one_with(&[Fate::Member]) else {
            return;
        };
        let (subscription, topics) = self.wishes();
        let id = self.model.clients[client].id.clone();
        self.trace.step(format!("{id} subscribes to {topics:?}"));
        self.model.clients[client].topics = topics;
        let (group, now) = self.model.group();
        let outcome = group.subscribe(now, &id, subscription);
        assert!(outcome.is_ok() || !self.honest, "{outcome:?}");
    }

    fn administer(&mut self) {
        let (group, now) = self.model.group();
        if self.random.one_in(2) {
            if let Some(client) = self.one_with(&[Fate::Member]) {
                let id = self.model.clients[client].id.clone();
                self.trace.step(format!("{id} asks for a rebalance"));
                let (group, now) = self.model.group();
                let outcome = group.enforce_rebalance(now, &id);
                assert!(outcome.is_ok() || !self.honest, "{outcome:?}");
            }
            return;
        }
        let instance: Arc<str> = format!("i{}", self.random.below(3)).into();
        self.trace.step(format!("{instance} is removed"));
        if group.remove_instance(now, &instance).is_ok() {
            for client in self.model.with_fate(&[Fate::Member]) {
                if self.model.clients[client].instance.as_ref() == Some(&instance) {
                    self.model.lose(client, Fate::Removed);
                }
            }
        }
    }

    /// One member does not poll until its interval is over.
    fn stall(&mut self) {
        let Some(stalled) = self.one_with(&[Fate::Member]) else {
            return;
        };
        let id = self.model.clients[stalled].id.clone();
        self.trace.step(format!("{id} stalls"));
        self.touch(stalled);
        for _ in 0..10 {
            for client in self.model.with_fate(&[Fate::Member]) {
                if client != stalled {
                    self.touch(client);
                }
            }
            self.model.script.wait(secs(30));
            self.expire();
        }
        assert_eq!(self.model.clients[stalled].fate, Fate::Removed);
    }

    /// Somebody who is no member any more polls, learns of it, and perhaps joins anew.
    fn come_to(&mut self) {
        let Some(client) = self.one_with(&[Fate::Removed, Fate::Fenced]) else {
            return;
        };
        let id = self.model.clients[client].id.clone();
        let was = self.model.clients[client].fate;
        self.trace.step(format!("{id} learns that it is {was:?}"));
        self.model.poll(client);
        assert_eq!(self.model.clients[client].fate, Fate::Gone);
        if was == Fate::Removed && self.random.below(3) > 0 {
            let instance = self.model.clients[client].instance.clone();
            self.join_as(instance);
        }
    }

    /// Time passes, and everybody polls meanwhile.
    fn pass(&mut self, seconds: u64) {
        self.model.script.wait(secs(seconds));
        for client in self.model.with_fate(&[Fate::Member]) {
            self.touch(client);
        }
        self.expire();
    }

    fn expire(&mut self) {
        let (group, now) = self.model.group();
        let deadline = group.next_deadline();
        let expired = group.expire(now);
        if !expired.is_empty() {
            assert!(deadline.is_some_and(|at| at <= now), "it was announced");
        }
        assert!(group.next_deadline().is_none_or(|at| at > now));
        for gone in expired {
            if let Some(client) = self.model.by_id(&gone.member_id)
                && self.model.clients[client].fate == Fate::Member
            {
                self.model.lose(client, Fate::Removed);
            }
        }
        self.model.absorb();
        self.model.check();
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_histories_keep_the_promises() {
    if let Some(seed) = number("TOPICLOG_SEED") {
        History::new(seed, true).run();
        return;
    }
    for seed in 0..number("TOPICLOG_HISTORIES").unwrap_or(HISTORIES) {
        History::new(seed, false).run();
    }
}
