//! [`Catalog`]: the topics of a log.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::mem;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::directory::{
    PartitionMark, TOPICS, TopicMeta, create_topic_directory, is_topic, list_topics,
    make_topics_directory, read_clean_close, read_log_id, remove_clean_close, remove_tree,
    retire_topic_directory, sync_names, topic_directory, write_clean_close, write_log_id,
    write_topic_meta,
};
use super::owner::Owner;
use super::report::{PartitionRecovery, RecoveryReport, VerifyReport};
use super::state::TopicState;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, FormatError, LogError, TopicError};
use crate::format::Identity;
use crate::log::{Accumulator, CleanMark, Log, Place, check_held};
use crate::name::{Id, TopicName, TopicPartition};
use crate::options::TopicOptions;
use crate::random::Random;
use crate::storage::{Storage, StorageLock};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, Panics, RwLock};

/// What a log gets from outside.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Random>,
    /// Whether a housekeeping thread writes and syncs what nobody waits for.
    pub(crate) has_thread: bool,
}

/// The topics of a log that is open.
pub(crate) struct Catalog {
    pub(crate) environment: Environment,
    pub(crate) accumulator: Arc<Accumulator>,
    pub(super) log_id: Id,
    owner: Arc<Owner>,
    pub(super) read_only: bool,
    pub(super) topics: RwLock<BTreeMap<TopicName, Arc<TopicState>>>,
    /// One change at a time.
    pub(super) changes: Mutex<Changes>,
    /// Rises with every change, so that groups notice.
    version: AtomicU64,
    closed: AtomicBool,
    /// What the last clean close knew of and the opening did not find.
    lost: Vec<Lost>,
    /// Is called after every change of the topics.
    changed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Says how many topics there are: every handle leads here, and from here to all that is stored.
impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("topics", &self.topics.read().len())
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// Held while topics are made, changed and deleted.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// One of them has failed, and may have left a name that is to be seen and not on disk.
    failed: bool,
}

impl Changes {
    /// Does something that may leave such a name if it fails, or if a storage of the user's panics in it.
    fn attempt<T, E>(&mut self, act: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let failed = mem::replace(&mut self.failed, true);
        let done = act();
        self.failed = failed || done.is_err();
        done
    }
}

/// What a clean close left, by topic and partition.
pub(super) type CloseMarks = HashMap<(Id, u32), CleanMark>;

pub(super) fn marks(close: Vec<PartitionMark>) -> CloseMarks {
    close
        .into_iter()
        .map(|(topic, partition, mark)| ((topic, partition), mark))
        .collect()
}

/// A partition that had records at a clean close and is gone with its topic. Nothing is left of such a topic
/// but its id, which stands for its name.
#[derive(Debug)]
pub(super) struct Lost {
    mark: PartitionMark,
    partition: TopicPartition,
    pub(super) error: Error,
}

/// The partitions that had records at a clean close and are gone.
pub(super) fn lost(close: &[PartitionMark], topics: &[TopicMeta]) -> Vec<Lost> {
    let known: HashMap<_, _> = topics.iter().map(|topic| (topic.id, topic)).collect();
    let lost = |of: &PartitionMark| {
        let (id, partition, mark) = of;
        let topic = known.get(id);
        let is_there = topic.is_some_and(|topic| *partition < topic.options.partitions);
        if is_there || mark.end <= mark.start {
            return None;
        }
        let name = topic.map_or_else(|| id.to_string(), |topic| topic.name.clone());
        let partition = TopicPartition::new(TopicName::new(&name).ok()?, *partition);
        let problem = "the partition had records at the last close and is not there any more";
        let error = Error::from(FormatError::damaged("log", problem)).at_offset(mark.start);
        let error = error.at_path(Path::new(TOPICS)).in_partition(&partition);
        let mark = *of;
        Some(Lost {
            mark,
            partition,
            error,
        })
    };
    close.iter().filter_map(lost).collect()
}

