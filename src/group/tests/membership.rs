//! Joining and leaving: generations, states, the choice of assignor.

use std::sync::Arc;

use super::{
    Assignor, Departure, GroupOptions, GroupState, Script, Subscription, cause, member, secs, topic,
};
use crate::group::{
    Assignment, AssignmentRequest, CooperativeStickyAssignor, PartitionIndex, RangeAssignor,
    RoundRobinAssignor, StickyAssignor,
};

#[test]
fn the_first_member_gets_everything_at_its_first_poll() {
    let mut group = Script::new("t:3");
    assert_eq!(group.state(), GroupState::Empty);
    assert_eq!(group.generation(), 0);
    group.admit("a", "t");
    assert_eq!(group.generation(), 1);
    assert_eq!(group.state(), GroupState::Reconciling);
    assert_eq!(group.woken(), "a");
    assert_eq!(group.asks("a"), "assigned [t-0 t-1 t-2]");
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(group.asks("a"), "", "told once");
}

#[test]
fn members_beyond_the_partitions_idle_in_the_group() {
    let mut group = Script::new("t:2");
    group.admit("a b c", "t");
    assert_eq!(group.settle(), "a: t-0 | b: t-1 | c:");
    assert_eq!(group.state(), GroupState::Stable);
    group.leave("a").unwrap();
    assert_eq!(group.settle(), "b: t-0 | c: t-1");
}

#[test]
fn every_change_raises_the_generation_by_one() {
    let mut group = Script::new("t:4 u:1");
    group.admit("a", "t");
    assert_eq!(group.generation(), 1, "join");
    group.admit("b", "t");
    assert_eq!(group.generation(), 2, "join");
    let wishes = Subscription::topics([topic("t"), topic("u")]);
    let now = group.now;
    group.group.subscribe(now, &member("b"), wishes).unwrap();
    assert_eq!(group.generation(), 3, "subscription");
    group.create("t:6");
    assert_eq!(group.generation(), 4, "partitions added");
    group.delete("u");
    assert_eq!(group.generation(), 5, "topic deleted");
    group.create("v:1");
    assert_eq!(group.generation(), 5, "a topic nobody wants");
    group.create("u:1");
    assert_eq!(group.generation(), 6, "a wanted topic comes back");
    group.group.enforce_rebalance(now, &member("a")).unwrap();
    assert_eq!(group.generation(), 7, "asked for");
    group.leave("a").unwrap();
    assert_eq!(group.generation(), 8, "leave");
    group.wait(secs(301));
    let now = group.now;
    assert_eq!(group.group.expire(now).len(), 1);
    assert_eq!(group.generation(), 9, "expiry");
    assert_eq!(group.state(), GroupState::Empty);
}

#[test]
fn a_state_is_shown_by_its_name() {
    let states = [
        (GroupState::Empty, "empty"),
        (GroupState::Assigning, "assigning"),
        (GroupState::Reconciling, "reconciling"),
        (GroupState::Stable, "stable"),
        (GroupState::Dead, "dead"),
    ];
    for (state, name) in states {
        assert_eq!(state.to_string(), name);
    }
}

#[test]
fn members_that_join_in_a_row_make_one_generation_at_the_first_poll() {
    let mut group = Script::new("t:6");
    let catalog = group.catalog();
    let now = group.now;
    let join = |group: &mut Script, id: &str| {
        let request = Script::request(id, "t");
        group.group.join(now, request, &catalog).unwrap();
    };
    for id in ["a", "b", "c"] {
        join(&mut group, id);
    }
    assert_eq!((group.generation(), group.woken().as_str()), (0, ""));
    assert_eq!(group.asks("b"), "assigned [t-2 t-3]");
    assert_eq!((group.generation(), group.woken().as_str()), (1, "a b c"));
    group.settle();
    // Nobody is bothered until the newcomer comes to poll.
    join(&mut group, "d");
    assert_eq!((group.generation(), group.woken().as_str()), (1, ""));
    // Another change counts it in.
    group.leave("c").unwrap();
    assert_eq!(group.generation(), 2);
    assert_eq!(group.settle(), "a: t-0 t-1 | b: t-2 t-3 | d: t-4 t-5");
}

