//! What a [`Consumer`] commits, and when.

use std::sync::Arc;
use std::time::Duration;

use super::consumer::{Consumer, is_fenced};
use super::groups::GroupCell;
use super::in_flight::Staged;
use super::options::CommittedOffset;
use crate::error::{Error, ErrorKind, GroupError};
use crate::group::{Committed, Committer, OffsetCommit};
use crate::name::TopicPartition;
use crate::offset::Offset;

type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A commit that nobody waits for.
pub(super) struct AsyncCommit {
    pub(super) staged: Staged,
    offsets: Vec<(TopicPartition, Offset)>,
    callback: Callback,
}

fn as_commits<'p>(
    offsets: impl IntoIterator<Item = (&'p TopicPartition, impl Into<CommittedOffset>)>,
) -> Vec<(&'p TopicPartition, CommittedOffset)> {
    let offsets = offsets.into_iter();
    offsets
        .map(|(place, offset)| (place, offset.into()))
        .collect()
}

fn places_of(commits: &[(&TopicPartition, CommittedOffset)]) -> Vec<(TopicPartition, Offset)> {
    let commits = commits.iter();
    commits
        .map(|(place, committed)| ((*place).clone(), committed.offset()))
        .collect()
}

impl Consumer {
    /// Begins to wait for the time of an automatic commit, of a consumer that makes them.
    pub(super) fn await_auto_commit(&mut self) {
        let commits = self.group.is_some() && !self.groups.catalog().is_read_only();
        if commits && self.next_auto_commit.is_none() {
            let (now, interval) = (self.groups.now(), self.options.auto_commit);
            self.next_auto_commit = interval.map(|interval| now.saturating_add(interval));
            self.begin_renewal();
        }
    }

    /// Whether it is time to commit positions that have not changed too. An offset is kept for some time from
    /// its own commit: that of a group without members, and that of a member which has left others behind
    /// that do not read the topic.
    fn is_renewal_due(&self) -> bool {
        self.groups.now() >= self.next_renewal
    }

    /// How long until it is.
    pub(super) fn until_renewal(&self) -> Duration {
        self.next_renewal.saturating_sub(self.groups.now())
    }

    fn begin_renewal(&mut self) {
        let interval = self.groups.renewal_interval();
        self.next_renewal = self.groups.now().saturating_add(interval);
    }