impl Catalog {
    /// Opens a log for writing; makes it if there is none.
    pub(crate) fn open(
        environment: Environment,
        accumulator: Arc<Accumulator>,
        note: &str,
    ) -> Result<(Arc<Self>, RecoveryReport), Error> {
        let storage = Arc::clone(&environment.storage);
        let owner = Owner::take(&*storage, note)?;
        let log_id = if let Some(id) = read_log_id(&*storage)? {
            id
        } else {
            let id = environment.random.id();
            write_log_id(&*storage, id)?;
            id
        };
        make_topics_directory(&*storage)?;
        let close = match read_clean_close(&*storage, log_id) {
            Ok(close) => close,
            // Without the mark everything is scanned, so a damaged one costs only time.
            Err(error) if error.path().is_some() && error.kind() == ErrorKind::Corrupt => None,
            Err(error) => return Err(error),
        };
        let listed = list_topics(&*storage, log_id)?.whole()?;
        let topics = listed.topics;
        // A test opens a log with the same seed again and again; a new topic is none of those all the same.
        for topic in &topics {
            environment.random.stir(topic.id);
        }
        let mut catalog = Self::new(environment, accumulator, log_id, owner, false);
        let mut report = RecoveryReport {
            closed_cleanly: close.is_some(),
            ..RecoveryReport::default()
        };
        if close.is_none() {
            sync_names(&*storage, &topics)?;
        }
        let close = close.unwrap_or_default();
        catalog.lost = lost(&close, &topics);
        for lost in &catalog.lost {
            report.note_damage(&lost.partition, lost.error.clone());
        }
        let catalog = Arc::new(catalog);
        let marks = marks(close);
        for leftover in listed.leftovers {
            remove_tree(&*storage, &leftover);
        }
        for meta in topics {
            catalog.open_topic(meta, &marks, Some(&mut report))?;
        }
        // Nothing was written yet that it does not tell of; what it proves of damage is kept elsewhere.
        if let Err(error) = remove_clean_close(&*storage) {
            catalog.close_unopened();
            return Err(error);
        }
        for topic in catalog.list() {
            topic.logs().for_each(Log::publish_later);
        }
        Ok((catalog, report))
    }

    pub(super) fn new(
        environment: Environment,
        accumulator: Arc<Accumulator>,
        log_id: Id,
        owner: Arc<Owner>,
        read_only: bool,
    ) -> Self {
        Self {
            environment,
            accumulator,
            log_id,
            owner,
            read_only,
            topics: RwLock::new(BTreeMap::new()),
            changes: Mutex::default(),
            version: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            lost: Vec::new(),
            changed: OnceLock::new(),
        }
    }

    /// Sets what is called after every change of the topics. For one caller.
    pub(crate) fn on_change(&self, changed: Box<dyn Fn() + Send + Sync>) {
        let _only_once = self.changed.set(changed);
    }

    pub(super) fn note_change(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// To be called without a lock held.
    fn tell_change(&self) {
        if let Some(changed) = self.changed.get() {
            changed();
        }
    }

    fn place(&self, topic: &TopicState, partition: u32) -> Place {
        Place::new(
            TopicPartition::new(topic.name.clone(), partition),
            Identity {
                log: self.log_id,
                topic: topic.id,
                partition,
            },
            topic.directory.join(partition.to_string()),
            Arc::clone(&self.environment.storage),
            Arc::clone(&self.environment.clock),
            Arc::<Owner>::clone(&self.owner),
        )
    }

    pub(super) fn open_topic(
        &self,
        meta: TopicMeta,
        marks: &CloseMarks,
        mut report: Option<&mut RecoveryReport>,
    ) -> Result<(), Error> {
        let name = TopicName::new(&meta.name)?;
        let directory = topic_directory(&name);
        let topic = Arc::new(TopicState::new(name, meta.id, directory, meta.options));
        for partition in 0..topic.options().partitions {
            let mark = marks.get(&(topic.id, partition)).copied();
            self.open_partition(&topic, partition, mark, report.as_deref_mut())?;
        }
        self.topics.write().insert(topic.name.clone(), topic);
        self.note_change();
        Ok(())
    }

    pub(super) fn open_partition(
        &self,
        topic: &TopicState,
        partition: u32,
        mark: Option<CleanMark>,
        report: Option<&mut RecoveryReport>,
    ) -> Result<(), Error> {
        let place = self.place(topic, partition);
        let name = place.name.clone();
        let accumulator = Arc::clone(&self.accumulator);
        if self.read_only {
            topic.add(Log::open_read_only(
                place,
                topic.options(),
                accumulator,
                mark,
            )?);
            return Ok(());
        }
        let (log, recovery) = Log::open(place, topic.options(), accumulator, mark)?;
        topic.add(log);
        if let Some(report) = report {
            report.partitions.push(PartitionRecovery {
                topic_partition: name,
                recovery,
            });
        }
        Ok(())
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(LogError::Closed.into());
        }
        Ok(())
    }

