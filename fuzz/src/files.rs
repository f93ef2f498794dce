//! Files of any content: nothing panics, everything ends, and what is read is in order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use topiclog::clock::ManualClock;
use topiclog::storage::SimulatedStorage;
use topiclog::{
    ConsumerOptions, EventLog, Housekeeping, Offset, OffsetReset, Record, Timestamp, Topic,
    TopicName, TopicOptions,
};

const NOON: i64 = 1_700_000_000_000;
const SEGMENT_HEADER: usize = 80;
const BATCH_HEADER: usize = 72;

/// More than the log has: a forged one may say that it has any number.
const READS: usize = 200;

/// What is opened, once for each input.
struct World {
    storage: SimulatedStorage,
    clock: ManualClock,
}

impl World {
    /// A topic of several segments and a group with an offset, cleanly closed.
    fn closed() -> Self {
        thread_local! {
            static MADE: SimulatedStorage = make();
        }
        Self {
            storage: MADE.with(SimulatedStorage::deep_copy),
            clock: ManualClock::new(Timestamp::from_millis(NOON)),
        }
    }

    fn open(&self) -> Option<EventLog> {
        open(&self.storage, &self.clock)
    }

    fn paths(&self, ending: &str) -> Vec<PathBuf> {
        let files = self.storage.files().into_iter().map(|(path, _)| path);
        files
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect()
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        self.storage.read_file(path).unwrap_or_default()
    }

    fn write(&self, path: &Path, bytes: Vec<u8>) {
        self.storage
            .write_file(path, bytes)
            .expect("a path of the log's own");
    }

    /// As after a crash: every byte is looked at.
    fn unclose(&self) {
        for path in self
            .paths("clean-close")
            .into_iter()
            .chain(self.paths("checkpoint"))
        {
            self.write(&path, Vec::new());
        }
    }

    /// Everything that can be asked of a log.
    fn use_everything(&self) {
        let builder = EventLog::builder().storage(self.storage.clone());
        if let Ok(beside) = builder.clock(self.clock.clone()).read_only().open() {
            for described in beside.topics() {
                if let Ok(topic) = beside.topic(&described.name) {
                    use_partitions(&topic);
                }
            }
        }
        let Some(log) = self.open() else {
            return;
        };
        let _any = log.verify();
        for described in log.topics_with_internal() {
            if let Ok(topic) = log.topic(&described.name) {
                use_partitions(&topic);
                use_group(&log, &topic);
            }
        }
        self.clock.advance(Duration::from_secs(3600));
        log.run_housekeeping();
        let _any = log.close();
        drop(log);
        // What was written last is there, or damage was told.
        if let Some(log) = self.open() {
            let _any = log.verify();
        }
    }
}

fn open(storage: &SimulatedStorage, clock: &ManualClock) -> Option<EventLog> {
    let builder = EventLog::builder()
        .storage(storage.clone())
        .clock(clock.clone());
    builder
        .housekeeping(Housekeeping::Manual)
        .seed(1)
        .open()
        .ok()
}

fn make() -> SimulatedStorage {
    let (storage, clock) = (
        SimulatedStorage::new(),
        ManualClock::new(Timestamp::from_millis(NOON)),
    );
    let log = open(&storage, &clock).expect("nothing is wrong yet");
    let options = TopicOptions::new()
        .segment_bytes(1024)
        .index_interval_bytes(200);
    let topic = log
        .create_topic("t", options.retention(None))
        .expect("a new topic");
    for number in 0..12_i64 {
        let record = Record::new(vec![7; 90])
            .key(number.to_string())
            .header("h", "v");
        let record = record.timestamp(Timestamp::from_millis(NOON + number));
        topic
            .producer()
            .send_and_wait(record)
            .expect("nothing is wrong yet");
    }
    let partition = topic.partition(0).expect("it has one");
    partition
        .delete_records(Offset::new(2))
        .expect("they are there");
    let group = log.consumer_group("g").expect("a good name");
    let committed = group.set_offset(partition.topic_partition(), Offset::new(3));
    committed.expect("it is there");
    log.close().expect("nothing is wrong yet");
    storage.deep_copy()
}

