//! The part of [`Group`] that keeps committed offsets: who may commit, and how long offsets are kept.
//!
//! A commit takes three steps: [`check_commit`](Group::check_commit), then the caller hands the commit to
//! the log of commits, **both under one hold of the group's lock**, and once the log has kept it,
//! [`apply_commit`](Group::apply_commit). The lock is what makes the log's order that of the checks: were
//! it let go in between, a member that is fenced meanwhile could commit after its successor. Removals
//! (deleted, expired and dropped offsets) take the same way.

use std::sync::Arc;

use super::generation::Generation;
use super::group::{Emptiness, Group};
use super::member::MemberId;
use super::offsets::{Committed, EmptySince};
use crate::error::{Error, GroupError, InputError, Result, TopicError};
use crate::limits::OFFSET_METADATA_CHARACTERS_MAX;
use crate::name::{Id, TopicName, TopicPartition};
use crate::offset::Offset;
use crate::timestamp::Timestamp;

/// Who commits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Committer<'a> {
    /// A member, by what it was given up to this generation.
    Member(&'a MemberId, Generation),
    /// Somebody who is no member: a simple consumer, or an administrator.
    Outsider,
}

/// One offset to commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OffsetCommit {
    pub(crate) partition: TopicPartition,
    /// The topic that is meant, where the committer has more than its name: by now the name may be that
    /// of another.
    pub(crate) topic_id: Option<Id>,
    /// The next offset to read.
    pub(crate) offset: Offset,
    /// At most [`OFFSET_METADATA_CHARACTERS_MAX`] characters, as that counts them.
    pub(crate) metadata: Arc<str>,
}

impl Group {
    /// Says whether a commit may go to the log: all of it or nothing.
    ///
    /// A member may commit for what it owns, including what it was asked to give up and has not yet. To
    /// commit a lower offset than before is allowed.
    ///
    /// # Errors
    ///
    /// - `UnknownMember`, `FencedInstance`: the committer is no member any more.
    /// - `NotAssigned`: the member does not own the partition.
    /// - `IllegalGeneration`: it owns the partition, but by a later generation than the commit's: the
    ///   partition was with another member in between. Or the generation is yet to come.
    /// - `NonEmptyGroup`: no member commits, but the group has some.
    /// - `MetadataTooLarge`, `InvalidInput`: of the commit itself.
    /// - `NotFound`: there is no such topic any more, or no such group.
    /// - `Partition`: the topic has no partition of that number.
    pub(crate) fn check_commit(
        &self,
        committer: Committer<'_>,
        commits: &[OffsetCommit],
    ) -> Result<()> {
        let member = match committer {
            // Of nothing at all it is nobody's business.
            Committer::Outsider if commits.is_empty() => return Ok(()),
            Committer::Outsider => {
                self.check_empty()?;
                None
            }
            Committer::Member(id, generation) => {
                let member = self.roster.get(self.key(id)?);
                if generation > self.generation {
                    return Err(GroupError::IllegalGeneration.into());
                }
                Some((member.ok_or(GroupError::UnknownMember)?, generation))
            }
        };
        for commit in commits {
            let place = &commit.partition;
            check_value(commit).map_err(|error| error.in_partition(place))?;
            let key = self.catalog.key_of(place);
            let key = key.filter(|key| commit.topic_id.is_none_or(|id| id == key.topic));
            let Some((member, generation)) = member else {
                key.ok_or_else(|| self.no_such(commit))?;
                continue;
            };
            let since = key
                .and_then(|key| member.owned.get(&key))
                .ok_or_else(|| Error::from(GroupError::NotAssigned).in_partition(place))?;
            if *since > generation {
                return Err(Error::from(GroupError::IllegalGeneration).in_partition(place));
            }
        }
        Ok(())
    }