    /// Begins a change of the topics. Looks whether that may be only once nobody else is at it: a log that is
    /// closed belongs to whoever opens it next, and so does a directory that is not this process's any more.
    fn change(&self) -> Result<MutexGuard<'_, Changes>, Error> {
        let changes = self.changes.lock();
        self.check_writable()?;
        check_held(&*self.owner)?;
        Ok(changes)
    }

    fn check_writable(&self) -> Result<(), Error> {
        self.check_open()?;
        if self.read_only {
            return Err(LogError::ReadOnly.into());
        }
        Ok(())
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A number that rises with every topic made, changed or deleted.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A topic that is there.
    pub(crate) fn topic(&self, name: &TopicName) -> Result<Arc<TopicState>, Error> {
        self.check_open()?;
        self.find(name)
            .ok_or_else(|| Error::from(TopicError::NotFound).in_topic(name))
    }

    /// The same, after a look at what the owner of a log opened read-only has. Of a topic that is there and
    /// cannot be read, the reason.
    pub(crate) fn look_up(&self, name: &TopicName) -> Result<Arc<TopicState>, Error> {
        let unread = self.follow()?;
        let directory = topic_directory(name);
        match unread.into_iter().find(|(of, _)| *of == directory) {
            Some((_, error)) => Err(error.in_topic(name)),
            None => self.topic(name),
        }
    }

    pub(crate) fn find(&self, name: &TopicName) -> Option<Arc<TopicState>> {
        self.topics.read().get(name).cloned()
    }

    /// All topics, the internal ones too, by name.
    pub(crate) fn list(&self) -> Vec<Arc<TopicState>> {
        self.topics.read().values().cloned().collect()
    }

    /// Whether a topic like this could be made.
    pub(crate) fn check_new(&self, name: &TopicName, options: &TopicOptions) -> Result<(), Error> {
        self.check_writable()?;
        options.check().map_err(|error| error.in_topic(name))?;
        if self.find(name).is_some() {
            return Err(Error::from(TopicError::AlreadyExists).in_topic(name));
        }
        // Of long names two may have the same checksums.
        let directory = topic_directory(name);
        let has_it = |topic: &TopicState| topic.directory.as_os_str() == directory.as_os_str();
        if self.topics.read().values().any(|topic| has_it(topic)) {
            return Err(Error::from(TopicError::SameDirectory).in_topic(name));
        }
        Ok(())
    }

    /// Makes a topic.
    pub(crate) fn create(
        &self,
        name: TopicName,
        options: TopicOptions,
    ) -> Result<Arc<TopicState>, Error> {
        let mut changes = self.change()?;
        self.check_new(&name, &options)?;
        let id = self.environment.random.id();
        let directory = topic_directory(&name);
        let meta = TopicMeta {
            id,
            name: name.as_str().to_owned(),
            options: options.clone(),
        };
        let storage = &*self.environment.storage;
        changes
            .attempt(|| create_topic_directory(storage, self.log_id, &directory, &meta))
            .map_err(|error| error.in_topic(&name))?;
        let topic = Arc::new(TopicState::new(name.clone(), id, directory, options));
        for partition in 0..topic.options().partitions {
            let opened = changes.attempt(|| self.open_partition(&topic, partition, None, None));
            if let Err(error) = opened {
                let retired = retire_topic_directory(storage, &topic.directory, id);
                let Ok(retired) = retired else {
                    return Err(error.with_unknown_outcome());
                };
                remove_tree(storage, &retired);
                return Err(error);
            }
        }
        self.topics.write().insert(name, Arc::clone(&topic));
        self.note_change();
        drop(changes);
        self.tell_change();
        Ok(topic)
    }

    /// Changes a topic's options, all but the number of partitions.
    pub(crate) fn alter(
        &self,
        topic: &TopicState,
        change: impl Fn(TopicOptions) -> TopicOptions,
    ) -> Result<(), Error> {
        loop {
            let before = topic.options();
            // The caller's code: it is never called with a lock held.
            let options = change((*before).clone());
            let mut changes = self.change()?;
            if Arc::ptr_eq(&before, &topic.options()) {
                return self.set_options(topic, options, &mut changes);
            }
        }
    }

    fn set_options(
        &self,
        topic: &TopicState,
        mut options: TopicOptions,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        topic.check_changeable()?;
        options.partitions = topic.partition_count();
        options
            .check()
            .map_err(|error| error.in_topic(&topic.name))?;
        // After a failure nobody knows which options are on disk.
        if *topic.options() == options && !changes.failed {
            return Ok(());
        }
        changes.attempt(|| self.write_options(topic, &options))?;
        let options = Arc::new(options);
        *topic.options.write() = Arc::clone(&options);
        let mut failure = None;
        for log in topic.logs() {
            failure = log.set_options(Arc::clone(&options)).err().or(failure);
        }
        failure.map_or(Ok(()), |error| Err(error.with_unknown_outcome()))
    }

    fn write_options(&self, topic: &TopicState, options: &TopicOptions) -> Result<(), Error> {
        let name = topic.name.as_str().to_owned();
        let meta = TopicMeta {
            id: topic.id,
            name,
            options: options.clone(),
        };
        write_topic_meta(
            &*self.environment.storage,
            self.log_id,
            &topic.directory,
            &meta,
        )
        .map_err(|error| error.in_topic(&topic.name))
    }

    /// Adds partitions to a topic.
    pub(crate) fn add_partitions(&self, topic: &TopicState, count: u32) -> Result<(), Error> {
        let mut changes = self.change()?;
        topic.check_changeable()?;
        let now = topic.partition_count();
        if count <= now {
            let error = TopicError::FewerPartitions { now, asked: count };
            return Err(Error::from(error).in_topic(&topic.name));
        }
        let mut options = (*topic.options()).clone();
        options.partitions = count;
        options
            .check()
            .map_err(|error| error.in_topic(&topic.name))?;
        changes.attempt(|| self.write_options(topic, &options))?;
        let mut added =
            (now..count).map(|partition| self.open_partition(topic, partition, None, None));
        let added = added.try_for_each(|added| added);
        // Those that could not be added are when the log is opened again, or asked for again.
        options.partitions = topic.partition_count();
        *topic.options.write() = Arc::new(options);
        self.note_change();
        drop(changes);
        self.tell_change();
        added.map_err(Error::with_unknown_outcome)
    }

    /// Deletes a topic. Whoever still uses it gets `NotFound`.
    pub(crate) fn delete(&self, topic: &TopicState) -> Result<(), Error> {
        let mut changes = self.change()?;
        topic.check_changeable()?;
        let storage = &*self.environment.storage;
        let held: Vec<_> = topic.logs().map(|log| log.hold_writing()).collect();
        let (directory, id) = (&topic.directory, topic.id);
        let retire = || retire_topic_directory(storage, directory, id);
        let mut panics = Panics::default();
        let retired = match panics.catch(|| changes.attempt(retire)) {
            Some(Ok(retired)) => Ok(retired),
            Some(Err((error, false))) => return Err(error),
            // Nothing may be acknowledged in a directory that the next open removes. Its files stay until
            // then, so that a power cut brings back all of the topic or nothing.
            Some(Err((error, true))) => Err(error),
            None => {
                let is_there = panics.catch(|| is_topic(storage, self.log_id, directory, id));
                if is_there == Some(true) {
                    panics.resume();
                    return Ok(());
                }
                // The panic came behind the rename, as far as can be told. It goes on below.
                Err(topic.gone())
            }
        };
        topic.logs().for_each(|log| log.note_gone());
        drop(held);
        topic.mark_deleted();
        self.topics.write().remove(&topic.name);
        self.note_change();
        let gone = topic.gone();
        for log in topic.logs() {
            log.abandon(&gone);
        }
        let removed = retired.map(|retired| {
            let _later = panics.catch(|| remove_tree(storage, &retired));
        });
        drop(changes);
        self.tell_change();
        panics.resume();
        removed
    }

    /// Reads every byte of every partition, behind what was sent so far. Changes nothing else.
    pub(crate) fn verify(&self) -> Result<VerifyReport, Error> {
        self.check_open()?;
        let problems = if self.read_only {
            self.look_for_problems()?
        } else {
            self.lost.iter().map(|lost| lost.error.clone()).collect()
        };
        let mut report = VerifyReport {
            problems,
            ..VerifyReport::default()
        };
        for topic in self.list() {
            for log in topic.logs() {
                log.settle_quietly();
                let checked = log.verify();
                let sound = checked.as_ref().is_ok_and(|it| it.problems.is_empty());
                // That the topic is gone is known before its logs take no more.
                let refusal = log.refusal().filter(|_| !self.read_only);
                if topic.is_deleted() || !sound && self.is_gone(&topic) {
                    // What is missing in it is missing by right.
                    break;
                }
                // Looked at last: it is set before any log takes no more.
                self.check_open()?;
                let mut checked = checked?;
                report.partitions += 1;
                report.records += checked.records;
                report.bytes += checked.bytes;
                if checked.problems.is_empty() {
                    checked.problems.extend(refusal);
                }
                let name = |error: Error| error.in_partition(log.partition());
                report
                    .problems
                    .extend(checked.problems.into_iter().map(name));
            }
        }
        Ok(report)
    }

    /// Closes every partition and leaves the mark of a clean close. Where the directory is not this process's
    /// any more, it only accepts nothing more: what is there now is for whoever has the lock.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.close_leaving(Vec::new())
    }

    /// Closes a log whose opening has failed, so that nobody was told of what is lost: the next opening is to
    /// tell.
    pub(crate) fn close_unopened(&self) {
        let lost = self.lost.iter().map(|lost| lost.mark);
        let _why_it_failed_counts = self.close_leaving(lost.collect());
    }

    /// Closes it with these marks besides those of its partitions.
    fn close_leaving(&self, mut marks: Vec<PartitionMark>) -> Result<(), Error> {
        let changes = self.changes.lock();
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let mut panics = Panics::default();
        if !self.read_only {
            let held = panics.catch(|| check_held(&*self.owner));
            if !matches!(held, Some(Ok(()))) {
                // Where a storage of the user's panics when it is asked, nobody knows whose it is.
                for topic in self.list() {
                    topic.logs().for_each(|log| log.let_go());
                }
                self.owner.give_back();
                panics.resume();
                return held.unwrap_or(Ok(()));
            }
        }
        let mut failure = None;
        for topic in self.list() {
            for log in topic.logs() {
                // What a storage of the user's does under one of them is not to keep the others open.
                match panics.catch(|| log.close()) {
                    Some(Ok(Some(mark))) => {
                        marks.push((topic.id, log.partition().partition(), mark));
                    }
                    Some(Ok(None)) | None => {}
                    Some(Err(error)) => failure = Some(error),
                }
            }
        }
        if !self.read_only {
            let left = panics.catch(|| self.leave_marks(marks, changes.failed));
            failure = failure.or_else(|| left?.err());
        }
        self.owner.give_back();
        panics.resume();
        failure.map_or(Ok(()), Err)
    }

    /// Leaves the mark of a clean close, unless the directory is somebody else's by now.
    fn leave_marks(&self, marks: Vec<PartitionMark>, sync_all_names: bool) -> Result<(), Error> {
        if !self.owner.still_holds() {
            return Ok(());
        }
        let storage = &*self.environment.storage;
        // What the next open finds after a clean close is on disk, half-made topics too.
        if sync_all_names {
            let listed = list_topics(storage, self.log_id)?.whole()?;
            sync_names(storage, &listed.topics)?;
        }
        write_clean_close(storage, self.log_id, marks)
    }
}
