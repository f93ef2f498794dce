//! Removing the oldest records: by age, by size, or by request.
//!
//! The start offset is on disk before anything below it is removed, so a crash in between leaves files
//! that the next open removes, and never a start offset without its file. What lies below it was on disk
//! before that, at every level, so a log that ends below its start is damaged, never merely torn. So that it
//! never does, the name of the segment that comes behind what goes is on disk before that goes.

use std::sync::Arc;

use super::Log;
use super::files::{with_room_of_indexes, write_start_offset};
use super::segment::{START, Segment, Segments, count_below, is_cut_short};
use crate::error::{Error, ErrorKind, LogError};
use crate::offset::Offset;
use crate::options::TopicOptions;
use crate::timestamp::Timestamp;

/// Where nothing is left of the log, a segment of so many bytes is not kept only because the next record
/// would go there: about what a file grows by, and so what a smaller one would hardly give back.
const DEAD_BYTES_MAX: u64 = 64 * 1024;

/// What the log had when somebody looked how old or how large it is.
struct Extent {
    log_end: Offset,
    segments: Segments,
}

impl Log {
    /// Raises the log start offset to `upto`, and removes the segments that lie wholly below it.
    ///
    /// Kafka: `DeleteRecords`, KIP-107. A lower offset than the present start changes nothing; one
    /// beyond the high watermark is refused.
    pub(crate) fn delete_records(&self, upto: Offset) -> Result<Offset, Error> {
        if upto > self.marks.high_watermark() {
            // What is acknowledged from memory may not be written yet.
            self.settle_quietly();
        }
        let mut removed = self.retention.lock();
        self.check_writable()?;
        self.check_owned()?;
        let offsets = self.offsets();
        if upto > offsets.high_watermark {
            let (start, end) = (offsets.log_start, offsets.high_watermark);
            let error = LogError::OffsetOutOfRange { start, end };
            return Err(self.in_partition(error.into()).at_offset(upto));
        }
        if upto > self.marks.log_start() {
            self.move_start(upto)?;
        }
        self.replace_dead_segment()?;
        self.take_below_start(&mut removed);
        self.remove_files(&mut removed)?;
        Ok(self.marks.log_start())
    }

    /// Begins a segment if nothing is left of the log and the last one is large, so that it can go.
    fn replace_dead_segment(&self) -> Result<(), Error> {
        let extent = self.extent();
        let is_large = |last: &Arc<Segment>| last.length() >= DEAD_BYTES_MAX;
        if self.marks.log_start() < extent.log_end || !extent.segments.last().is_some_and(is_large)
        {
            return Ok(());
        }
        let options = self.options();
        match self.or_poison(|| self.roll_at(&extent, &options)) {
            // It goes with the next ones then.
            Err(error) if error.kind() == ErrorKind::Full => Ok(()),
            rolled => rolled.map(|_| ()),
        }
    }

    /// Removes what the topic's retention no longer keeps.
    ///
    /// Kafka's rules (`UnifiedLog.deleteOldSegments`), in its order: what lies below the log start, then
    /// by size, then by age; always from the oldest on, stopping at the first that stays.
    pub(crate) fn apply_retention(&self, now: Timestamp) -> Result<(), Error> {
        let mut removed = self.retention.lock();
        self.check_writable()?;
        self.check_owned()?;
        let taken = self.take_expired(&mut removed, now);
        let files = self.remove_files(&mut removed);
        taken.and(files)
    }

    fn check_owned(&self) -> Result<(), Error> {
        let owned = self.place.check_owned();
        owned.map_err(|error| self.in_partition(error))
    }

    fn take_expired(&self, removed: &mut Vec<Arc<Segment>>, now: Timestamp) -> Result<(), Error> {
        let options = self.options();
        self.take_below_start(removed);
        let extent = self.extent();
        let by_size = breaching_size(&extent, &options);
        self.take_first(by_size, &extent, &options, removed)?;
        let extent = self.extent();
        let by_age = self.breaching_age(&extent, &options, now)?;
        self.take_first(by_age, &extent, &options, removed)
    }

    /// The end first: what the segments get afterwards lies at or behind it.
    fn extent(&self) -> Extent {
        Extent {
            log_end: self.marks.log_end(),
            segments: self.segments(),
        }
    }