#[test]
fn joining_again_with_the_same_wishes_changes_nothing() {
    let mut group = Script::new("t:4 u:1");
    group.admit("a b", "t");
    group.settle();
    assert_eq!(group.woken(), "a b");
    let joined = group.join(Script::request("b", "t")).unwrap();
    assert_eq!(joined.generation.value(), 2);
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(group.woken(), "");

    group.join(Script::request("b", "t u")).unwrap();
    assert_eq!(group.generation(), 3, "other wishes do");
    assert_eq!(group.settle(), "a: t-0 t-1 | b: t-2 t-3 u-0");
}

#[test]
fn other_wishes_are_others_also_where_they_come_to_the_same_topics() {
    let mut group = Script::new("t:2");
    group.admit("a", "t");
    group.settle();
    group.join(Script::request("a", "t")).unwrap();
    assert_eq!(group.generation(), 1);
    group.join(Script::request("a", "t to-come")).unwrap();
    assert_eq!(group.generation(), 2, "one more name");
    for (accepted, generation) in [("t", 3), ("t", 3), ("", 3)] {
        let wishes = Subscription::pattern(move |name| name.as_str().starts_with(accepted));
        let now = group.now;
        group.group.subscribe(now, &member("a"), wishes).unwrap();
        assert_eq!(
            group.generation(),
            generation,
            "only patterns are compared by that"
        );
    }
    assert_eq!(group.settle(), "a: t-0 t-1");
}

#[test]
fn the_preferred_assignor_that_all_accept_is_chosen() {
    let range: Arc<dyn Assignor> = Arc::new(RangeAssignor);
    let robin: Arc<dyn Assignor> = Arc::new(RoundRobinAssignor);
    let sticky: Arc<dyn Assignor> = Arc::new(StickyAssignor);
    let mut group = Script::new("t:4");
    let mut join = |id: &str, assignors: &[&Arc<dyn Assignor>]| {
        let mut request = Script::request(id, "t");
        request.assignors = assignors.iter().map(|&a| Arc::clone(a)).collect();
        let outcome = group.join(request).map(|_| ());
        (outcome, group.group.describe().assignor.unwrap())
    };
    assert_eq!(join("a", &[&range, &robin, &sticky]).1, "range");
    assert_eq!(join("b", &[&robin, &sticky]).1, "roundrobin");
    let (refused, still) = join("x", &[&range]);
    assert_eq!(cause(refused), "InconsistentProtocol");
    assert_eq!(still, "roundrobin");
    // Two votes against one.
    assert_eq!(join("c", &[&sticky, &robin]).1, "roundrobin");
    assert_eq!(
        join("d", &[&sticky, &robin]).1,
        "roundrobin",
        "a draw: the oldest decides"
    );
    assert_eq!(join("e", &[&sticky, &robin]).1, "sticky");
    assert_eq!(group.group.member_count(), 5);
}

#[test]
fn a_newcomer_with_the_oldest_ones_order_has_a_vote_as_well() {
    let range: Arc<dyn Assignor> = Arc::new(RangeAssignor);
    let robin: Arc<dyn Assignor> = Arc::new(RoundRobinAssignor);
    let mut group = Script::new("t:4");
    for (id, order, chosen) in [
        ("a", [&range, &robin], "range"),
        ("b", [&robin, &range], "range"),
        ("c", [&robin, &range], "roundrobin"),
        ("d", [&range, &robin], "range"),
    ] {
        let mut request = Script::request(id, "t");
        request.assignors = order.map(Arc::clone).to_vec();
        group.join(request).unwrap();
        assert_eq!(group.group.describe().assignor.as_deref(), Some(chosen));
    }
}

