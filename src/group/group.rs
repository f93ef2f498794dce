//! [`Group`]: one consumer group, and the coming and going of its members.
//!
//! **Invariants**
//!
//! - A partition has at most one owner, and an owner is a member that is here.
//! - A partition goes from owner to owner only over being free: the old one released it, or is no member
//!   any more, or the topic went.
//! - A member owns, and is to own, only partitions that exist of topics it subscribes to, except for
//!   what it was told to give up and has not yet released.
//! - The generation never falls, and rises with each new target.
//!
//! **Not here:** locks, clocks and files. The caller keeps the group behind a lock, hands in the time,
//! and after each call that may change something does what [`Group::take_effects`] says.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::assignor::RebalanceProtocol;
use super::catalog::{PartitionMap, TopicCatalog};
use super::generation::Generation;
use super::member::{JoinRequest, Member, MemberId, MemberKey, Presence, Subscription};
use super::offsets::CommittedOffsets;
use super::rebalance::Choice;
use super::roster::Roster;
use crate::error::{Error, GroupError, Result};
use crate::limits::OFFSETS_RETENTION_DEFAULT;
use crate::name::{GroupId, Id, TopicPartition};
use crate::timestamp::Timestamp;

/// What may be set of a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GroupOptions {
    /// How long the first member of an empty group waits for others, so that members which start
    /// together make one generation; each one that comes starts the wait anew, up to the greatest
    /// `max_poll_interval`. Zero by default, since in one process a rebalance costs microseconds.
    /// Kafka: `group.initial.rebalance.delay.ms`.
    pub(crate) initial_rebalance_delay: Duration,
    /// How long the offsets of a group without members are kept; for ever if none is said. Seven days by
    /// default. Kafka: `offsets.retention.minutes`.
    pub(crate) offsets_retention: Option<Duration>,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            offsets_retention: Some(OFFSETS_RETENTION_DEFAULT),
        }
    }
}

/// What becomes of a member's place when its consumer is closed. Kafka:
/// `CloseOptions.GroupMembershipOperation`, KIP-1092.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Departure {
    /// A dynamic member leaves, a static one keeps its place until the end of its session timeout.
    #[default]
    Default,
    /// Its place is given up at once.
    Leave,
    /// Its place is kept until the end of its session timeout.
    Remain,
}

/// What came of joining.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Joined {
    pub(crate) member_id: MemberId,
    pub(crate) generation: Generation,
}

/// A member that the passing of time removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Expired {
    pub(crate) member_id: MemberId,
    pub(crate) reason: ExpiryReason,
}

/// Why time removed a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExpiryReason {
    /// It was here, but did not poll for its `max_poll_interval`.
    PollInterval,
    /// It was away, and did not come back within its session timeout.
    SessionTimeout,
}

/// What the caller must do after a call, before it lets the group's lock go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub(crate) struct Effects {
    /// Members whose next poll may have something for them: to revoke, to gain, or that they are no
    /// members any more. Named once; a member stays due until a poll of it had nothing.
    pub(crate) wake: Vec<MemberId>,
    /// Committed offsets that went with their topic: write tombstones for them.
    pub(crate) dropped_offsets: Vec<TopicPartition>,
    /// What to write about the group having no members, if that changed.
    pub(crate) emptiness: Option<Emptiness>,
    /// Whether the [next deadline](Group::next_deadline) may be nearer than it was.
    pub(crate) looks_sooner: bool,
}

/// What the log of commits is told about a group that has offsets and no members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Emptiness {
    /// It has members again, or nothing to keep.
    Over,
    /// It has had none since then.
    Since(Timestamp),
}

/// Who owns a partition, and who is to own it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) owner: Option<MemberKey>,
    pub(super) target: Option<MemberKey>,
}

/// A group that was empty waits a moment for more members.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialDelay {
    pub(super) began: Duration,
    pub(super) until: Duration,
}

/// Why the assignor's last answer did not become the target, and when it is asked again unless something
/// changes before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) problem: &'static str,
    pub(super) again_at: Duration,
}

/// One consumer group: its members, who owns what, and the committed offsets.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) id: GroupId,
    pub(super) options: GroupOptions,
    pub(super) catalog: Arc<TopicCatalog>,
    pub(super) roster: Roster,
    pub(super) slots: PartitionMap<Slot>,
    pub(super) generation: Generation,
    /// What the members agree on; none while there are none.
    pub(super) choice: Option<Choice>,
    /// Whether something changed since the target was decided.
    pub(super) stale: bool,
    pub(super) initial_delay: Option<InitialDelay>,
    pub(super) refused: Option<Refused>,
    /// The longest that a member may be silent, of all that there have been.
    longest_poll_interval: Duration,
    /// Whether the oldest member still has to learn of it.
    pub(super) tell_oldest: bool,
    /// Members whose instance id somebody else took, until they leave.
    pub(super) fenced: HashSet<MemberId>,
    pub(super) offsets: CommittedOffsets,
    pub(super) effects: Effects,
    pub(super) dead: bool,
}

