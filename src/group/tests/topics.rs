//! Topics that come, go, and grow.

use std::sync::Arc;

use super::{JoinRequest, Script, Subscription, cause, member};
use crate::group::catalog::PartitionKey;
use crate::group::{CooperativeStickyAssignor, RangeAssignor};

fn pattern(id: &str, prefix: &'static str) -> JoinRequest {
    let wishes = Subscription::pattern(move |name| name.as_str().starts_with(prefix));
    let mut request = JoinRequest::new(member(id), "c", wishes);
    request.assignors = vec![Arc::new(RangeAssignor)];
    request
}

#[test]
fn a_named_topic_may_come_later() {
    let mut group = Script::new("");
    group.admit("a", "t");
    assert_eq!(group.settle(), "a:");
    group.woken();
    group.create("t:2");
    assert_eq!(group.woken(), "a");
    assert_eq!(group.asks("a"), "assigned [t-0 t-1]");
}

#[test]
fn a_pattern_takes_up_topics_that_appear_later_but_no_internal_ones() {
    let mut group = Script::new("pay-1:1 other:1 __pay:1");
    group.join(pattern("a", "")).unwrap();
    assert_eq!(group.settle(), "a: other-0 pay-1-0");
    group.join(pattern("b", "pay")).unwrap();
    group.create("pay-2:1");
    assert_eq!(group.settle(), "a: other-0 pay-1-0 pay-2-0 | b:");
    group.create("pay-2:2 __more:1");
    assert_eq!(group.settle(), "a: other-0 pay-1-0 pay-2-0 | b: pay-2-1");

    let mut named = Script::new("__pay:1");
    named.admit("a", "__pay");
    assert_eq!(named.settle(), "a: __pay-0", "by name one may have it");
}

/// Two patterns can be told apart only by what they come to.
#[test]
fn another_pattern_takes_the_place_of_the_first() {
    let mut group = Script::new("pay-1:1 other:1");
    group.join(pattern("a", "pay")).unwrap();
    assert_eq!(group.settle(), "a: pay-1-0");
    for (prefix, generation, owned) in [("p", 1, "pay-1-0"), ("o", 2, "other-0")] {
        let (now, wishes) = (group.now, pattern("a", prefix).subscription);
        group.group.subscribe(now, &member("a"), wishes).unwrap();
        assert_eq!(group.settle(), format!("a: {owned}"));
        assert_eq!(group.generation(), generation);
    }
}

#[test]
fn a_partition_beyond_the_last_has_neither_key_nor_place() {
    let catalog = Script::new("t:2").catalog();
    let last = catalog.key_of(&super::place("t-1")).unwrap();
    assert_eq!(catalog.place_of(last), Some(super::place("t-1")));
    assert_eq!(catalog.key_of(&super::place("t-2")), None);
    let partition = 2;
    let beyond = PartitionKey { partition, ..last };
    assert_eq!(catalog.place_of(beyond), None);
}

#[test]
fn partitions_that_are_added_are_dealt_out() {
    let mut group = Script::new("t:2");
    for id in ["a", "b"] {
        let mut request = Script::request(id, "t");
        request.assignors = vec![Arc::new(CooperativeStickyAssignor)];
        group.join(request).unwrap();
    }
    group.settle();
    group.create("t:4");
    assert_eq!(group.asks("a"), "assigned [t-2]");
    assert_eq!(group.asks("b"), "assigned [t-3]");
}

#[test]
fn a_deleted_topic_is_lost_and_its_offsets_are_dropped() {
    let mut group = Script::new("t:2 u:1");
    group.admit("a", "t u");
    group.settle();
    group.apply("t-1", 7, 1, 0);
    group.apply("u-0", 8, 2, 0);
    group.woken();
    group.delete("t");
    let effects = group.effects();
    assert_eq!(effects.wake, [member("a")]);
    assert_eq!(effects.dropped_offsets, super::places("t-1"));
    assert_eq!(group.committed("t-1"), None);
    assert_eq!(group.committed("u-0"), Some(8));
    assert_eq!(group.owned(), "a: u-0");
    assert_eq!(cause(group.check("a", "t-0")), "NotAssigned");
    assert_eq!(group.asks("a"), "lost [t-0 t-1]");
    assert_eq!(group.asks("a"), "");
}

#[test]
fn a_topic_created_anew_under_its_name_is_another_one() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    group.settle();
    group.apply("t-0", 7, 1, 0);
    let old = group.group.topic_id(&super::place("t-0")).unwrap();
    group.topics.clear();
    group.create("t:1");
    assert_ne!(group.group.topic_id(&super::place("t-0")), Some(old));
    assert_eq!(group.committed("t-0"), None);
    assert_eq!(cause(group.check("a", "t-0")), "NotAssigned");
    assert_eq!(group.asks("a"), "lost [t-0 t-1] assigned [t-0]");

    // A commit for the old one that was under way is passed over.
    let late = super::Committed {
        offset: 9.into(),
        metadata: "".into(),
        topic_id: old,
        timestamp: super::Timestamp::EPOCH,
        log_offset: 5.into(),
    };
    group.group.apply_commit(super::place("t-0"), late);
    assert_eq!(group.committed("t-0"), None);
}

#[test]
fn an_older_catalog_changes_nothing() {
    let mut group = Script::new("t:1");
    let old = group.catalog();
    group.create("u:1");
    let request = Script::request("a", "t u");
    let now = group.now;
    group.group.join(now, request, &old).unwrap();
    assert_eq!(group.settle(), "a: t-0 u-0");
}

#[test]
fn joining_brings_a_newer_catalog_along() {
    let mut group = Script::new("t:1");
    group.put(super::topic("u"), 1);
    group.version += 1;
    group.admit("a", "t u");
    assert_eq!(group.settle(), "a: t-0 u-0");
}
