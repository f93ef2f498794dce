//! A consumer's part in a group: joining, giving up and gaining partitions, leaving.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::consumer::{Consumer, is_fenced, is_gone, is_unknown_member};
use super::groups::MemberSeat;
use super::listener::RebalanceListener;
use crate::error::{Error, LogError};
use crate::group::{
    Committer, Departure, Generation, JoinRequest, MemberId, Subscription, default_assignors,
};
use crate::name::{GroupId, TopicName, TopicPartition};
use crate::topic::Topic;

/// What a consumer is in its group.
pub(super) struct Membership {
    pub(super) member_id: MemberId,
    pub(super) generation: Generation,
    subscription: Subscription,
    pub(super) seat: Arc<MemberSeat>,
    /// Whether the group has to be asked at the next poll whatever the inbox says.
    due: bool,
    /// Whether the group waits for more members before it gives anything to anybody.
    gathering: bool,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("member_id", &self.member_id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Who a consumer is in its group. Kafka: `ConsumerGroupMetadata`, KIP-447.
///
/// A later rebalance makes it out of date. Made by [`Consumer::group_metadata`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroupMetadata {
    /// The group.
    pub group_id: GroupId,
    /// The generation of its assignment; [`Generation::NONE`] of somebody who is no member.
    pub generation: Generation,
    /// Its id as a member; none of somebody who is no member.
    pub member_id: Option<MemberId>,
    /// Its [`instance_id`](super::ConsumerOptions::instance_id), if it is a static member.
    pub instance_id: Option<String>,
}

/// What a member is told of its partitions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Assigned,
    Lost,
    Revoked,
}

/// Whom it is told: the consumer's listener, or the worker that runs it.
pub(super) type Told<'t> =
    dyn FnMut(Call, &mut Consumer, &[TopicPartition]) -> Result<(), Error> + 't;

/// What went wrong first in a rebalance. It comes out once everything else is done, so that a listener that
/// fails or panics leaves the consumer and the group in order.
#[derive(Default)]
pub(super) struct Failure {
    error: Option<Error>,
    panic: Option<Box<dyn Any + Send>>,
}

impl Failure {
    pub(super) fn note(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn note_panic(&mut self, payload: Box<dyn Any + Send>) {
        self.panic.get_or_insert(payload);
    }

    fn is_noted(&self) -> bool {
        self.error.is_some() || self.panic.is_some()
    }

    /// The first error; a panic goes on instead.
    fn into_result(self) -> Result<(), Error> {
        if let Some(payload) = self.panic {
            resume_unwind(payload);
        }
        self.error.map_or(Ok(()), Err)
    }
}

/// A consumer whose listener is being told something, and gets it back in any case.
struct Lent<'c> {
    consumer: &'c mut Consumer,
    listener: Option<Box<dyn RebalanceListener>>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.consumer.listener = self.listener.take();
    }
}

impl Consumer {
    /// Becomes a member of its group, or of the next of its name if that is being deleted.
    pub(super) fn join(&mut self, subscription: &Subscription) -> Result<(), Error> {
        loop {
            match self.try_join(subscription.clone()) {
                Err(error) if is_gone(&error) => self.find_group(),
                joined => return joined,
            }
        }
    }

    fn try_join(&mut self, subscription: Subscription) -> Result<(), Error> {
        if self.groups.catalog().is_read_only() {
            return Err(LogError::ReadOnly.into());
        }
        self.groups.catalog().check_open()?;
        let cell = Arc::clone(self.need_group("subscribe")?);
        let unique = self.groups.catalog().environment.random.id();
        let member_id = MemberId::unique(&self.options.client_id, unique);
        let request = JoinRequest {
            member_id: member_id.clone(),
            instance_id: self.options.instance_id.as_deref().map(Arc::from),
            client_id: self.options.client_id.as_str().into(),
            subscription: subscription.clone(),
            assignors: if self.assignors.is_empty() {
                default_assignors()
            } else {
                self.assignors.clone()
            },
            max_poll_interval: self.options.max_poll_interval,
            session_timeout: self.options.session_timeout,
        };
        let seat = Arc::new(MemberSeat::new(&self.inbox));
        let topics = self.groups.topics();
        let joined = self.groups.with(&cell, |state, now| {
            seat.note_awake(now);
            state.seat(member_id.clone(), Arc::clone(&seat));
            let joined = state.group.join(now, request, &topics);
            if joined.is_err() {
                state.unseat(&member_id);
            }
            joined
        })?;
        let (generation, due) = (joined.generation, true);
        self.membership = Some(Membership {
            member_id,
            generation,
            subscription,
            seat,
            due,
            gathering: false,
        });
        self.await_auto_commit();
        Ok(())
    }

