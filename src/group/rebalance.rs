//! The part of [`Group`] that decides who is to own what.
//!
//! A change (`mark_stale`) makes the target stale. As soon as nothing stands in the way (`advance`), the
//! assignor is asked and its answer becomes the new target, under a new generation. Two things can stand
//! in the way: a group that was empty gathers members for a moment, and under the eager protocol
//! somebody still owns something. And a member that joins leaves it to its first poll, since others may
//! be about to join as well.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::assignor::{
    AssignableMember, AssignableTopic, Assignment, AssignmentRequest, Assignor, PartitionIndex,
    RebalanceProtocol,
};
use super::catalog::{PartitionKey, TopicCatalog};
use super::group::{Group, InitialDelay, Refused, names};
use super::member::{Member, MemberKey, guarded};
use crate::error::{GroupError, Result};
use crate::name::{Id, TopicName};

/// After how long an assignor is asked again whose answer was refused. Kafka's members try a rebalance that
/// failed again with their next heartbeat (`heartbeat.interval.ms`).
const REFUSED_RETRY: Duration = Duration::from_secs(3);

/// What is wrong with an assignor that gave no answer.
const PANICKED: &str = "none, since the assignor panicked";

/// The assignor the members agree on.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) assignor: Arc<dyn Assignor>,
    pub(super) eager: bool,
}

impl Group {
    /// Adopts a newer catalog: topics that are gone vanish from assignments and committed offsets, new
    /// ones and new partitions are dealt out. An older catalog than the group's own changes nothing.
    ///
    /// Owners of partitions that are gone learn of it by [`Reconcile::lost`](super::Reconcile::lost).
    pub(crate) fn topics_changed(&mut self, now: Duration, catalog: &Arc<TopicCatalog>) {
        if catalog.version() <= self.catalog.version() {
            return;
        }
        let old = std::mem::replace(&mut self.catalog, Arc::clone(catalog));
        let gone: HashSet<Id> = old
            .iter()
            .map(|(_, shape)| shape.id)
            .filter(|&id| catalog.by_id(id).is_none())
            .collect();
        if !gone.is_empty() {
            self.forget_topics(&old, &gone);
        }
        let dropped = self.offsets.retain_topics(catalog);
        self.effects.dropped_offsets.extend(dropped);

        if self.resolve_all(&old) {
            self.mark_stale();
        }
        self.advance_and_note(now);
    }

    fn forget_topics(&mut self, old: &TopicCatalog, gone: &HashSet<Id>) {
        self.slots.retain(|key, _| !gone.contains(&key.topic));
        for (_, member) in self.roster.iter_mut() {
            member.target.retain(|key| !gone.contains(&key.topic));
            let mut lost = Vec::new();
            member.owned.retain(|key, _| {
                let stays = !gone.contains(&key.topic);
                if !stays {
                    lost.push(*key);
                }
                stays
            });
            if lost.is_empty() {
                continue;
            }
            member.lost.extend(old.places_of(lost));
            if !std::mem::replace(&mut member.pending, true) {
                self.effects.wake.push(member.id.clone());
            }
        }
    }

    /// Finds out anew what all subscriptions come to; says whether that changes what is to be dealt out.
    fn resolve_all(&mut self, old: &TopicCatalog) -> bool {
        let catalog = Arc::clone(&self.catalog);
        let grew = |id: &Id| {
            let partitions = |catalog: &TopicCatalog| catalog.by_id(*id).map(|(_, s)| s.partitions);
            partitions(&catalog) != partitions(old)
        };
        let mut changed = false;
        // Members that subscribe to the same share one list, and each is made once.
        let mut known: HashMap<*const (), Arc<[Id]>> = HashMap::new();
        let mut lists: HashSet<Arc<[Id]>> = HashSet::new();
        for (_, member) in self.roster.iter_mut() {
            let topics = known
                .entry(member.subscription.address())
                .or_insert_with(|| {
                    let topics = member.subscription.resolve(&catalog);
                    if let Some(list) = lists.get(&topics) {
                        return Arc::clone(list);
                    }
                    changed |= topics != member.topics || topics.iter().any(grew);
                    lists.insert(Arc::clone(&topics));
                    topics
                });
            changed |= *topics != member.topics;
            member.topics = Arc::clone(topics);
        }
        changed
    }

