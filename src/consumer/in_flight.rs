//! Commits on their way: checked and handed to the log under the group's lock, waited for without it,
//! then applied. And the rewriting of their log, which must not lose one that is on its way.

use std::collections::BTreeMap;
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
    number: u64,
    /// The place, what is to be there, and where it stands in the log.
    commits: Vec<(TopicPartition, Option<Committed>, Queued)>,
}

/// What a group's commits on their way are going to change.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    next: u64,
    /// The number of the commit, the place, and what is to be there, in the log's order.
    changes: Vec<(u64, TopicPartition, Option<Committed>)>,
}

impl InFlight {
    /// Takes note of a commit that was handed to the log, with the group locked since before.
    fn send_off(
        &mut self,
        cell: &Arc<GroupCell>,
        commits: Vec<(TopicPartition, Option<Committed>, Queued)>,
    ) -> Staged {
        let number = self.next;
        self.next += 1;
        let changes = commits.iter();
        let changes = changes.map(|(place, change, _)| (number, place.clone(), change.clone()));
        self.changes.extend(changes);
        let cell = Arc::clone(cell);
        Staged {
            cell,
            number,
            commits,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether one is going to change this place.
    pub(super) fn changes(&self, at: &TopicPartition) -> bool {
        self.changes.iter().any(|(_, place, _)| place == at)
    }

    /// A commit has arrived, or nobody waits for it any more.
    fn forget(&mut self, number: u64) {
        self.changes.retain(|(other, _, _)| *other != number);
    }

    /// What a commit that has arrived says of this place counts more than those before it.
    fn overtake(&mut self, number: u64, at: &TopicPartition) {
        self.changes
            .retain(|(other, place, _)| *other > number || place != at);
    }
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
        let mut queued = Vec::with_capacity(commits.len());
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
            match self.store.append(&cell.id, &partition, Some(&offset_kept)) {
                Ok(place) => queued.push((partition, Some(offset_kept), place)),
                Err(error) if queued.is_empty() => return Err(error),
                Err(error) => {
                    // What is on its way stays so; whoever commits again commits it all.
                    let staged = state.in_flight.send_off(cell, queued);
                    drop(state);
                    let _told_of_the_first = Self::finish(staged);
                    return Err(error);
                }
            }
        }
        let staged = state.in_flight.send_off(cell, queued);
        self.follow_up(cell, &mut state);
        Ok(staged)
    }

    pub(super) fn stage_removals(
        &self,
        cell: &Arc<GroupCell>,
        state: &mut CellState,
        places: Vec<TopicPartition>,
    ) -> Result<Staged, Error> {
        let mut queued = Vec::with_capacity(places.len());
        for place in places {
            let removal = self.store.append(&cell.id, &place, None)?;
            queued.push((place, None, removal));
        }
        Ok(state.in_flight.send_off(cell, queued))
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
        state.in_flight.forget(staged.number);
        for (place, committed, log_offset) in kept {
            state.in_flight.overtake(staged.number, &place);
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
        let mut state = staged.cell.state.lock();
        state.in_flight.forget(staged.number);
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

    /// Writes everything that is still true once more, or is going to be since it is on its way, and drops
    /// what is before it, if that is worth it.
    pub(super) fn rewrite(&self) -> Result<(), Error> {
        // What cannot be read must not be taken for what is no longer true.
        self.store.check()?;
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
                let kept = state.group.all_committed();
                let kept = kept.map(|(place, kept)| (place.clone(), Some(kept.clone())));
                let mut latest: BTreeMap<_, _> = kept.collect();
                for (_, place, change) in &state.in_flight.changes {
                    latest.insert(place.clone(), change.clone());
                }
                let mut queued = Vec::with_capacity(latest.len());
                for (place, change) in latest {
                    let again = self.store.append(&cell.id, &place, change.as_ref())?;
                    queued.push((place, change, again));
                }
                // Behind the offsets: a group without any is not kept while the log is read.
                if let Some(since) = state.group.empty_since() {
                    self.store.append_empty_since(&cell.id, Some(since))?;
                }
                state.in_flight.send_off(&cell, queued)
            };
            Self::finish(staged)?;
        }
        self.store.drop_before(from)
    }
}
