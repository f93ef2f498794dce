//! Commits on their way: checked and handed to the log under the group's lock, waited for without it,
//! then applied. And the rewriting of their log, which must not lose one that is on its way.

use std::sync::Arc;

use super::groups::{CellState, GroupCell, Groups};
use super::store::OffsetStore;
use crate::error::Error;
use crate::group::{Committed, Committer, Group, OffsetCommit};
use crate::log::Queued;
use crate::name::TopicPartition;
use crate::offset::Offset;

/// A commit on its way.
#[derive(Debug)]
pub(super) struct Staged {
    cell: Arc<GroupCell>,
    /// The place, what is to be there, and where it stands in the log.
    commits: Vec<(TopicPartition, Option<Committed>, Queued)>,
}

impl Groups {
    /// Checks a commit and hands it to the log. The group must be locked from the one to the other.
    ///
    /// Outsiders first have the members removed that have stopped polling.
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
        state.group.check_commit(committer, &commits)?;
        let mut staged = Staged {
            cell: Arc::clone(cell),
            commits: Vec::with_capacity(commits.len()),
        };
        for OffsetCommit {
            partition,
            topic_id: _,
            offset,
            metadata,
        } in commits
        {
            let Some(topic_id) = state.group.topic_id(&partition) else {
                continue;
            };
            let log_offset = Offset::ZERO;
            let offset_kept = Committed {
                offset,
                metadata,
                topic_id,
                timestamp,
                log_offset,
            };
            let queued = self.store.append(&cell.id, &partition, Some(&offset_kept));
            match queued {
                Ok(queued) => staged.commits.push((partition, Some(offset_kept), queued)),
                Err(error) if staged.commits.is_empty() => return Err(error),
                Err(error) => {
                    // What is on its way stays so; whoever commits again commits it all.
                    state.in_flight += 1;
                    drop(state);
                    Self::finish(staged)?;
                    return Err(error);
                }
            }
        }
        state.in_flight += 1;
        self.follow_up(cell, &mut state);
        Ok(staged)
    }

    pub(super) fn stage_removals(
        &self,
        cell: &Arc<GroupCell>,
        state: &mut CellState,
        places: Vec<TopicPartition>,
    ) -> Result<Staged, Error> {
        let mut staged = Staged {
            cell: Arc::clone(cell),
            commits: Vec::new(),
        };
        for place in places {
            let queued = self.store.append(&cell.id, &place, None)?;
            staged.commits.push((place, None, queued));
        }
        state.in_flight += 1;
        Ok(staged)
    }

    /// Removes committed offsets of a group, after `check` has said that this may be done.
    pub(super) fn remove_offsets(
        &self,
        cell: &Arc<GroupCell>,
        check: impl FnOnce(&Group) -> Result<Vec<TopicPartition>, Error>,
    ) -> Result<(), Error> {
        let staged = {
            let mut state = cell.state.lock();
            let places = check(&state.group)?;
            self.stage_removals(cell, &mut state, places)?
        };
        Self::finish(staged)
    }

    /// Waits until a commit is kept, then lets everybody see it.
    pub(super) fn finish(staged: Staged) -> Result<(), Error> {
        let mut failure = None;
        let mut kept = Vec::with_capacity(staged.commits.len());
        for (place, committed, queued) in staged.commits {
            match OffsetStore::wait(&queued) {
                Ok(log_offset) => kept.push((place, committed, log_offset)),
                Err(error) => failure = Some(error),
            }
        }
        let mut state = staged.cell.state.lock();
        state.in_flight -= 1;
        for (place, committed, log_offset) in kept {
            match committed {
                Some(committed) => {
                    state.group.apply_commit(
                        place,
                        Committed {
                            log_offset,
                            ..committed
                        },
                    );
                }
                None => state.group.apply_removal(place, log_offset),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Lets a commit go that nobody will finish: whether it counts is for the next opening to find out.
    pub(super) fn abandon(staged: &Staged) {
        staged.cell.state.lock().in_flight -= 1;
    }

    /// Whether a commit is settled, so that finishing it does not wait.
    pub(super) fn is_settled(staged: &Staged) -> bool {
        staged
            .commits
            .iter()
            .all(|(_, _, queued)| OffsetStore::outcome(queued).is_some())
    }

    /// What a group has committed for a partition: where to go on.
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
        let topics = self.topics();
        Ok(self.with(cell, |state, now| {
            state.group.topics_changed(now, &topics);
            state.group.committed(place).cloned()
        }))
    }

    /// Writes everything that is still true once more and drops what is before it, if that is worth it.
    ///
    /// Group by group, each while it has nothing on its way; if one has, the round is given up, and what
    /// was written twice does no harm.
    pub(super) fn rewrite(&self) -> Result<(), Error> {
        let live = |cell: &Arc<GroupCell>| cell.state.lock().group.all_committed().count();
        let live = self.all().iter().map(live).sum();
        if !self.store.wants_rewrite(crate::limits::to_u64(live)) {
            return Ok(());
        }
        // First the place, then the groups, those with nothing to keep too. What lies before the place was
        // handed to the log before it was read, by a group that was there already and is there still:
        // its commit is applied by the time the group's turn comes, or on its way, which is seen then.
        // A group made later has all its commits behind the place.
        let from = self.store.end();
        for cell in self.all() {
            let staged = {
                let mut state = cell.state.lock();
                if state.in_flight > 0 {
                    return Ok(());
                }
                let mut staged = Staged {
                    cell: Arc::clone(&cell),
                    commits: Vec::new(),
                };
                if let Some(since) = state.group.empty_since() {
                    self.store.append_empty_since(&cell.id, Some(since))?;
                }
                for (place, committed) in state.group.all_committed() {
                    let queued = self.store.append(&cell.id, place, Some(committed))?;
                    staged
                        .commits
                        .push((place.clone(), Some(committed.clone()), queued));
                }
                state.in_flight += 1;
                staged
            };
            Self::finish(staged)?;
        }
        self.store.drop_before(from)
    }
}
