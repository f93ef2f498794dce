//! Lets producers and groups work for hours, and looks whether anything is lost, or grows: memory, open
//! files, the directory.
//!
//! ```text
//! cargo run --release --example soak -- DIR SECONDS [RECORDS_PER_SECOND]
//! ```
//!
//! One topic of each durability, small segments, little retention. Per topic a sender, and a group of three
//! members, of whom each lives some seconds and then closes or is dropped. The log is closed and opened
//! again after one minute, after two more, after four, and so on up to an hour; each time a line says how
//! things are. Exit code 1 if a record was passed over, changed or out of order, or if a line says twice
//! what the third did.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "its output is what somebody reads, and it runs by the machine's clock"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use topiclog::{
    ConsumerGroup, ConsumerOptions, Durability, EventLog, OffsetReset, Record, Topic, TopicOptions,
};

type Res<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// From the first opening of the log to the second, and the longest between two.
const FIRST_LIFE: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(3600);
const KEYS: u64 = 16;
const MEMBERS: u64 = 3;
const LEVELS: [Durability; 3] = [Durability::Disk, Durability::Os, Durability::Memory];

/// What was sent to one topic and handled by its group, over all lives.
#[derive(Default)]
struct Ledger {
    sent: u64,
    /// The number that comes next, by key.
    handled: Mutex<BTreeMap<u64, u64>>,
}

impl Ledger {
    /// Records come in the order of their numbers for each key, again after a member was dropped, and none
    /// is passed over.
    fn handle(&self, key: u64, number: u64) -> Res {
        let mut handled = self.handled.lock().map_err(|_| "a member panicked")?;
        let next = handled.entry(key).or_default();
        if number > *next {
            return Err(format!("key {key}: record {number} came where {next} was due").into());
        }
        *next = (*next).max(number + 1);
        Ok(())
    }

    fn count(&self) -> u64 {
        self.handled
            .lock()
            .map_or(0, |handled| handled.values().sum())
    }
}

/// What the process has taken of the machine.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    memory: u64,
    files: u64,
    disk: u64,
}

impl Taken {
    /// Nothing of the first two, where the system does not tell them as Linux does.
    fn now(directory: &Path) -> Res<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|line| line.split_whitespace().next()?.parse().ok());
        Ok(Self {
            memory: kilobytes.unwrap_or(0) * 1024,
            files: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.map(|_| 1).sum()),
            disk: bytes_below(directory)?,
        })
    }

    fn is_twice(&self, before: &Self) -> bool {
        self.memory > 2 * before.memory
            || self.files > 2 * before.files
            || self.disk > 2 * before.disk
    }
}

fn bytes_below(directory: &Path) -> Res<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() {
            bytes_below(&entry.path())?
        } else {
            kind.len()
        };
    }
    Ok(bytes)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What it came from too, which `Debug` shows.
            println!("FAILED {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Res {
    let mut args = std::env::args().skip(1);
    let directory = args.next().ok_or("missing argument: DIR")?;
    let directory = Path::new(&directory);
    let seconds = args.next().ok_or("missing argument: SECONDS")?.parse()?;
    let rate = args.next().map_or(Ok(2000), |rate| rate.parse())?;
    if directory.exists() {
        return Err(format!("{} is there already", directory.display()).into());
    }
    let (begin, whole) = (Instant::now(), Duration::from_secs(seconds));
    let mut ledgers = LEVELS.map(|_| Ledger::default());
    let (mut third, mut life) = (None, FIRST_LIFE);
    for number in 1.. {
        let left = whole.saturating_sub(begin.elapsed());
        if left.is_zero() {
            break;
        }
        let taken = live(directory, &mut ledgers, rate, left.min(life))?;
        life = LIFE_MAX.min(life * 2);
        let sent: u64 = ledgers.iter().map(|ledger| ledger.sent).sum();
        println!(
            "{:>6} s: {sent} sent and handled, {taken:?}",
            begin.elapsed().as_secs()
        );
        if number == 3 {
            third = Some(taken);
        } else if let Some(third) = third.filter(|third| taken.is_twice(third)) {
            return Err(format!("grown since the third line: {third:?}, {taken:?}").into());
        }
    }
    println!("OK");
    Ok(())
}

