//! Commits on their way: checked and handed to the log under the group's lock, waited for without it,
//! then applied. And the rewriting of their log, which must not lose one that is on its way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::groups::{CellState, GroupCell, Groups};
use crate::error::Error;
use crate::group::{Committed, Committer, Group, OffsetCommit};
use crate::log::Queued;
use crate::name::TopicPartition;
use crate::offset::Offset;

/// A commit on its way.
#[derive(Debug)]
pub(super) struct Staged {
    cell: Arc<GroupCell>,
    commits: Vec<Queued>,
}

/// What a commit on its way is going to change.
#[derive(Debug)]
struct Change {
    place: TopicPartition,
    /// What is to be there; nothing after a removal.
    committed: Option<Committed>,
    queued: Queued,
}

/// What a group's commits on their way are going to change, in the log's order. Whoever meets one that has
/// arrived takes it in: the one that made it may have hung, or be gone.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    changes: VecDeque<Change>,
}

impl InFlight {
    /// Takes note of a commit that was handed to the log, with the group locked since before.
    fn send_off(&mut self, cell: &Arc<GroupCell>, changes: Vec<Change>) -> Staged {
        let commits = changes.iter().map(|change| change.queued.clone());
        let commits = commits.collect();
        self.changes.extend(changes);
        let cell = Arc::clone(cell);
        Staged { cell, commits }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether one is going to change this place.
    pub(super) fn changes(&self, at: &TopicPartition) -> bool {
        self.changes.iter().any(|change| change.place == *at)
    }

    /// Gives the first of them, with its place in the log or why it is not kept, if that is known. Those
    /// behind it wait for it, so that the log's order is kept.
    fn next_arrived(&mut self) -> Option<(Change, Result<Offset, Error>)> {
        let outcome = self.changes.front()?.queued.try_result()?;
        Some((self.changes.pop_front()?, outcome.map(|kept| kept.offset)))
    }
}

/// The changes that remove what was committed there.
pub(super) fn removals(
    places: Vec<TopicPartition>,
) -> impl Iterator<Item = (TopicPartition, Option<Committed>)> {
    places.into_iter().map(|place| (place, None))
}

impl CellState {
    /// Lets everybody see the commits that have arrived, whoever made them.
    pub(super) fn take_in(&mut self) {
        while let Some((change, outcome)) = self.in_flight.next_arrived() {
            // Whoever made it learns of a failure.
            let Ok(log_offset) = outcome else {
                continue;
            };
            match change.committed {
                Some(committed) => {
                    let committed = Committed {
                        log_offset,
                        ..committed
                    };
                    self.group.apply_commit(change.place, committed);
                }
                None => self.group.apply_removal(change.place, log_offset),
            }
        }
    }

    /// Whether nobody would miss the group: no members, no offsets, and none on their way.
    pub(super) fn is_idle(&mut self) -> bool {
        self.take_in();
        self.in_flight.is_empty() && self.group.is_idle()
    }
}

impl Staged {
    /// Waits until the commit is kept, then lets everybody see it.
    pub(super) fn finish(self) -> Result<(), Error> {
        let mut failure = None;
        for queued in &self.commits {
            if let Err(error) = queued.wait(None) {
                failure = Some(error);
            }
        }
        self.cell.state.lock().take_in();
        failure.map_or(Ok(()), Err)
    }

    /// Whether the commit is settled, so that finishing it does not wait.
    pub(super) fn is_settled(&self) -> bool {
        let mut commits = self.commits.iter();
        commits.all(|queued| queued.try_result().is_some())
    }
}

impl GroupCell {
    /// Waits for the commits on their way to such places, whoever made them.
    fn await_commits(&self, concerned: impl Fn(&TopicPartition) -> bool) {
        let on_their_way: Vec<Queued> = {
            let state = self.state.lock();
            let changes = state.in_flight.changes.iter();
            let changes = changes.filter(|change| concerned(&change.place));
            changes.map(|change| change.queued.clone()).collect()
        };
        for queued in &on_their_way {
            // Whoever made it learns of a failure.
            let _told = queued.wait(None);
        }
    }
}

impl Groups {
    /// Checks a commit and hands it to the log. The group must be locked from the one to the other.
    ///
    /// Where an outsider commits, the members that have stopped polling are removed first.
    pub(super) fn stage(
        &self,
        cell: &Arc<GroupCell>,
        committer: Committer<'_>,
        commits: Vec<OffsetCommit>,
    ) -> Result<Staged, Error> {
        if !commits.is_empty() {
            self.store.make()?;
        }
        if matches!(committer, Committer::Outsider) {
            self.expire_members(cell);
        }
        let timestamp = self.wall();
        let topics = self.topics();
        let mut state = cell.state.lock();
        state.group.topics_changed(self.now(), &topics);
        // What that asks for first: a tombstone for an old topic must not come behind a commit for the next
        // of its name.
        self.follow_up(cell, &mut state);
        state.group.check_commit(committer, &commits)?;
        let commit = |commit: OffsetCommit| {
            let kept = Committed {
                offset: commit.offset,
                metadata: commit.metadata,
                topic_id: state.group.topic_id(&commit.partition)?,
                timestamp,
                log_offset: Offset::ZERO,
            };
            Some((commit.partition, Some(kept)))
        };
        let changes: Vec<_> = commits.into_iter().filter_map(commit).collect();
        let (staged, handed_over) = self.hand_over(cell, &mut state, changes);
        drop(state);
        if let Err(error) = handed_over {
            // Whoever commits again commits it all.
            let _told_of_the_first = staged.finish();
            return Err(error);
        }
        Ok(staged)
    }

