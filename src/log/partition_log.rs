//! [`Log`]: one partition's log as the rest of the crate holds it.

use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::Place;
use super::accumulator::Accumulator;
use super::files::list;
use super::offsets::{LogOffsets, Marks};
use super::queue::Queue;
use super::recovery::{CleanMark, recover};
use super::report::Recovery;
use super::segment::{Segment, Segments};
use super::writer::{NotSynced, Writer, Written};
use crate::error::{Error, ErrorKind, LogError};
use crate::name::TopicPartition;
use crate::offset::Offset;
use crate::options::{Durability, TopicOptions};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, RwLock, Thread};

/// Is told when a log has something new: records to read, or records to be written by whoever waits.
pub(crate) trait Listener: Debug + Send + Sync {
    /// Must be quick, and must not call back into the log.
    fn notify(&self);
}

/// Those who want to be told.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    count: AtomicUsize,
    list: Mutex<Vec<Arc<dyn Listener>>>,
}

impl Listeners {
    #[inline]
    pub(super) fn notify(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            for listener in &*self.list.lock() {
                listener.notify();
            }
        }
    }
}

/// Why a log accepts no records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Closed,
    Poisoned,
}

/// What the last checkpoint told readers in other processes. Held while one is written.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) high_watermark: Offset,
    pub(super) at: Duration,
}

/// One partition's log.
pub(crate) struct Log {
    pub(super) place: Place,
    pub(super) accumulator: Arc<Accumulator>,
    pub(super) marks: Marks,
    /// Senders and whoever writes for them meet here; held for moments only.
    pub(super) queue: Mutex<Queue>,
    /// Waits with the queue's lock.
    pub(super) round_done: Condvar,
    /// Held while writing and syncing.
    pub(super) writer: Mutex<Writer>,
    /// Whether somebody may sync beside the writing; held while that is done. Of an error of the disk only
    /// one of two who sync at once may be told, so nobody else does who has something to say of it.
    pub(super) beside: Mutex<bool>,
    /// What readers go by: replaced as a whole.
    pub(super) segments: RwLock<Segments>,
    /// What is not in the log any more and whose files are still to be removed. Held while something is; in a
    /// log opened read-only, by who looks what the owner has done.
    pub(super) retention: Mutex<Vec<Arc<Segment>>>,
    pub(super) published: Mutex<Published>,
    pub(super) listeners: Listeners,
    /// Nobody syncs any more: what a round that was under way has written is not acknowledged.
    pub(super) let_go: AtomicBool,
    read_only: bool,
}

/// Says which one it is: every handle and delivery leads here, and it holds what was sent.
impl Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log")
            .field(&format_args!("{}", self.place.name))
            .finish()
    }
}

impl Log {
    /// Opens a partition for reading and writing.
    pub(crate) fn open(
        place: Place,
        options: Arc<TopicOptions>,
        accumulator: Arc<Accumulator>,
        mark: Option<CleanMark>,
    ) -> Result<(Arc<Self>, Recovery), Error> {
        let recovered = recover(&place, mark).map_err(|error| error.in_partition(&place.name))?;
        let mut writer = Writer::default();
        if let (Some(active), Some(last)) = (recovered.active, recovered.segments.last()) {
            writer.resume(Arc::clone(last), active);
        }
        if let (Some(mark), Recovery::Clean) = (mark, &recovered.outcome) {
            writer.resume_closed(mark);
        }
        let mut queue = Queue::new(options, recovered.offsets.log_end);
        queue.refusal = recovered
            .refusal
            .map(|error| error.in_partition(&place.name));
        let outcome = match recovered.outcome {
            Recovery::Damaged { error } => Recovery::Damaged {
                error: error.in_partition(&place.name),
            },
            other => other,
        };
        let log = Self::assemble(
            place,
            accumulator,
            recovered.offsets,
            queue,
            writer,
            recovered.segments,
            false,
        );
        if recovered.published {
            log.published.lock().high_watermark = recovered.offsets.log_end;
        }
        Ok((Arc::new(log), outcome))
    }

