//! [`Groups`]: the consumer groups of a log: a lock around each state machine, wake-ups, expiry.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::in_flight::{InFlight, removals};
use super::inbox::Inbox;
use super::store::{Entry, OffsetStore};
use crate::clock::SettledWall;
use crate::convert::nanos;
use crate::error::{Error, GroupError};
use crate::group::{
    Committed, Emptiness, Group, GroupDescription, GroupOptions, GroupState, MemberId,
    TopicCatalog, TopicShape,
};
use crate::name::{GroupId, TopicPartition};
use crate::options::Durability;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::timestamp::Timestamp;
use crate::topic::{Catalog, Every};

/// The longest time between two looks for members that have stopped, where no thread looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How often offsets are looked at that may have expired. Kafka: `offsets.retention.check.interval.ms`.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);

/// How often it is looked whether the topic of committed offsets has become long. Also as soon as the log is
/// opened: a program that never runs for long keeps it short too. Kafka: `log.cleaner.backoff.ms`.
const REWRITE_INTERVAL: Duration = Duration::from_secs(15);

/// How often, per time for which offsets are kept, those that are in use are committed again.
const RENEWALS: u32 = 7;

/// Not more often than that, however short the time is.
const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// As many groups are kept without a look at who needs them.
const SWEEP_MIN: usize = 64;

/// All consumer groups of a log.
#[derive(Debug)]
pub(crate) struct Groups {
    catalog: Arc<Catalog>,
    pub(super) store: OffsetStore,
    cells: Mutex<Cells>,
    /// Those of all consumers, members of a group or not, and of some that are gone.
    inboxes: Mutex<Vec<Weak<Inbox>>>,
    options: GroupOptions,
    /// The topics as groups see them; made anew when they change.
    topics: Mutex<Arc<TopicCatalog>>,
    expiries: Every,
    /// What expiries go by.
    settled: SettledWall,
    rewrites: Every,
}

#[derive(Debug, Default)]
struct Cells {
    by_id: BTreeMap<GroupId, Arc<GroupCell>>,
    /// At how many it is time to look for groups that nobody would miss.
    sweep_at: usize,
}

impl Cells {
    /// Drops the groups that have nothing and that nobody holds: a name asked for once does not stay for
    /// ever. Whoever holds one is counted, since there is no other way to one than through this map.
    fn sweep(&mut self) {
        self.by_id
            .retain(|_, cell| Arc::strong_count(cell) > 1 || !cell.state.lock().is_idle());
        self.sweep_at = (2 * self.by_id.len()).max(SWEEP_MIN);
    }
}

/// A group behind its lock.
#[derive(Debug)]
pub(super) struct GroupCell {
    pub(super) id: GroupId,
    pub(super) state: Mutex<CellState>,
    /// When polls that do not sleep look for members that have stopped, in nanoseconds.
    next_look: AtomicU64,
}

#[derive(Debug)]
pub(super) struct CellState {
    pub(super) group: Group,
    pub(super) members: HashMap<MemberId, Arc<MemberSeat>>,
    /// Commits handed to the log and not yet applied, in the log's order.
    pub(super) in_flight: InFlight,
    /// Until when no member's time is up, if nothing happens before: whoever polls only moves that on.
    quiet_until: Option<Duration>,
}

/// What the group's side and the member's side of one membership share.
#[derive(Debug)]
pub(super) struct MemberSeat {
    pub(super) inbox: Arc<Inbox>,
    last_poll: AtomicU64,
    /// Whether it sleeps inside a poll. What the program does inside a poll, in a listener or a callback,
    /// counts as time away.
    asleep: AtomicBool,
}

impl MemberSeat {
    pub(super) fn new(inbox: &Arc<Inbox>) -> Self {
        Self {
            inbox: Arc::clone(inbox),
            last_poll: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
        }
    }

    /// Takes note that the member polls, or has just come back from it.
    pub(super) fn note_awake(&self, now: Duration) {
        self.last_poll.store(nanos(now), Ordering::Release);
        self.asleep.store(false, Ordering::Release);
    }

    /// Takes note that it polls, and is about to sleep in there.
    pub(super) fn note_asleep(&self, now: Duration) {
        self.last_poll.store(nanos(now), Ordering::Release);
        self.asleep.store(true, Ordering::Release);
    }

