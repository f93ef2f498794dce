//! [`GroupDescription`]: a group as an administrator sees it.

use std::collections::BTreeSet;
use std::fmt;

use super::catalog::PartitionKey;
use super::generation::Generation;
use super::group::Group;
use super::member::MemberId;
use crate::name::{GroupId, Id, TopicName, TopicPartition};

/// What a group is about.
///
/// Kafka: `ConsumerGroup.ConsumerGroupState`, KIP-848.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum GroupState {
    /// Meaning: no members; there may be committed offsets. Accepts: joins, commits from outside,
    /// deletion. Leaves to: `Assigning`, `Reconciling` or `Stable` when a member joins, `Dead` when it is
    /// deleted.
    Empty,
    /// Meaning: the next assignment is not decided yet, since the group gathers its first members, since
    /// under the eager protocol somebody still owns something, or since the assignor's answer was refused.
    /// Accepts: joins, leaves, and commits by members for what they own. Leaves to: `Reconciling` when it
    /// is decided, `Empty` when the last member leaves.
    Assigning,
    /// Meaning: the assignment is decided, and some partitions are on their way: still to be given up by
    /// one member, or to be picked up by the next. Accepts: joins, leaves, and commits by members for what
    /// they own. Leaves to: `Stable` when all have arrived, `Assigning`, or `Empty`.
    Reconciling,
    /// Meaning: everybody has what it is to have. Accepts: joins, leaves, and commits by members for what
    /// they own. Leaves to: `Assigning` or `Reconciling` at any change, `Empty`.
    Stable,
    /// Meaning: the group was deleted. Accepts nothing, and leaves to nothing. Hardly ever seen: who asks by
    /// id is told [`NotFound`](crate::ErrorKind::NotFound), and a handle leads to the next group of the name.
    Dead,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Assigning => "assigning",
            Self::Reconciling => "reconciling",
            Self::Stable => "stable",
            Self::Dead => "dead",
        })
    }
}

/// A group as it is at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// The group.
    pub group_id: GroupId,
    /// What it is about.
    pub state: GroupState,
    /// The number of its current assignment.
    pub generation: Generation,
    /// The assignor its members agree on, if there are any.
    pub assignor: Option<String>,
    /// Its members in the order in which they joined.
    pub members: Vec<MemberDescription>,
}

/// A member of a group as it is at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The member.
    pub member_id: MemberId,
    /// What people call the consumer.
    pub client_id: String,
    /// Of a static member, the id it keeps over restarts.
    pub instance_id: Option<String>,
    /// Whether it went to come back: it owns nothing, but its place is kept.
    pub away: bool,
    /// The topics it reads that exist at present, in the order of their names.
    pub topics: Vec<TopicName>,
    /// What it owns.
    pub current: Vec<TopicPartition>,
    /// What it is to own.
    pub target: Vec<TopicPartition>,
}

impl Group {
    /// What the group is about.
    pub(crate) fn state(&self) -> GroupState {
        if self.dead {
            GroupState::Dead
        } else if self.roster.is_empty() {
            GroupState::Empty
        } else if self.stale || self.refused.is_some() {
            GroupState::Assigning
        } else if self.is_stable() {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// Whether everybody has what it is to have; what waits for a member that is away does not count.
    pub(super) fn is_stable(&self) -> bool {
        !self.stale
            && self.slots.values().all(|slot| {
                slot.owner == slot.target
                    || slot.owner.is_none()
                        && slot
                            .target
                            .and_then(|key| self.roster.get(key))
                            .is_none_or(|member| !member.is_here())
            })
    }

    /// The member that owns a partition of a topic.
    pub(crate) fn owner(&self, topic: Id, partition: u32) -> Option<&MemberId> {
        let owner = self.slots.get(&PartitionKey { topic, partition })?.owner?;
        Some(&self.roster.get(owner)?.id)
    }

    /// The partitions that a member owns or is to own, and those for which an offset is committed.
    pub(crate) fn concerned(&self) -> BTreeSet<TopicPartition> {
        let assigned = self.slots.keys();
        let assigned = assigned.filter_map(|&key| self.catalog.place_of(key));
        let committed = self.all_committed().map(|(place, _)| place.clone());
        assigned.chain(committed).collect()
    }

    /// The group as it is now.
    pub(crate) fn describe(&self) -> GroupDescription {
        let catalog = &self.catalog;
        GroupDescription {
            group_id: self.id.clone(),
            state: self.state(),
            generation: self.generation,
            assignor: self
                .choice
                .as_ref()
                .map(|choice| choice.assignor.name().to_owned()),
            members: self
                .roster
                .iter()
                .map(|(_, member)| MemberDescription {
                    member_id: member.id.clone(),
                    client_id: member.client_id.to_string(),
                    instance_id: member.instance_id.as_deref().map(str::to_owned),
                    away: !member.is_here(),
                    topics: member
                        .topics
                        .iter()
                        .filter_map(|&id| Some(catalog.by_id(id)?.0.clone()))
                        .collect(),
                    current: catalog.places_of(member.owned.keys().copied()),
                    target: catalog.places_of(member.target.iter().copied()),
                })
                .collect(),
        }
    }
}