    /// Starts or prolongs the wait for more members, where one is asked for.
    pub(super) fn gather(&mut self, now: Duration, max_poll_interval: Duration) {
        let delay = self.options.initial_rebalance_delay;
        if delay.is_zero() || !(self.roster.is_empty() || self.initial_delay.is_some()) {
            return;
        }
        let began = self.initial_delay.map_or(now, |delay| delay.began);
        let longest = self
            .roster
            .iter()
            .map(|(_, member)| member.max_poll_interval)
            .fold(max_poll_interval, Duration::max);
        let until = now.saturating_add(delay).min(began.saturating_add(longest));
        self.initial_delay = Some(InitialDelay { began, until });
        self.effects.looks_sooner = true;
    }

    /// Takes note that the target no longer fits.
    pub(super) fn mark_stale(&mut self) {
        self.choose();
        self.mark_undecided();
    }

    /// The same, where the members agree on the same assignor as before.
    pub(super) fn mark_undecided(&mut self) {
        self.stale = true;
        if self.is_eager() {
            for key in self.roster.keys() {
                self.mark_pending(key);
            }
        }
    }

    /// [`advance`](Self::advance), where there is nobody to report a refusal to: the oldest member's next
    /// poll will.
    pub(super) fn advance_and_note(&mut self, now: Duration) {
        if self.advance(now).is_err() {
            self.tell_oldest = true;
            if let Some(oldest) = self.oldest_here() {
                self.wake(oldest);
            }
        }
    }

    /// Decides what members that joined have left to be decided, for somebody who looks at the group. If
    /// it is refused, the newcomers' polls say so.
    pub(crate) fn advance_quietly(&mut self, now: Duration) {
        let _told_to_newcomers = self.advance(now);
    }