impl Group {
    /// A group without members.
    pub(crate) fn new(id: GroupId, options: GroupOptions) -> Self {
        Self {
            id,
            options,
            catalog: Arc::default(),
            roster: Roster::default(),
            slots: PartitionMap::default(),
            generation: Generation::NONE,
            choice: None,
            stale: false,
            initial_delay: None,
            refused: None,
            longest_poll_interval: Duration::ZERO,
            tell_oldest: false,
            fenced: HashSet::new(),
            offsets: CommittedOffsets::default(),
            effects: Effects::default(),
            dead: false,
        }
    }

    /// The number of the current assignment.
    #[cfg(test)]
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// How many members there are, those that are away included.
    #[cfg(test)]
    pub(crate) fn member_count(&self) -> usize {
        self.roster.len()
    }

    /// Takes what the calls since the last time ask of the caller.
    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Lets somebody in, or lets a member change its wishes.
    ///
    /// - A new member id: a new member, and a new generation at its first poll, or with the next change of
    ///   another kind. So the assignor is asked once for many that join in a row. Under the eager protocol
    ///   the others are asked at once to give up what they have. Kafka's consumer joins inside its first
    ///   poll.
    /// - An instance id the group knows: the new member takes the old one's place and what it was to own.
    ///   The old one, if it is still here, is fenced. No new generation unless the wishes changed.
    /// - A member id that is here already: its wishes are replaced. The same wishes change nothing.
    ///
    /// What the member then owns, its [`poll`](Self::poll) says.
    ///
    /// # Errors
    ///
    /// - `InconsistentProtocol`: no assignor that this one and all others accept.
    /// - `FencedInstance`: this member id lost its instance id; join with a new one.
    /// - `GroupNotFound`: the group was deleted; make a new one.
    pub(crate) fn join(
        &mut self,
        now: Duration,
        request: JoinRequest,
        catalog: &Arc<TopicCatalog>,
    ) -> Result<Joined> {
        if self.dead {
            return Err(self.not_found());
        }
        if self.fenced.contains(&request.member_id) {
            return Err(GroupError::FencedInstance.into());
        }
        self.topics_changed(now, catalog);
        let place = self.roster.key(&request.member_id).or_else(|| {
            let instance = request.instance_id.as_deref()?;
            self.roster.key_of_instance(instance)
        });
        self.check_protocol(place, &request.assignors)?;
        let member_id = request.member_id.clone();
        match place {
            Some(key) => {
                self.take_place(now, key, request)?;
                self.advance_and_note(now);
            }
            None => self.admit(now, request),
        }
        Ok(Joined {
            member_id,
            generation: self.generation,
        })
    }

    /// A member the group has no place for yet.
    fn admit(&mut self, now: Duration, mut request: JoinRequest) {
        self.gather(now, request.max_poll_interval);
        self.share_topics(&mut request.subscription);
        let topics = self.resolve(&request.subscription);
        let agrees = self.agrees(&request.assignors);
        self.look_sooner_than_all(request.max_poll_interval);
        self.roster.insert(Member::new(now, request, topics));
        if agrees {
            self.mark_undecided();
        } else {
            self.mark_stale();
        }
    }

    /// A member that changes its wishes, or takes the place of a static one.
    fn take_place(
        &mut self,
        now: Duration,
        key: MemberKey,
        mut request: JoinRequest,
    ) -> Result<()> {
        self.share_topics(&mut request.subscription);
        self.look_sooner_than_all(request.max_poll_interval);
        let topics = self.resolve(&request.subscription);
        let Some(member) = self.roster.get(key) else {
            return Err(GroupError::UnknownMember.into());
        };
        let same_wishes = topics == member.topics
            && member.subscription.is_same(&request.subscription)
            && votes(&member.assignors).eq(votes(&request.assignors));
        if member.id != request.member_id {
            let (old_id, was_here) = (member.id.clone(), member.is_here());
            self.depart(key, now);
            if was_here {
                self.effects.wake.push(old_id.clone());
                self.fenced.insert(old_id);
            }
            self.roster.take_over(key, request.member_id, now);
            if let Some(member) = self.roster.get_mut(key) {
                member.lost.clear();
                member.pending = false;
                member.generation = Generation::NONE;
            }
        }
        if let Some(member) = self.roster.get_mut(key) {
            member.client_id = request.client_id;
            member.subscription = request.subscription;
            member.topics = topics;
            member.assignors = request.assignors;
            member.max_poll_interval = request.max_poll_interval;
            member.session_timeout = request.session_timeout;
            member.polled(now);
        }
        if same_wishes {
            // Of two assignors of one name, the one that is asked is that of the member that is there now.
            self.choose();
            self.mark_pending(key);
        } else {
            self.prune_target(key);
            self.mark_stale();
        }
        Ok(())
    }