    /// Hands changes to the log, with the group locked, up to the first that it refuses; those before it are
    /// on their way all the same, to be finished as ever. Without anything committed it is a removal.
    pub(super) fn hand_over(
        &self,
        cell: &Arc<GroupCell>,
        state: &mut CellState,
        changes: impl IntoIterator<Item = (TopicPartition, Option<Committed>)>,
    ) -> (Staged, Result<(), Error>) {
        let changes = changes.into_iter();
        let mut on_their_way = Vec::with_capacity(changes.size_hint().0);
        let mut refused = Ok(());
        for (place, committed) in changes {
            match self.store.append(&cell.id, &place, committed.as_ref()) {
                Ok(queued) => on_their_way.push(Change {
                    place,
                    committed,
                    queued,
                }),
                Err(error) => {
                    refused = Err(error);
                    break;
                }
            }
        }
        (state.in_flight.send_off(cell, on_their_way), refused)
    }

    /// Removes committed offsets of a group, after `check` has said that this may be done.
    pub(super) fn remove_offsets(
        &self,
        cell: &Arc<GroupCell>,
        check: impl FnOnce(&Group) -> Result<Vec<TopicPartition>, Error>,
    ) -> Result<(), Error> {
        // What nobody is going to finish has to be seen as well: else it stays in the log, without a
        // tombstone.
        cell.await_commits(|_| true);
        let (staged, handed_over) = {
            let mut state = cell.state.lock();
            state.take_in();
            let places = check(&state.group)?;
            self.hand_over(cell, &mut state, removals(places))
        };
        let finished = staged.finish();
        handed_over.and(finished)
    }

    /// What a group has committed for a partition: where to go on. Waits for what is on its way there, as
    /// a former owner may have sent it and be gone.
    ///
    /// # Errors
    ///
    /// If that is not known, since what is kept of it is damaged.
    pub(super) fn committed(
        &self,
        cell: &GroupCell,
        place: &TopicPartition,
    ) -> Result<Option<Committed>, Error> {
        self.store.check()?;
        cell.await_commits(|at| at == place);
        let topics = self.topics();
        Ok(self.with(cell, |state, now| {
            state.group.topics_changed(now, &topics);
            state.group.committed(place).cloned()
        }))
    }

    /// Writes everything that is still true once more, or is going to be since it is on its way, and drops
    /// what is before it, if that is worth it.
    pub(super) fn rewrite(&self) -> Result<(), Error> {
        // What cannot be read must not be taken for what is no longer true.
        self.store.check()?;
        // Where that failed another copy would not help.
        self.store.drop_rewritten()?;
        let live = |cell: &Arc<GroupCell>| cell.state.lock().group.all_committed().count();
        let live = self.all().iter().map(live).sum();
        if !self.store.wants_rewrite(crate::convert::to_u64(live)) {
            return Ok(());
        }
        // First the place, then the groups, those with nothing to keep too. What lies before the place was
        // handed to the log before it was read, by a group that was there already and is there still:
        // its commit is applied by the time the group's turn comes, or on its way, which is seen then.
        // A group made later has all its commits behind the place.
        let from = self.store.end();
        let (mut all_staged, mut handed_over) = (Vec::new(), Ok(()));
        for cell in self.all() {
            let mut state = cell.state.lock();
            state.take_in();
            let kept = state.group.all_committed();
            let kept = kept.map(|(place, kept)| (place.clone(), Some(kept.clone())));
            let mut latest: BTreeMap<_, _> = kept.collect();
            for change in &state.in_flight.changes {
                if !matches!(change.queued.try_result(), Some(Err(_))) {
                    latest.insert(change.place.clone(), change.committed.clone());
                }
            }
            let (staged, handed) = self.hand_over(&cell, &mut state, latest);
            all_staged.push(staged);
            handed_over = handed;
            // Behind the offsets: a group without any is not kept while the log is read.
            if let Some(since) = state.group.empty_since() {
                let told = self.store.append_empty_since(&cell.id, Some(since));
                handed_over = handed_over.and(told);
            }
            if handed_over.is_err() {
                break;
            }
        }
        // Only now: one sync is for many groups, and the housekeeping has more to do than to wait for it.
        let finished = all_staged.into_iter().map(Staged::finish);
        let finished = finished.fold(Ok(()), Result::and);
        handed_over.and(finished)?;
        self.store.drop_before(from)
    }
}
