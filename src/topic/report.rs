//! What opening and checking a log tell: [`RecoveryReport`], [`VerifyReport`].

use crate::error::Error;
use crate::log::Recovery;
use crate::name::TopicPartition;

/// What opening a log found in each of its partitions.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the mark of a close was found; it is not in a directory that is new. A partition that was
    /// damaged, or had a sync that failed, was scanned all the same: [`partitions`](Self::partitions) says
    /// how each was found.
    pub closed_cleanly: bool,
    /// Partition by partition.
    pub partitions: Vec<PartitionRecovery>,
}

impl RecoveryReport {
    /// The partitions that are damaged: they can be read up to the damage, and take no appends.
    ///
    /// Among them, at the opening after a clean close and at no later one, are partitions that had records
    /// then and are gone with their topic, as if somebody had removed its directory. Nothing can be read of
    /// those. Where nothing is left that tells the name of the topic, its id stands there.
    pub fn damaged(&self) -> impl Iterator<Item = (&TopicPartition, &Error)> {
        self.partitions
            .iter()
            .filter_map(|partition| match &partition.recovery {
                Recovery::Damaged { error } => Some((&partition.topic_partition, error)),
                _ => None,
            })
    }

    /// Takes note of damage that was found after the partition had been opened.
    pub(crate) fn note_damage(&mut self, partition: &TopicPartition, error: Error) {
        let recovery = Recovery::Damaged { error };
        let mut known = self.partitions.iter_mut();
        match known.find(|known| known.topic_partition == *partition) {
            Some(known) => known.recovery = recovery,
            None => self.partitions.push(PartitionRecovery {
                topic_partition: partition.clone(),
                recovery,
            }),
        }
    }

    /// The bytes that were cut off torn tails and kept aside, over all partitions.
    pub fn cut_bytes(&self) -> u64 {
        let bytes = |partition: &PartitionRecovery| match partition.recovery {
            Recovery::Recovered { cut_bytes, .. } => cut_bytes,
            _ => 0,
        };
        self.partitions.iter().map(bytes).sum()
    }
}

/// What opening found in one partition.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartitionRecovery {
    /// Which partition.
    pub topic_partition: TopicPartition,
    /// What.
    pub recovery: Recovery,
}

/// What a check of a log's files found.
#[derive(Clone, Debug, Default)]
#[must_use = "damage is in the report, not in the error"]
#[non_exhaustive]
pub struct VerifyReport {
    /// The partitions looked at.
    pub partitions: usize,
    /// The records in them, but for those of damaged batches.
    pub records: u64,
    /// The bytes of the batches of those.
    pub bytes: u64,
    /// Everything that is wrong: of damage once, up to the next whole batch, and of a segment file that is
    /// another log's or a newer version's no more than that.
    /// Also what had records at the last clean close and is gone with its topic, as in
    /// [`RecoveryReport::damaged`].
    ///
    /// Not what lies at the end of a log opened read-only and was never known to be on disk: the owner may be
    /// writing it, and after a crash opening for writing mends it.
    pub problems: Vec<Error>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}