    /// Changes what a member subscribes to.
    ///
    /// # Errors
    ///
    /// `UnknownMember` or `FencedInstance`; `BadAssignment` if the assignor's answer was refused, in which
    /// case the member is left with what it had of the topics it still wants.
    pub(crate) fn subscribe(
        &mut self,
        now: Duration,
        member: &MemberId,
        mut subscription: Subscription,
    ) -> Result<()> {
        let key = self.key(member)?;
        self.share_topics(&mut subscription);
        let topics = self.resolve(&subscription);
        let Some(member) = self.roster.get_mut(key) else {
            return Err(GroupError::UnknownMember.into());
        };
        member.polled(now);
        let same = topics == member.topics && member.subscription.is_same(&subscription);
        member.subscription = subscription;
        member.topics = topics;
        if same && self.refused.is_none() {
            return Ok(());
        }
        self.prune_target(key);
        self.mark_stale();
        self.advance(now)
            .map_err(|problem| GroupError::BadAssignment { problem }.into())
    }

    /// Asks the assignor again, for instance since its user data changed. Kafka: KIP-568.
    ///
    /// # Errors
    ///
    /// `UnknownMember` or `FencedInstance`; `BadAssignment` if the assignor's answer was refused.
    pub(crate) fn enforce_rebalance(&mut self, now: Duration, member: &MemberId) -> Result<()> {
        self.key(member)?;
        self.mark_stale();
        self.advance(now)
            .map_err(|problem| GroupError::BadAssignment { problem }.into())
    }

    /// Lets a member go; what it owns is free at once.
    ///
    /// # Errors
    ///
    /// `UnknownMember` or `FencedInstance` if it was none any more; nothing is left to do then.
    pub(crate) fn leave(
        &mut self,
        now: Duration,
        member: &MemberId,
        departure: Departure,
    ) -> Result<()> {
        if self.fenced.remove(member) {
            return Err(GroupError::FencedInstance.into());
        }
        let key = self.key(member).or_else(|error| match departure {
            // Its time was up, and its place is kept until it says that it does not want it.
            Departure::Leave => self.roster.key_of_away(member).ok_or(error),
            _ => Err(error),
        })?;
        let is_static = self
            .roster
            .get(key)
            .is_some_and(|m| m.instance_id.is_some());
        let remains = match departure {
            Departure::Default => is_static,
            Departure::Leave => false,
            Departure::Remain => true,
        };
        if remains {
            self.depart(key, now);
        } else {
            self.remove(key);
        }
        self.advance_and_note(now);
        Ok(())
    }

    /// Removes a static member by its instance id, here or away. Kafka: `removeMembersFromConsumerGroup`.
    ///
    /// # Errors
    ///
    /// `NoSuchInstance` if there is none.
    pub(crate) fn remove_instance(&mut self, now: Duration, instance_id: &str) -> Result<()> {
        let key =
            self.roster
                .key_of_instance(instance_id)
                .ok_or_else(|| GroupError::NoSuchInstance {
                    group: self.id.clone(),
                    instance: instance_id.to_owned(),
                })?;
        self.expel(key);
        self.advance_and_note(now);
        Ok(())
    }

    /// Removes all members.
    pub(crate) fn remove_all(&mut self, now: Duration) {
        for key in self.roster.keys() {
            self.expel(key);
        }
        self.advance_and_note(now);
    }

    /// Takes note that a member polled without asking the group, or is inside a poll at this moment.
    ///
    /// A caller that skips [`poll`](Self::poll) while a member has nothing to do must say so before it
    /// calls [`expire`](Self::expire).
    pub(crate) fn touch(&mut self, at: Duration, member: &MemberId) {
        if let Some(key) = self.roster.key(member)
            && let Some(member) = self.roster.get_mut(key)
        {
            member.polled(at);
        }
    }

    /// Removes the members whose time is up, ends the wait of a group that gathers, and has an assignor
    /// asked again whose answer was refused. A static member that has stopped polling goes away as if it
    /// had closed, and keeps its place for the session timeout.
    ///
    /// Call again at [`next_deadline`](Self::next_deadline).
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Expired> {
        let due: Vec<_> = self
            .roster
            .iter()
            .filter(|(_, member)| member.deadline() <= now)
            .map(|(key, member)| {
                let reason = match member.presence {
                    Presence::Here { .. } => ExpiryReason::PollInterval,
                    Presence::Away { .. } => ExpiryReason::SessionTimeout,
                };
                let member_id = member.id.clone();
                let waits_until = member.deadline().saturating_add(member.session_timeout);
                let is_kept = member.is_here() && member.instance_id.is_some() && waits_until > now;
                let away_since = is_kept.then_some(member.deadline());
                (key, away_since, Expired { member_id, reason })
            })
            .collect();
        for (key, away_since, expired) in &due {
            if let Some(since) = away_since {
                self.effects.wake.push(expired.member_id.clone());
                self.depart(*key, *since);
            } else {
                self.expel(*key);
            }
        }
        if self.asks_again_at().is_some_and(|at| at <= now) {
            self.mark_undecided();
        }
        self.advance_and_note(now);
        due.into_iter().map(|(.., expired)| expired).collect()
    }

