//! The part of [`Group`] that brings members from what they own to what they are to own.

use std::time::Duration;

use super::catalog::PartitionKey;
use super::generation::Generation;
use super::group::{Group, Refused};
use super::member::{MemberId, MemberKey};
use crate::error::{GroupError, Result};
use crate::name::{Id, TopicPartition};

/// A partition that a member has just come to own, with the topic it belongs to.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct AssignedPartition {
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: Id,
}

/// What a member must do, in this order: `lost`, `revoke`, `assigned`.
///
/// Call [`Group::poll`] again after it until it [is empty](Self::is_empty).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub(crate) struct Reconcile {
    /// The generation the member is now in.
    pub(crate) generation: Generation,
    /// Not owned any more, since the topic was deleted. Told once.
    pub(crate) lost: Vec<TopicPartition>,
    /// To be given up: still owned, and open to commits, until [`Group::release`]. Told at each poll
    /// until then.
    pub(crate) revoke: Vec<TopicPartition>,
    /// Owned from this moment on. Empty while there is something to revoke. Told once.
    pub(crate) assigned: Vec<AssignedPartition>,
    /// The group waits for its first members: ask again at the next poll, whatever it wakes.
    pub(crate) gathering: bool,
}

impl Reconcile {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.revoke.is_empty() && self.assigned.is_empty()
    }
}

impl Group {
    /// Says what a member must do now, and counts as a sign of life.
    ///
    /// Costs next to nothing when there is nothing to do. It need not be called at all while
    /// [`Effects::wake`](super::Effects::wake) has not named the member since a poll of it was empty; see
    /// [`touch`](Self::touch).
    ///
    /// # Errors
    ///
    /// - `UnknownMember`: it was removed, all its partitions are lost; join with a new id.
    /// - `FencedInstance`: another one took its instance id; do not join again.
    /// - `BadAssignment`: the assignor's last answer was refused. Told to members that no target counts in
    ///   yet, at each poll, which but for the eager protocol asks the assignor again; of a change that
    ///   nobody asked for also to the oldest member, once for each time that the assignor was asked. Whoever
    ///   is told stays a member with all it owns, and polls again.
    pub(crate) fn poll(&mut self, now: Duration, member: &MemberId) -> Result<Reconcile> {
        let key = self.key(member)?;
        let Some(known) = self.roster.get_mut(key) else {
            return Err(GroupError::UnknownMember.into());
        };
        known.polled(now);
        if known.is_new && self.refused.is_some() && !self.is_eager() {
            self.stale = true;
        }
        if self.stale {
            self.advance_quietly(now);
        }
        self.report_refusal(key)?;
        let giving_up = self.is_giving_up();
        let generation = self.generation;
        let Some(member) = self.roster.get_mut(key) else {
            return Err(GroupError::UnknownMember.into());
        };
        let mut reconcile = Reconcile {
            generation,
            gathering: self.initial_delay.is_some(),
            ..Reconcile::default()
        };
        if !giving_up {
            member.generation = generation;
        }
        if !member.pending {
            return Ok(reconcile);
        }
        reconcile.lost = std::mem::take(&mut member.lost);

        let slots = &mut self.slots;
        let stays = |partition: &PartitionKey| {
            !giving_up && slots.get(partition).is_some_and(|s| s.target == Some(key))
        };
        let revoke: Vec<_> = member.owned.keys().copied().filter(|p| !stays(p)).collect();
        if !revoke.is_empty() {
            reconcile.revoke = self.catalog.places_of(revoke);
            return Ok(reconcile);
        }
        member.pending = false;
        if giving_up {
            return Ok(reconcile);
        }
        for &partition in &member.target {
            if let Some(slot) = slots.get_mut(&partition)
                && slot.owner.is_none()
                && let Some(place) = self.catalog.place_of(partition)
            {
                slot.owner = Some(key);
                member.owned.insert(partition, generation);
                reconcile.assigned.push(AssignedPartition {
                    partition: place,
                    topic_id: partition.topic,
                });
            }
        }
        reconcile.assigned.sort_unstable();
        Ok(reconcile)
    }

    /// The failure of the last decision, for the poll of one who has to learn of it.
    fn report_refusal(&mut self, key: MemberKey) -> Result<()> {
        let Some(Refused { problem, .. }) = self.refused else {
            return Ok(());
        };
        let Some(member) = self.roster.get(key) else {
            return Ok(());
        };
        let is_oldest = self.tell_oldest && self.oldest_here() == Some(key);
        if !is_oldest && !member.is_new {
            return Ok(());
        }
        self.tell_oldest &= !is_oldest;
        Err(GroupError::BadAssignment { problem }.into())
    }

    /// The member that learns of refusals.
    pub(super) fn oldest_here(&self) -> Option<MemberKey> {
        let mut members = self.roster.iter();
        members.find(|(_, m)| m.is_here()).map(|(key, _)| key)
    }

    /// Gives up partitions, which their next owners may then have.
    ///
    /// What the member does not own (any more) is passed over. What it was not asked for comes back at its
    /// next poll, unless it is to go to another by then. Counts as a sign of life.
    ///
    /// # Errors
    ///
    /// `UnknownMember` or `FencedInstance`: the partitions are lost already.
    pub(crate) fn release(
        &mut self,
        now: Duration,
        member: &MemberId,
        partitions: &[TopicPartition],
    ) -> Result<()> {
        let key = self.key(member)?;
        for place in partitions {
            let Some(partition) = self.catalog.key_of(place) else {
                continue;
            };
            if let Some(member) = self.roster.get_mut(key)
                && member.owned.remove(&partition).is_some()
            {
                self.free(partition);
            }
        }
        if let Some(member) = self.roster.get_mut(key) {
            member.polled(now);
        }
        self.advance_and_note(now);
        Ok(())
    }

    /// Leaves a partition without an owner, and wakes the one that is to have it.
    pub(super) fn free(&mut self, partition: PartitionKey) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            return;
        };
        slot.owner = None;
        let next = slot.target;
        if let Some(next) = next
            && !self.is_giving_up()
        {
            self.wake(next);
        }
    }

    /// Wakes a member if it has something to do.
    pub(super) fn mark_pending(&mut self, key: MemberKey) {
        let giving_up = self.is_giving_up();
        let Some(member) = self.roster.get(key) else {
            return;
        };
        let slot = |partition| self.slots.get(partition).copied().unwrap_or_default();
        let due = !member.lost.is_empty()
            || (giving_up && !member.owned.is_empty())
            || member.owned.keys().any(|p| slot(p).target != Some(key))
            || (!giving_up && member.target.iter().any(|p| slot(p).owner.is_none()));
        if due {
            self.wake(key);
        }
    }

    pub(super) fn wake(&mut self, key: MemberKey) {
        if let Some(member) = self.roster.get_mut(key)
            && member.is_here()
            && !std::mem::replace(&mut member.pending, true)
        {
            self.effects.wake.push(member.id.clone());
        }
    }
}
