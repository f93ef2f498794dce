//! A thousand members and ten thousand partitions: large groups come to the same rest as small ones.

use std::sync::Arc;

use super::{Assignor, GroupOptions, JoinRequest, Script, Subscription, member, secs, topic};
use crate::group::{CooperativeStickyAssignor, MemberId, RangeAssignor, RoundRobinAssignor};

const MEMBERS: usize = 1_000;
const PARTITIONS: usize = 10_000;

fn request(number: usize, wishes: &Subscription, assignor: &Arc<dyn Assignor>) -> JoinRequest {
    let id = member(&format!("m{number:04}"));
    let mut request = JoinRequest::new(id, "c", wishes.clone());
    request.assignors = vec![Arc::clone(assignor)];
    request
}

/// `mixed`: members subscribe to ten different lists of topics.
fn share(assignor: &Arc<dyn Assignor>, topics: usize, mixed: bool) {
    let each = PARTITIONS / topics;
    let all: Vec<String> = (0..topics).map(|number| format!("t{number}")).collect();
    let listed: Vec<String> = all.iter().map(|name| format!("{name}:{each}")).collect();
    let options = GroupOptions {
        initial_rebalance_delay: secs(3),
        ..GroupOptions::default()
    };
    let mut group = Script::with_options(&listed.join(" "), options);
    let lists: Vec<_> = (0..10)
        .map(|skip| {
            let names = all.iter().skip(if mixed { skip } else { 0 });
            Subscription::topics(names.map(|name| topic(name)))
        })
        .collect();
    let catalog = group.catalog();
    let now = group.now;
    let join = |group: &mut Script, number: usize| {
        let request = request(number, &lists[number % 10], assignor);
        group.group.join(now, request, &catalog).unwrap();
    };
    for number in 0..MEMBERS {
        join(&mut group, number);
    }
    group.wait(secs(3));
    let now = group.now;
    assert_eq!(group.group.expire(now), []);
    let ids: Vec<_> = (0..MEMBERS).map(|n| member(&format!("m{n:04}"))).collect();
    for id in &ids {
        assert!(group.group.poll(now, id).unwrap().revoke.is_empty());
    }
    join(&mut group, MEMBERS);
    settle(&mut group, &ids);
    group.leave("m0500").unwrap();
    let rest: Vec<_> = ids
        .into_iter()
        .filter(|id| id.as_str() != "m0500")
        .collect();
    settle(&mut group, &rest);
    let newcomer = member(&format!("m{MEMBERS:04}"));
    settle(&mut group, std::slice::from_ref(&newcomer));
    let owned: usize = group
        .group
        .describe()
        .members
        .iter()
        .map(|m| m.current.len())
        .sum();
    assert_eq!(
        owned,
        PARTITIONS,
        "{} topics={topics} mixed={mixed}",
        assignor.name()
    );
    for id in &rest {
        assert!(
            group.group.poll(now, id).unwrap().is_empty(),
            "a group at rest asks for nothing"
        );
    }
}

/// Everybody gives up what it must, then takes what it may.
fn settle(group: &mut Script, ids: &[MemberId]) {
    let now = group.now;
    for id in ids {
        let reconcile = group.group.poll(now, id).unwrap();
        group.group.release(now, id, &reconcile.revoke).unwrap();
    }
    for id in ids {
        while !group.group.poll(now, id).unwrap().is_empty() {}
    }
}

#[test]
fn a_thousand_members_share_ten_thousand_partitions_and_go_on_sharing_them() {
    let assignors: [Arc<dyn Assignor>; 3] = [
        Arc::new(RangeAssignor),
        Arc::new(RoundRobinAssignor),
        Arc::new(CooperativeStickyAssignor),
    ];
    for assignor in &assignors {
        share(assignor, 100, false);
        share(assignor, 100, true);
        share(assignor, 1, false);
        share(assignor, 10_000, false);
    }
}
