//! Who stops polling is removed; who polls stays.

use super::{Script, cause, member, secs};
use crate::group::ExpiryReason;

#[test]
fn a_member_that_does_not_poll_loses_its_partitions_and_is_fenced() {
    let mut group = Script::new("t:2");
    group.admit("a b", "t");
    group.settle();
    group.woken();
    group.wait(secs(299));
    group.asks("b");
    assert_eq!(group.group.next_deadline(), Some(secs(300)));
    let now = group.now;
    assert_eq!(group.group.expire(now), []);
    group.wait(secs(1));
    let now = group.now;
    let expired = group.group.expire(now);
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].member_id, member("a"));
    assert_eq!(expired[0].reason, ExpiryReason::PollInterval);
    assert_eq!(group.woken(), "a b");
    assert_eq!(group.asks("b"), "assigned [t-0]");
    assert_eq!(cause(group.poll("a")), "UnknownMember");
    assert_eq!(cause(group.check("a", "t-0")), "UnknownMember");

    group.admit("a2", "t");
    assert_eq!(
        group.settle(),
        "a2: t-0 | b: t-1",
        "it comes back under a new id"
    );
}

#[test]
fn a_late_poll_that_comes_before_the_expiry_is_in_time() {
    let mut group = Script::new("t:1");
    group.admit("a", "t");
    group.settle();
    group.wait(secs(1000));
    assert_eq!(group.asks("a"), "");
    let now = group.now;
    assert_eq!(group.group.expire(now), []);
}

#[test]
fn a_touch_counts_as_a_poll_and_never_sets_the_clock_back() {
    let mut group = Script::new("t:1");
    group.admit("a", "t");
    group.settle();
    group.group.touch(secs(250), &member("a"));
    group.group.touch(secs(100), &member("a"));
    group.group.touch(secs(900), &member("nobody"));
    group.wait(secs(549));
    let now = group.now;
    assert_eq!(group.group.expire(now), []);
    assert_eq!(group.group.next_deadline(), Some(secs(550)));
}

#[test]
fn a_poll_interval_without_end_never_expires() {
    let mut group = Script::new("t:1");
    let mut request = Script::request("a", "t");
    request.max_poll_interval = std::time::Duration::MAX;
    group.join(request).unwrap();
    group.wait(secs(1_000_000_000));
    let now = group.now;
    assert_eq!(group.group.expire(now), []);
}

#[test]
fn an_idle_group_has_no_deadline() {
    let group = Script::new("t:1");
    assert_eq!(group.group.next_deadline(), None);
    assert!(group.group.is_idle());
}
