//! [`Partitioner`]: which partition a record goes to, and the three that are built in.

use std::fmt::Debug;
use std::sync::Arc;

use super::murmur2::partition_for_key;
use crate::convert::to_u64;
use crate::format::encoded_bytes;
use crate::limits::BATCH_BYTES_DEFAULT;
use crate::name::TopicName;
use crate::random::Random;
use crate::record::Record;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Chooses the partition of a record that does not name one itself.
///
/// # Contract
///
/// - Must answer a number below `partitions`; the send of the record fails otherwise.
/// - Is called exactly once for every record that is sent, in the sender's thread, before the record's size
///   is checked. One that was refused, or handed back by [`send_all`](crate::Producer::send_all) with it,
///   may have been asked for already when it is sent again.
/// - May be called from several threads at once.
/// - Should answer the same for the same key as long as the count is the same, if anybody relies on the
///   order of a key's records.
///
/// # Examples
///
/// ```
/// use topiclog::{Partitioner, Record, TopicName};
///
/// /// Large payments have a partition of their own.
/// #[derive(Debug)]
/// struct ByAmount;
///
/// impl Partitioner for ByAmount {
///     fn partition(&self, _topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
///         if record.size_bytes() > 100 { partitions - 1 } else { 0 }
///     }
/// }
/// ```
pub trait Partitioner: Debug + Send + Sync + 'static {
    /// The partition of `record`, of so many.
    fn partition(&self, topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32;
}

/// So that which one it is can be decided at run time.
impl<P: Partitioner + ?Sized> Partitioner for Box<P> {
    fn partition(&self, topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
        (**self).partition(topic, record, partitions)
    }
}

/// So that several producers of one topic can share one. The partitioners of this crate keep one place for
/// all that they are asked: shared by producers of several topics they would spread the records of none
/// evenly.
impl<P: Partitioner + ?Sized> Partitioner for Arc<P> {
    fn partition(&self, topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
        (**self).partition(topic, record, partitions)
    }
}

/// The default: records with a key by its hash, the same as Kafka's Java client's, and records without
/// one as [`Sticky`] does.
///
/// Kafka: `(murmur2(key) & 0x7fffffff) % partitions`. An empty key is a key.
#[derive(Debug)]
pub struct KeyHash {
    keyless: Sticky,
}

impl KeyHash {
    /// The default partitioner.
    pub fn new() -> Self {
        Self {
            keyless: Sticky::new(),
        }
    }

    /// For a topic of this batch size.
    pub(super) fn for_batches(bytes: u32, seed: u64) -> Self {
        Self {
            keyless: Sticky::with_seed(seed).batch_bytes(bytes),
        }
    }
}

impl Default for KeyHash {
    fn default() -> Self {
        Self::new()
    }
}

impl Partitioner for KeyHash {
    #[inline]
    fn partition(&self, topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
        match record.key_bytes() {
            Some(key) => partition_for_key(key, partitions),
            None => self.keyless.partition(topic, record, partitions),
        }
    }
}

/// Every record to the next partition in turn, whatever its key. Kafka: `RoundRobinPartitioner`.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicU32,
}

impl RoundRobin {
    /// Begins at partition 0.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Partitioner for RoundRobin {
    #[inline]
    fn partition(&self, _topic: &TopicName, _record: &Record<'_>, partitions: u32) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) % partitions.max(1)
    }
}

/// Stays on one random partition until a batch's worth of bytes went there, then picks one anew, whatever the
/// keys. Kafka: the default for records without a key, KIP-794.
///
/// Records gather into few large batches instead of many small ones, and spread evenly over time.
///
/// A record counts for what it takes in its batch, which is more than its content. A batch's worth is 16 KiB,
/// or what [`batch_bytes`](Self::batch_bytes) says; for a producer's default partitioner it is what the
/// topic's option said when the producer was made.
#[derive(Debug)]
pub struct Sticky {
    random: Random,
    batch_bytes: u32,
    /// The partition in the upper half, the bytes that went there in the lower.
    state: AtomicU64,
}

const FRESH: u64 = u64::MAX;

impl Sticky {
    /// Begins at a random partition.
    pub fn new() -> Self {
        Self::with_random(Random::from_system())
    }

    /// Begins at a partition that depends on the seed alone, and goes on so.
    pub fn with_seed(seed: u64) -> Self {
        Self::with_random(Random::from_seed(seed))
    }

