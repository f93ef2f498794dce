//! What may be committed: the checker's model of committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use topiclog::Durability;

use super::history::{Outcome, Place};

/// A commit that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) group: u32,
    pub(crate) member: u32,
    pub(crate) offsets: Vec<(Place, u64)>,
    /// What it may have stored besides.
    pub(crate) maybe: Vec<(Place, u64)>,
    /// Whether the committer owned all of it when it asked.
    pub(crate) owned: bool,
    /// Whether there is no reason whatever to refuse it.
    pub(crate) surely_owned: bool,
    pub(crate) automatic: bool,
}

/// The committed offset of one partition for one group.
#[derive(Clone, Debug, Default)]
struct Line {
    /// The last one that is certain, and the number of its commit.
    last: (u64, Option<u64>),
    /// Later ones that may be there, by the number of their commit.
    maybe: Vec<(u64, u64)>,
    /// All that ever were, or may have been.
    past: BTreeSet<Option<u64>>,
}

#[derive(Debug)]
pub(crate) struct Commits {
    level: Durability,
    lines: BTreeMap<(u32, Place), Line>,
    asked: BTreeMap<u64, Store>,
}

impl Commits {
    pub(crate) fn new(level: Durability) -> Self {
        Self {
            level,
            lines: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    pub(crate) fn ask(&mut self, commit: u64, store: Store) {
        // Whoever does not own it cannot have stored anything, whatever it was told.
        let stored = store.offsets.iter().chain(&store.maybe);
        for (place, offset) in stored.filter(|_| store.owned) {
            let line = self.lines.entry((store.group, *place)).or_default();
            line.maybe.push((commit, *offset));
            line.past.insert(Some(*offset));
        }
        self.asked.insert(commit, store);
    }

    /// Says which partitions have another committed offset now.
    pub(crate) fn done(
        &mut self,
        commit: u64,
        outcome: Outcome,
    ) -> Result<Vec<(u32, Place)>, String> {
        let Some(store) = self.asked.remove(&commit) else {
            return Err(format!("commit {commit} was never asked for"));
        };
        let (group, member) = (store.group, store.member);
        match outcome {
            Outcome::Kept if !store.owned => {
                let offsets = &store.offsets;
                return Err(format!(
                    "member {member} of group {group} does not own what it committed: {offsets:?}"
                ));
            }
            Outcome::Fenced if store.surely_owned && !store.automatic => {
                let offsets = &store.offsets;
                return Err(format!(
                    "member {member} of group {group} owns {offsets:?}, and may not commit"
                ));
            }
            Outcome::Kept => {
                for (place, offset) in &store.offsets {
                    let line = self.lines.entry((group, *place)).or_default();
                    // One that was seen before its committer was told is known better from there.
                    if commit > line.last.0 || line.last.1.is_none() {
                        line.past.insert(line.last.1);
                        line.last = (commit, Some(*offset));
                    }
                    let optional = |(number, at): &(u64, u64)| {
                        *number > commit
                            || *number == commit && store.maybe.contains(&(*place, *at))
                    };
                    line.maybe.retain(optional);
                }
            }
            Outcome::Fenced | Outcome::Refused => {
                for line in self.lines.values_mut() {
                    let last = line.last.1;
                    // An automatic commit of what is committed already cannot be seen, and counts later.
                    let hidden = |at: u64| store.automatic && last == Some(at);
                    line.maybe
                        .retain(|(number, at)| *number != commit || hidden(*at));
                }
            }
            Outcome::Unknown => {}
        }
        let places = store.offsets.iter().chain(&store.maybe);
        Ok(places.map(|(place, _)| (group, *place)).collect())
    }

    /// What somebody who asks now may find.
    pub(crate) fn visible(&self, group: u32, place: Place) -> BTreeSet<Option<u64>> {
        let mut visible = BTreeSet::new();
        match self.lines.get(&(group, place)) {
            Some(line) => {
                visible.insert(line.last.1);
                visible.extend(line.maybe.iter().map(|(_, offset)| Some(*offset)));
            }
            None => {
                visible.insert(None);
            }
        }
        visible
    }

    /// Nobody will be told any more what became of the commits on their way.
    pub(crate) fn stop(&mut self) {
        self.asked.clear();
    }

    /// Somebody has looked. After an opening (`fresh`) nothing is open any more.
    pub(crate) fn observe(
        &mut self,
        group: u32,
        place: Place,
        offset: Option<u64>,
        fresh: bool,
        power_cut: bool,
    ) -> Result<(), String> {
        let line = self.lines.entry((group, place)).or_default();
        if line.last.1 != offset {
            let found = line.maybe.iter().find(|(_, at)| Some(*at) == offset);
            let forgotten = power_cut
                && self.level != Durability::Disk
                && (offset.is_none() || line.past.contains(&offset));
            match found.copied() {
                Some((number, at)) => {
                    line.past.insert(line.last.1);
                    line.last = (number, Some(at));
                    line.maybe.retain(|(other, _)| *other > number);
                }
                None if forgotten => line.last.1 = offset,
                None => {
                    let (last, maybe) = (line.last.1, &line.maybe);
                    return Err(format!(
                        "group {group} has committed {offset:?} in {place:?}; acknowledged was {last:?}, \
                         possible {maybe:?}"
                    ));
                }
            }
        }
        if fresh {
            line.maybe.clear();
        }
        Ok(())
    }
}
