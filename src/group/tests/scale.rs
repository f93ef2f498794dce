//! A thousand members and ten thousand partitions. Times are held only to bounds that even a slow and
//! busy machine keeps, so that what grew by an order of magnitude is found.

use std::sync::Arc;
use std::time::Duration;

use super::{Assignor, GroupOptions, JoinRequest, Script, Subscription, member, secs, topic};
use crate::group::{CooperativeStickyAssignor, RangeAssignor, RoundRobinAssignor};

const MEMBERS: usize = 1_000;
const PARTITIONS: usize = 10_000;

/// How long `work` takes on the machine's own clock.
fn timed(work: impl FnOnce()) -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures the machine, not the group"
    )]
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}

fn request(number: usize, wishes: &Subscription, assignor: &Arc<dyn Assignor>) -> JoinRequest {
    let id = member(&format!("m{number:04}"));
    let mut request = JoinRequest::new(id, "c", wishes.clone());
    request.assignors = vec![Arc::clone(assignor)];
    request
}

/// `mixed`: members subscribe to ten different lists of topics.
fn measure(assignor: &Arc<dyn Assignor>, topics: usize, mixed: bool) {
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
    let joins = timed(|| {
        for number in 0..MEMBERS {
            join(&mut group, number);
        }
    });
    group.wait(secs(3));
    let now = group.now;
    let decided = timed(|| assert_eq!(group.group.expire(now), []));
    let ids: Vec<_> = (0..MEMBERS).map(|n| member(&format!("m{n:04}"))).collect();
    let polls = timed(|| {
        for id in &ids {
            assert!(group.group.poll(now, id).unwrap().revoke.is_empty());
        }
    });
    let one_more = timed(|| join(&mut group, MEMBERS));
    let moves = timed(|| {
        for id in &ids {
            let reconcile = group.group.poll(now, id).unwrap();
            group.group.release(now, id, &reconcile.revoke).unwrap();
        }
    });
    let one_less = timed(|| group.leave("m0500").unwrap());
    for id in ids.iter().filter(|id| id.as_str() != "m0500") {
        let reconcile = group.group.poll(now, id).unwrap();
        group.group.release(now, id, &reconcile.revoke).unwrap();
        assert!(group.group.poll(now, id).unwrap().revoke.is_empty());
    }
    assert!(group.group.poll(now, &ids[0]).unwrap().revoke.is_empty());
    let idle = timed(|| {
        for _ in 0..1_000 {
            assert!(group.group.poll(now, &ids[0]).unwrap().is_empty());
        }
    });
    println!(
        "{:>18} {topics:>5} topics mixed={mixed:<5} {MEMBERS} joins {joins:>8.1?} decided \
         {decided:>8.1?} {MEMBERS} polls {polls:>8.1?} one more {one_more:>8.1?} moves \
         {moves:>8.1?} one less {one_less:>8.1?} 1000 idle polls {idle:>8.1?}",
        assignor.name()
    );
    for rebalance in [decided, one_more, one_less] {
        assert!(rebalance < Duration::from_secs(1), "{rebalance:?}");
    }
    assert!(idle < Duration::from_millis(100), "{idle:?}");
}

#[test]
fn a_thousand_members_rebalance_ten_thousand_partitions_quickly() {
    let assignors: [Arc<dyn Assignor>; 3] = [
        Arc::new(RangeAssignor),
        Arc::new(RoundRobinAssignor),
        Arc::new(CooperativeStickyAssignor),
    ];
    for assignor in &assignors {
        measure(assignor, 100, false);
        measure(assignor, 100, true);
        measure(assignor, 1, false);
        measure(assignor, 10_000, false);
    }
}