    /// When it last polled: now, if it sleeps there.
    fn last_poll(&self, now: Duration) -> Duration {
        if self.asleep.load(Ordering::Acquire) {
            now
        } else {
            Duration::from_nanos(self.last_poll.load(Ordering::Acquire))
        }
    }
}

impl Groups {
    /// The groups of a log, with the offsets that were committed before.
    pub(crate) fn open(
        catalog: &Arc<Catalog>,
        durability: Durability,
        options: GroupOptions,
    ) -> Result<Self, Error> {
        let groups = Self {
            catalog: Arc::clone(catalog),
            store: OffsetStore::new(catalog, durability),
            cells: Mutex::default(),
            inboxes: Mutex::default(),
            options,
            topics: Mutex::new(Arc::default()),
            expiries: Every::not_at_once(EXPIRY_INTERVAL),
            settled: SettledWall::default(),
            rewrites: Every::new(REWRITE_INTERVAL),
        };
        groups.settled_wall();
        groups.load()?;
        Ok(groups)
    }

    fn load(&self) -> Result<(), Error> {
        self.store.replay(|group, entry| {
            let cell = self.cell(group);
            let mut state = cell.state.lock();
            match entry {
                Entry::Committed(place, committed) => state.group.apply_commit(place, committed),
                Entry::EmptySince(since) => state.group.restore_empty_since(since),
                Entry::Removed(place, offset) => state.group.apply_removal(place, offset),
            }
        })?;
        for cell in self.all() {
            self.with(&cell, |state, _| {
                if state.group.empty_since().is_none() {
                    // It had members to the last, and has none now.
                    state.group.restore_empty_since(None);
                }
            });
        }
        Ok(())
    }

