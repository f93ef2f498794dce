//! Files whose checksums are right and whose contents are not: whoever wrote them, nothing panics, and
//! everything ends.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use topiclog::storage::SimulatedStorage;
use topiclog::{
    ConsumerOptions, ErrorKind, EventLog, Offset, OffsetReset, Record, Timestamp, Topic,
};

use super::common::{self, Rng, clock};
use super::{RECORDS, filled};

const SEGMENT_HEADER: usize = 80;
const BATCH_HEADER: usize = 72;

/// Fields of a batch's header: where each begins, and its length.
const BATCH_FIELDS: [(usize, usize); 14] = [
    (4, 4),
    (10, 1),
    (11, 1),
    (12, 2),
    (14, 2),
    (16, 8),
    (24, 4),
    (28, 4),
    (32, 8),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 4),
    (68, 4),
];

/// More than the log has: a forged one may say that it has any number.
const READS: usize = 200;

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(super) fn checksum(before: &[u8], covered: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    hasher.update(covered);
    hasher.finalize().to_le_bytes()
}

/// Where the batches of a segment are, up to one whose length was forged.
pub(super) fn batches(segment: &[u8]) -> Vec<Range<usize>> {
    let (mut all, mut at) = (Vec::new(), SEGMENT_HEADER);
    while at + BATCH_HEADER <= segment.len() {
        let end = at.saturating_add(word(segment, at + 4) as usize);
        if end < at + BATCH_HEADER || end > segment.len() {
            break;
        }
        all.push(at..end);
        at = end;
    }
    all
}

/// Puts a number where it does harm: at the limits, or near to what was there.
fn spoil(rng: &mut Rng, field: &mut [u8]) {
    let bits = 8 * field.len() as u32;
    let mut bytes = [0; 8];
    bytes[..field.len()].copy_from_slice(field);
    let old = u64::from_le_bytes(bytes);
    let largest = u64::MAX >> (64 - bits);
    let new = match rng.below(9) {
        0 => 0,
        1 => largest,
        2 => largest - 1,
        3 => largest / 2,
        4 => largest / 2 + 1,
        5 => old.wrapping_add(1),
        6 => old.wrapping_sub(1),
        7 => 1 << rng.below(bits.into()),
        _ => rng.next(),
    };
    field.copy_from_slice(&new.to_le_bytes()[..field.len()]);
}

/// Where a record's lengths and deltas are, those of its headers too.
fn record_words(batch: &[u8]) -> Vec<usize> {
    let (mut all, mut at) = (Vec::new(), BATCH_HEADER);
    while at.saturating_add(16) <= batch.len() {
        all.extend([at, at + 4, at + 8, at + 12]);
        let (key, value) = (word(batch, at), word(batch, at + 4));
        let lengths = (key & 0x3FFF_FFFF) + (value & 0x3FFF_FFFF);
        at = at.saturating_add(16 + lengths as usize);
        if key & 0x4000_0000 != 0 && at.saturating_add(4) <= batch.len() {
            all.extend([at, at + 4, at + 8]);
            at = at
                .saturating_add(4)
                .saturating_add(word(batch, at) as usize);
        }
    }
    all
}

/// Changes one batch or the header of a segment.
fn forge_segment(rng: &mut Rng, bytes: &mut [u8]) {
    let all = batches(bytes);
    if all.is_empty() || rng.chance(5) {
        let field = rng.pick(&[
            (12, 4),
            (16, 8),
            (32, 8),
            (48, 8),
            (56, 8),
            (64, 8),
            (72, 4),
        ]);
        spoil(rng, &mut bytes[field.0..field.0 + field.1]);
        let sum = checksum(&[], &bytes[..76]);
        bytes[76..80].copy_from_slice(&sum);
        return;
    }
    let identity = [&bytes[16..48], &bytes[72..76], &bytes[48..56]].concat();
    let range = rng.pick(&all);
    let end = bytes.len();
    let whole = &mut bytes[range.start..end];
    let batch = &mut whole[..range.len()];
    for _change in 0..=rng.below(3) {
        let words = record_words(batch);
        let (at, length) = match rng.below(4) {
            0 if !words.is_empty() => (rng.pick(&words), 4),
            1 => (rng.below(batch.len() as u64 - 8) as usize, 8),
            _ => rng.pick(&BATCH_FIELDS),
        };
        if let Some(field) = batch.get_mut(at.max(4)..at.max(4) + length) {
            spoil(rng, field);
        }
        if word(batch, 4) as usize != batch.len() {
            // Its records are not where they were.
            break;
        }
    }
    let length = (word(whole, 4) as usize).clamp(8, whole.len());
    let sum = checksum(&identity, &whole[4..length]);
    whole[..4].copy_from_slice(&sum);
}