    pub(super) fn assemble(
        place: Place,
        accumulator: Arc<Accumulator>,
        offsets: LogOffsets,
        queue: Queue,
        writer: Writer,
        segments: Vec<Arc<Segment>>,
        read_only: bool,
    ) -> Self {
        let beside = !read_only && queue.options.durability != Durability::Disk;
        Self {
            place,
            accumulator,
            marks: Marks::new(offsets),
            queue: Mutex::new(queue),
            round_done: Condvar::new(),
            writer: Mutex::new(writer),
            beside: Mutex::new(beside),
            segments: RwLock::new(Arc::new(segments)),
            retention: Mutex::default(),
            published: Mutex::new(Published::default()),
            listeners: Listeners::default(),
            let_go: AtomicBool::new(false),
            read_only,
        }
    }

    /// The partition's name.
    pub(crate) fn partition(&self) -> &TopicPartition {
        &self.place.name
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Where the log begins and ends now.
    pub(crate) fn offsets(&self) -> LogOffsets {
        self.marks.snapshot()
    }

    /// The end of what may be read now.
    #[inline]
    pub(crate) fn high_watermark(&self) -> Offset {
        self.marks.high_watermark()
    }

    /// The bytes of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.length()).sum()
    }

    /// How many segments there are.
    pub(crate) fn segment_count(&self) -> usize {
        self.segments().len()
    }

    pub(super) fn segments(&self) -> Segments {
        Arc::clone(&self.segments.read())
    }