    /// The positions, if it is time to commit them for that alone, for somebody who commits by hand.
    pub(super) fn take_renewals(
        &mut self,
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>, Error> {
        if !self.is_renewal_due() {
            return Ok(Vec::new());
        }
        self.begin_renewal();
        self.with_notes(self.positions(false))
    }

    /// What to commit at positions that nobody has asked to be committed: where nothing has changed, with
    /// the note that is there.
    fn with_notes(
        &self,
        positions: Vec<(TopicPartition, Offset)>,
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>, Error> {
        let with_note = |(place, offset): (TopicPartition, Offset)| {
            let kept = if self.is_where_it_was(&place, offset) {
                self.committed(&place)?
            } else {
                None
            };
            let kept = kept.filter(|kept| kept.offset() == offset);
            Ok((place, kept.unwrap_or_else(|| offset.into())))
        };
        positions.into_iter().map(with_note).collect()
    }

    /// Commits if it is time to.
    pub(super) fn auto_commit(&mut self, now: Duration) -> Result<(), Error> {
        let (Some(interval), Some(next)) = (self.options.auto_commit, self.next_auto_commit) else {
            return Ok(());
        };
        if now < next {
            return Ok(());
        }
        self.next_auto_commit = Some(now.saturating_add(interval));
        let committed = self.try_auto_commit();
        self.still_alive();
        committed
    }

    /// Commits if automatic commits are on. That somebody who is no member is refused, since the group has
    /// members or is gone, is for closing to tell: reading need not end for it.
    pub(super) fn try_auto_commit(&mut self) -> Result<(), Error> {
        match self.commit_before_giving_up() {
            Err(error)
                if self.membership.is_none()
                    && matches!(error.kind(), ErrorKind::InUse | ErrorKind::NotFound) =>
            {
                Ok(())
            }
            committed => committed,
        }
    }

    /// Commits the positions if automatic commits are on. That a member was removed is no error: its next
    /// poll tells it.
    pub(super) fn commit_before_giving_up(&mut self) -> Result<(), Error> {
        if self.next_auto_commit.is_none() {
            return Ok(());
        }
        match self.commit_all(true) {
            Err(error) if is_fenced(&error) => Ok(()),
            committed => committed,
        }
    }

    /// The same as a consumer is closed: in a log that is closed already it is too late.
    pub(super) fn commit_before_closing(&mut self) -> Result<(), Error> {
        match self.groups.catalog().check_open() {
            Ok(()) => self.commit_before_giving_up(),
            Err(closed) if self.next_auto_commit.is_some() && self.has_moved() => Err(closed),
            Err(_) => Ok(()),
        }
    }

    fn commit_all(&mut self, only_new: bool) -> Result<(), Error> {
        // In the order in which they were asked for, so that what is noted last is what counts. And first of
        // all: a topic may be deleted meanwhile.
        self.finish_async_commits(true);
        let all = !only_new || self.is_renewal_due();
        let mut positions = self.positions(!all);
        if positions.is_empty() && only_new {
            return Ok(());
        }
        // Also without a position: whoever was removed has to learn it.
        self.stage_positions(&mut positions, only_new)?.finish()?;
        self.note_committed(&positions);
        if all {
            self.begin_renewal();
        }
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
    /// [`FencedInstance`](ErrorKind::FencedInstance) if another consumer took this one's instance id.
    /// [`InUse`](ErrorKind::InUse) of a consumer with assigned partitions while the group has members.
    /// [`InvalidInput`](ErrorKind::InvalidInput) without a group, [`ReadOnly`](ErrorKind::ReadOnly),
    /// [`Closed`](ErrorKind::Closed), and what the storage gives.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.check_usable()?;
        self.commit_all(false)
    }

    /// Commits these offsets, each the *next* to be read. Kafka: `commitSync(offsets)`.
    ///
    /// Going back is allowed; the last commit counts. If one of them is refused, none is committed; only if
    /// the storage fails in the middle, some may be kept.
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
    ///     consumer.commit_offsets([(record.topic_partition(), record.next_offset())])?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Durability
    ///
    /// That of [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit); [`InvalidInput`](ErrorKind::InvalidInput) for metadata that is
    /// too long.
    pub fn commit_offsets<'p>(
        &mut self,
        offsets: impl IntoIterator<Item = (&'p TopicPartition, impl Into<CommittedOffset>)>,
    ) -> Result<(), Error> {
        self.check_usable()?;
        self.finish_async_commits(true);
        let offsets = as_commits(offsets);
        let committed = places_of(&offsets);
        let staged = self.stage(offsets)?;
        staged.finish()?;
        self.note_committed(&committed);
        Ok(())
    }

    /// Commits the positions as [`commit`](Self::commit) does, but does not wait. The callback is called
    /// once, in order, inside a later poll, commit or close, and in any case before a partition is revoked.
    /// Kafka: `commitAsync`.
    ///
    /// Each poll takes along what waits to be written. Where that means a sync and a housekeeping thread is
    /// there to do it, the callback is called by a poll that comes after it.
    ///
    /// # Errors
    ///
    /// What is known at once; the callback is not called then.
    pub fn commit_async(
        &mut self,
        callback: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.check_usable()?;
        let mut offsets = self.positions(false);
        let staged = self.stage_positions(&mut offsets, false)?;
        self.call_back(staged, offsets, callback);
        Ok(())
    }

    /// Commits these offsets, each the *next* to be read, as [`commit_offsets`](Self::commit_offsets) does,
    /// but does not wait; with the callback it is as with [`commit_async`](Self::commit_async). Kafka:
    /// `commitAsync(offsets, callback)`.
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
    ///     let next = (record.topic_partition(), record.next_offset());
    ///     consumer.commit_offsets_async([next], |committed| {
    ///         if let Err(error) = committed {
    ///             eprintln!("not committed: {error}");
    ///         }
    ///     })?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What is known at once; the callback is not called then.
    pub fn commit_offsets_async<'p>(
        &mut self,
        offsets: impl IntoIterator<Item = (&'p TopicPartition, impl Into<CommittedOffset>)>,
        callback: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.check_usable()?;
        let offsets = as_commits(offsets);
        let committed = places_of(&offsets);
        let staged = self.stage(offsets)?;
        self.call_back(staged, committed, callback);
        Ok(())
    }

    /// Keeps a callback, to be called once a commit is kept.
    fn call_back(
        &mut self,
        staged: Staged,
        offsets: Vec<(TopicPartition, Offset)>,
        callback: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        self.async_commits.push_back(AsyncCommit {
            staged,
            offsets,
            callback: Box::new(callback),
        });
    }

    pub(super) fn need_group(&self, call: &'static str) -> Result<&Arc<GroupCell>, Error> {
        let missing = || Error::bad_state(call, "a consumer of a group");
        self.group.as_ref().ok_or_else(missing)
    }

    fn stage<'p>(
        &self,
        offsets: impl IntoIterator<Item = (&'p TopicPartition, CommittedOffset)>,
    ) -> Result<Staged, Error> {
        let cell = self.need_group("commit")?;
        self.groups.catalog().check_open()?;
        let commit = |(partition, committed): (&TopicPartition, CommittedOffset)| OffsetCommit {
            partition: partition.clone(),
            topic_id: self.topic_of(partition).map(|topic| topic.id),
            offset: committed.offset(),
            metadata: Arc::clone(committed.shared_metadata()),
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

    /// Stages a commit of positions. Those of a topic that is deleted meanwhile are left out, and keep no
    /// others from being committed.
    fn stage_positions(
        &self,
        positions: &mut Vec<(TopicPartition, Offset)>,
        with_notes: bool,
    ) -> Result<Staged, Error> {
        let stage = |positions: &[(TopicPartition, Offset)]| {
            if with_notes {
                let commits = self.with_notes(positions.to_vec())?;
                self.stage(commits.iter().map(|(place, kept)| (place, kept.clone())))
            } else {
                let commits = positions.iter();
                self.stage(commits.map(|(place, offset)| (place, (*offset).into())))
            }
        };
        match stage(positions) {
            Err(_) if positions.iter().any(|(place, _)| self.is_gone(place)) => {
                positions.retain(|(place, _)| !self.is_gone(place));
                stage(positions)
            }
            staged => staged,
        }
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

    /// Finishes commits that nobody waits for: those that are settled, or all. Returns whether there was one.
    pub(super) fn finish_async_commits(&mut self, all: bool) -> bool {
        let mut finished = false;
        if let Some(first) = self.async_commits.front()
            && !all
            && !first.staged.is_settled()
        {
            self.groups.write_waiting();
        }
        while let Some(first) = self.async_commits.front() {
            if !all && !first.staged.is_settled() {
                break;
            }
            finished = true;
            if let Some(commit) = self.async_commits.pop_front() {
                let result = commit.staged.finish();
                if result.is_ok() {
                    self.note_committed(&commit.offsets);
                }
                (commit.callback)(result);
            }
        }
        finished
    }

    /// What the group has committed for a partition, by whomever, with what is on its way. Kafka:
    /// `committed`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) without a group; [`Corrupt`](ErrorKind::Corrupt) if what
    /// is kept of committed offsets is damaged.
    pub fn committed(&self, place: &TopicPartition) -> Result<Option<CommittedOffset>, Error> {
        Ok(self.kept(place)?.map(CommittedOffset::from))
    }

    /// The same, with what is kept besides.
    pub(super) fn kept(&self, place: &TopicPartition) -> Result<Option<Committed>, Error> {
        let cell = self.groups.living(self.need_group("committed")?);
        self.groups.committed(&cell, place)
    }
}