/// It likes best what was chosen, but those who like best what it does not accept have to vote anew.
#[test]
fn a_newcomer_that_accepts_less_may_bring_another_choice() {
    let range: Arc<dyn Assignor> = Arc::new(RangeAssignor);
    let robin: Arc<dyn Assignor> = Arc::new(RoundRobinAssignor);
    let sticky: Arc<dyn Assignor> = Arc::new(StickyAssignor);
    let orders = [
        ("a b", vec![&range, &robin, &sticky], "range"),
        ("c d", vec![&robin, &range, &sticky], "range"),
        ("e f", vec![&sticky, &robin, &range], "range"),
        ("g", vec![&range, &robin], "roundrobin"),
    ];
    let mut group = Script::new("t:4");
    for (ids, assignors, chosen) in orders {
        for id in ids.split_whitespace() {
            let mut request = Script::request(id, "t");
            request.assignors = assignors.iter().map(|&a| Arc::clone(a)).collect();
            group.join(request).unwrap();
        }
        assert_eq!(group.group.describe().assignor.as_deref(), Some(chosen));
    }
}

#[test]
fn kafkas_default_list_chooses_range() {
    let names = super::default_assignors();
    let names: Vec<_> = names.iter().map(Assignor::name).collect();
    assert_eq!(names, ["range", "cooperative-sticky"]);
    let mut group = Script::new("t:4");
    let wishes = Subscription::topics([topic("t")]);
    let request = super::JoinRequest::new(member("a"), "c", wishes);
    group.join(request).unwrap();
    assert_eq!(group.group.describe().assignor.as_deref(), Some("range"));
    let mut newer = Script::request("b", "t");
    newer.assignors = vec![Arc::new(CooperativeStickyAssignor)];
    group.join(newer).unwrap();
    let chosen = group.group.describe().assignor;
    assert_eq!(chosen.as_deref(), Some("cooperative-sticky"));
}

#[test]
fn who_is_no_member_is_told_so() {
    let mut group = Script::new("t:1");
    assert_eq!(cause(group.poll("a")), "UnknownMember");
    assert_eq!(cause(group.leave("a")), "UnknownMember");
    group.admit("a", "t");
    group.settle();
    group.leave("a").unwrap();
    assert_eq!(cause(group.poll("a")), "UnknownMember");
    assert_eq!(cause(group.release("a", "t-0")), "UnknownMember");
    assert_eq!(cause(group.check("a", "t-0")), "UnknownMember");
}

#[test]
fn administrators_remove_members() {
    let mut group = Script::new("t:4");
    group.admit("a b", "t");
    group.join(Script::static_request("c", "i", "t")).unwrap();
    group.settle();
    group.woken();
    let now = group.now;
    assert_eq!(
        cause(group.group.remove_instance(now, "j")),
        "NoSuchInstance"
    );
    group.group.remove_instance(now, "i").unwrap();
    assert_eq!(group.settle(), "a: t-0 t-1 | b: t-2 t-3");
    assert!(group.woken().contains('c'), "the removed one learns of it");
    group.group.remove_all(now);
    assert_eq!(group.state(), GroupState::Empty);
    assert_eq!(group.woken(), "a b");
}

#[test]
fn a_dynamic_member_may_ask_to_keep_its_place_but_nobody_can_return_to_it() {
    let mut group = Script::new("t:2");
    group.admit("a b", "t");
    group.settle();
    let now = group.now;
    group
        .group
        .leave(now, &member("a"), Departure::Remain)
        .unwrap();
    assert_eq!(group.settle(), "a: | b: t-1");
    assert_eq!(cause(group.poll("a")), "UnknownMember");
    group.wait(secs(45));
    let now = group.now;
    group.group.expire(now);
    assert_eq!(group.settle(), "b: t-0 t-1");
}

#[test]
fn members_that_start_together_make_one_generation_where_a_delay_is_set() {
    let options = GroupOptions {
        initial_rebalance_delay: secs(3),
        ..GroupOptions::default()
    };
    let mut group = Script::with_options("t:2", options);
    group.admit("a", "t");
    assert_eq!(group.state(), GroupState::Assigning);
    group.wait(secs(2));
    group.admit("b", "t");
    group.wait(secs(2));
    assert_eq!(group.asks("a"), "", "the second one started the wait anew");
    assert_eq!(group.group.next_deadline(), Some(secs(5)));
    group.wait(secs(1));
    let now = group.now;
    assert_eq!(group.group.expire(now), []);
    assert_eq!(group.generation(), 1);
    assert_eq!(group.settle(), "a: t-0 | b: t-1");
    group.admit("c", "t");
    assert_eq!(
        group.generation(),
        2,
        "no wait in a group that is not empty"
    );
}