    pub(super) fn add_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write();
        let mut longer = Vec::with_capacity(segments.len() + 1);
        longer.extend(segments.iter().cloned());
        longer.push(segment);
        *segments = Arc::new(longer);
    }

    pub(super) fn options(&self) -> Arc<TopicOptions> {
        Arc::clone(&self.queue.lock().options)
    }

    /// Sets other options. What was sent before is brought to the durability it was sent under; what is
    /// in the log already is brought to the new one, unless the log takes no records.
    pub(crate) fn set_options(&self, options: Arc<TopicOptions>) -> Result<(), Error> {
        let durable = options.durability == Durability::Disk;
        // If one fails, the options change all the same.
        self.settle_quietly();
        if durable {
            // From now on whoever waits for a sync syncs, and nobody beside.
            *self.beside.lock() = false;
        }
        let mut queue = self.queue.lock();
        while queue.busy {
            self.wait_for_round(&mut queue);
        }
        queue.close_batch();
        // What was sent in this moment comes first, and was promised nothing yet.
        let waiting = queue.unwritten().filter(|batch| batch.promised.is_none());
        let waiting = waiting.map(|batch| u64::from(batch.builder.count()));
        let waiting = waiting.sum::<u64>();
        queue.next_offset = queue.next_offset.max(self.marks.log_end()) + waiting;
        let was_durable = queue.options.durability == Durability::Disk;
        queue.options = options;
        let refused = queue.refusal.is_some();
        drop(queue);
        if self.read_only {
            return Ok(());
        }
        if !durable {
            *self.beside.lock() = true;
        } else if !was_durable && !refused {
            // Also what was sent meanwhile; should that fail, all else is to be synced none the less.
            self.settle_quietly();
            self.sync_written_so_far()?;
        }
        Ok(())
    }

    /// Puts the log's name on an error.
    pub(super) fn in_partition(&self, error: Error) -> Error {
        error.in_partition(&self.place.name)
    }

    /// An error if the log takes no appends.
    pub(super) fn check_writable(&self) -> Result<(), Error> {
        match &self.queue.lock().refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(()),
        }
    }

    /// Why the log takes no appends, if it does not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.queue.lock().refusal.clone()
    }

    pub(super) fn refuse_poisoned(&self) {
        let error = self.in_partition(LogError::Poisoned.into());
        self.refuse(&mut self.queue.lock(), error, Refusal::Poisoned);
    }

    /// Accepts no more records, for this reason. Who waits for memory to send one learns of it at once.
    pub(super) fn refuse(&self, queue: &mut Queue, error: Error, refusal: Refusal) {
        queue.refuse(error, refusal);
        self.accumulator.tell_refused();
    }

    /// Makes everything written so far durable, whatever the topic's level.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.settle_all()?;
        self.sync_written_so_far()
    }

    fn sync_written_so_far(&self) -> Result<(), Error> {
        let _alone = self.beside.lock();
        self.check_writable()?;
        let synced = self.or_poison(|| {
            let mut writer = self.writer.lock();
            // Whoever deletes the topic holds the writer as it says so.
            let there = self.place.check_there();
            if there.is_err() {
                return Ok(there);
            }
            let end = self.marks.log_end();
            if !writer.is_synced() {
                // Names that cannot be reached now are met before anything is synced: nothing is lost then.
                if let Err(error) = list(&self.place) {
                    return Ok(Err(self.in_partition(error)));
                }
                writer.sync(&self.place)?;
                self.marks.raise_recovery_point(end);
                self.marks.raise_high_watermark(end);
            }
            Ok(Ok(()))
        });
        synced.unwrap_or_else(|error: Error| {
            self.refuse_poisoned();
            Err(self.in_partition(error))
        })
    }

    /// Does what no round does, with the writer or what it has written. If a storage or a clock of the user's
    /// panics in it, nobody knows what the disk holds.
    pub(super) fn or_poison<T>(&self, work: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            self.writer.lock().note_failed_sync();
            self.refuse_poisoned();
            resume_unwind(panic)
        })
    }

    /// Makes what was written so far durable while others go on writing, if it is much, so that a crash
    /// leaves little to scan. For topics below `Disk`, where nobody waits for it. Returns whether it was.
    pub(crate) fn sync_beside_writing(&self) -> Result<bool, Error> {
        // Nobody who does so as a chore waits for those who have to.
        let Some(may) = self.beside.try_lock() else {
            return Ok(false);
        };
        if !*may || self.refusal().is_some() {
            return Ok(false);
        }
        match self.written() {
            Some(written) => self.sync_written(&written).map(|()| true),
            None => Ok(false),
        }
    }

    pub(super) fn written(&self) -> Option<Written> {
        let writer = self.writer.lock();
        writer.written(self.marks.log_end())
    }

    pub(super) fn sync_written(&self, written: &Written) -> Result<(), Error> {
        let is_in_log = |segment: &Arc<Segment>| {
            let segments = self.segments();
            segments.iter().any(|other| Arc::ptr_eq(other, segment))
        };
        let sync = || {
            written.sync(&self.place, is_in_log)?;
            let named = self.place.sync_directory();
            named.map_err(NotSynced::NothingLost)
        };
        match self.or_poison(sync) {
            Ok(()) => {
                let mut writer = self.writer.lock();
                let noted = writer.note_synced(written);
                noted.map_err(|error| self.in_partition(error))?;
                self.marks.raise_recovery_point(written.end());
                self.write_checkpoint(&mut writer, self.marks.high_watermark());
                Ok(())
            }
            Err(NotSynced::NothingLost(error)) => Err(self.in_partition(error)),
            Err(NotSynced::SyncFailed(error)) => {
                self.writer.lock().note_failed_sync();
                self.refuse_poisoned();
                Err(self.in_partition(error))
            }
        }
    }

    /// Writes down how far the log is durable. The writer is held, so that none overtakes a younger one.
    pub(super) fn write_checkpoint(&self, writer: &mut Writer, high_watermark: Offset) {
        if let Some(checkpoint) = writer.checkpoint(self.marks.log_end(), high_watermark) {
            let _published = self.published.lock();
            self.place.write_checkpoint(&checkpoint);
        }
    }

    /// Tells `listener` of everything new from now on.
    pub(crate) fn listen(&self, listener: Arc<dyn Listener>) {
        let mut list = self.listeners.list.lock();
        list.push(listener);
        self.listeners.count.store(list.len(), Ordering::SeqCst);
    }

    /// Tells it no more.
    pub(crate) fn unlisten(&self, listener: &Arc<dyn Listener>) {
        let mut list = self.listeners.list.lock();
        list.retain(|other| !Arc::ptr_eq(other, listener));
        self.listeners.count.store(list.len(), Ordering::SeqCst);
    }

    /// Writes and syncs everything, whatever the level, and accepts nothing more. Returns the mark by
    /// which the next open knows that nothing has to be scanned; none if the log cannot vouch for it.
    pub(crate) fn close(&self) -> Result<Option<CleanMark>, Error> {
        // First nothing more is accepted: what is settled then is all there is.
        let refusal = {
            let mut queue = self.queue.lock();
            let refusal = queue.refusal.clone();
            let error = self.in_partition(LogError::Closed.into());
            self.refuse(&mut queue, error, Refusal::Closed);
            refusal
        };
        let flushed = self.flush();
        {
            let mut queue = self.queue.lock();
            while queue.busy {
                self.wait_for_round(&mut queue);
            }
            self.unlist(&mut queue);
        }
        self.listeners.notify();
        // Whoever removes records now would do so in a directory that may soon be somebody else's.
        let _retention = self.retention.lock();
        if refusal.is_some() || self.read_only {
            flushed?;
            // Then not all that it has is on disk.
            let poisoned = refusal.filter(|error| error.kind() == ErrorKind::Poisoned);
            return poisoned.map_or(Ok(None), Err);
        }
        let start = self.marks.log_start();
        let as_closed = self.writer.lock().as_closed();
        if let Some(mark) = as_closed.filter(|mark| mark.start == start) {
            flushed?;
            return Ok(Some(mark));
        }
        let (segment, end) = {
            let _alone = self.beside.lock();
            let mut writer = self.writer.lock();
            let _published = self.published.lock();
            let end = self.marks.log_end();
            let segment = writer.close(&self.place, end);
            (segment.map_err(|error| self.in_partition(error))?, end)
        };
        flushed?;
        self.marks.raise_recovery_point(end);
        Ok(Some(CleanMark {
            start,
            end,
            segment,
        }))
    }

    /// Keeps everybody from writing as long as it is held: by whoever takes the directory away, since who
    /// begins a segment then would not know why it fails.
    pub(crate) fn hold_writing(&self) -> impl Sized {
        self.writer.lock()
    }

    /// Takes note that the partition's directory is gone for good.
    pub(crate) fn note_gone(&self) {
        self.place.gone.store(true, Ordering::Release);
    }

    /// Accepts nothing more and touches nothing: the directory was replaced, or this process is a fork of its
    /// owner. Waits for nobody, since a fork has none of the threads that may have been at work.
    pub(crate) fn let_go(&self) {
        let error = self.in_partition(LogError::Closed.into());
        let mut queue = self.queue.lock();
        self.unlist(&mut queue);
        self.refuse(&mut queue, error.clone(), Refusal::Closed);
        self.let_go.store(true, Ordering::Relaxed);
        self.end_waiting(queue, &error);
    }

    /// Tells everybody who waits that nothing more comes.
    fn end_waiting(&self, mut queue: MutexGuard<'_, Queue>, error: &Error) {
        let mut woken = Vec::new();
        self.fail_waiting(&mut queue, error, &mut woken);
        drop(queue);
        woken.iter().for_each(Thread::unpark);
        self.listeners.notify();
    }

    /// Accepts nothing more, writes nothing more: the topic is being deleted. On return nobody is at work who
    /// could touch what is made anew in its place.
    pub(crate) fn abandon(&self, error: &Error) {
        self.note_gone();
        let mut queue = self.queue.lock();
        self.unlist(&mut queue);
        self.refuse(&mut queue, error.clone(), Refusal::Closed);
        // Whoever is writing puts what waits for a sync into the queue afterwards.
        while queue.busy {
            self.wait_for_round(&mut queue);
        }
        self.end_waiting(queue, error);
        self.segments()
            .iter()
            .for_each(|segment| segment.note_removed());
        drop(self.beside.lock());
        drop(self.retention.lock());
        drop(self.writer.lock());
        drop(self.published.lock());
    }
}