    /// Why there is nothing to commit for.
    fn no_such(&self, commit: &OffsetCommit) -> Error {
        let place = &commit.partition;
        let shape = self.catalog.get(place.topic());
        match shape.filter(|shape| commit.topic_id.is_none_or(|id| id == shape.id)) {
            Some(shape) => Error::from(InputError::Partition {
                partition: place.partition(),
                partitions: shape.partitions,
            })
            .in_topic(place.topic()),
            None => Error::from(TopicError::NotFound).in_partition(place),
        }
    }

    /// The id of the topic of this name, as commits must name it.
    pub(crate) fn topic_id(&self, place: &TopicPartition) -> Option<Id> {
        Some(self.catalog.key_of(place)?.topic)
    }

    /// Takes note of a commit that the log has kept, or that is read back from it.
    ///
    /// May be called in any order. A commit for a topic that is gone is passed over; so hand the catalog
    /// in before reading the log back.
    pub(crate) fn apply_commit(&mut self, place: TopicPartition, committed: Committed) {
        let known = self.catalog.by_id(committed.topic_id).is_some();
        if known || self.catalog.version() == 0 {
            self.offsets.commit(place, committed);
        }
    }

    /// Takes note of a removal that the log has kept, or that is read back from it.
    pub(crate) fn apply_removal(&mut self, place: TopicPartition, log_offset: Offset) {
        self.offsets.remove(place, log_offset);
    }

    /// The offset to go on from, if one was committed.
    pub(crate) fn committed(&self, place: &TopicPartition) -> Option<&Committed> {
        self.offsets.get(place)
    }