/// Changes one field of a small file.
fn forge_small(rng: &mut Rng, bytes: &mut [u8], identity: &[u8]) {
    let is_document = bytes.starts_with(b"topicdoc");
    let from = if rng.chance(10) { 8 } else { 16 };
    let length = rng.pick(&[1, 1, 4, 8]);
    let at = from + rng.below((bytes.len() - from) as u64) as usize;
    let end = (at + length).min(bytes.len());
    spoil(rng, &mut bytes[at..end]);
    let sum = if is_document {
        let head = [identity, &bytes[..12]].concat();
        checksum(&head, &bytes[16..])
    } else {
        checksum(identity, &bytes[16..])
    };
    bytes[12..16].copy_from_slice(&sum);
}

/// A partition's or a log's identity, out of the segment that begins its partition.
fn identity_of(storage: &SimulatedStorage, path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let files = storage.files();
    let beside = |(other, _): &&(PathBuf, u64)| {
        other.extension().is_some_and(|kind| kind == "log")
            && (other.parent() == path.parent() || matches!(name, "topic.meta" | "clean-close"))
    };
    let Some((segment, _)) = files.iter().find(beside) else {
        return Vec::new();
    };
    let header = storage.read_file(segment).unwrap();
    let mut identity = [&header[16..48], &header[72..76]].concat();
    match name {
        "log.meta" => identity.clear(),
        "topic.meta" | "clean-close" => identity.truncate(16),
        other => {
            if let Some(base) = other.strip_suffix(".index") {
                identity.extend(base.parse::<u64>().unwrap().to_le_bytes());
            }
        }
    }
    identity
}

fn forge(rng: &mut Rng, storage: &SimulatedStorage) {
    let files = storage.files();
    let is_forgeable = |path: &Path| path.file_name().is_some_and(|name| name != "LOCK");
    let files: Vec<_> = files
        .into_iter()
        .filter(|(path, length)| is_forgeable(path) && *length > 16)
        .collect();
    let (path, _) = rng.pick(&files);
    let mut bytes = storage.read_file(&path).unwrap();
    if path.extension().is_some_and(|kind| kind == "log") {
        forge_segment(rng, &mut bytes);
    } else {
        forge_small(rng, &mut bytes, &identity_of(storage, &path));
    }
    storage.write_file(&path, bytes).unwrap();
}

/// What there is to read, from any place and by any time, and what can be appended to it.
fn use_partitions(rng: &mut Rng, topic: &Topic) {
    for partition in topic.partitions().into_iter().take(4) {
        let offsets = partition.offsets();
        assert!(offsets.log_start <= offsets.high_watermark);
        assert!(offsets.high_watermark <= offsets.log_end);
        let scanned = partition.scan(offsets.log_start).take(READS);
        let records = scanned.map_while(Result::ok);
        let times = records.map(|records| {
            let records = records.iter().take(READS);
            records.map(|it| (it.offset(), it.timestamp())).last()
        });
        let last = times.last().flatten();
        for offset in [offsets.log_start, offsets.high_watermark, Offset::new(3)] {
            let _any = partition.read(offset).map(|records| records.iter().count());
        }
        let any = rng.next().cast_signed();
        for time in [
            0,
            i64::MAX,
            any,
            last.map_or(1, |(_, time)| time.as_millis()),
        ] {
            let _any = partition.offset_for_time(Timestamp::from_millis(time));
        }
        let _any = partition.offset_of_max_timestamp();
        let record = Record::new("more").partition(partition.number());
        if let Ok(sent) = topic.producer().send_and_wait(record) {
            assert!(sent.offset >= offsets.log_end);
        }
        let _any = partition.delete_records(Offset::new(rng.below(8)));
        let _any = partition.sync();
    }
}