    fn with_random(random: Random) -> Self {
        Self {
            random,
            batch_bytes: BATCH_BYTES_DEFAULT,
            state: AtomicU64::new(FRESH),
        }
    }

    /// Sets how many bytes go to a partition before another is picked: best as many as the topic's
    /// [`batch_bytes`](crate::TopicOptions::batch_bytes). Defaults to 16 KiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: u32) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// Chooses among several. Kept apart, so that the compiler puts the rest in where a partition is asked.
    #[inline(never)]
    fn stay_or_go(&self, record: &Record<'_>, partitions: u32) -> u32 {
        let state = self.state.load(Ordering::Relaxed);
        let partition = state >> 32;
        let before = state & u64::from(u32::MAX);
        let bytes = to_u64(encoded_bytes(record));
        let stays = state != FRESH
            && partition < u64::from(partitions)
            && before < u64::from(self.batch_bytes);
        let (partition, bytes) = if stays {
            (partition, before.saturating_add(bytes))
        } else {
            (u64::from(self.random.below(partitions)), bytes)
        };
        // Two senders at once may count one of their records twice or not at all; it evens out.
        let bytes = bytes.min(u64::from(u32::MAX));
        self.state.store(partition << 32 | bytes, Ordering::Relaxed);
        u32::try_from(partition).unwrap_or(0)
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self::new()
    }
}

impl Partitioner for Sticky {
    #[inline]
    fn partition(&self, _topic: &TopicName, record: &Record<'_>, partitions: u32) -> u32 {
        if partitions <= 1 {
            return 0;
        }
        self.stay_or_go(record, partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::to_usize;

    fn topic() -> TopicName {
        TopicName::new("t").unwrap()
    }

    #[test]
    fn round_robin_deals_evenly() {
        let (round_robin, mut counts) = (RoundRobin::new(), [0; 3]);
        for _ in 0..30 {
            let record = Record::new("x").key("same");
            counts[to_usize(round_robin.partition(&topic(), &record, 3))] += 1;
        }
        assert_eq!(counts, [10, 10, 10]);
    }

    #[test]
    fn sticky_stays_for_a_batch_and_reaches_every_partition() {
        let sticky = Sticky::with_seed(7);
        let (value, mut switches, mut seen) = (vec![0; 1024], 0, [false; 4]);
        let mut last = sticky.partition(&topic(), &Record::new(&value), 4);
        for _ in 0..16 * 100 {
            let partition = sticky.partition(&topic(), &Record::new(&value), 4);
            switches += usize::from(partition != last);
            seen[to_usize(partition)] = true;
            last = partition;
        }
        assert!(switches <= 100, "{switches}");
        assert_eq!(seen, [true; 4]);
    }

    /// It may be shared by producers to topics of different sizes.
    #[test]
    fn sticky_leaves_a_partition_that_a_smaller_topic_does_not_have() {
        let (mut left, record) = (0, Record::new("x"));
        for seed in 0..100 {
            let sticky = Sticky::with_seed(seed);
            let last = sticky.partition(&topic(), &record, 4);
            let stays = sticky.partition(&topic(), &record, last + 1);
            let fits = sticky.partition(&topic(), &record, last);
            assert_eq!(stays, last);
            assert!(last == 0 || fits < last);
            left += usize::from(last > 1);
        }
        assert!(left > 0);
    }

    #[test]
    fn sticky_goes_on_as_soon_as_a_batch_is_full() {
        let record = Record::new("x");
        let bytes = u32::try_from(encoded_bytes(&record)).unwrap();
        for (batch_bytes, stays) in [(bytes, false), (bytes + 1, true)] {
            let sticky = Sticky::with_seed(7).batch_bytes(batch_bytes);
            let many = u32::MAX;
            let [first, next] = [0; 2].map(|_| sticky.partition(&topic(), &record, many));
            assert_eq!(first == next, stays);
        }
    }

    #[test]
    fn a_key_decides_and_an_empty_key_is_one() {
        let key_hash = KeyHash::for_batches(BATCH_BYTES_DEFAULT, 1);
        let partition = |record: Record<'_>| key_hash.partition(&topic(), &record, 3);
        assert_eq!(
            partition(Record::new("a").key("user1")),
            partition(Record::new("b").key("user1"))
        );
        assert_eq!(partition(Record::new("a").key("")), 275_646_681 % 3);
    }
}
