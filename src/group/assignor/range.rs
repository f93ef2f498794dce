//! [`RangeAssignor`]: topic by topic, a contiguous range for each member.

use super::contract::{Assignment, AssignmentRequest, Assignor, PartitionIndex};
use crate::convert::to_u32;

/// Gives each member a contiguous range of each topic's partitions; the first members get one more where
/// they do not divide evenly.
///
/// Two topics with as many partitions each and the same subscribers are dealt alike, so records of one
/// key meet in one member. Kafka: `RangeAssignor`, "range".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a rule without settings")]
pub struct RangeAssignor;

impl Assignor for RangeAssignor {
    fn name(&self) -> &'static str {
        "range"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        let mut assignment = Assignment::new(request);
        let everybody: Vec<usize> = (0..request.members().len()).collect();
        // One list serves all topics where everybody subscribes to all of them, which is the usual case.
        let by_topic = (!request.is_uniform()).then(|| request.subscribers());
        for (topic, t) in request.topics().iter().enumerate() {
            let subscribers = by_topic
                .as_ref()
                .and_then(|lists| lists.get(topic))
                .unwrap_or(&everybody);
            let count = to_u32(subscribers.len());
            let (Some(each), Some(extras)) = (
                t.partitions().checked_div(count),
                t.partitions().checked_rem(count),
            ) else {
                continue;
            };
            let mut partitions = 0..t.partitions();
            for (rank, &member) in (0..count).zip(subscribers) {
                if partitions.is_empty() {
                    break;
                }
                let share = each + u32::from(rank < extras);
                for _ in 0..share {
                    if let Some(partition) = partitions.next() {
                        assignment.give(member, PartitionIndex { topic, partition });
                    }
                }
            }
        }
        assignment
    }
}
