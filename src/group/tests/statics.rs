//! Static membership, KIP-345.

use std::sync::Arc;

use super::{Departure, GroupState, Script, cause, member, secs};
use crate::group::{CooperativeStickyAssignor, Eager, ExpiryReason, RangeAssignor};

fn two_statics() -> Script {
    let mut group = Script::new("t:4 u:1");
    group.join(Script::static_request("a1", "i", "t")).unwrap();
    group.join(Script::static_request("b1", "j", "t")).unwrap();
    group.settle();
    group.woken();
    group
}

#[test]
fn a_restart_within_the_session_timeout_gets_its_partitions_back_without_a_rebalance() {
    let mut group = two_statics();
    group.leave("a1").unwrap();
    assert_eq!(group.generation(), 2);
    assert_eq!(
        group.owned(),
        "a1: | b1: t-2 t-3",
        "its partitions wait for it"
    );
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(group.woken(), "");
    assert_eq!(group.asks("b1"), "");
    group.wait(secs(44));
    let now = group.now;
    assert_eq!(group.group.expire(now), []);

    group.join(Script::static_request("a2", "i", "t")).unwrap();
    assert_eq!(group.woken(), "a2");
    assert_eq!(group.asks("a2"), "assigned [t-0 t-1]");
    assert_eq!(group.generation(), 2);
    assert_eq!(group.asks("b1"), "");
}

#[test]
fn a_restart_with_other_wishes_is_a_rebalance() {
    let mut group = two_statics();
    group.leave("a1").unwrap();
    group
        .join(Script::static_request("a2", "i", "t u"))
        .unwrap();
    assert_eq!(group.generation(), 3);
    assert_eq!(group.settle(), "a2: t-0 t-1 u-0 | b1: t-2 t-3");
}

/// A static member came back under the eager protocol: the group went on as a cooperative one, and gave it
/// partitions while others kept theirs.
#[test]
fn a_restart_under_another_protocol_is_a_rebalance() {
    let mut group = two_statics();
    group.leave("a1").unwrap();
    let mut request = Script::static_request("a2", "i", "t");
    request.assignors = vec![Arc::new(Eager::new(RangeAssignor))];
    group.join(request).unwrap();
    assert_eq!(group.asks("a2"), "", "not before the other has given up");
    assert_eq!(group.asks("b1"), "revoke [t-2 t-3]");
    assert_eq!(group.settle(), "a2: t-0 t-1 | b1: t-2 t-3");
    group.leave("a2").unwrap();
    group.join(Script::static_request("a3", "i", "t")).unwrap();
    assert_eq!(group.asks("b1"), "");
    assert_eq!(group.settle(), "a3: t-0 t-1 | b1: t-2 t-3");
    group.admit("c", "t");
    assert_eq!(group.asks("b1"), "revoke [t-3]", "cooperative again");
}

#[test]
fn who_does_not_come_back_in_time_is_removed() {
    let mut group = two_statics();
    group.leave("a1").unwrap();
    assert_eq!(group.group.next_deadline(), Some(secs(45)));
    group.wait(secs(45));
    let now = group.now;
    let expired = group.group.expire(now);
    assert_eq!(expired[0].member_id, member("a1"));
    assert_eq!(expired[0].reason, ExpiryReason::SessionTimeout);
    assert_eq!(group.settle(), "b1: t-0 t-1 t-2 t-3");
    group.join(Script::static_request("a2", "i", "t")).unwrap();
    assert_eq!(group.generation(), 4, "back after that, it is a new member");
}

#[test]
fn a_second_holder_of_an_instance_id_fences_the_first() {
    let mut group = two_statics();
    let before = group.group.generation();
    group.join(Script::static_request("a2", "i", "t")).unwrap();
    assert_eq!(group.generation(), 2);
    assert_eq!(group.woken(), "a1 a2");
    assert_eq!(group.asks("a2"), "assigned [t-0 t-1]");
    assert_eq!(cause(group.poll("a1")), "FencedInstance");
    assert_eq!(cause(group.release("a1", "t-0")), "FencedInstance");
    assert_eq!(cause(group.check_at("a1", before, "t-0")), "FencedInstance");
    let again = group.join(Script::static_request("a1", "i", "t"));
    assert_eq!(cause(again), "FencedInstance");
    assert_eq!(cause(group.leave("a1")), "FencedInstance");
    assert_eq!(
        cause(group.leave("a1")),
        "UnknownMember",
        "forgotten once it left"
    );
    assert_eq!(group.owned(), "a2: t-0 t-1 | b1: t-2 t-3");
}

