//! Who may commit, what counts, and how long it is kept.

use super::{
    Committer, GroupOptions, GroupState, OffsetCommit, Script, Timestamp, cause, commits, member,
    place, places, secs, topic,
};
use crate::ErrorKind;
use crate::group::Generation;
use crate::limits::OFFSET_METADATA_CHARACTERS_MAX;
use crate::offset::Offset;

const DAY: i64 = 24 * 3600 * 1000;

fn outsider(group: &Script, partitions: &str) -> crate::Result<()> {
    group
        .group
        .check_commit(Committer::Outsider, &commits(partitions))
}

fn expired(group: &mut Script, wall: i64) -> Vec<super::TopicPartition> {
    group.group.expire_offsets(Timestamp::from_millis(wall))
}

#[test]
fn a_member_commits_for_what_it_owns_until_it_gives_it_up() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    assert_eq!(
        cause(group.check("a", "t-0")),
        "NotAssigned",
        "not polled yet"
    );
    group.settle();
    group.check("a", "t-0 t-1").unwrap();
    group.admit("b", "t");
    assert_eq!(group.asks("a"), "revoke [t-1]");
    group.check("a", "t-0 t-1").unwrap();
    assert_eq!(cause(group.check("b", "t-1")), "NotAssigned");
    group.release("a", "t-1").unwrap();
    assert_eq!(
        cause(group.check("a", "t-0 t-1")),
        "NotAssigned",
        "all or nothing"
    );
    assert_eq!(group.settle(), "a: t-0 | b: t-1");
    group.check("b", "t-1").unwrap();
    assert_eq!(
        group.check("b", "t-0").unwrap_err().kind(),
        ErrorKind::Fenced
    );
}

#[test]
fn a_commit_from_before_the_partition_was_elsewhere_is_refused() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    group.settle();
    let early = group.group.generation();
    group.admit("b", "t");
    assert_eq!(group.settle(), "a: t-0 | b: t-1");
    group.leave("b").unwrap();
    assert_eq!(group.settle(), "a: t-0 t-1");
    group.check_at("a", early, "t-0").unwrap();
    assert_eq!(
        cause(group.check_at("a", early, "t-1")),
        "IllegalGeneration"
    );
    group.check("a", "t-1").unwrap();
    let future = group.group.generation().next();
    assert_eq!(
        cause(group.check_at("a", future, "t-0")),
        "IllegalGeneration"
    );
    assert_eq!(
        cause(group.check_at("a", Generation::NONE, "t-0")),
        "IllegalGeneration"
    );
}

#[test]
fn outsiders_commit_only_while_there_are_no_members() {
    let mut group = Script::new("t:2");
    outsider(&group, "t-0").unwrap();
    let unknown = outsider(&group, "t-2").unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    group.join(Script::static_request("a", "i", "t")).unwrap();
    assert_eq!(cause(outsider(&group, "t-0")), "NonEmptyGroup");
    group.leave("a").unwrap();
    assert_eq!(
        cause(outsider(&group, "t-0")),
        "NonEmptyGroup",
        "it may come back"
    );
    group.wait(secs(45));
    let now = group.now;
    group.group.expire(now);
    outsider(&group, "t-0").unwrap();
}

