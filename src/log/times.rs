//! Finding records by their timestamps.

use std::mem;
use std::sync::Arc;

use super::Log;
use super::reader::At;
use super::segment::{START, Segment, Summary, is_cut_short};
use crate::error::Error;
use crate::format::Batch;
use crate::offset::Offset;
use crate::timestamp::Timestamp;

impl Log {
    /// The first record whose timestamp is at least `timestamp`, if there is one below the high watermark.
    /// Kafka: `offsetsForTimes`.
    pub(crate) fn offset_for_time(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        self.find_beside_retention(|segments| self.find_time(segments, timestamp))
    }

    /// The first of the records with the largest timestamp, if there is any below the high watermark. Kafka:
    /// `OffsetSpec.maxTimestamp`, KIP-734.
    pub(crate) fn offset_of_max_timestamp(&self) -> Result<Option<(Offset, Timestamp)>, Error> {
        self.find_beside_retention(|segments| self.find_max_timestamp(segments))
    }

    fn find_beside_retention<T>(
        &self,
        find: impl Fn(&[Arc<Segment>]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // The owner may have cut or removed a file that was looked at, once.
        let mut again = self.is_read_only();
        loop {
            let segments = self.segments();
            let found = find(&segments);
            let first = segments.first().map(|segment| segment.base_offset());
            if found.is_err()
                && first.is_some_and(|first| self.is_deleted(first) || mem::take(&mut again))
            {
                // What retention has left has the answer.
                if self.is_read_only() {
                    let _older_at_worst = self.follow_anew();
                }
                continue;
            }
            return found;
        }
    }

    fn find_time(
        &self,
        segments: &[Arc<Segment>],
        timestamp: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        let start = self.marks.log_start();
        let mut buffer = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            // Kafka looks only into the first segment that is young enough; where delete records has
            // hidden the record there, the answer lies in a later one.
            let summary = self.summary(segments, index, segment)?;
            if summary.max_timestamp < timestamp || summary.end_offset <= start {
                continue;
            }
            let mut found = None;
            let position = self.position_of_time(segment, timestamp)?;
            self.visit(
                segment,
                position,
                summary.end_offset,
                &mut buffer,
                |offset, time| {
                    found = (time >= timestamp).then_some((offset, time));
                    found.is_none()
                },
            )?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_max_timestamp(
        &self,
        segments: &[Arc<Segment>],
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        let start = self.marks.log_start();
        let mut buffer = Vec::new();
        let mut found: Option<(Offset, Timestamp)> = None;
        for (index, segment) in segments.iter().enumerate() {
            let summary = self.summary(segments, index, segment)?;
            let max_timestamp = summary.max_timestamp;
            let is_newer = |found: Option<(_, Timestamp)>, time| found.is_none_or(|it| time > it.1);
            if summary.end_offset <= start || !is_newer(found, max_timestamp) {
                continue;
            }
            // Where a part of it is hidden, the newest may be in that, and the index is of no use.
            let whole =
                segment.base_offset() >= start && summary.end_offset <= self.marks.high_watermark();
            let position = if whole {
                self.position_of_time(segment, max_timestamp)?
            } else {
                START
            };
            self.visit(
                segment,
                position,
                summary.end_offset,
                &mut buffer,
                |offset, time| {
                    if is_newer(found, time) {
                        found = Some((offset, time));
                    }
                    time < max_timestamp
                },
            )?;
        }
        Ok(found)
    }

    fn summary(
        &self,
        segments: &[Arc<Segment>],
        index: usize,
        segment: &Segment,
    ) -> Result<Summary, Error> {
        let storage = &*self.place.storage;
        let mut summary = segment.summary(storage);
        if let Ok(known) = &summary
            && is_cut_short(segments, index, known)
        {
            // An index says so: the batches may not.
            summary = segment.summary_anew(storage);
        }
        let summary = summary.map_err(|error| self.in_partition(error))?;
        if is_cut_short(segments, index, &summary) {
            return Err(self.gap(summary.end_offset));
        }
        Ok(summary)
    }

    fn position_of_time(&self, segment: &Segment, timestamp: Timestamp) -> Result<u64, Error> {
        let position = segment.position_of_time(&*self.place.storage, timestamp);
        position.map_err(|error| self.in_partition(error))
    }

    /// Shows offsets and times of a segment's records from a position on, as long as more are wanted; of
    /// those that may be read.
    fn visit(
        &self,
        segment: &Arc<Segment>,
        position: u64,
        end: Offset,
        buffer: &mut Vec<u8>,
        mut wants_more: impl FnMut(Offset, Timestamp) -> bool,
    ) -> Result<(), Error> {
        let start = self.marks.log_start();
        let high_watermark = self.marks.high_watermark();
        let file = segment.file(&*self.place.storage);
        let mut at = At {
            segment: Arc::clone(segment),
            file: file.map_err(|error| self.in_partition(error))?,
            position,
        };
        let mut next = segment.base_offset();
        while next < high_watermark.min(end)
            && let Some((range, behind)) = self.fetch_any(&mut at, high_watermark, buffer)?
        {
            let mut rest = buffer.get(range).unwrap_or_default();
            while let Some((batch, after)) = Batch::trusted(rest) {
                rest = after;
                let header = batch.header();
                for record in batch.records() {
                    let offset = header.base_offset + u64::from(record.offset_delta);
                    let time = header.timestamp(record.time_delta);
                    let readable = offset >= start && offset < high_watermark;
                    if readable && !wants_more(offset, time) {
                        return Ok(());
                    }
                }
            }
            next = behind;
        }
        Ok(())
    }
}