    /// Tells the group that this member lives.
    pub(super) fn say_alive(&self, now: Duration) {
        if let Some(membership) = &self.membership {
            membership.seat.note_awake(now);
        }
    }

    /// The same after something that may have taken time.
    pub(super) fn still_alive(&self) {
        if self.membership.is_some() {
            self.say_alive(self.groups.now());
        }
    }

    /// Gives up and gains what the group has decided.
    pub(super) fn reconcile(&mut self, told: &mut Told<'_>) -> Result<(), Error> {
        let mut failure = Failure::default();
        while self.is_due() {
            match self.take_step(&mut failure, told) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    failure.note(error);
                    break;
                }
            }
        }
        if failure.is_noted() {
            // The poll ends here, and where it begins in what it has gained is decided by it all the same.
            let _the_first_counts = self.resolve_all();
        }
        failure.into_result()
    }

    /// Whether its group waits for more members before it gives anything to anybody.
    pub(super) fn is_gathering(&self) -> bool {
        let membership = self.membership.as_ref();
        membership.is_some_and(|membership| membership.gathering)
    }

    /// Whether the group may have something for it.
    fn is_due(&mut self) -> bool {
        let Some(membership) = &mut self.membership else {
            return false;
        };
        self.inbox.take_group() || std::mem::take(&mut membership.due)
    }

    /// Asks the group once, and does what it says. Whoever is told may leave the group meanwhile, or join it
    /// anew: then the rest is not for this member any more.
    ///
    /// Returns whether there may be more at once: not while the group waits for more members.
    fn take_step(&mut self, failure: &mut Failure, told: &mut Told<'_>) -> Result<bool, Error> {
        let (Some(membership), Some(cell)) = (&mut self.membership, self.group.clone()) else {
            return Ok(true);
        };
        let member_id = membership.member_id.clone();
        // A clock of the user's may panic in there: then the news are still to be heard.
        membership.due = true;
        let step = self
            .groups
            .with(&cell, |state, now| state.group.poll(now, &member_id));
        let step = match step {
            Ok(step) => step,
            Err(error) if is_fenced(&error) => {
                self.lose_everything(failure, told);
                if !self.is_still(&member_id) {
                    return Ok(true);
                }
                if !is_unknown_member(&error) {
                    self.fenced = true;
                    return Err(error);
                }
                return self.rejoin().map(|()| true);
            }
            Err(error) => {
                // The assignor's answer was refused: all stays as it is, and is asked for again.
                return Err(error);
            }
        };
        membership.generation = step.generation;
        membership.due = step.gathering || !step.is_empty();
        membership.gathering = step.gathering;
        if step.gathering {
            return Ok(false);
        }
        if !step.lost.is_empty() {
            self.tell_of_known(failure, told, Call::Lost, &step.lost);
            if !self.is_still(&member_id) {
                return Ok(true);
            }
            self.remove_each(&step.lost);
        }
        if !step.revoke.is_empty() {
            if let Err(error) = self.commit_before_giving_up() {
                failure.note(error);
            }
            self.finish_async_commits(true);
            let revoke = &step.revoke;
            self.tell_of_known(failure, told, Call::Revoked, revoke);
            if !self.is_still(&member_id) {
                return Ok(true);
            }
            // What was committed meanwhile has to be seen by whoever comes next.
            self.finish_async_commits(true);
            self.remove_each(revoke);
            let released = self.groups.with(&cell, |state, now| {
                state.group.release(now, &member_id, revoke)
            });
            // If it was removed meanwhile, the next turn finds out.
            drop(released);
        }
        let mut gained = Vec::with_capacity(step.assigned.len());
        for assigned in step.assigned {
            let topic = self.groups.catalog().find(assigned.partition.topic());
            if let Some(topic) = topic.filter(|topic| topic.id == assigned.topic_id) {
                self.add(&topic, &assigned.partition);
                gained.push(assigned.partition);
            }
        }
        if !gained.is_empty() {
            self.tell(failure, told, Call::Assigned, &gained);
        }
        Ok(true)
    }

    /// Tells of those partitions that it was told to have: one whose topic was deleted at that moment it
    /// never had.
    fn tell_of_known(
        &mut self,
        failure: &mut Failure,
        told: &mut Told<'_>,
        call: Call,
        places: &[TopicPartition],
    ) {
        let known = places
            .iter()
            .filter(|place| self.slots.number(place).is_some());
        let known: Vec<_> = known.cloned().collect();
        if !known.is_empty() {
            self.tell(failure, told, call, &known);
        }
    }

    /// Whether it is in the group under this id.
    fn is_still(&self, member_id: &MemberId) -> bool {
        let membership = self.membership.as_ref();
        membership.is_some_and(|membership| membership.member_id == *member_id)
    }

    /// Goes over to the next group of the name if its own was deleted.
    fn find_group(&mut self) {
        let living = self.group.as_ref().map(|cell| self.groups.living(cell));
        self.group = living;
    }

    fn rejoin(&mut self) -> Result<(), Error> {
        let Some(old) = self.membership.take() else {
            return Ok(());
        };
        let joined = self.join(&old.subscription);
        if joined.is_err() {
            self.membership = Some(Membership { due: true, ..old });
        }
        joined
    }

    /// Tells that all is lost, and gives it up unless whoever was told has seen to that.
    fn lose_everything(&mut self, failure: &mut Failure, told: &mut Told<'_>) {
        let (lost, before) = (self.assignment(), self.member_id().cloned());
        if !lost.is_empty() {
            self.tell(failure, told, Call::Lost, &lost);
        }
        if self.member_id() == before.as_ref() {
            self.remove_all();
        }
    }

    /// Does something during which the listener is told of partitions that come and go.
    pub(super) fn with_listener<T>(
        &mut self,
        act: impl FnOnce(&mut Self, &mut Told<'_>) -> T,
    ) -> T {
        let mut lent = Lent {
            listener: self.listener.take(),
            consumer: self,
        };
        let Lent { consumer, listener } = &mut lent;
        act(consumer, &mut |call, consumer, places| {
            let Some(listener) = listener else {
                return Ok(());
            };
            match call {
                Call::Assigned => listener.assigned(consumer, places),
                Call::Lost => listener.lost(consumer, places),
                Call::Revoked => listener.revoked(consumer, places),
            }
        })
    }

    /// Tells of partitions that come or go; whoever is told may use the consumer meanwhile.
    fn tell(
        &mut self,
        failure: &mut Failure,
        told: &mut Told<'_>,
        call: Call,
        places: &[TopicPartition],
    ) {
        let inside = std::mem::replace(&mut self.in_listener, true);
        let heard = catch_unwind(AssertUnwindSafe(|| told(call, self, places)));
        self.in_listener = inside;
        match heard {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failure.note(error),
            Err(payload) => failure.note_panic(payload),
        }
    }

    /// Replaces the topics that a member subscribes to. Partitions of topics that stay are kept. A consumer
    /// that has left its group joins it again.
    ///
    /// Of no topics at all it stays a member without partitions; Kafka takes an empty list for
    /// [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if partitions were assigned by hand: a consumer
    /// does one or the other.
    pub fn subscribe<'t>(
        &mut self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<(), Error> {
        self.subscribe_by_name(topics.into_iter().map(|topic| topic.name().clone()))
    }

    /// Replaces the topics that a member subscribes to, by their names. One that does not exist is read as
    /// soon as it does. Kafka: `subscribe(topics)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use topiclog::{EventLog, TopicName, TopicOptions};
    ///
    /// let log = EventLog::in_memory()?;
    /// let topic = log.create_topic("here", TopicOptions::new())?;
    /// let mut consumer = log.consumer_group("g")?.subscribe([&topic])?;
    /// consumer.subscribe_by_name(["here", "to-come"])?;
    /// let _joined = consumer.poll(std::time::Duration::ZERO)?;
    /// assert_eq!(consumer.assignment().len(), 1);
    /// log.create_topic("to-come", TopicOptions::new())?;
    /// let _rebalanced = consumer.poll(std::time::Duration::ZERO)?;
    /// assert_eq!(consumer.assignment().len(), 2);
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for
    /// a bad name.
    pub fn subscribe_by_name(
        &mut self,
        names: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<(), Error> {
        self.change_subscription(Subscription::by_name(names)?)
    }

    /// Replaces the topics that a member subscribes to by all whose names `accepts` takes, those made later
    /// too. Internal topics are left out. Kafka: `subscribe(pattern)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use topiclog::{EventLog, TopicOptions};
    /// # let log = EventLog::in_memory()?;
    /// # let topic = log.create_topic("payment-done", TopicOptions::new())?;
    /// # let mut consumer = log.consumer_group("g")?.subscribe([&topic])?;
    /// consumer.subscribe_matching(|name| name.as_str().starts_with("payment-"))?;
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe).
    pub fn subscribe_matching(
        &mut self,
        accepts: impl Fn(&TopicName) -> bool + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.change_subscription(Subscription::pattern(accepts))
    }

    /// The names of the topics that it subscribes to: those it was given, there or not, or those that are
    /// there and that its function for names takes. None if it is no member. Kafka: `subscription`.
    pub fn subscription(&self) -> Vec<TopicName> {
        let Some(membership) = &self.membership else {
            return Vec::new();
        };
        membership.subscription.names(&self.groups.topics())
    }

    fn change_subscription(&mut self, subscription: Subscription) -> Result<(), Error> {
        self.check_usable()?;
        self.look_for_missing(self.groups.now());
        let Some(membership) = &mut self.membership else {
            if !self.assignment().is_empty() {
                let needs = "a consumer without partitions assigned by hand";
                return Err(Error::bad_state("subscribe", needs));
            }
            return self.join(&subscription);
        };
        membership.subscription = subscription.clone();
        membership.due = true;
        let member_id = membership.member_id.clone();
        let Some(cell) = &self.group else {
            return Ok(());
        };
        let changed = self.groups.with(cell, |state, now| {
            state.group.subscribe(now, &member_id, subscription)
        });
        match changed {
            Err(error) if is_unknown_member(&error) => Ok(()),
            other => other,
        }
    }

    /// Leaves the group and gives up all partitions, those assigned by hand too. Nothing is committed. A
    /// static member keeps its place until its session timeout, as with [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// That of the listener.
    pub fn unsubscribe(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        self.finish_async_commits(true);
        let mut failure = Failure::default();
        self.leave(Departure::Default, &mut failure);
        failure.into_result()
    }

    fn leave(&mut self, departure: Departure, failure: &mut Failure) {
        self.with_listener(|consumer, told| {
            if consumer.is_removed() {
                consumer.lose_everything(failure, told);
            } else if consumer.membership.is_some() {
                let places = consumer.assignment().into_iter();
                let (lost, revoked): (Vec<_>, Vec<_>) =
                    places.partition(|place| consumer.is_gone(place));
                let before = consumer.member_id().cloned();
                for (call, places) in [(Call::Lost, lost), (Call::Revoked, revoked)] {
                    if !places.is_empty() && consumer.member_id() == before.as_ref() {
                        consumer.tell(failure, told, call, &places);
                    }
                }
            }
        });
        self.finish_async_commits(true);
        self.remove_all();
        self.depart(departure);
    }

    /// Whether the group has removed the member and it does not know yet.
    fn is_removed(&self) -> bool {
        let (Some(membership), Some(cell)) = (&self.membership, &self.group) else {
            return false;
        };
        // Only asked: what a poll would tell is not to be lost here.
        let committer = Committer::Member(&membership.member_id, membership.generation);
        let allowed = self
            .groups
            .with(cell, |state, _| state.group.check_commit(committer, &[]));
        allowed.is_err_and(|error| is_fenced(&error))
    }

    fn depart(&mut self, departure: Departure) {
        let (Some(membership), Some(cell)) = (self.membership.take(), &self.group) else {
            return;
        };
        self.groups.with(cell, |state, now| {
            // If it was removed already there is nothing left to do.
            let _gone = state.group.leave(now, &membership.member_id, departure);
            state.unseat(&membership.member_id);
        });
    }

    /// The member's id, if it is in a group. Another after every time it had to join again.
    pub fn member_id(&self) -> Option<&MemberId> {
        self.membership
            .as_ref()
            .map(|membership| &membership.member_id)
    }

    /// The generation of its assignment, if it is in a group.
    pub fn generation(&self) -> Option<Generation> {
        self.membership
            .as_ref()
            .map(|membership| membership.generation)
    }

    /// Who it is in its group, for somebody who commits in its name, as a transaction does. Kafka:
    /// `groupMetadata`, KIP-447.
    ///
    /// # Examples
    ///
    /// ```
    /// # use topiclog::{EventLog, TopicOptions};
    /// # let log = EventLog::in_memory()?;
    /// # let topic = log.create_topic("t", TopicOptions::new())?;
    /// let mut consumer = log.consumer_group("g")?.subscribe([&topic])?;
    /// let _joined = consumer.poll(std::time::Duration::ZERO)?;
    /// let metadata = consumer.group_metadata()?;
    /// assert_eq!(metadata.group_id.as_str(), "g");
    /// assert_eq!(metadata.member_id.as_ref(), consumer.member_id());
    /// # Ok::<(), topiclog::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without a group.
    pub fn group_metadata(&self) -> Result<GroupMetadata, Error> {
        Ok(GroupMetadata {
            group_id: self.need_group("group_metadata")?.id.clone(),
            generation: self.generation().unwrap_or(Generation::NONE),
            member_id: self.member_id().cloned(),
            instance_id: self.options.instance_id.clone(),
        })
    }

    /// Makes the group decide the assignment anew, for instance since an assignor's user data changed.
    /// Kafka: `enforceRebalance`, KIP-568.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::ErrorKind::Fenced) if it is no member any more,
    /// [`FencedInstance`](crate::ErrorKind::FencedInstance) if another consumer took its instance id;
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) without a subscription;
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn enforce_rebalance(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        self.look_for_missing(self.groups.now());
        let (Some(membership), Some(cell)) = (&mut self.membership, &self.group) else {
            return Err(Error::bad_state("enforce_rebalance", "a subscription"));
        };
        membership.due = true;
        let member_id = membership.member_id.clone();
        self.groups.with(cell, |state, now| {
            state.group.enforce_rebalance(now, &member_id)
        })
    }

    /// Commits if automatic commits are on, tells the listener, and leaves the group: the others get the
    /// partitions at once. A static member keeps its place until its session timeout.
    ///
    /// A consumer with assigned partitions commits as well, if it is one of a group.
    ///
    /// # Durability
    ///
    /// What it commits has reached the durability of committed offsets on return. With automatic commits off
    /// nothing is committed.
    ///
    /// # Errors
    ///
    /// The first failure; the consumer is closed all the same. [`InUse`](crate::ErrorKind::InUse) if it is no
    /// member, and the group has some, and [`Closed`](crate::ErrorKind::Closed) if the log was closed before
    /// the consumer, with positions that were still to be committed: then nothing was committed.
    pub fn close(self) -> Result<(), Error> {
        self.close_with(Departure::Default)
    }

    /// Closes as [`close`](Self::close) does, and says what becomes of its place in the group.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub fn close_with(mut self, departure: Departure) -> Result<(), Error> {
        self.finish_async_commits(true);
        let mut failure = Failure::default();
        if !self.fenced
            && let Err(error) = self.commit_before_closing()
        {
            failure.note(error);
        }
        self.leave(departure, &mut failure);
        failure.into_result()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // As if the process had died, but without the wait: nothing more is committed, nobody is told.
        self.remove_all();
        self.depart(Departure::Default);
    }
}