fn use_group(log: &EventLog, topic: &Topic) {
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let Ok(group) = log.consumer_group("g") else {
        return;
    };
    let _any = group.lag(topic);
    let Ok(mut member) = group.options(options).subscribe([topic]) else {
        return;
    };
    for _poll in 0..5 {
        let _any = member.poll(Duration::ZERO).map(|it| it.iter().count());
    }
    let _any = member.commit();
    let _any = member.close();
}

fn use_everything(rng: &mut Rng, storage: &SimulatedStorage) {
    let clock = clock();
    let builder = EventLog::builder().storage(storage.clone());
    if let Ok(beside) = builder.clock(clock.clone()).read_only().open() {
        let _any = beside.verify();
        for described in beside.topics() {
            if let Ok(topic) = beside.topic(&described.name) {
                use_partitions(rng, &topic);
            }
        }
    }
    let Ok(log) = common::try_open(storage.clone(), &clock) else {
        return;
    };
    let _any = log.verify();
    for described in log.topics_with_internal() {
        let Ok(topic) = log.topic(&described.name) else {
            continue;
        };
        use_partitions(rng, &topic);
        use_group(&log, &topic);
    }
    clock.advance(Duration::from_secs(3600));
    log.run_housekeeping();
    let _any = log.close();
}

/// A reader went to the end that a batch gave for itself, found that it was beyond the log's, was reset to
/// the beginning, and so on for ever.
#[test]
fn a_batch_that_says_to_end_beyond_the_log_is_damage() {
    let (storage, log) = filled();
    log.close().unwrap();
    let path = storage.files().into_iter().map(|(path, _)| path);
    let mut segments: Vec<_> = path
        .filter(|path| {
            path.starts_with("topics/first/0") && path.extension().is_some_and(|kind| kind == "log")
        })
        .collect();
    segments.sort();
    let path = segments.pop().unwrap();
    let mut bytes = storage.read_file(&path).unwrap();
    let base = Offset::new(u64::from_le_bytes(bytes[48..56].try_into().unwrap()));
    let identity = [&bytes[16..48], &bytes[72..76], &bytes[48..56]].concat();
    let first = batches(&bytes)[0].clone();
    let batch = &mut bytes[first];
    batch[24..28].copy_from_slice(&1000_u32.to_le_bytes());
    let sum = checksum(&identity, &batch[4..]);
    batch[..4].copy_from_slice(&sum);
    storage.write_file(&path, bytes).unwrap();

    let log = common::open(&storage, &clock());
    let partition = log.topic("first").unwrap().partition(0).unwrap();
    let error = partition.read(base).unwrap_err();
    assert_eq!(
        (error.kind(), error.offset()),
        (ErrorKind::Corrupt, Some(base))
    );
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let consumer = log.consumer().options(options);
    let mut consumer = consumer.assign([&partition]).unwrap();
    let mut next = 0;
    for _more_than_enough in 0..RECORDS {
        match consumer.poll(Duration::ZERO) {
            Ok(records) => next += records.len(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert_eq!(Offset::new(next as u64), base);
                return;
            }
        }
    }
    panic!("no damage was found, and {next} records");
}

struct Context(u64);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TOPICLOG_SEED={}", self.0);
        }
    }
}

#[test]
fn a_file_with_a_right_checksum_may_say_anything() {
    let (storage, log) = filled();
    let first = log.topic("first").unwrap();
    use_group(&log, &first);
    let killed = storage.kill();
    log.close().unwrap();
    let closed = storage.deep_copy();
    for round in 0..common::scale() * 3000 {
        let seed = common::seed().wrapping_add(round);
        let context = Context(seed);
        let mut rng = Rng::new(seed);
        let storage = if rng.chance(50) { &killed } else { &closed }.deep_copy();
        for _file in 0..=rng.below(3) {
            forge(&mut rng, &storage);
        }
        use_everything(&mut rng, &storage);
        use_everything(&mut rng, &storage);
        drop(context);
    }
}
