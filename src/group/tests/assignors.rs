//! Range and round robin by table: what Kafka's own assignors give.

use super::{Assignor, assigned, assignment_request};
use crate::group::{Eager, RangeAssignor, RebalanceProtocol, RoundRobinAssignor};

/// Topics, members, and who gets what.
type Case = (&'static str, &'static str, &'static str);

fn check(assignor: &dyn Assignor, cases: &[Case]) {
    for (topics, members, expected) in cases {
        let found = assigned(assignor, topics, members);
        assert_eq!(
            found,
            *expected,
            "{} of {topics} to {members}",
            assignor.name()
        );
    }
}

/// What any assignor must give, since there is no choice.
const NO_CHOICE: &[Case] = &[
    ("t1:3", "", ""),
    ("t1:3", "a:", "a:"),
    ("", "a: t1", "a:"),
    ("t1:0", "a: t1", "a:"),
    ("t1:3", "a: t1", "a: t1-0 t1-1 t1-2"),
    ("t1:3 other:3", "a: t1", "a: t1-0 t1-1 t1-2"),
    ("t1:1 t2:2", "a: t1 t2", "a: t1-0 t2-0 t2-1"),
    ("t1:1 t2:1", "a: t1 | b: t2", "a: t1-0 | b: t2-0"),
    ("t1:2", "a: t1 | b: gone", "a: t1-0 t1-1 | b:"),
];

#[test]
fn range_gives_what_kafka_gives() {
    check(&RangeAssignor, NO_CHOICE);
    check(
        &RangeAssignor,
        &[
            // The example of Kafka's documentation.
            (
                "t0:3 t1:3",
                "c0: t0 t1 | c1: t0 t1",
                "c0: t0-0 t0-1 t1-0 t1-1 | c1: t0-2 t1-2",
            ),
            // More members than partitions: the last ones idle.
            ("t1:1", "a: t1 | b: t1", "a: t1-0 | b:"),
            ("t1:2", "a: t1 | b: t1 | c: t1", "a: t1-0 | b: t1-1 | c:"),
            ("t1:2", "a: t1 | b: t1", "a: t1-0 | b: t1-1"),
            // Contiguous ranges, extras to the first.
            (
                "t1:10",
                "a: t1 | b: t1 | c: t1",
                "a: t1-0 t1-1 t1-2 t1-3 | b: t1-4 t1-5 t1-6 | c: t1-7 t1-8 t1-9",
            ),
            (
                "t1:11",
                "a: t1 | b: t1 | c: t1",
                "a: t1-0 t1-1 t1-2 t1-3 | b: t1-4 t1-5 t1-6 t1-7 | c: t1-8 t1-9 t1-10",
            ),
            ("t1:4", "a: t1 | b: t1", "a: t1-0 t1-1 | b: t1-2 t1-3"),
            // Different subscriptions: each topic among its own.
            (
                "t1:3 t2:2",
                "a: t1 | b: t1 t2 | c: t1",
                "a: t1-0 | b: t1-1 t2-0 t2-1 | c: t1-2",
            ),
            (
                "t1:2 t2:2",
                "a: t1 t2 | b: t2",
                "a: t1-0 t1-1 t2-0 | b: t2-1",
            ),
            // The extras of every topic go to the same first members.
            (
                "t1:1 t2:1 t3:1",
                "a: t1 t2 t3 | b: t1 t2 t3",
                "a: t1-0 t2-0 t3-0 | b:",
            ),
            // Members by their ids as plain text: 10 before 2.
            (
                "t1:2",
                "m10: t1 | m2: t1 | m3: t1",
                "m10: t1-0 | m2: t1-1 | m3:",
            ),
            ("t1:2", "b: t1 | a: t1 | B: t1", "B: t1-0 | a: t1-1 | b:"),
            // Static members by instance id, whatever their member ids.
            (
                "t1:3 t2:3",
                "b@i1: t1 t2 | a@i2: t1 t2",
                "a: t1-2 t2-2 | b: t1-0 t1-1 t2-0 t2-1",
            ),
            // A static member comes before a dynamic one.
            (
                "t1:3 t2:3",
                "z@i9: t1 t2 | a: t1 t2",
                "a: t1-2 t2-2 | z: t1-0 t1-1 t2-0 t2-1",
            ),
            (
                "t1:3",
                "a: t1 | y@k: t1 | z@j: t1",
                "a: t1-2 | y: t1-1 | z: t1-0",
            ),
            // One topic of many partitions, one of few.
            (
                "t1:5 t2:1",
                "a: t1 t2 | b: t1 t2",
                "a: t1-0 t1-1 t1-2 t2-0 | b: t1-3 t1-4",
            ),
            // Listing topics in another order changes nothing.
            (
                "t2:3 t1:3",
                "c0: t1 t2 | c1: t2 t1",
                "c0: t1-0 t1-1 t2-0 t2-1 | c1: t1-2 t2-2",
            ),
        ],
    );
}

#[test]
fn round_robin_gives_what_kafka_gives() {
    check(&RoundRobinAssignor, NO_CHOICE);
    check(
        &RoundRobinAssignor,
        &[
            // The two examples of Kafka's documentation.
            (
                "t0:3 t1:3",
                "c0: t0 t1 | c1: t0 t1",
                "c0: t0-0 t0-2 t1-1 | c1: t0-1 t1-0 t1-2",
            ),
            (
                "t0:1 t1:2 t2:3",
                "c0: t0 | c1: t0 t1 | c2: t0 t1 t2",
                "c0: t0-0 | c1: t1-0 | c2: t1-1 t2-0 t2-1 t2-2",
            ),
            ("t1:1", "a: t1 | b: t1", "a: t1-0 | b:"),
            ("t1:2", "a: t1 | b: t1", "a: t1-0 | b: t1-1"),
            ("t1:2", "a: t1 | b: t1 | c: t1", "a: t1-0 | b: t1-1 | c:"),
            // Kafka's mixed case: t2 has one subscriber, t1 goes on where it left the circle.
            (
                "t1:3 t2:2",
                "a: t1 | b: t1 t2 | c: t1",
                "a: t1-0 | b: t1-1 t2-0 t2-1 | c: t1-2",
            ),
            // The circle goes on across topics.
            (
                "t1:1 t2:1 t3:1",
                "a: t1 t2 t3 | b: t1 t2 t3",
                "a: t1-0 t3-0 | b: t2-0",
            ),
            (
                "t1:2 t2:2 t3:2",
                "a: t1 t2 t3 | b: t1 t2 t3 | c: t1 t2 t3",
                "a: t1-0 t2-1 | b: t1-1 t3-0 | c: t2-0 t3-1",
            ),
            // After a topic that passes members over, the next goes on behind the last one served.
            (
                "t1:1 t2:3",
                "a: t2 | b: t1 t2 | c: t2",
                "a: t2-1 | b: t1-0 t2-2 | c: t2-0",
            ),
            (
                "t1:2 t2:2",
                "a: t1 | b: t1 t2 | c: t2",
                "a: t1-0 | b: t1-1 t2-1 | c: t2-0",
            ),
            (
                "t1:3 t2:3",
                "a: t2 | b: t1",
                "a: t2-0 t2-1 t2-2 | b: t1-0 t1-1 t1-2",
            ),
            // Balanced to one over topics of uneven size, where range would not be.
            (
                "t1:1 t2:1 t3:1 t4:1 t5:1",
                "a: t1 t2 t3 t4 t5 | b: t1 t2 t3 t4 t5",
                "a: t1-0 t3-0 t5-0 | b: t2-0 t4-0",
            ),
            (
                "t1:7",
                "a: t1 | b: t1 | c: t1",
                "a: t1-0 t1-3 t1-6 | b: t1-1 t1-4 | c: t1-2 t1-5",
            ),
            // The order of members is range's.
            (
                "t1:2",
                "m10: t1 | m2: t1 | m3: t1",
                "m10: t1-0 | m2: t1-1 | m3:",
            ),
            (
                "t1:3 t2:3",
                "b@i1: t1 t2 | a@i2: t1 t2",
                "a: t1-1 t2-0 t2-2 | b: t1-0 t1-2 t2-1",
            ),
            (
                "t1:3 t2:3",
                "z@i9: t1 t2 | a: t1 t2",
                "a: t1-1 t2-0 t2-2 | z: t1-0 t1-2 t2-1",
            ),
            (
                "t1:3",
                "a: t1 | y@k: t1 | z@j: t1",
                "a: t1-2 | y: t1-1 | z: t1-0",
            ),
            // Topics by name, however they are listed.
            ("t2:1 t1:1", "a: t2 t1 | b: t1 t2", "a: t1-0 | b: t2-0"),
            (
                "t1:4 t2:1",
                "a: t1 | b: t2 | c: t1 t2",
                "a: t1-0 t1-2 | b: t2-0 | c: t1-1 t1-3",
            ),
        ],
    );
}

#[test]
fn the_built_in_assignors_are_cooperative_until_wrapped() {
    assert_eq!(RangeAssignor.protocol(), RebalanceProtocol::Cooperative);
    let eager = Eager::new(RoundRobinAssignor);
    assert_eq!(eager.name(), RoundRobinAssignor.name());
    assert_eq!(eager.protocol(), RebalanceProtocol::Eager);
    let request = assignment_request("t:3", "a: t | b: t");
    assert_eq!(eager.assign(&request), RoundRobinAssignor.assign(&request));
}