    /// Decides the target anew, if it is stale and nothing stands in the way.
    pub(super) fn advance(&mut self, now: Duration) -> Result<(), &'static str> {
        if self.roster.is_empty() {
            self.initial_delay = None;
        }
        if self.initial_delay.is_some_and(|delay| now >= delay.until) {
            self.initial_delay = None;
        }
        if !self.stale || self.initial_delay.is_some() || self.is_giving_up() {
            return Ok(());
        }
        self.stale = false;
        self.tell_oldest = false;
        let outcome = self.decide();
        self.refused = outcome.err().map(|problem| Refused {
            problem,
            again_at: now.saturating_add(REFUSED_RETRY),
        });
        self.effects.looks_sooner |= self.refused.is_some();
        for key in self.roster.keys() {
            self.mark_pending(key);
        }
        outcome
    }

    /// Whether the members have agreed on the eager protocol.
    pub(super) fn is_eager(&self) -> bool {
        self.choice.as_ref().is_some_and(|choice| choice.eager)
    }

    /// Whether everybody must give up everything first.
    pub(super) fn is_giving_up(&self) -> bool {
        self.stale
            && self.initial_delay.is_none()
            && self.is_eager()
            && self.roster.iter().any(|(_, m)| !m.owned.is_empty())
    }

    fn decide(&mut self) -> Result<(), &'static str> {
        let Some(choice) = self.choice.clone() else {
            self.slots.clear();
            self.generation = self.generation.next();
            return Ok(());
        };
        let (request, topics, order) = self.request(choice.assignor.name())?;
        let assignment = guarded(|| choice.assignor.assign(&request)).ok_or(PANICKED)?;
        assignment.check(&request)?;
        self.generation = self.generation.next();
        self.install(&assignment, &topics, &order);
        for (number, key) in order.iter().enumerate() {
            if let Some(member) = self.roster.get(*key)
                && let Some(own) = member.assignor(choice.assignor.name())
            {
                let (given, generation) = (assignment.of(number), self.generation);
                // It is told, not asked.
                let _told = guarded(|| own.on_assignment(&request, number, given, generation));
            }
        }
        Ok(())
    }

    /// Says to the assignor what there is: the request, and which topic and member each number means.
    fn request(
        &self,
        assignor: &str,
    ) -> Result<(AssignmentRequest, Vec<Id>, Vec<MemberKey>), &'static str> {
        let mut by_name: BTreeMap<&TopicName, (Id, u32)> = BTreeMap::new();
        let mut lists: HashMap<*const (), Arc<[usize]>> = HashMap::new();
        for (_, member) in self.roster.iter() {
            if lists
                .insert(Arc::as_ptr(&member.topics).cast(), Arc::default())
                .is_none()
            {
                for (name, shape) in member
                    .topics
                    .iter()
                    .filter_map(|&id| self.catalog.by_id(id))
                {
                    by_name.insert(name, (shape.id, shape.partitions));
                }
            }
        }
        let ids: Vec<Id> = by_name.values().map(|&(id, _)| id).collect();
        let numbers: HashMap<Id, usize> = ids.iter().copied().zip(0..).collect();
        let topics: Vec<_> = by_name
            .into_iter()
            .map(|(name, (_, partitions))| AssignableTopic::new(name.clone(), partitions))
            .collect();
        lists.clear();

        let mut order: Vec<(bool, &str, MemberKey)> = Vec::with_capacity(self.roster.len());
        for (key, member) in self.roster.iter() {
            let instance = member.instance_id.as_deref();
            let name = instance.unwrap_or(member.id.as_str());
            order.push((instance.is_none(), name, key));
        }
        order.sort_unstable();
        let order: Vec<MemberKey> = order.into_iter().map(|(_, _, key)| key).collect();
        let members: Result<_, _> = order
            .iter()
            .filter_map(|&key| self.roster.get(key))
            .map(|member| {
                let own = member.assignor(assignor);
                let user_data = own.map_or(Some(Vec::new()), |own| guarded(|| own.user_data()));
                let list = lists
                    .entry(Arc::as_ptr(&member.topics).cast())
                    .or_insert_with(|| {
                        let known = member.topics.iter().filter_map(|id| numbers.get(id));
                        known.copied().collect()
                    });
                Ok(AssignableMember {
                    id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    owned: self.claims(member, list, &numbers),
                    topics: Arc::clone(list),
                    generation: member.generation,
                    user_data: user_data.ok_or(PANICKED)?,
                })
            })
            .collect();
        Ok((AssignmentRequest::from_parts(topics, members?), ids, order))
    }

    /// What a member owns, and what is on its way to it and owned by nobody.
    fn claims(
        &self,
        member: &Member,
        subscribed: &[usize],
        numbers: &HashMap<Id, usize>,
    ) -> Vec<PartitionIndex> {
        let coming = member.target.iter().filter(|key| {
            let slot = self.slots.get(key);
            slot.is_some_and(|slot| slot.owner.is_none())
        });
        let mut claims: Vec<PartitionIndex> = member
            .owned
            .keys()
            .chain(coming)
            .filter_map(|key| {
                let topic = *numbers.get(&key.topic)?;
                subscribed.binary_search(&topic).ok()?;
                Some(PartitionIndex {
                    topic,
                    partition: key.partition,
                })
            })
            .collect();
        claims.sort_unstable();
        claims
    }

    fn install(&mut self, assignment: &Assignment, topics: &[Id], order: &[MemberKey]) {
        for slot in self.slots.values_mut() {
            slot.target = None;
        }
        for (number, &key) in order.iter().enumerate() {
            let target: Vec<PartitionKey> = assignment
                .of(number)
                .iter()
                .filter_map(|index| {
                    Some(PartitionKey {
                        topic: *topics.get(index.topic)?,
                        partition: index.partition,
                    })
                })
                .collect();
            for &partition in &target {
                self.slots.entry(partition).or_default().target = Some(key);
            }
            if let Some(member) = self.roster.get_mut(key) {
                member.target = target;
                member.is_new = false;
            }
        }
        self.slots
            .retain(|_, slot| slot.owner.is_some() || slot.target.is_some());
    }

    /// Takes out of the target what the member no longer wants, where there is no new target yet.
    pub(super) fn prune_target(&mut self, key: MemberKey) {
        let slots = &mut self.slots;
        if let Some(member) = self.roster.get_mut(key) {
            let wanted = &member.topics;
            member.target.retain(|key| {
                let stays = wanted.contains(&key.topic);
                if !stays && let Some(slot) = slots.get_mut(key) {
                    slot.target = None;
                }
                stays
            });
        }
    }

    /// Refuses assignors that have none in common with the other members'.
    pub(super) fn check_protocol(
        &self,
        replaced: Option<MemberKey>,
        assignors: &[Arc<dyn Assignor>],
    ) -> Result<()> {
        if self.agrees(assignors) {
            return Ok(());
        }
        let accepted = |name: &str| {
            self.roster
                .iter()
                .filter(|(key, _)| Some(*key) != replaced)
                .all(|(_, member)| member.assignor(name).is_some())
        };
        if assignors.iter().any(|own| accepted(own.name())) {
            Ok(())
        } else {
            Err(GroupError::InconsistentProtocol.into())
        }
    }

    /// Whether one more member with these assignors changes nothing about the choice: it accepts what the
    /// oldest does, in the same order, and votes for what was chosen. So most members join without a look
    /// at all the others.
    pub(super) fn agrees(&self, assignors: &[Arc<dyn Assignor>]) -> bool {
        let (Some(choice), Some((_, oldest))) = (&self.choice, self.roster.iter().next()) else {
            return false;
        };
        let Some(favourite) = assignors.first() else {
            return false;
        };
        favourite.name() == choice.assignor.name()
            && (choice.eager || favourite.protocol() != RebalanceProtocol::Eager)
            && names(assignors).eq(names(&oldest.assignors))
    }

    /// Settles on the assignor: of those that all members accept, each member votes for the one it likes
    /// best; the oldest member's order decides between equals.
    pub(super) fn choose(&mut self) {
        let members = || self.roster.iter().map(|(_, member)| member);
        let Some(oldest) = members().next() else {
            self.choice = None;
            return;
        };
        let candidates: Vec<&Arc<dyn Assignor>> = oldest
            .assignors
            .iter()
            .filter(|a| members().all(|m| m.assignor(a.name()).is_some()))
            .collect();
        let mut votes = vec![0_usize; candidates.len()];
        for member in members() {
            let favourite = member.assignors.iter().find_map(|own| {
                let same = |c: &&Arc<dyn Assignor>| c.name() == own.name();
                candidates.iter().position(same)
            });
            if let Some(count) = favourite.and_then(|number| votes.get_mut(number)) {
                *count += 1;
            }
        }
        let winner = candidates
            .iter()
            .zip(votes)
            .rev()
            .max_by_key(|(_, count)| *count)
            .map(|(candidate, _)| Arc::clone(candidate));
        self.choice = winner.map(|assignor| {
            let eager = members().any(|member| {
                let own = member.assignor(assignor.name());
                own.is_some_and(|own| own.protocol() == RebalanceProtocol::Eager)
            });
            Choice { assignor, eager }
        });
    }

    /// The topics that members subscribe to contain this partition's.
    pub(super) fn is_subscribed(&self, topic: &TopicName) -> bool {
        let Some(shape) = self.catalog.get(topic) else {
            return false;
        };
        self.roster
            .iter()
            .any(|(_, member)| member.topics.contains(&shape.id))
    }
}