/// Opens the log, lets everybody work, and closes it once all that was sent is handled. Returns what it had
/// taken by then.
fn live(directory: &Path, ledgers: &mut [Ledger; 3], rate: u64, time: Duration) -> Res<Taken> {
    let log = EventLog::open(directory)?;
    if let Some((partition, error)) = log.recovery_report().damaged().next() {
        return Err(format!("{partition} is damaged: {error}").into());
    }
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let mut works: Vec<ScopedJoinHandle<'_, Res>> = Vec::new();
        for (level, ledger) in LEVELS.into_iter().zip(ledgers) {
            let options = TopicOptions::new()
                .partitions(4)
                .durability(level)
                .segment_bytes(1 << 20)
                .retention_bytes(Some(2 << 20));
            let topic = log.open_or_create_topic(format!("{level:?}").to_lowercase(), options)?;
            let options = ConsumerOptions::new()
                .offset_reset(OffsetReset::Earliest)
                .auto_commit(None);
            let group = log.consumer_group(topic.name().as_str())?.options(options);
            works.push(scope.spawn(move || work(&topic, &group, ledger, rate, end)));
        }
        for work in works {
            work.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    })?;
    let taken = Taken::now(directory)?;
    let report = log.verify()?;
    if let Some(problem) = report.problems.first() {
        return Err(format!("verify: {problem:?}").into());
    }
    log.close()?;
    Ok(taken)
}

/// One topic: its sender and its group.
fn work(topic: &Topic, group: &ConsumerGroup, ledger: &mut Ledger, rate: u64, end: Instant) -> Res {
    let over = AtomicBool::new(false);
    let before = ledger.sent;
    let sent = thread::scope(|scope| {
        let members: Vec<_> = (0..MEMBERS)
            .map(|member| {
                let (ledger, over) = (&*ledger, &over);
                scope.spawn(move || {
                    let lived = be_member(topic, group, member, ledger, over);
                    over.fetch_or(lived.is_err(), Ordering::SeqCst);
                    lived
                })
            })
            .collect();
        let sent = send(topic, before, rate, end, &over);
        while sent.as_ref().is_ok_and(|sent| ledger.count() < *sent) && !over.load(Ordering::SeqCst)
        {
            thread::park_timeout(Duration::from_millis(10));
        }
        over.store(true, Ordering::SeqCst);
        for member in members {
            member.join().map_err(|_| "a member panicked")??;
        }
        sent
    })?;
    ledger.sent = sent;
    Ok(())
}

/// Sends at an even pace until it is time; every 64th record is waited for. Returns how many were sent in all
/// lives.
fn send(topic: &Topic, before: u64, rate: u64, end: Instant, over: &AtomicBool) -> Res<u64> {
    let producer = topic.producer();
    let (begin, mut sent) = (Instant::now(), before);
    while Instant::now() < end && !over.load(Ordering::SeqCst) {
        let due = before + u64::try_from(begin.elapsed().as_millis())? * rate / 1000;
        while sent < due {
            let (key, number) = (sent % KEYS, sent / KEYS);
            let record = Record::new(value(key, number)).key(key.to_string());
            let delivery = producer.send(record)?;
            sent += 1;
            if sent.is_multiple_of(64) {
                delivery.wait()?;
            }
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    producer.close()?;
    Ok(sent)
}

/// Life after life of one member, until all is over. Every other one ends without a commit of what came last.
fn be_member(
    topic: &Topic,
    group: &ConsumerGroup,
    member: u64,
    ledger: &Ledger,
    over: &AtomicBool,
) -> Res {
    for life in 0.. {
        let (polls, closes) = (20 + (member * 7 + life * 13) % 100, life % 2 == 0);
        let mut consumer = group.subscribe([topic])?;
        for poll in 1..=polls {
            if over.load(Ordering::SeqCst) {
                consumer.close()?;
                return Ok(());
            }
            let records = consumer.poll(Duration::from_millis(100))?;
            for record in &records {
                let text = std::str::from_utf8(record.value().unwrap_or_default())?;
                let mut parts = text.split(' ');
                let (key, number) = (parts.next(), parts.next());
                let key = key.unwrap_or_default().parse()?;
                let number = number.unwrap_or_default().parse()?;
                if text != value(key, number) {
                    return Err(format!("{record:?} is not what was sent").into());
                }
                ledger.handle(key, number)?;
            }
            if closes || poll < polls {
                consumer.commit()?;
            }
        }
        if closes {
            consumer.close()?;
        }
    }
    Ok(())
}

fn value(key: u64, number: u64) -> String {
    let mut value = format!("{key} {number} ");
    let length = 20 + usize::try_from(number % 300).unwrap_or(0);
    while value.len() < length {
        value.push('x');
    }
    value
}