    /// How many segments from the start on have no record younger than `retention`.
    fn breaching_age(
        &self,
        extent: &Extent,
        options: &TopicOptions,
        now: Timestamp,
    ) -> Result<usize, Error> {
        let Some(age) = options.retention else {
            return Ok(0);
        };
        let mut count = 0;
        let segments = &extent.segments;
        for (index, segment) in segments.iter().enumerate() {
            let summary = segment
                .summary(&*self.place.storage)
                .map_err(|error| self.in_partition(error))?;
            // Nobody knows how young what is missing was.
            let empty = summary.end_offset <= segment.base_offset()
                || is_cut_short(segments, index, &summary);
            if empty || now.since(summary.max_timestamp) <= age {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Takes so many of the oldest segments out of the log; if that is all of them, begins a new one first,
    /// so that the log goes on where it was. Nothing that consumers have not been able to see yet goes, and
    /// nothing that came after the look on which it was decided.
    fn take_first(
        &self,
        count: usize,
        extent: &Extent,
        options: &TopicOptions,
        removed: &mut Vec<Arc<Segment>>,
    ) -> Result<(), Error> {
        let segments = &extent.segments;
        // Kafka: the last segment stays if there is nothing in it.
        let empty = segments.last().filter(|last| last.length() <= START);
        let count = count.min(segments.len() - usize::from(empty.is_some()));
        if count == 0 {
            return Ok(());
        }
        let high_watermark = self.marks.high_watermark();
        let start = match segments.get(count) {
            Some(next) => next.base_offset(),
            None => extent.log_end,
        };
        // Those before it go all the same.
        let without_the_last = |removed| self.take_first(count - 1, extent, options, removed);
        if start > high_watermark {
            return without_the_last(removed);
        }
        if count >= segments.len() {
            match self.or_poison(|| self.roll_at(extent, options)) {
                Ok(true) => {}
                Ok(false) => return without_the_last(removed),
                // And make room.
                Err(error) if error.kind() == ErrorKind::Full && count > 1 => {
                    return without_the_last(removed);
                }
                Err(error) => return Err(error),
            }
        }
        self.move_start(start)?;
        self.take_below_start(removed);
        Ok(())
    }

    /// Begins a segment at the log's end, unless the log has changed since `extent` was taken. Returns
    /// whether it has begun one.
    fn roll_at(&self, extent: &Extent, options: &TopicOptions) -> Result<bool, Error> {
        let mut writer = self.writer.lock();
        let end = extent.log_end;
        let is_same = Arc::ptr_eq(&extent.segments, &self.segments());
        let begins_here = |last: &Arc<Segment>| last.base_offset() == end;
        if self.marks.log_end() != end
            || !is_same
            || extent.segments.last().is_some_and(begins_here)
        {
            return Ok(false);
        }
        let recovery_point = self.marks.recovery_point();
        let rolled = writer.roll(&self.place, options, end, recovery_point);
        if let Some(segment) = writer.take_begun() {
            self.add_segment(segment);
        }
        let poisoned = writer.is_poisoned();
        drop(writer);
        if poisoned {
            self.refuse_poisoned();
        }
        rolled
            .map(|()| true)
            .map_err(|error| self.in_partition(error))
    }

    fn move_start(&self, start: Offset) -> Result<(), Error> {
        let place = &self.place;
        if start > self.marks.recovery_point() {
            self.sync_beside_writing()?;
        }
        if start > self.marks.recovery_point() {
            self.sync()?;
        }
        place.make_directory(true)?;
        // What is to go makes room for that, if there is none.
        let segments = self.segments();
        let bases = segments.iter().map(|segment| segment.base_offset());
        let going = bases.clone().take(count_below(bases, start));
        let recorded = with_room_of_indexes(place, going, || write_start_offset(place, start));
        recorded.map_err(|error| self.in_partition(error))?;
        self.marks.raise_log_start(start);
        Ok(())
    }

    /// Takes the segments that lie wholly below the log start out of the log; the active one always stays.
    fn take_below_start(&self, removed: &mut Vec<Arc<Segment>>) {
        let start = self.marks.log_start();
        let mut segments = self.segments.write();
        let bases = segments.iter().map(|segment| segment.base_offset());
        let count = count_below(bases, start);
        if count > 0 {
            removed.extend(segments.iter().take(count).cloned());
            *segments = Arc::new(segments.iter().skip(count).cloned().collect());
        }
    }

    /// Removes the files of what was taken out of the log. Where that fails the others go all the same, and
    /// the next removal tries again.
    fn remove_files(&self, removed: &mut Vec<Arc<Segment>>) -> Result<(), Error> {
        if removed.is_empty() {
            return Ok(());
        }
        // The segment behind them may have a name that a power cut takes away, and those removed before one
        // that it brings back: an older one alone would be a log that ends below its start.
        let synced = self.place.sync_directory();
        synced.map_err(|error| self.in_partition(error).with_unknown_outcome())?;
        let mut failure = None;
        removed.retain(|segment| {
            let gone = segment.remove(&*self.place.storage);
            let failed = gone.is_err();
            failure = failure.take().or_else(|| gone.err());
            failed
        });
        failure.map_or(Ok(()), |error| {
            Err(self.in_partition(error).with_unknown_outcome())
        })
    }
}

/// How many segments from the start on may go while the rest still has `retention_bytes`.
fn breaching_size(extent: &Extent, options: &TopicOptions) -> usize {
    let Some(limit) = options.retention_bytes else {
        return 0;
    };
    let segments = &extent.segments;
    let total: u64 = segments.iter().map(|segment| segment.length()).sum();
    let mut excess = total.saturating_sub(limit);
    if total < limit {
        return 0;
    }
    let fits = |segment: &Arc<Segment>| {
        let fits = excess >= segment.length();
        excess = excess.saturating_sub(segment.length());
        fits
    };
    segments.iter().map(fits).take_while(|fits| *fits).count()
}

#[cfg(test)]
mod tests {
    use crate::{EventLog, Record, TopicOptions};

    /// It would stand in the place of what came meanwhile.
    #[test]
    fn no_segment_is_begun_where_the_log_ended_when_somebody_looked() {
        let log = EventLog::in_memory().unwrap();
        let topic = log.create_topic("t", TopicOptions::new()).unwrap();
        let send = || topic.producer().send_and_wait(Record::new("x")).unwrap();
        send();
        let log = &topic.partition(0).unwrap().log;
        let begins = |extent| log.roll_at(extent, &log.options()).unwrap();
        let extent = log.extent();
        send();
        assert!(!begins(&extent));
        let extent = log.extent();
        assert!(begins(&extent));
        assert!(!begins(&extent), "it is begun already");
        assert!(!begins(&log.extent()), "likewise");
    }
}
