//! [`RoundRobinAssignor`]: all partitions dealt in a circle.

use super::contract::{Assignment, AssignmentRequest, Assignor, PartitionIndex};

/// Deals the partitions of all topics out in a circle, passing over members that do not subscribe.
///
/// Balanced to within one where all members subscribe alike. Kafka: `RoundRobinAssignor`, "roundrobin".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a rule without settings")]
pub struct RoundRobinAssignor;

impl Assignor for RoundRobinAssignor {
    fn name(&self) -> &'static str {
        "roundrobin"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        let mut assignment = Assignment::new(request);
        let everybody: Vec<usize> = (0..request.members().len()).collect();
        let by_topic = (!request.is_uniform()).then(|| request.subscribers());
        // The member whose turn it is; the circle goes on across topics.
        let mut turn = 0;
        for (topic, t) in request.topics().iter().enumerate() {
            let subscribers = by_topic
                .as_ref()
                .and_then(|lists| lists.get(topic))
                .unwrap_or(&everybody);
            let (before, after) =
                subscribers.split_at(subscribers.partition_point(|&member| member < turn));
            // From the member whose turn it is to the last one, and on from the first.
            let mut circle = after.iter().chain(before).cycle();
            for partition in 0..t.partitions() {
                let Some(&member) = circle.next() else {
                    break;
                };
                assignment.give(member, PartitionIndex { topic, partition });
                turn = (member + 1) % request.members().len();
            }
        }
        assignment
    }
}
