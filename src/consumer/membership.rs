//! A consumer's part in a group: joining, giving up and gaining partitions, committing, leaving.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::commits::Staged;
use super::consumer::{Consumer, is_unknown_member};
use super::groups::{Groups, MemberSeat};
use super::options::CommittedOffset;
use crate::error::{Error, ErrorKind, GroupError, InputError, LogError};
use crate::group::{
    Assignor, Committer, Departure, Generation, JoinRequest, MemberId, OffsetCommit, Subscription,
};
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::topic::Topic;

/// What a consumer is in its group.
pub(super) struct Membership {
    pub(super) member_id: MemberId,
    generation: Generation,
    subscription: Subscription,
    assignors: Vec<Arc<dyn Assignor>>,
    seat: Arc<MemberSeat>,
    /// Whether the group has to be asked at the next poll whatever the inbox says.
    due: bool,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("member_id", &self.member_id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
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

type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A commit that nobody waits for.
pub(super) struct AsyncCommit {
    staged: Staged,
    offsets: Vec<(TopicPartition, Offset)>,
    callback: Callback,
}

impl Consumer {
    /// Becomes a member of its group.
    pub(super) fn join(
        &mut self,
        subscription: Subscription,
        assignors: Vec<Arc<dyn Assignor>>,
    ) -> Result<(), Error> {
        if self.groups.catalog().is_read_only() {
            return Err(LogError::ReadOnly.into());
        }
        if self.groups.catalog().is_closed() {
            return Err(LogError::Closed.into());
        }
        let Some(cell) = self.group.clone() else {
            let needs = "a consumer of a group";
            return Err(InputError::State {
                call: "subscribe",
                needs,
            }
            .into());
        };
        let unique = self.groups.catalog().environment.random.id();
        let member_id = MemberId::unique(&self.options.client_id, unique);
        let mut request = JoinRequest::new(
            member_id.clone(),
            &self.options.client_id,
            subscription.clone(),
        );
        request.instance_id = self.options.instance_id.as_deref().map(Arc::from);
        request.max_poll_interval = self.options.max_poll_interval;
        request.session_timeout = self.options.session_timeout;
        if !assignors.is_empty() {
            request.assignors.clone_from(&assignors);
        }
        let seat = Arc::new(MemberSeat::new(&self.inbox));
        let topics = self.groups.topics();
        let joined = self.groups.with(&cell, |state, now| {
            seat.alive(now, false);
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
            assignors,
            seat,
            due,
        });
        if self.next_auto_commit.is_none() {
            let interval = self.options.auto_commit;
            self.next_auto_commit = interval.map(|interval| self.groups.now() + interval);
        }
        Ok(())
    }

    /// Tells the group that this member lives.
    pub(super) fn say_alive(&self, now: Duration, polling: bool) {
        if let Some(membership) = &self.membership {
            membership.seat.alive(now, polling);
        }
    }

    /// Gives up and gains what the group has decided.
    pub(super) fn reconcile(&mut self, told: &mut Told<'_>) -> Result<(), Error> {
        let mut failure = None;
        loop {
            let (Some(membership), Some(cell)) = (&mut self.membership, self.group.clone()) else {
                return Ok(());
            };
            if !self.inbox.take_group() && !std::mem::take(&mut membership.due) {
                break;
            }
            let member_id = membership.member_id.clone();
            let step = self
                .groups
                .with(&cell, |state, now| state.group.poll(now, &member_id));
            let step = match step {
                Ok(step) => step,
                Err(error) if error.kind() == ErrorKind::Fenced => {
                    self.lose_everything(&mut failure, told);
                    if !is_unknown_member(&error) {
                        self.closed = true;
                        return Err(error);
                    }
                    self.rejoin()?;
                    continue;
                }
                Err(error) => {
                    // The assignor's answer was refused: all stays as it is, and is asked for again.
                    membership.due = true;
                    return Err(error);
                }
            };
            if let Some(membership) = &mut self.membership {
                membership.generation = step.generation;
                membership.due = step.gathering || !step.is_empty();
            }
            if step.gathering {
                break;
            }
            if !step.lost.is_empty() {
                self.tell(&mut failure, told, Call::Lost, &step.lost);
                for place in &step.lost {
                    self.remove(place);
                }
            }
            if !step.revoke.is_empty() {
                self.commit_before_giving_up(&mut failure);
                let revoke = &step.revoke;
                self.tell(&mut failure, told, Call::Revoked, revoke);
                for place in revoke {
                    self.remove(place);
                }
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
                self.tell(&mut failure, told, Call::Assigned, &gained);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn rejoin(&mut self) -> Result<(), Error> {
        let Some(old) = self.membership.take() else {
            return Ok(());
        };
        let (subscription, assignors) = (old.subscription.clone(), old.assignors.clone());
        let cell = self.group.as_ref().map(|cell| self.groups.living(cell));
        self.group = cell;
        let joined = self.join(subscription, assignors);
        if joined.is_err() {
            self.membership = Some(Membership { due: true, ..old });
        }
        joined
    }

    fn lose_everything(&mut self, failure: &mut Option<Error>, told: &mut Told<'_>) {
        let lost = self.assignment();
        if !lost.is_empty() {
            self.tell(failure, told, Call::Lost, &lost);
        }
        self.remove_all();
    }

    /// Does something during which the listener is told of partitions that come and go.
    pub(super) fn with_listener<T>(
        &mut self,
        act: impl FnOnce(&mut Self, &mut Told<'_>) -> T,
    ) -> T {
        let mut listener = self.listener.take();
        let result = act(self, &mut |call, consumer, places| {
            let Some(listener) = &mut listener else {
                return Ok(());
            };
            match call {
                Call::Assigned => listener.assigned(consumer, places),
                Call::Lost => listener.lost(consumer, places),
                Call::Revoked => listener.revoked(consumer, places),
            }
        });
        self.listener = listener;
        result
    }

    /// Tells of partitions that come or go; whoever is told may use the consumer meanwhile.
    fn tell(
        &mut self,
        failure: &mut Option<Error>,
        told: &mut Told<'_>,
        call: Call,
        places: &[TopicPartition],
    ) {
        let inside = std::mem::replace(&mut self.in_listener, true);
        let result = told(call, self, places);
        self.in_listener = inside;
        if let Err(error) = result {
            failure.get_or_insert(error);
        }
    }

    /// Commits if it is time to.
    pub(super) fn auto_commit(&mut self, now: Duration) -> Result<(), Error> {
        let (Some(interval), Some(next)) = (self.options.auto_commit, self.next_auto_commit) else {
            return Ok(());
        };
        if now < next || self.membership.is_none() {
            return Ok(());
        }
        self.next_auto_commit = Some(now + interval);
        self.commit_positions(true)
    }

    fn commit_before_giving_up(&mut self, failure: &mut Option<Error>) {
        if self.options.auto_commit.is_some()
            && let Err(error) = self.commit_positions(true)
        {
            failure.get_or_insert(error);
        }
    }

    /// Commits the positions. A member that was removed is not an error: the next poll tells it.
    fn commit_positions(&mut self, only_new: bool) -> Result<(), Error> {
        match self.commit_all(only_new) {
            Err(error) if error.kind() == ErrorKind::Fenced => Ok(()),
            other => other,
        }
    }

    fn commit_all(&mut self, only_new: bool) -> Result<(), Error> {
        let positions = self.positions(only_new);
        if positions.is_empty() && only_new {
            return Ok(());
        }
        // In the order in which they were asked for, so that what is noted last is what counts.
        self.finish_async_commits(true);
        // Also without a position: whoever was removed has to learn it.
        let commits = positions
            .iter()
            .map(|(place, offset)| (place, (*offset).into()));
        let staged = self.stage(commits)?;
        Groups::finish(staged)?;
        self.note_committed(&positions);
        Ok(())
    }

    /// Commits the positions of all assigned partitions: everything that polls have returned counts as
    /// handled. Kafka: `commitSync()`.
    ///
    /// # Durability
    ///
    /// On return the commit has reached the durability of committed offsets, by default the disk.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if the member lost a partition: nothing is committed; poll again.
    /// [`InvalidInput`](ErrorKind::InvalidInput) without a group. What the storage gives.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.check_usable("commit")?;
        self.need_group("commit")?;
        self.commit_all(false)
    }

    /// Commits these offsets, each the *next* to be read: all or none. Kafka: `commitSync(offsets)`.
    ///
    /// Going back is allowed; the last commit counts.
    ///
    /// # Examples
    ///
    /// ```
    /// # use topiclog::{ConsumerOptions, EventLog, OffsetReset, Record, TopicOptions};
    /// # let log = EventLog::in_memory()?;
    /// # let topic = log.create_topic("t", TopicOptions::new())?;
    /// # topic.producer().send(Record::new("x"))?;
    /// # let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    /// # let mut consumer = log.consumer_group("g")?.options(options).subscribe([&topic])?;
    /// for record in &consumer.poll(std::time::Duration::from_secs(1))? {
    ///     // handle it, then
    ///     consumer.commit_offsets([(record.topic_partition(), record.offset().next().into())])?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit); [`InvalidInput`](ErrorKind::InvalidInput) for metadata that is
    /// too long.
    pub fn commit_offsets<'p>(
        &mut self,
        offsets: impl IntoIterator<Item = (&'p TopicPartition, CommittedOffset)>,
    ) -> Result<(), Error> {
        self.check_usable("commit")?;
        self.need_group("commit")?;
        self.finish_async_commits(true);
        let offsets: Vec<_> = offsets.into_iter().collect();
        let committed = offsets.iter();
        let committed = committed.map(|(place, committed)| ((*place).clone(), committed.offset()));
        let committed: Vec<_> = committed.collect();
        let staged = self.stage(offsets)?;
        Groups::finish(staged)?;
        self.note_committed(&committed);
        Ok(())
    }

    /// Commits the positions as [`commit`](Self::commit) does, but does not wait. The callback is called
    /// once, in order, inside a later poll, commit or close. Kafka: `commitAsync`.
    ///
    /// # Errors
    ///
    /// What is known at once; the callback is not called then.
    pub fn commit_async(
        &mut self,
        callback: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.check_usable("commit")?;
        self.need_group("commit")?;
        let offsets = self.positions(false);
        let commits = offsets
            .iter()
            .map(|(place, offset)| (place, (*offset).into()));
        let staged = self.stage(commits)?;
        self.async_commits.push_back(AsyncCommit {
            staged,
            offsets,
            callback: Box::new(callback),
        });
        Ok(())
    }

    fn need_group(&self, call: &'static str) -> Result<(), Error> {
        if self.group.is_none() {
            return Err(InputError::State {
                call,
                needs: "a consumer of a group",
            }
            .into());
        }
        Ok(())
    }

    fn stage<'p>(
        &self,
        offsets: impl IntoIterator<Item = (&'p TopicPartition, CommittedOffset)>,
    ) -> Result<Staged, Error> {
        let Some(cell) = &self.group else {
            let needs = "a consumer of a group";
            return Err(InputError::State {
                call: "commit",
                needs,
            }
            .into());
        };
        if self.groups.catalog().is_closed() {
            return Err(LogError::Closed.into());
        }
        let commit = |(partition, committed): (&TopicPartition, CommittedOffset)| OffsetCommit {
            partition: partition.clone(),
            topic_id: self.topic_of(partition).map(|topic| topic.id),
            offset: committed.offset(),
            metadata: Arc::clone(committed.shared_note()),
        };
        let commits: Vec<_> = offsets.into_iter().map(commit).collect();
        for commit in &commits {
            self.check_same_topic(&commit.partition)?;
        }
        let committer = match &self.membership {
            Some(membership) => Committer::Member(&membership.member_id, membership.generation),
            None => Committer::Outsider,
        };
        self.groups
            .stage(&self.groups.living(cell), committer, commits)
    }

    /// Refuses a commit for a partition of a topic that was deleted: by now the name may mean another one,
    /// which the member may even have been given, and has not been told of.
    fn check_same_topic(&self, place: &TopicPartition) -> Result<(), Error> {
        match (self.topic_of(place), &self.membership) {
            (Some(topic), None) if topic.is_deleted() => Err(topic.gone()),
            (Some(topic), Some(_)) if !topic.is_deleted() => Ok(()),
            (_, None) => Ok(()),
            (_, Some(_)) => Err(Error::from(GroupError::NotAssigned).in_partition(place)),
        }
    }

    /// Finishes commits that nobody waits for: those that are settled, or all.
    pub(super) fn finish_async_commits(&mut self, all: bool) {
        while let Some(first) = self.async_commits.front() {
            if !all && !Groups::is_settled(&first.staged) {
                return;
            }
            if let Some(commit) = self.async_commits.pop_front() {
                let result = Groups::finish(commit.staged);
                if result.is_ok() {
                    self.note_committed(&commit.offsets);
                }
                (commit.callback)(result);
            }
        }
    }

    /// What the group has committed for a partition, by whomever. Kafka: `committed`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) without a group; [`Corrupt`](ErrorKind::Corrupt) if what
    /// is kept of committed offsets is damaged.
    pub fn committed(&self, place: &TopicPartition) -> Result<Option<CommittedOffset>, Error> {
        self.need_group("committed")?;
        let committed = match &self.group {
            Some(cell) => self.groups.committed(cell, place)?,
            None => None,
        };
        Ok(committed
            .map(|committed| CommittedOffset::new(committed.offset).metadata(committed.metadata)))
    }

    /// Replaces the topics that a member subscribes to. Partitions of topics that stay are kept.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if partitions were assigned by hand: a consumer does one
    /// or the other.
    pub fn subscribe<'t>(
        &mut self,
        topics: impl IntoIterator<Item = &'t Topic>,
    ) -> Result<(), Error> {
        self.check_usable("subscribe")?;
        let names = topics.into_iter().map(|topic| topic.name().clone());
        let subscription = Subscription::topics(names);
        let Some(membership) = &mut self.membership else {
            if !self.assignment().is_empty() {
                let needs = "a consumer without partitions assigned by hand";
                return Err(InputError::State {
                    call: "subscribe",
                    needs,
                }
                .into());
            }
            return self.join(subscription, Vec::new());
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

    /// Leaves the group and gives up all partitions, those assigned by hand too. Nothing is committed.
    ///
    /// # Errors
    ///
    /// That of the listener.
    pub fn unsubscribe(&mut self) -> Result<(), Error> {
        self.check_usable("unsubscribe")?;
        self.finish_async_commits(true);
        let mut failure = None;
        self.leave(Departure::Leave, &mut failure);
        failure.map_or(Ok(()), Err)
    }

    fn leave(&mut self, departure: Departure, failure: &mut Option<Error>) {
        let given_up = self.assignment();
        self.with_listener(|consumer, told| {
            if consumer.is_removed() {
                consumer.lose_everything(failure, told);
            } else if consumer.membership.is_some() && !given_up.is_empty() {
                consumer.tell(failure, told, Call::Revoked, &given_up);
            }
        });
        self.remove_all();
        self.depart(departure);
    }

    /// Whether the group has removed the member and it does not know yet.
    fn is_removed(&self) -> bool {
        let (Some(membership), Some(cell)) = (&self.membership, &self.group) else {
            return false;
        };
        let polled = self.groups.with(cell, |state, now| {
            state.group.poll(now, &membership.member_id)
        });
        polled.is_err_and(|error| error.kind() == ErrorKind::Fenced)
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

    /// Has the group decide the assignment anew, for instance since an assignor's user data changed.
    /// Kafka: `enforceRebalance`, KIP-568.
    ///
    /// # Errors
    ///
    /// [`Fenced`](ErrorKind::Fenced) if it is no member any more.
    pub fn enforce_rebalance(&mut self) -> Result<(), Error> {
        let (Some(membership), Some(cell)) = (&mut self.membership, &self.group) else {
            let needs = "a subscription";
            return Err(InputError::State {
                call: "enforce_rebalance",
                needs,
            }
            .into());
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
    /// # Errors
    ///
    /// The first failure; the consumer is closed all the same.
    pub fn close(self) -> Result<(), Error> {
        self.close_with(Departure::Default)
    }

    /// Closes as [`close`](Self::close) does, and says what becomes of its place in the group.
    ///
    /// # Errors
    ///
    /// Those of [`close`](Self::close).
    pub fn close_with(mut self, departure: Departure) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        self.finish_async_commits(true);
        let mut failure = None;
        if self.membership.is_some() && !self.groups.catalog().is_closed() {
            self.commit_before_giving_up(&mut failure);
        }
        self.leave(departure, &mut failure);
        self.closed = true;
        match failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // As if the process had died, but without the wait: nothing is committed, nobody is told.
        for commit in self.async_commits.drain(..) {
            Groups::abandon(&commit.staged);
        }
        self.remove_all();
        self.depart(Departure::Default);
    }
}