fn dynamic<A: Assignor + 'static>(assignor: &Arc<A>) -> Arc<dyn Assignor> {
    Arc::<A>::clone(assignor)
}

/// Answers as it is told to.
#[derive(Debug)]
struct Liar {
    truth: std::sync::atomic::AtomicU32,
}

impl Liar {
    fn says(truth: u32) -> Arc<Self> {
        let truth = truth.into();
        Arc::new(Self { truth })
    }

    fn now_says(&self, truth: u32) {
        self.truth
            .store(truth, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Assignor for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        let mut assignment = RangeAssignor.assign(request);
        let first = PartitionIndex {
            topic: 0,
            partition: 0,
        };
        let beyond = PartitionIndex {
            topic: 0,
            partition: 99,
        };
        let nowhere = PartitionIndex {
            topic: 9,
            partition: 0,
        };
        match self.truth.load(std::sync::atomic::Ordering::Relaxed) {
            0 => {}
            1 => assignment.give(0, first),
            2 => assignment.give(0, beyond),
            3 => assignment.give(0, nowhere),
            4 => assignment.give(17, first),
            5 => assignment = Assignment::new(&AssignmentRequest::new([], [])),
            _ => {
                assignment = Assignment::new(request);
                let stranger = request.members().iter().position(|m| !m.subscribes(0));
                assignment.give(stranger.unwrap(), first);
            }
        }
        assignment
    }
}

#[test]
fn an_impossible_answer_is_refused_and_the_old_target_stays() {
    for lie in 1..=6 {
        let liar = Liar::says(0);
        let request = |id: &str, topics: &str| {
            let mut request = Script::request(id, topics);
            request.assignors = vec![dynamic(&liar)];
            request
        };
        let mut group = Script::new("t:4 u:1");
        group.join(request("a", "t")).unwrap();
        group.join(request("b", "t")).unwrap();
        assert_eq!(group.settle(), "a: t-0 t-1 | b: t-2 t-3");

        liar.now_says(lie);
        group.join(request("c", "u")).unwrap();
        for _ in 0..2 {
            assert_eq!(cause(group.poll("c")), "BadAssignment", "lie {lie}");
        }
        assert_eq!(group.generation(), 2);
        assert_eq!(group.asks("a"), "", "the others go on as they were");
        assert_eq!(group.owned(), "a: t-0 t-1 | b: t-2 t-3 | c:");
        liar.now_says(0);
        assert_eq!(group.settle(), "a: t-0 t-1 | b: t-2 t-3 | c: u-0");
        group.leave("c").unwrap();
        group.settle();
        liar.now_says(lie);
        if lie == 6 {
            continue;
        }

        group.woken();
        group.leave("b").unwrap();
        assert_eq!(group.woken(), "a");
        assert_eq!(
            cause(group.poll("a")),
            "BadAssignment",
            "nobody else to tell"
        );
        assert_eq!(group.asks("a"), "", "told once");
        assert_eq!(group.owned(), "a: t-0 t-1");

        let wishes = Subscription::topics([topic("u")]);
        let now = group.now;
        let refused = group.group.subscribe(now, &member("a"), wishes);
        assert_eq!(cause(refused), "BadAssignment");
        assert_eq!(
            group.settle(),
            "a:",
            "what it no longer wants goes all the same"
        );

        liar.now_says(0);
        group.group.enforce_rebalance(now, &member("a")).unwrap();
        assert_eq!(group.settle(), "a: u-0");
    }
}

#[test]
fn an_assignor_whose_answer_was_refused_is_asked_again() {
    let liar = Liar::says(0);
    let mut group = Script::new("t:4 u:1");
    for id in ["a", "b"] {
        let mut request = Script::request(id, "t");
        request.assignors = vec![dynamic(&liar)];
        group.join(request).unwrap();
    }
    group.settle();
    liar.now_says(1);
    group.leave("b").unwrap();
    assert_eq!(cause(group.poll("a")), "BadAssignment");
    assert_eq!(group.state(), GroupState::Assigning);
    assert_eq!(group.group.next_deadline(), Some(group.now + secs(3)));

    group.wait(secs(3));
    group.group.expire(group.now);
    assert_eq!(cause(group.poll("a")), "BadAssignment", "told once more");
    assert_eq!(group.asks("a"), "");
    liar.now_says(0);
    for (seconds, owned) in [(2, "a: t-0 t-1"), (1, "a: t-0 t-1 t-2 t-3")] {
        group.wait(secs(seconds));
        group.group.expire(group.now);
        assert_eq!(group.settle(), owned);
    }
    assert_eq!(group.state(), GroupState::Stable);

    liar.now_says(1);
    let wishes = Subscription::topics(["t", "u"].map(topic));
    let mut subscribe = || {
        let (now, wishes) = (group.now, wishes.clone());
        group.group.subscribe(now, &member("a"), wishes)
    };
    assert_eq!(cause(subscribe()), "BadAssignment");
    assert_eq!(cause(subscribe()), "BadAssignment", "the same again");
    liar.now_says(0);
    subscribe().unwrap();
    assert_eq!(group.settle(), "a: t-0 t-1 t-2 t-3 u-0");
}

#[test]
fn whoever_waits_for_the_next_deadline_is_told_of_a_nearer_one() {
    let mut group = Script::new("t:1");
    group.admit("a", "t");
    group.settle();
    assert!(!group.effects().looks_sooner);
    group.join(Script::request("b", "t")).unwrap();
    assert!(!group.effects().looks_sooner, "as long as the first");
    let mut request = Script::request("c", "t");
    request.max_poll_interval = secs(1);
    group.join(request).unwrap();
    assert!(group.effects().looks_sooner);
}

/// Records what it is told.
#[derive(Debug, Default)]
struct Witness {
    told: std::sync::Mutex<Vec<String>>,
}

impl Assignor for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn user_data(&self) -> Vec<u8> {
        b"weight=3".to_vec()
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        for member in request.members() {
            assert_eq!(member.user_data(), b"weight=3");
        }
        RangeAssignor.assign(request)
    }