fn use_partitions(topic: &Topic) {
    for partition in topic.partitions().into_iter().take(4) {
        let offsets = partition.offsets();
        assert!(offsets.log_start <= offsets.high_watermark);
        assert!(offsets.high_watermark <= offsets.log_end);
        let mut next = offsets.log_start;
        for records in partition
            .scan(offsets.log_start)
            .take(READS)
            .map_while(Result::ok)
        {
            for record in &records {
                let offset = record.offset();
                let is_due = offset >= next && offset < offsets.high_watermark;
                assert!(is_due, "{offset} where {next} was due, {offsets:?}");
                next = record.next_offset();
            }
        }
        for offset in [offsets.log_start, offsets.high_watermark, Offset::new(7)] {
            let _any = partition.read(offset).map(|records| records.iter().count());
        }
        for time in [0, NOON + 5, i64::MAX] {
            let _any = partition.offset_for_time(Timestamp::from_millis(time));
        }
        let _any = partition.offset_of_max_timestamp();
        let record = Record::new("more").partition(partition.number());
        if let Ok(sent) = topic.producer().send_and_wait(record) {
            assert!(sent.offset >= offsets.log_end);
        }
        let _any = partition.delete_records(Offset::new(4));
        let _any = partition.sync();
    }
}

fn use_group(log: &EventLog, topic: &Topic) {
    let options = ConsumerOptions::new().offset_reset(OffsetReset::Earliest);
    let Ok(group) = log.consumer_group("g") else {
        return;
    };
    let _any = group.lag(topic);
    let _any = group.committed();
    let Ok(mut member) = group.options(options).subscribe([topic]) else {
        return;
    };
    for _poll in 0..5 {
        let _any = member
            .poll(Duration::ZERO)
            .map(|records| records.iter().count());
    }
    let _any = member.commit();
    let _any = member.close();
}