#[test]
fn metadata_and_offsets_have_limits() {
    let group = Script::new("t:1");
    let commit = |offset: Offset, metadata: String| {
        let commit = OffsetCommit {
            partition: place("t-0"),
            topic_id: None,
            offset,
            metadata: metadata.into(),
        };
        group.group.check_commit(Committer::Outsider, &[commit])
    };
    // Kafka counts as Java does: two where a character does not fit 16 bits.
    for (text, each) in [("x", 1), ("\u{436}", 1), ("\u{20ac}", 1), ("\u{1f980}", 2)] {
        let most = OFFSET_METADATA_CHARACTERS_MAX / each;
        commit(Offset::MAX, text.repeat(most)).unwrap();
        let long = commit(Offset::ZERO, text.repeat(most + 1));
        assert_eq!(cause(long), "MetadataTooLarge");
    }
    let huge = commit(Offset::MAX + 1, String::new()).unwrap_err();
    assert_eq!(huge.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_commit_that_is_last_in_the_log_counts() {
    let mut group = Script::new("t:1");
    assert_eq!(group.committed("t-0"), None);
    group.apply("t-0", 10, 1, 0);
    group.apply("t-0", 5, 2, 0);
    assert_eq!(group.committed("t-0"), Some(5), "going back is allowed");
    group.apply("t-0", 30, 4, 0);
    group.apply("t-0", 20, 3, 0);
    assert_eq!(
        group.committed("t-0"),
        Some(30),
        "applied late, but written before"
    );

    group.group.apply_removal(place("t-0"), Offset::new(3));
    assert_eq!(group.committed("t-0"), Some(30));
    group.group.apply_removal(place("t-0"), Offset::new(6));
    group.apply("t-0", 40, 5, 0);
    assert_eq!(group.committed("t-0"), None, "removed after it");
    group.apply("t-0", 50, 7, 0);
    assert_eq!(group.committed("t-0"), Some(50));
    assert_eq!(group.group.all_committed().count(), 1);
}

#[test]
fn commits_read_back_before_the_topics_are_known_are_judged_when_they_are() {
    let group = Script::new("t:1");
    let known = group.group.topic_id(&place("t-0")).unwrap();
    let mut fresh = super::Group::new(super::GroupId::new("g").unwrap(), GroupOptions::default());
    let commit = |topic_id| super::Committed {
        offset: 3.into(),
        metadata: "".into(),
        topic_id,
        timestamp: Timestamp::EPOCH,
        log_offset: 0.into(),
    };
    fresh.apply_commit(place("t-0"), commit(known));
    fresh.apply_commit(place("u-0"), commit(super::Id::from_bytes([9; 16])));
    assert_eq!(fresh.all_committed().count(), 2);
    fresh.topics_changed(secs(0), &group.catalog());
    assert_eq!(fresh.all_committed().count(), 1);
    assert_eq!(fresh.take_effects().dropped_offsets, places("u-0"));
}

#[test]
fn offsets_of_subscribed_topics_cannot_be_deleted() {
    let mut group = Script::new("t:1 u:1");
    group.admit("a", "t");
    let refused = group.group.check_delete_offsets(&topic("t"));
    assert_eq!(cause(refused), "SubscribedToTopic");
    group.group.check_delete_offsets(&topic("u")).unwrap();
}

#[test]
fn only_an_empty_group_is_deleted_and_then_it_is_dead() {
    let mut group = Script::new("t:1");
    group.admit("a", "t");
    group.apply("t-0", 5, 1, 0);
    assert_eq!(cause(group.group.check_delete()), "NonEmptyGroup");
    assert!(!group.group.bury());
    group.leave("a").unwrap();
    assert_eq!(group.group.check_delete().unwrap(), places("t-0"));
    assert!(!group.group.bury(), "as long as the log has it");
    group.group.apply_removal(place("t-0"), Offset::new(2));
    assert!(group.group.bury());
    assert_eq!(group.state(), GroupState::Dead);
    assert_eq!(
        cause(group.join(Script::request("b", "t"))),
        "GroupNotFound"
    );
    assert_eq!(cause(outsider(&group, "t-0")), "GroupNotFound");
    assert_eq!(cause(group.check("a", "t-0")), "UnknownMember");
    assert_eq!(cause(group.group.check_delete()), "GroupNotFound");
}

#[test]
fn a_commit_for_a_topic_of_before_is_refused() {
    let mut group = Script::new("t:1");
    let old = group.group.topic_id(&place("t-0"));
    let commit = |topic_id| OffsetCommit {
        topic_id,
        ..commits("t-0").remove(0)
    };
    let outsider = Committer::Outsider;
    group.group.check_commit(outsider, &[commit(old)]).unwrap();
    group.delete("t");
    group.create("t:1");
    let refused = group.group.check_commit(outsider, &[commit(old)]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    let now = group.group.topic_id(&place("t-0"));
    group.group.check_commit(outsider, &[commit(now)]).unwrap();
    group.admit("a", "t");
    group.settle();
    let a = member("a");
    let by_a = Committer::Member(&a, group.group.generation());
    assert_eq!(
        cause(group.group.check_commit(by_a, &[commit(old)])),
        "NotAssigned"
    );
    group.group.check_commit(by_a, &[commit(now)]).unwrap();
}

#[test]
fn offsets_of_an_empty_group_are_kept_for_the_retention() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    group.apply("t-0", 5, 1, 0);
    assert_eq!(
        expired(&mut group, 100 * DAY),
        [],
        "never while a member may go on from it"
    );
    group.leave("a").unwrap();
    assert_eq!(expired(&mut group, 101 * DAY), []);
    assert_eq!(expired(&mut group, 108 * DAY - 1), []);
    assert_eq!(expired(&mut group, 108 * DAY), places("t-0"));
    assert_eq!(
        group.committed("t-0"),
        Some(5),
        "until the removal is in the log"
    );
    group.group.apply_removal(place("t-0"), Offset::new(2));
    assert_eq!(expired(&mut group, 108 * DAY), []);
    assert!(group.group.is_idle());
}

#[test]
fn a_member_that_comes_stops_the_expiry() {
    let mut group = Script::new("t:1");
    group.admit("a", "t");
    group.apply("t-0", 5, 1, 0);
    group.leave("a").unwrap();
    assert_eq!(expired(&mut group, 0), []);
    group.admit("b", "t");
    assert_eq!(expired(&mut group, 8 * DAY), []);
    group.leave("b").unwrap();
    assert_eq!(expired(&mut group, 9 * DAY), [], "the time counts anew");
    assert_eq!(expired(&mut group, 16 * DAY), places("t-0"));
}

#[test]
fn offsets_of_a_simple_consumer_count_from_their_commit() {
    let mut group = Script::new("t:2");
    group.apply("t-0", 5, 1, 0);
    group.apply("t-1", 5, 2, DAY);
    assert_eq!(expired(&mut group, 7 * DAY - 1), []);
    assert_eq!(expired(&mut group, 7 * DAY), places("t-0"));
    assert_eq!(expired(&mut group, 8 * DAY), places("t-0 t-1"));
}

#[test]
fn a_look_at_a_group_without_anything_does_not_say_that_it_had_members() {
    let mut group = Script::new("t:1");
    assert_eq!(expired(&mut group, DAY), []);
    group.apply("t-0", 5, 1, 0);
    assert_eq!(expired(&mut group, 2 * DAY), []);
    let since = group.group.empty_since();
    assert_eq!(since, Some(Timestamp::EPOCH), "since the first commit");
}

#[test]
fn topics_no_longer_subscribed_expire_in_a_stable_group() {
    let mut group = Script::new("t:1 u:1");
    group.admit("a", "u");
    group.apply("t-0", 5, 1, 0);
    group.apply("u-0", 5, 2, 0);
    assert_eq!(expired(&mut group, 7 * DAY), [], "not while it rebalances");
    group.settle();
    assert_eq!(expired(&mut group, 7 * DAY), places("t-0"));
}

#[test]
fn a_restart_neither_shortens_nor_prolongs_the_time() {
    let mut group = Script::new("t:1");
    group.apply("t-0", 5, 1, 0);
    group
        .group
        .restore_empty_since(Some(Timestamp::from_millis(3 * DAY)));
    assert_eq!(expired(&mut group, 10 * DAY - 1), []);
    assert_eq!(expired(&mut group, 10 * DAY), places("t-0"));
    group.group.restore_empty_since(None);
    assert_eq!(expired(&mut group, 20 * DAY), [], "unknown: from now on");
    assert_eq!(expired(&mut group, 27 * DAY), places("t-0"));
}

#[test]
fn a_description_tells_who_has_and_who_is_to_have() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    group.settle();
    let mut request = Script::static_request("b", "i", "t");
    request.client_id = "mailer".into();
    group.join(request).unwrap();
    let described = group.group.describe();
    assert_eq!(described.group_id.as_str(), "g");
    assert_eq!(described.state, GroupState::Reconciling);
    assert_eq!(described.generation, Generation::new(2));
    assert_eq!(described.assignor.as_deref(), Some("range"));
    let [a, b] = &described.members[..] else {
        panic!("two members");
    };
    assert_eq!(a.current, places("t-0 t-1"));
    assert_eq!(a.target, places("t-1"));
    assert_eq!(b.member_id, member("b"));
    assert_eq!(b.client_id, "mailer");
    assert_eq!(b.instance_id.as_deref(), Some("i"));
    assert_eq!(b.current, []);
    assert_eq!(b.target, places("t-0"), "static before dynamic");
    assert!(!b.away);
}