    /// When [`expire`](Self::expire) will have something to do, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let members = self.roster.iter().map(|(_, member)| member.deadline());
        members
            .chain(self.initial_delay.map(|delay| delay.until))
            .chain(self.asks_again_at())
            .min()
    }

    /// When the assignor is asked again whose answer was refused. Not under the eager protocol, where
    /// everybody would have to give up everything for it.
    fn asks_again_at(&self) -> Option<Duration> {
        let refused = self.refused.filter(|_| !self.is_eager());
        refused.map(|refused| refused.again_at)
    }

    /// Takes note of how long a member may be silent: who knew of longer ones only has to look again.
    fn look_sooner_than_all(&mut self, max_poll_interval: Duration) {
        self.effects.looks_sooner |= max_poll_interval < self.longest_poll_interval;
        self.longest_poll_interval = self.longest_poll_interval.max(max_poll_interval);
    }

    /// Lets a member go away that is to come back.
    fn depart(&mut self, key: MemberKey, since: Duration) {
        self.roster.depart(key, since);
        self.vacate(key);
        self.effects.looks_sooner = true;
    }

    /// Whether this is a member that is here, or one that still has to learn that it was fenced.
    pub(crate) fn knows(&self, member: &MemberId) -> bool {
        self.roster.key(member).is_some() || self.fenced.contains(member)
    }

    /// The member that is here under this id.
    pub(super) fn key(&self, member: &MemberId) -> Result<MemberKey> {
        if let Some(key) = self.roster.key(member) {
            return Ok(key);
        }
        Err(if self.fenced.contains(member) {
            GroupError::FencedInstance.into()
        } else {
            Error::from(GroupError::UnknownMember)
        })
    }

    /// Removes a member that does not know it.
    fn expel(&mut self, key: MemberKey) {
        if let Some(member) = self.roster.get(key)
            && member.is_here()
        {
            self.effects.wake.push(member.id.clone());
        }
        self.remove(key);
    }

    fn remove(&mut self, key: MemberKey) {
        let Some(member) = self.roster.get_mut(key) else {
            return;
        };
        for partition in std::mem::take(&mut member.target) {
            if let Some(slot) = self.slots.get_mut(&partition) {
                slot.target = None;
            }
        }
        self.vacate(key);
        self.roster.remove(key);
        self.mark_stale();
    }

    /// Frees all that a member owns.
    fn vacate(&mut self, key: MemberKey) {
        let Some(member) = self.roster.get_mut(key) else {
            return;
        };
        for partition in std::mem::take(&mut member.owned).into_keys() {
            self.free(partition);
        }
    }

    /// What a subscription comes to, sharing the list of a member to whom it comes to the same.
    fn resolve(&self, subscription: &Subscription) -> Arc<[Id]> {
        let members = || self.roster.iter().map(|(_, member)| member);
        if let Some(same) = members().find(|m| m.subscription.address() == subscription.address()) {
            return Arc::clone(&same.topics);
        }
        let topics = subscription.resolve(&self.catalog);
        match members().find(|member| member.topics == topics) {
            Some(member) => Arc::clone(&member.topics),
            None => topics,
        }
    }

    /// Makes members that subscribe to the same names share one set, which is what lets a thousand of
    /// them be resolved and compared at the price of one.
    fn share_topics(&self, subscription: &mut Subscription) {
        if let Subscription::Topics(wanted) = subscription {
            let same = self.roster.iter().find_map(|(_, m)| match &m.subscription {
                Subscription::Topics(names) if names == wanted => Some(Arc::clone(names)),
                _ => None,
            });
            if let Some(names) = same {
                *wanted = names;
            }
        }
    }
}

/// The names of assignors, the preferred one first.
pub(super) fn names(
    assignors: &[Arc<dyn super::assignor::Assignor>],
) -> impl Iterator<Item = &str> {
    assignors.iter().map(|assignor| assignor.name())
}

/// What a member says of the assignors it accepts: their names, and the protocol of each.
fn votes(
    assignors: &[Arc<dyn super::assignor::Assignor>],
) -> impl Iterator<Item = (&str, RebalanceProtocol)> {
    let vote = |assignor: &Arc<dyn super::assignor::Assignor>| assignor.protocol();
    names(assignors).zip(assignors.iter().map(vote))
}
