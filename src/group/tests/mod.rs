//! Tests of the group: assignors by table, the group by script and by random histories.

mod assignors;
mod assignors_sticky;
mod commits;
mod histories;
mod liveness;
mod membership;
mod model;
mod reconciling;
mod scale;
mod statics;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::assignor::{Assignment, AssignmentRequest, Assignor, MemberSubscription};
use super::{
    Committed, Committer, Departure, Effects, Generation, Group, GroupOptions, GroupState,
    JoinRequest, Joined, MemberDescription, MemberId, OffsetCommit, Reconcile, Subscription,
    TopicCatalog, TopicShape, default_assignors,
};
use crate::Result;
use crate::error::{Cause, Error};
use crate::limits::{MAX_POLL_INTERVAL_DEFAULT, SESSION_TIMEOUT_DEFAULT};
use crate::name::{GroupId, Id, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

impl JoinRequest {
    /// Of a dynamic member that sets nothing else.
    fn new(member_id: MemberId, client_id: &str, subscription: Subscription) -> Self {
        Self {
            member_id,
            instance_id: None,
            client_id: client_id.into(),
            subscription,
            assignors: default_assignors(),
            max_poll_interval: MAX_POLL_INTERVAL_DEFAULT,
            session_timeout: SESSION_TIMEOUT_DEFAULT,
        }
    }
}

/// `"t1-0"` is partition 0 of t1.
fn place(text: &str) -> TopicPartition {
    let (name, partition) = text.rsplit_once('-').unwrap();
    TopicPartition::new(topic(name), partition.parse().unwrap())
}

fn places(text: &str) -> Vec<TopicPartition> {
    text.split_whitespace().map(place).collect()
}

fn shown<P: ToString>(places: impl IntoIterator<Item = P>) -> String {
    let texts: Vec<_> = places.into_iter().map(|place| place.to_string()).collect();
    texts.join(" ")
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn member(id: &str) -> MemberId {
    MemberId::new(id)
}

/// The exact cause of a failure, by the name of its variant.
fn cause<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error: Error = result.expect_err("must fail");
    let text = match error.cause() {
        Cause::Group(cause) => format!("{cause:?}"),
        other => format!("{other:?}"),
    };
    text.split([' ', '{', '(']).next().unwrap().to_owned()
}

/// A group with clients that do as they are told, on a clock that a test moves.
struct Script {
    group: Group,
    topics: BTreeMap<TopicName, TopicShape>,
    version: u64,
    ids: u32,
    now: Duration,
}

impl Script {
    /// A group over topics written as `"t1:3 t2:1"`.
    fn new(topics: &str) -> Self {
        Self::with_options(topics, GroupOptions::default())
    }

    fn with_options(topics: &str, options: GroupOptions) -> Self {
        let mut script = Self {
            group: Group::new(GroupId::new("g").unwrap(), options),
            topics: BTreeMap::new(),
            version: 0,
            ids: 0,
            now: Duration::ZERO,
        };
        for (name, partitions) in topic_list(topics) {
            script.put(name, partitions);
        }
        script.announce();
        script
    }

    /// Adds a topic, or partitions to it, without a word to the group.
    fn put(&mut self, name: TopicName, partitions: u32) {
        self.ids += 1;
        let mut bytes = [7; 16];
        bytes[12..].copy_from_slice(&self.ids.wrapping_mul(0x9e37_79b1).to_be_bytes());
        let id = Id::from_bytes(bytes);
        let shape = self
            .topics
            .entry(name)
            .or_insert(TopicShape { id, partitions });
        shape.partitions = partitions;
    }

    fn catalog(&self) -> Arc<TopicCatalog> {
        Arc::new(TopicCatalog::new(self.version, self.topics.clone()))
    }

    fn announce(&mut self) {
        self.version += 1;
        let catalog = self.catalog();
        self.group.topics_changed(self.now, &catalog);
    }

    fn create(&mut self, topics: &str) {
        for (name, partitions) in topic_list(topics) {
            self.put(name, partitions);
        }
        self.announce();
    }

    fn delete(&mut self, name: &str) {
        self.topics.remove(&topic(name));
        self.announce();
    }

    /// A request with range as the only assignor.
    fn request(id: &str, topics: &str) -> JoinRequest {
        let names = topics.split_whitespace().map(topic);
        let mut request = JoinRequest::new(member(id), "client", Subscription::topics(names));
        request.assignors = vec![Arc::new(super::RangeAssignor)];
        request
    }

    fn static_request(id: &str, instance: &str, topics: &str) -> JoinRequest {
        JoinRequest {
            instance_id: Some(instance.into()),
            ..Self::request(id, topics)
        }
    }

    /// Lets somebody in, and has it decided at once what that changes.
    fn join(&mut self, request: JoinRequest) -> Result<Joined> {
        let catalog = self.catalog();
        let joined = self.group.join(self.now, request, &catalog);
        self.group.advance_quietly(self.now);
        joined
    }

    /// Lets dynamic members in, under range.
    fn admit(&mut self, ids: &str, topics: &str) {
        for id in ids.split_whitespace() {
            self.join(Self::request(id, topics)).unwrap();
        }
    }

    fn poll(&mut self, id: &str) -> Result<Reconcile> {
        self.group.poll(self.now, &member(id))
    }

    fn leave(&mut self, id: &str) -> Result<()> {
        self.group.leave(self.now, &member(id), Departure::Default)
    }

    fn release(&mut self, id: &str, partitions: &str) -> Result<()> {
        self.group
            .release(self.now, &member(id), &places(partitions))
    }

    /// What a poll of the member asks of it: `"lost [..] revoke [..] assigned [..]"`, or nothing.
    fn asks(&mut self, id: &str) -> String {
        let reconcile = self.poll(id).unwrap();
        let assigned = reconcile.assigned.iter().map(|a| &a.partition);
        let parts = [
            ("lost", shown(&reconcile.lost)),
            ("revoke", shown(&reconcile.revoke)),
            ("assigned", shown(assigned)),
        ];
        let said: Vec<_> = parts
            .iter()
            .filter(|(_, what)| !what.is_empty())
            .map(|(name, what)| format!("{name} [{what}]"))
            .collect();
        said.join(" ")
    }

    /// Lets everybody poll and release until nobody has anything to do.
    fn settle(&mut self) -> String {
        for _ in 0..10 {
            let mut quiet = true;
            for described in self.group.describe().members {
                if described.away {
                    continue;
                }
                let reconcile = self.group.poll(self.now, &described.member_id).unwrap();
                quiet &= reconcile.is_empty();
                self.group
                    .release(self.now, &described.member_id, &reconcile.revoke)
                    .unwrap();
            }
            if quiet {
                return self.owned();
            }
        }
        panic!("the group does not settle: {:#?}", self.group.describe());
    }

    /// Who owns what: `"a: t1-0 t1-1 | b: t1-2"`.
    fn owned(&self) -> String {
        self.shown_members(|member| &member.current)
    }

    fn shown_members(&self, of: impl Fn(&MemberDescription) -> &Vec<TopicPartition>) -> String {
        let mut members: Vec<_> = self
            .group
            .describe()
            .members
            .iter()
            .map(|m| {
                format!("{}: {}", m.member_id, shown(of(m)))
                    .trim()
                    .to_owned()
            })
            .collect();
        members.sort();
        members.join(" | ")
    }

    fn generation(&self) -> u32 {
        self.group.generation().value()
    }

    fn state(&self) -> GroupState {
        self.group.state()
    }

    /// Whom the calls since the last time wake.
    fn woken(&mut self) -> String {
        let mut woken: Vec<_> = self
            .effects()
            .wake
            .iter()
            .map(ToString::to_string)
            .collect();
        woken.sort();
        woken.join(" ")
    }

    fn effects(&mut self) -> Effects {
        self.group.take_effects()
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Says whether a member may commit for these partitions by its last generation.
    fn check(&self, id: &str, partitions: &str) -> Result<()> {
        let generation = self.group.generation();
        self.check_at(id, generation, partitions)
    }

    fn check_at(&self, id: &str, generation: Generation, partitions: &str) -> Result<()> {
        let commits = commits(partitions);
        self.group
            .check_commit(Committer::Member(&member(id), generation), &commits)
    }

    /// Applies a commit of `offset` that stands at `log_offset` in the log.
    fn apply(&mut self, partition: &str, offset: u64, log_offset: u64, wall: i64) {
        let place = place(partition);
        let topic_id = self.group.topic_id(&place).unwrap();
        let committed = Committed {
            offset: Offset::new(offset),
            metadata: "".into(),
            topic_id,
            timestamp: Timestamp::from_millis(wall),
            log_offset: Offset::new(log_offset),
        };
        self.group.apply_commit(place, committed);
    }

    fn committed(&self, partition: &str) -> Option<u64> {
        let committed = self.group.committed(&place(partition))?;
        Some(committed.offset.value())
    }
}

fn commits(partitions: &str) -> Vec<OffsetCommit> {
    places(partitions)
        .into_iter()
        .map(|partition| OffsetCommit {
            partition,
            topic_id: None,
            offset: Offset::new(5),
            metadata: "".into(),
        })
        .collect()
}

/// `"t1:3 t2:1"`: t1 with three partitions and t2 with one.
fn topic_list(text: &str) -> Vec<(TopicName, u32)> {
    text.split_whitespace()
        .map(|item| {
            let (name, partitions) = item.split_once(':').unwrap();
            (topic(name), partitions.parse().unwrap())
        })
        .collect()
}

/// A request written as topics `"t1:3 t2:1"` and members `"a: t1 t2 | b@instance: t1"`.
fn assignment_request(topics: &str, members: &str) -> AssignmentRequest {
    AssignmentRequest::new(topic_list(topics), member_list(members))
}

fn member_list(text: &str) -> Vec<MemberSubscription> {
    text.split('|')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (name, topics) = item.split_once(':').unwrap();
            let (id, instance) = match name.split_once('@') {
                Some((id, instance)) => (id, Some(instance)),
                None => (name, None),
            };
            let subscription =
                MemberSubscription::new(member(id), topics.split_whitespace().map(topic));
            match instance {
                Some(instance) => subscription.instance_id(instance),
                None => subscription,
            }
        })
        .collect()
}

/// An answer as `"a: t1-0 t1-1 | b: t1-2"`, members by id.
fn answer(request: &AssignmentRequest, assignment: &Assignment) -> String {
    assignment.check(request).unwrap();
    let mut members: Vec<_> = request
        .members()
        .iter()
        .enumerate()
        .map(|(number, member)| {
            let given = assignment.of(number).iter();
            let places: Vec<_> = given.map(|&index| request.place(index).unwrap()).collect();
            format!("{}: {}", member.id(), shown(&places))
                .trim()
                .to_owned()
        })
        .collect();
    members.sort();
    members.join(" | ")
}

fn assigned(assignor: &dyn Assignor, topics: &str, members: &str) -> String {
    let request = assignment_request(topics, members);
    answer(&request, &assignor.assign(&request))
}