    /// Why committed offsets are not known, if what is kept of them is damaged.
    pub(crate) fn damage(&self) -> Option<(TopicPartition, Error)> {
        let error = self.store.check().err()?;
        let partition = TopicPartition::new(error.topic()?.clone(), error.partition()?);
        Some((partition, error))
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub(super) fn now(&self) -> Duration {
        self.catalog.environment.clock.monotonic()
    }

    pub(super) fn is_clock_manual(&self) -> bool {
        self.catalog.environment.clock.is_manual()
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.catalog.environment.clock.wall()
    }

    fn settled_wall(&self) -> Timestamp {
        self.settled.look(&*self.catalog.environment.clock)
    }

    /// After how long an offset that is in use is committed again, lest it expire: by default a day.
    pub(super) fn renewal_interval(&self) -> Duration {
        let retention = self.options.offsets_retention;
        retention.map_or(Duration::MAX, |retention| {
            (retention / RENEWALS).max(RENEWAL_MIN)
        })
    }

    /// Whether this was committed so long ago.
    pub(super) fn is_to_be_renewed(&self, committed: &Committed) -> bool {
        committed.timestamp <= self.wall() - self.renewal_interval()
    }

    /// The topics as they are now.
    pub(super) fn topics(&self) -> Arc<TopicCatalog> {
        let mut known = self.topics.lock();
        // Not before the lock: of two who look at once the one with the older number might list the topics
        // later than the other, and what it alone had seen would be taken for deleted.
        let version = self.catalog.version();
        if known.version() != version {
            let shape = |topic: Arc<crate::topic::TopicState>| {
                let shape = TopicShape {
                    id: topic.id,
                    partitions: topic.partition_count(),
                };
                (topic.name.clone(), shape)
            };
            let topics = self.catalog.list().into_iter().map(shape);
            *known = Arc::new(TopicCatalog::new(version, topics));
        }
        Arc::clone(&known)
    }

    /// A group, made if it is not there.
    pub(super) fn cell(&self, id: &GroupId) -> Arc<GroupCell> {
        let topics = self.topics();
        let mut cells = self.cells.lock();
        if cells.by_id.len() >= cells.sweep_at {
            cells.sweep();
        }
        let cell = cells.by_id.entry(id.clone()).or_insert_with(|| {
            let mut group = Group::new(id.clone(), self.options);
            group.topics_changed(self.now(), &topics);
            let state = CellState {
                group,
                members: HashMap::new(),
                in_flight: InFlight::default(),
                quiet_until: None,
            };
            Arc::new(GroupCell {
                id: id.clone(),
                state: Mutex::new(state),
                next_look: AtomicU64::new(0),
            })
        });
        Arc::clone(cell)
    }

    /// A group that has members or offsets.
    fn existing(&self, id: &GroupId) -> Result<Arc<GroupCell>, Error> {
        let cell = self.cells.lock().by_id.get(id).cloned();
        cell.filter(|cell| !cell.state.lock().is_idle())
            .ok_or_else(|| GroupError::GroupNotFound { group: id.clone() }.into())
    }

    pub(super) fn all(&self) -> Vec<Arc<GroupCell>> {
        self.cells.lock().by_id.values().cloned().collect()
    }

    /// All groups that have members or offsets.
    pub(super) fn list(&self) -> Vec<Arc<GroupCell>> {
        let mut cells = self.all();
        cells.retain(|cell| !cell.state.lock().is_idle());
        cells
    }

    /// The ids of all groups that have members or offsets.
    pub(crate) fn ids(&self) -> Vec<GroupId> {
        self.list().iter().map(|cell| cell.id.clone()).collect()
    }

    /// The ids of those that are in one of these states.
    pub(crate) fn ids_in(&self, states: &[GroupState]) -> Vec<GroupId> {
        let mut cells = self.all();
        cells.retain(|cell| {
            self.expire_members(cell);
            self.with(cell, |state, now| {
                state.group.advance_quietly(now);
                !state.is_idle() && states.contains(&state.group.state())
            })
        });
        cells.iter().map(|cell| cell.id.clone()).collect()
    }

    /// A group as it is now.
    pub(super) fn describe(&self, cell: &GroupCell) -> GroupDescription {
        self.expire_members(cell);
        self.with(cell, |state, now| {
            state.group.advance_quietly(now);
            state.group.describe()
        })
    }

    /// A group as it is now, if it has members or offsets.
    pub(crate) fn describe_existing(&self, id: &GroupId) -> Result<GroupDescription, Error> {
        Ok(self.describe(&*self.existing(id)?))
    }

    /// Does something with a group, then what the group asks for.
    pub(super) fn with<T>(
        &self,
        cell: &GroupCell,
        act: impl FnOnce(&mut CellState, Duration) -> T,
    ) -> T {
        let now = self.now();
        let mut state = cell.state.lock();
        state.take_in();
        state.quiet_until = None;
        let result = act(&mut state, now);
        self.follow_up(cell, &mut state);
        result
    }

    pub(super) fn follow_up(&self, cell: &GroupCell, state: &mut CellState) {
        if state.group.is_emptiness_changed() {
            state.group.notice_emptiness(self.wall());
        }
        let effects = state.group.take_effects();
        for member in &effects.wake {
            if let Some(seat) = state.members.get(member) {
                seat.inbox.raise_group();
            }
            if !state.group.knows(member) {
                state.unseat(member);
            }
        }
        if effects.looks_sooner && !self.catalog.environment.has_thread {
            // Those who sleep until the deadline that they knew are the only ones who look.
            state.members.values().for_each(|seat| seat.inbox.nudge());
        }
        for place in &effects.dropped_offsets {
            // Lost with the process at worst; the topic's id tells at the next open that they are void.
            let _tidy = self.store.append(&cell.id, place, None);
        }
        // Nobody waits for it. If it is lost with the process, the next open counts from its own time, or
        // from the older one; a commit later than that counts for itself.
        let _counted_anew = match effects.emptiness {
            Some(Emptiness::Since(since)) => self.store.append_empty_since(&cell.id, Some(since)),
            Some(Emptiness::Over) => self.store.append_empty_since(&cell.id, None),
            None => Ok(()),
        };
    }

    /// Tells all groups that topics came, went or grew.
    pub(crate) fn topics_changed(&self) {
        let topics = self.topics();
        for cell in self.all() {
            self.with(&cell, |state, now| state.group.topics_changed(now, &topics));
        }
    }

    /// Removes members and offsets whose time is up; keeps the store short.
    pub(crate) fn housekeep(&self, now: Duration) {
        for cell in self.all() {
            self.expire_members(&cell);
        }
        if self.rewrites.is_due(now) {
            let _tried_again_later = self.rewrite();
        }
        if !self.expiries.is_due(now) {
            return;
        }
        let wall = self.settled_wall();
        for cell in self.list() {
            let (staged, _tried_again_later) = {
                let mut state = cell.state.lock();
                let mut expired = state.group.expire_offsets(wall);
                expired.retain(|place| !state.in_flight.changes(place));
                self.hand_over(&cell, &mut state, removals(expired))
            };
            let _tried_again_later = staged.finish();
            // What is on record about a group that has nothing left goes as well.
            self.with(&cell, |_, _| ());
        }
        self.cells.lock().sweep();
    }

    /// Removes members that have stopped polling, if that is due: at the next deadline that is known, and
    /// once in a while, since another may have come before it. Cheap enough for every poll.
    pub(super) fn look_around(&self, cell: &GroupCell, now: Duration) {
        if nanos(now) >= cell.next_look.load(Ordering::Acquire) {
            let deadline = self.expire_members(cell).unwrap_or(Duration::MAX);
            let next = deadline.min(now.saturating_add(LOOK_INTERVAL));
            cell.next_look.store(nanos(next), Ordering::Release);
        }
    }

    /// Removes members that have stopped polling. Returns when to look again.
    pub(super) fn expire_members(&self, cell: &GroupCell) -> Option<Duration> {
        let now = self.now();
        // Who polls in vain must not pay for a look at all members.
        let quiet = cell.state.lock().quiet_until.filter(|until| *until > now);
        if quiet.is_some() {
            return quiet;
        }
        self.with(cell, |state, now| {
            if state.group.next_deadline()? <= now {
                for (member, seat) in &state.members {
                    state.group.touch(seat.last_poll(now), member);
                }
                let _woken_by_what_follows = state.group.expire(now);
            }
            state.quiet_until = state.group.next_deadline();
            state.quiet_until
        })
    }

    /// Deletes a group with its offsets. If that fails the group is there still, with what is left.
    pub(super) fn delete(&self, cell: &Arc<GroupCell>) -> Result<(), Error> {
        self.expire_members(cell);
        self.remove_offsets(cell, Group::check_delete)?;
        // What is on record about it goes as well.
        self.with(cell, |_, _| ());
        self.bury(cell);
        Ok(())
    }

    /// Ends a group that has nothing left. Whoever came meanwhile, and be it a commit, came to a group that
    /// begins anew. Otherwise it is dead and out of the map at once, for whoever meets it to find the next
    /// of its name.
    pub(super) fn bury(&self, cell: &GroupCell) {
        let mut cells = self.cells.lock();
        let mut state = cell.state.lock();
        if state.is_idle() && state.group.bury() {
            cells.by_id.remove(&cell.id);
        }
    }

    /// The group, or the next one of its name if it was deleted.
    pub(super) fn living(&self, cell: &Arc<GroupCell>) -> Arc<GroupCell> {
        if cell.state.lock().group.is_dead() {
            self.cell(&cell.id)
        } else {
            Arc::clone(cell)
        }
    }

    /// Moves commits on that nobody waits for.
    pub(super) fn write_waiting(&self) {
        self.store.write_waiting();
    }

    /// An inbox for a new consumer.
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        let inbox = Arc::default();
        let mut inboxes = self.inboxes.lock();
        if inboxes.len() == inboxes.capacity() {
            // Only then, so that each costs little however many there are.
            inboxes.retain(|other: &Weak<Inbox>| other.strong_count() > 0);
        }
        inboxes.push(Arc::downgrade(&inbox));
        inbox
    }

    /// Wakes every consumer, since the log is closed. Their partitions may not: of one that is paused no news
    /// is told.
    pub(crate) fn wake_all(&self) {
        for inbox in &*self.inboxes.lock() {
            if let Some(inbox) = inbox.upgrade() {
                inbox.nudge();
            }
        }
    }
}

impl CellState {
    /// Gives a member its seat.
    pub(super) fn seat(&mut self, member: MemberId, seat: Arc<MemberSeat>) {
        self.members.insert(member, seat);
    }

    /// Takes it away.
    pub(super) fn unseat(&mut self, member: &MemberId) {
        self.members.remove(member);
    }
}