fn checksum(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

/// What the checksums of a segment's batches begin with, out of its header.
fn seed(segment: &[u8]) -> Vec<u8> {
    [&segment[16..48], &segment[72..76], &segment[48..56]].concat()
}

/// Changes what was there where the fuzzer's bytes are not 0, and goes on behind it: so the fuzzer begins
/// with what is right.
fn change(bytes: &mut Vec<u8>, from: usize, data: &[u8]) {
    let whole = bytes.len() - from;
    for (byte, change) in bytes[from..].iter_mut().zip(data) {
        *byte ^= change;
    }
    bytes.extend(data.iter().skip(whole));
}

/// Gives bytes that may be batches the checksums that they would have. Returns how many they are.
fn check_batches(segment: &mut [u8]) -> u64 {
    let (seed, mut count) = (seed(segment), 0);
    let mut rest = &mut segment[SEGMENT_HEADER..];
    while let Some((head, _)) = rest.split_first_chunk::<BATCH_HEADER>() {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < BATCH_HEADER || length > rest.len() {
            break;
        }
        count += 1;
        let (batch, after) = rest.split_at_mut(length);
        let sum = checksum(&[&seed, &batch[4..]]);
        batch[..4].copy_from_slice(&sum);
        rest = after;
    }
    count
}

/// Fills in what every batch has at its front.
fn frame(batch: &mut [u8]) {
    let length = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    batch[4..8].copy_from_slice(&length.to_le_bytes());
    batch[8..12].copy_from_slice(&[0xC5, 0xB7, 1, 0]);
}

/// Puts a copy of a segment's first batch at its end, with these changes, as of the next offset.
fn add_batch(segment: &mut Vec<u8>, data: &[u8]) {
    let length = u32::from_le_bytes(segment[84..88].try_into().expect("four bytes"));
    let first = SEGMENT_HEADER..SEGMENT_HEADER + usize::try_from(length).expect("a short batch");
    let mut batch = segment[first].to_vec();
    let base = u64::from_le_bytes(segment[48..56].try_into().expect("eight bytes"));
    batch[16..24].copy_from_slice(&(base + check_batches(segment)).to_le_bytes());
    change(&mut batch, 12, data);
    frame(&mut batch);
    segment.extend(batch);
    check_batches(segment);
}

/// One batch of any content, last in its partition.
pub fn batch(data: &[u8]) {
    change_last("topics/t/0", data);
}

fn change_last(partition: &str, data: &[u8]) {
    let world = World::closed();
    world.unclose();
    let mut paths = world.paths(".log").into_iter();
    let Some(path) = paths.rfind(|path| path.starts_with(partition)) else {
        return;
    };
    let mut segment = world.read(&path);
    add_batch(&mut segment, data);
    world.write(&path, segment);
    world.use_everything();
}

/// A segment of any content behind a good header; the first byte says which one.
pub fn segment(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let world = World::closed();
    if choice % 2 == 0 {
        world.unclose();
    }
    let paths = world.paths(".log");
    let path = &paths[usize::from(choice / 2) % paths.len()];
    let mut segment = world.read(path);
    change(&mut segment, SEGMENT_HEADER, data);
    check_batches(&mut segment);
    world.write(path, segment);
    world.use_everything();
}

/// The identity of the partition that a file is in, out of a segment beside it.
fn identity(world: &World, path: &Path) -> Vec<u8> {
    let mut segments = world.paths(".log").into_iter();
    let beside = segments.find(|segment| segment.parent() == path.parent());
    let header = beside
        .map(|segment| world.read(&segment))
        .unwrap_or_default();
    if header.len() < SEGMENT_HEADER {
        return Vec::new();
    }
    [&header[16..48], &header[72..76]].concat()
}

/// Changes what is behind the first 16 bytes of a file, of which the last 4 are the checksum.
fn put(world: &World, path: &Path, data: &[u8], identity: &[u8]) {
    let mut bytes = world.read(path);
    change(&mut bytes, 16, data);
    let sum = if bytes.starts_with(b"topicdoc") {
        checksum(&[identity, &bytes[..12], &bytes[16..]])
    } else {
        checksum(&[identity, &bytes[16..]])
    };
    bytes[12..16].copy_from_slice(&sum);
    world.write(path, bytes);
}

/// An index of any content; the first byte says of which segment.
pub fn index(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let world = World::closed();
    let paths = world.paths(".index");
    let path = &paths[usize::from(*choice) % paths.len()];
    let mut identity = identity(&world, path);
    let base = path
        .file_stem()
        .and_then(|name| name.to_str()?.parse::<u64>().ok());
    identity.extend(base.unwrap_or(0).to_le_bytes());
    put(&world, path, data, &identity);
    world.use_everything();
}

/// One of the small files; the first byte says which one.
pub fn small_file(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let world = World::closed();
    let names = [
        "checkpoint",
        "start-offset",
        "clean-close",
        "topic.meta",
        "log.meta",
    ];
    let paths: Vec<_> = names.iter().flat_map(|name| world.paths(name)).collect();
    let path = &paths[usize::from(*choice) % paths.len()];
    let identity = match path.file_name().and_then(|name| name.to_str()) {
        Some("log.meta") => Vec::new(),
        Some("topic.meta" | "clean-close") => {
            let segment = world.read(&world.paths(".log")[0]);
            segment[16..32].to_vec()
        }
        _ => identity(&world, path),
    };
    put(&world, path, data, &identity);
    world.use_everything();
}

/// A batch among the committed offsets.
pub fn offsets(data: &[u8]) {
    change_last("topics/__consumer_offsets/0", data);
}

/// A name is refused, or its topic is there again after the log was opened anew.
pub fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(name) = TopicName::new(text) else {
        return;
    };
    assert_eq!(name.as_str(), text);
    let (storage, clock) = (
        SimulatedStorage::new(),
        ManualClock::new(Timestamp::from_millis(NOON)),
    );
    let log = open(&storage, &clock).expect("nothing is wrong");
    if let Ok(topic) = log.create_topic(&name, TopicOptions::new()) {
        topic
            .producer()
            .send_and_wait(Record::new("v"))
            .expect("nothing is wrong");
        let group = log.consumer_group(text);
        let group = group.map(|group| {
            let place = topic.partition(0).expect("it has one");
            group.set_offset(place.topic_partition(), Offset::ZERO)
        });
        drop(log);
        let log = open(&storage.kill(), &clock).expect("a name that was taken is found again");
        let topic = log.topic(&name).expect("it was made");
        let end = topic.partition(0).expect("it has one").offsets().log_end;
        assert_eq!(end, 1);
        if let Ok(Ok(())) = group {
            let group = log.consumer_group(text).expect("it was good before");
            assert_eq!(group.committed().len(), 1);
        }
    }
}