    fn on_assignment(
        &self,
        request: &AssignmentRequest,
        member: usize,
        partitions: &[PartitionIndex],
        generation: crate::group::Generation,
    ) {
        let id = request.members()[member].id();
        let count = partitions.len();
        let mut told = self.told.lock().unwrap();
        told.push(format!("{generation}: {id} gets {count}"));
    }
}

/// Records in which generations the members are.
#[derive(Debug, Default)]
struct Generations(std::sync::Mutex<Vec<Vec<u32>>>);

impl Assignor for Generations {
    fn name(&self) -> &'static str {
        "generations"
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        let members = request.members().iter();
        let seen = members.map(|member| member.generation().value());
        self.0.lock().unwrap().push(seen.collect());
        RangeAssignor.assign(request)
    }
}

#[test]
fn an_assignor_of_ones_own_sees_user_data_and_learns_the_outcome() {
    let witness = Arc::new(Witness::default());
    let mut group = Script::new("t:3");
    for id in ["a", "b"] {
        let mut request = Script::request(id, "t");
        request.assignors = vec![dynamic(&witness)];
        group.join(request).unwrap();
    }
    let told = witness.told.lock().unwrap();
    assert_eq!(*told, ["1: a gets 3", "2: a gets 2", "2: b gets 1"]);
}

#[test]
fn an_assignor_sees_in_which_generation_a_member_polled_last() {
    let witness = Arc::new(Generations::default());
    let mut group = Script::new("t:3");
    for id in ["a", "b", "c"] {
        let mut request = Script::request(id, "t");
        request.assignors = vec![dynamic(&witness)];
        group.join(request).unwrap();
        if id == "a" {
            group.settle();
        }
    }
    let seen = witness.0.lock().unwrap();
    assert_eq!(*seen, [vec![0], vec![1, 0], vec![1, 0, 0]]);
}