    /// All committed offsets, by topic and partition.
    pub(crate) fn all_committed(&self) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.offsets.iter()
    }

    /// Says whether the offsets of a topic may be deleted.
    ///
    /// # Errors
    ///
    /// `SubscribedToTopic` if a member subscribes to it, `GroupNotFound` of a group with neither members nor
    /// offsets. Kafka: KIP-496.
    pub(crate) fn check_delete_offsets(&self, topic: &TopicName) -> Result<()> {
        if self.is_idle() {
            return Err(self.not_found());
        }
        if self.is_subscribed(topic) {
            return Err(Error::from(GroupError::SubscribedToTopic).in_topic(topic));
        }
        Ok(())
    }

    /// Says whether the group's offsets may be reset.
    ///
    /// # Errors
    ///
    /// `NonEmptyGroup` if it has members, `GroupNotFound` if it is deleted already.
    pub(crate) fn check_empty(&self) -> Result<()> {
        if self.dead {
            return Err(self.not_found());
        }
        match self.roster.len() {
            0 => Ok(()),
            members => {
                let group = self.id.clone();
                Err(GroupError::NonEmptyGroup { group, members }.into())
            }
        }
    }

    pub(super) fn not_found(&self) -> Error {
        let group = self.id.clone();
        GroupError::GroupNotFound { group }.into()
    }

    /// Says whether the group may be deleted, and names the partitions whose offsets need tombstones.
    /// Once the log has kept those, [`bury`](Self::bury) it.
    ///
    /// # Errors
    ///
    /// As [`check_empty`](Self::check_empty), and `GroupNotFound` if there is nothing to delete.
    pub(crate) fn check_delete(&self) -> Result<Vec<TopicPartition>> {
        self.check_empty()?;
        if self.is_idle() {
            return Err(self.not_found());
        }
        let places = self.offsets.iter().map(|(place, _)| place.clone());
        Ok(places.collect())
    }

    /// Ends the group for good, unless somebody has come to it: says whether it is dead.
    pub(crate) fn bury(&mut self) -> bool {
        self.dead |= self.is_idle();
        self.dead
    }

    /// Whether the group was deleted: another one has its name by now, or will have.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether nobody would miss the group: no members and no offsets.
    pub(crate) fn is_idle(&self) -> bool {
        self.roster.is_empty() && self.offsets.iter().next().is_none()
    }

    /// Tells a group that is read back that it has had members, and since when it has none. Without a
    /// time, since it is first [noticed](Self::notice_emptiness).
    pub(crate) fn restore_empty_since(&mut self, since: Option<Timestamp>) {
        self.offsets.empty_since = since.map_or(EmptySince::Unknown, EmptySince::Known);
    }

    /// Since when it has had offsets and no members, as far as that was noticed.
    pub(crate) fn empty_since(&self) -> Option<Timestamp> {
        match self.offsets.empty_since {
            EmptySince::Known(since) => Some(since),
            EmptySince::Always | EmptySince::Unknown => None,
        }
    }

    /// Whether there is something to [notice](Self::notice_emptiness).
    pub(crate) fn is_emptiness_changed(&self) -> bool {
        match self.offsets.empty_since {
            EmptySince::Always => !self.is_idle(),
            EmptySince::Unknown => self.is_left_behind(),
            EmptySince::Known(_) => !self.is_left_behind(),
        }
    }

    /// Takes note, with the time, that its last member went, or that members came again or its last
    /// offset went. To be called after every call that may change that; what it finds is among the
    /// effects, to be written to the log of commits.
    pub(crate) fn notice_emptiness(&mut self, now: Timestamp) {
        let left_behind = self.is_left_behind();
        let since = match self.offsets.empty_since {
            EmptySince::Known(_) if left_behind => return,
            // Only outsiders have committed. Counted from the first of their commits, each offset's time
            // counts from its own.
            EmptySince::Always if left_behind => {
                let commits = self.offsets.iter();
                commits.map(|(_, committed)| committed.timestamp).min()
            }
            EmptySince::Unknown if left_behind => Some(now),
            EmptySince::Always if self.roster.is_empty() => return,
            EmptySince::Always | EmptySince::Unknown | EmptySince::Known(_) => None,
        };
        let was_told = self.empty_since().is_some();
        self.restore_empty_since(since);
        if let Some(since) = since {
            self.effects.emptiness = Some(Emptiness::Since(since));
        } else if was_told {
            self.effects.emptiness = Some(Emptiness::Over);
        }
    }

    /// Whether it has offsets and no members.
    fn is_left_behind(&self) -> bool {
        self.roster.is_empty() && self.offsets.iter().next().is_some()
    }

    /// Names the partitions whose offsets have had their time: remove them by way of the log.
    ///
    /// Kafka's rules (KIP-211): the time counts from when the group lost its last member or from the last
    /// commit, whichever is later; from the last commit alone if there never was a member, or if a stable
    /// group no longer subscribes to the topic. An offset that a member may yet go on from is never named.
    ///
    /// Call it every few minutes.
    pub(crate) fn expire_offsets(&mut self, now: Timestamp) -> Vec<TopicPartition> {
        self.offsets.sweep();
        self.notice_emptiness(now);
        if !self.roster.is_empty() && !self.is_stable() {
            return Vec::new();
        }
        let Some(retention) = self.options.offsets_retention else {
            return Vec::new();
        };
        let empty_since = self.empty_since().unwrap_or(Timestamp::MIN);
        self.offsets
            .iter()
            .filter(|(place, committed)| {
                let from = committed.timestamp.max(empty_since);
                now.since(from) >= retention && !self.is_subscribed(place.topic())
            })
            .map(|(place, _)| place.clone())
            .collect()
    }
}

fn check_value(commit: &OffsetCommit) -> Result<()> {
    let limit = OFFSET_METADATA_CHARACTERS_MAX;
    // No text has more characters than bytes.
    if commit.metadata.len() > limit {
        let characters = commit.metadata.encode_utf16().count();
        if characters > limit {
            return Err(GroupError::MetadataTooLarge { characters, limit }.into());
        }
    }
    if commit.offset > Offset::MAX {
        let problem = "is greater than the largest offset";
        return Err(Error::bad_argument("offset", problem, commit.offset));
    }
    Ok(())
}
