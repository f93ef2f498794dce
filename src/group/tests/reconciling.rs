//! How partitions move: given up by one, then taken by the other; eager and cooperative.

use std::sync::Arc;

use super::{GroupState, JoinRequest, Script, Subscription, cause, member, secs, topic};
use crate::group::{CooperativeStickyAssignor, Eager, RangeAssignor};

fn sticky(id: &str) -> JoinRequest {
    let mut request = Script::request(id, "t");
    request.assignors = vec![Arc::new(CooperativeStickyAssignor)];
    request
}

fn eager(id: &str) -> JoinRequest {
    let mut request = Script::request(id, "t");
    request.assignors = vec![Arc::new(Eager::new(RangeAssignor))];
    request
}

#[test]
fn a_partition_moves_only_after_its_owner_gave_it_up() {
    let mut group = Script::new("t:4");
    group.admit("a", "t");
    group.settle();
    group.woken();
    group.admit("b", "t");
    assert_eq!(group.woken(), "a", "b has nothing to gain yet");
    assert_eq!(group.asks("b"), "");
    assert_eq!(group.asks("a"), "revoke [t-2 t-3]");
    assert_eq!(group.asks("a"), "revoke [t-2 t-3]", "until it is released");
    assert_eq!(group.owned(), "a: t-0 t-1 t-2 t-3 | b:");
    assert_eq!(group.state(), GroupState::Reconciling);

    group.release("a", "t-2").unwrap();
    assert_eq!(group.woken(), "b");
    assert_eq!(group.asks("b"), "assigned [t-2]");
    assert_eq!(group.asks("a"), "revoke [t-3]");
    group.release("a", "t-3").unwrap();
    assert_eq!(group.asks("a"), "");
    assert_eq!(group.asks("b"), "assigned [t-3]");
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn what_does_not_move_is_never_revoked() {
    let mut group = Script::new("t:6");
    for id in ["a", "b"] {
        group.join(sticky(id)).unwrap();
        group.settle();
    }
    assert_eq!(group.owned(), "a: t-0 t-1 t-2 | b: t-3 t-4 t-5");
    group.join(sticky("c")).unwrap();
    assert_eq!(group.asks("a"), "revoke [t-2]");
    assert_eq!(group.asks("b"), "revoke [t-5]");
    assert_eq!(group.settle(), "a: t-0 t-1 | b: t-3 t-4 | c: t-2 t-5");
    group.leave("a").unwrap();
    assert_eq!(group.asks("b"), "assigned [t-0]");
    assert_eq!(group.asks("c"), "assigned [t-1]");
}

#[test]
fn a_member_revokes_before_it_gains() {
    let mut group = Script::new("t:2 u:2");
    group.admit("a", "t");
    group.settle();
    let wishes = Subscription::topics([topic("u")]);
    let now = group.now;
    group.group.subscribe(now, &member("a"), wishes).unwrap();
    assert_eq!(group.asks("a"), "revoke [t-0 t-1]");
    group.release("a", "t-0 t-1").unwrap();
    assert_eq!(group.asks("a"), "assigned [u-0 u-1]");
}

#[test]
fn a_partition_that_is_to_come_back_before_it_was_given_up_stays() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    group.settle();
    group.admit("b", "t");
    assert_eq!(group.asks("a"), "revoke [t-1]");
    group.leave("b").unwrap();
    assert_eq!(group.asks("a"), "", "its listener was told nothing yet");
    assert_eq!(group.settle(), "a: t-0 t-1");

    // Had the listener been told, the release that follows lets it be assigned again.
    group.admit("c", "t");
    assert_eq!(group.asks("a"), "revoke [t-1]");
    group.leave("c").unwrap();
    group.release("a", "t-1").unwrap();
    assert_eq!(group.asks("a"), "assigned [t-1]");
}

#[test]
fn releasing_what_one_does_not_own_is_passed_over() {
    let mut group = Script::new("t:2");
    group.admit("a b", "t");
    group.settle();
    group.release("a", "t-1 t-7 gone-0").unwrap();
    assert_eq!(group.settle(), "a: t-0 | b: t-1");
}

#[test]
fn a_member_with_nothing_to_do_is_not_woken() {
    let mut group = Script::new("t:4 u:1");
    group.admit("a b", "t");
    group.settle();
    group.woken();
    group.admit("c", "u");
    assert_eq!(group.generation(), 3);
    assert_eq!(group.woken(), "c", "a and b keep what they have");
}

#[test]
fn under_the_eager_protocol_all_give_up_all_before_any_gets_some() {
    let mut group = Script::new("t:4");
    group.join(eager("a")).unwrap();
    assert_eq!(group.settle(), "a: t-0 t-1 t-2 t-3");
    group.join(eager("b")).unwrap();
    assert_eq!(group.settle(), "a: t-0 t-1 | b: t-2 t-3");
    group.woken();
    let generation = group.generation();

    group.join(eager("c")).unwrap();
    assert_eq!(group.woken(), "a b");
    assert_eq!(group.state(), GroupState::Assigning);
    assert_eq!(group.generation(), generation, "not decided yet");
    assert_eq!(group.asks("a"), "revoke [t-0 t-1]");
    group.check("a", "t-0").unwrap();
    group.release("a", "t-0 t-1").unwrap();
    assert_eq!(group.asks("a"), "", "b has not given up");
    assert_eq!(group.asks("c"), "");

    // Another change meanwhile makes no generation of its own.
    group.join(eager("d")).unwrap();
    assert_eq!(group.asks("b"), "revoke [t-2 t-3]");
    group.release("b", "t-2 t-3").unwrap();
    assert_eq!(group.generation(), generation + 1);
    assert_eq!(
        group.woken(),
        "a c d",
        "b is due still: no poll of it had nothing"
    );
    assert_eq!(group.asks("a"), "assigned [t-0]");
    assert_eq!(group.settle(), "a: t-0 | b: t-1 | c: t-2 | d: t-3");
}

#[test]
fn an_eager_rebalance_waits_no_longer_than_the_poll_interval() {
    let mut group = Script::new("t:2");
    group.join(eager("a")).unwrap();
    group.settle();
    group.wait(secs(200));
    group.join(eager("b")).unwrap();
    assert_eq!(group.asks("b"), "");
    group.wait(secs(100));
    let now = group.now;
    assert_eq!(group.group.expire(now)[0].member_id, member("a"));
    assert_eq!(group.asks("b"), "assigned [t-0 t-1]");
    assert_eq!(cause(group.poll("a")), "UnknownMember");
}

#[test]
fn one_eager_member_makes_the_group_eager_as_long_as_it_stays() {
    let mut group = Script::new("t:2");
    group.admit("a b", "t");
    group.settle();
    group.join(eager("c")).unwrap();
    assert_eq!(group.asks("a"), "revoke [t-0]");
    assert_eq!(group.asks("b"), "revoke [t-1]");
    group.leave("c").unwrap();
    assert_eq!(group.asks("a"), "", "without it nothing must move");
    assert_eq!(group.settle(), "a: t-0 | b: t-1");
}