#[test]
fn a_static_member_may_leave_for_good() {
    let mut group = two_statics();
    let now = group.now;
    group
        .group
        .leave(now, &member("a1"), Departure::Leave)
        .unwrap();
    assert_eq!(group.settle(), "b1: t-0 t-1 t-2 t-3");
}

/// Its partitions went to others at once, and came back with two rebalances when it polled again.
#[test]
fn a_static_member_that_stops_polling_keeps_its_place_for_the_session_timeout() {
    let mut group = two_statics();
    group.wait(secs(299));
    group.asks("b1");
    group.wait(secs(11));
    let now = group.now;
    let expired = group.group.expire(now);
    assert_eq!(expired[0].member_id, member("a1"));
    assert_eq!(expired[0].reason, ExpiryReason::PollInterval);
    assert_eq!(group.woken(), "a1");
    assert_eq!(cause(group.poll("a1")), "UnknownMember");
    assert_eq!(group.settle(), "a1: | b1: t-2 t-3");
    assert_eq!(
        group.group.next_deadline(),
        Some(secs(345)),
        "counted from the end of the poll interval"
    );

    group.join(Script::static_request("a2", "i", "t")).unwrap();
    assert_eq!(group.asks("a2"), "assigned [t-0 t-1]");
    assert_eq!(group.generation(), 2);

    group.wait(secs(285));
    group.asks("b1");
    group.wait(secs(60));
    let now = group.now;
    let expired = group.group.expire(now);
    assert_eq!(expired[0].reason, ExpiryReason::PollInterval);
    assert_eq!(group.settle(), "b1: t-0 t-1 t-2 t-3", "both times are up");
}

#[test]
fn a_rebalance_while_a_member_is_away_reckons_with_it() {
    let mut group = two_statics();
    group.leave("a1").unwrap();
    group.admit("c", "t");
    // i and j come before the dynamic c; what i was to have and is c's now moves at once.
    assert_eq!(group.settle(), "a1: | b1: t-2 | c: t-3");
    group.join(Script::static_request("a2", "i", "t")).unwrap();
    assert_eq!(group.asks("a2"), "assigned [t-0 t-1]");
    assert_eq!(group.generation(), 3);
}

#[test]
fn a_partition_on_its_way_to_a_member_that_goes_away_waits_for_it() {
    let mut group = Script::new("t:2");
    group.admit("z", "t");
    group.settle();
    group.join(Script::static_request("a1", "i", "t")).unwrap();
    group.leave("a1").unwrap();
    assert_eq!(group.asks("z"), "revoke [t-0]");
    group.release("z", "t-0").unwrap();
    assert_eq!(group.state(), GroupState::Stable);
    group.join(Script::static_request("a2", "i", "t")).unwrap();
    assert_eq!(group.asks("a2"), "assigned [t-0]");
}

#[test]
fn what_waits_for_a_member_that_is_away_sticks_to_it() {
    let mut group = Script::new("t:4");
    let sticky = |id: &str, instance: &str| {
        let mut request = Script::static_request(id, instance, "t");
        request.assignors = vec![Arc::new(CooperativeStickyAssignor)];
        request
    };
    group.join(sticky("a1", "i")).unwrap();
    group.join(sticky("b1", "j")).unwrap();
    assert_eq!(group.settle(), "a1: t-0 t-1 | b1: t-2 t-3");
    group.leave("a1").unwrap();
    group.join(sticky("c1", "k")).unwrap();
    assert_eq!(group.settle(), "a1: | b1: t-2 | c1: t-3");
    group.join(sticky("a2", "i")).unwrap();
    assert_eq!(group.asks("a2"), "assigned [t-0 t-1]");
}
