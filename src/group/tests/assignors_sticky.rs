//! Sticky and cooperative-sticky by their properties: balance first, then least movement, then order.

use std::collections::BTreeMap;

use super::model::Random;
use super::{
    Assignment, AssignmentRequest, Assignor, MemberSubscription, TopicPartition, answer, member,
    member_list, places, topic, topic_list,
};
use crate::group::{CooperativeStickyAssignor, Generation, MemberId, StickyAssignor};
use crate::name::TopicName;

/// Who owned what, since which generation: `"a 3: t1-0 t1-1 | b 3: t1-2"`.
fn with_owned(members: Vec<MemberSubscription>, owned: &str) -> Vec<MemberSubscription> {
    let claims: BTreeMap<&str, (u32, Vec<TopicPartition>)> = owned
        .split('|')
        .filter(|item| !item.trim().is_empty())
        .map(|item| {
            let (who, what) = item.trim().split_once(':').unwrap();
            let (id, generation) = who.split_once(' ').unwrap();
            (id, (generation.parse().unwrap(), places(what)))
        })
        .collect();
    members
        .into_iter()
        .map(|subscription| match claims.get(subscription.id.as_str()) {
            Some((generation, what)) => {
                subscription.owned(Generation::new(*generation), what.clone())
            }
            None => subscription,
        })
        .collect()
}

fn sticky(topics: &str, members: &str, owned: &str) -> String {
    let members = with_owned(member_list(members), owned);
    let request = AssignmentRequest::new(topic_list(topics), members);
    let found = answer(&request, &StickyAssignor.assign(&request));
    let cooperative = CooperativeStickyAssignor.assign(&request);
    assert_eq!(
        found,
        answer(&request, &cooperative),
        "both follow one rule"
    );
    found
}

#[test]
fn a_newcomer_takes_only_its_share() {
    assert_eq!(
        sticky(
            "t:6",
            "a: t | b: t | c: t",
            "a 1: t-0 t-1 t-2 | b 1: t-3 t-4 t-5"
        ),
        "a: t-0 t-1 | b: t-3 t-4 | c: t-2 t-5"
    );
}

#[test]
fn what_a_leaver_had_is_dealt_out_and_nothing_else_moves() {
    assert_eq!(
        sticky("t:6", "a: t | b: t", "a 2: t-0 t-1 | b 2: t-3 t-4"),
        "a: t-0 t-1 t-2 | b: t-3 t-4 t-5"
    );
}

#[test]
fn those_who_have_more_keep_the_odd_ones() {
    assert_eq!(
        sticky("t:5", "a: t | b: t", "a 2: t-0 t-1 | b 2: t-2 t-3 t-4"),
        "a: t-0 t-1 | b: t-2 t-3 t-4"
    );
}

#[test]
fn the_higher_generation_wins_a_contested_partition() {
    assert_eq!(
        sticky("t:2", "a: t | b: t", "a 1: t-0 t-1 | b 2: t-0"),
        "a: t-1 | b: t-0"
    );
}

#[test]
fn claims_of_equal_generation_cancel() {
    // Kafka: neither keeps t-0, so it is dealt like a free one, to the member with the least.
    assert_eq!(
        sticky("t:3", "a: t | b: t | c: t", "a 2: t-0 t-1 | b 2: t-0 t-2"),
        "a: t-1 | b: t-2 | c: t-0"
    );
    // A third, older claim does not profit from it.
    assert_eq!(
        sticky(
            "t:3",
            "a: t | b: t | c: t",
            "a 2: t-0 t-1 | b 2: t-0 t-2 | c 1: t-0"
        ),
        "a: t-1 | b: t-2 | c: t-0"
    );
}

#[test]
fn mixed_subscriptions_are_levelled_where_they_allow() {
    // Kafka's example: round robin gives the third member four, sticky three.
    assert_eq!(
        sticky("t0:1 t1:2 t2:3", "c0: t0 | c1: t0 t1 | c2: t0 t1 t2", ""),
        "c0: t0-0 | c1: t1-0 t1-1 | c2: t2-0 t2-1 t2-2"
    );
    // The example goes on: c0 leaves, and only t0-0 moves.
    assert_eq!(
        sticky(
            "t0:1 t1:2 t2:3",
            "c1: t0 t1 | c2: t0 t1 t2",
            "c1 1: t1-0 t1-1 | c2 1: t2-0 t2-1 t2-2"
        ),
        "c1: t0-0 t1-0 t1-1 | c2: t2-0 t2-1 t2-2"
    );
}

#[test]
fn a_topic_no_longer_wanted_is_given_to_another() {
    assert_eq!(
        sticky("t:2 u:2", "a: t | b: t u", "a 1: t-0 u-0 | b 1: t-1 u-1"),
        "a: t-0 t-1 | b: u-0 u-1"
    );
}

/// Subscriptions as plain data, so that a test can change them.
type Wishes = BTreeMap<MemberId, Vec<TopicName>>;
type Owned = BTreeMap<MemberId, Vec<TopicPartition>>;

fn request(topics: &BTreeMap<TopicName, u32>, wishes: &Wishes, owned: &Owned) -> AssignmentRequest {
    AssignmentRequest::new(
        topics.clone(),
        wishes.iter().map(|(id, wants)| {
            MemberSubscription::new(id.clone(), wants.clone()).owned(
                Generation::new(1),
                owned.get(id).cloned().unwrap_or_default(),
            )
        }),
    )
}

fn to_owned(request: &AssignmentRequest, assignment: &Assignment) -> Owned {
    let members = request.members().iter().enumerate();
    members
        .map(|(number, member)| {
            let given = assignment.of(number).iter();
            let places = given.map(|&index| request.place(index).unwrap());
            (member.id().clone(), places.collect())
        })
        .collect()
}

/// No partition could go to another subscriber and leave the two nearer to each other.
fn assert_balanced(request: &AssignmentRequest, assignment: &Assignment) {
    for (giver, _) in request.members().iter().enumerate() {
        let high = assignment.of(giver).len();
        for index in assignment.of(giver) {
            for (taker, other) in request.members().iter().enumerate() {
                let low = assignment.of(taker).len();
                assert!(
                    !other.subscribes(index.topic) || high <= low + 1,
                    "{giver} has {high} and {taker} {low}, though it could take {index:?}"
                );
            }
        }
    }
}

/// The fewest moves any balanced assignment needs, all subscribing alike: everybody keeps what the best
/// choice of quotas lets it.
fn least_moves(owned: &[usize], total: usize) -> usize {
    let (low, greater) = (total / owned.len(), total % owned.len());
    let kept_low: usize = owned.iter().map(|&count| count.min(low)).sum();
    let can_keep_more = owned.iter().filter(|&&count| count > low).count();
    owned.iter().sum::<usize>() - kept_low - can_keep_more.min(greater)
}

#[test]
fn random_groups_stay_balanced_and_move_least() {
    for seed in 0..2_000 {
        let mut random = Random::new(seed);
        let uniform = random.below(2) == 0;
        let mut topics: BTreeMap<TopicName, u32> = BTreeMap::new();
        let mut wishes: Wishes = BTreeMap::new();
        let mut owned: Owned = BTreeMap::new();
        for step in 0..12 {
            match random.below(5) {
                0 | 1 => {
                    wishes.insert(member(&format!("m{step}")), Vec::new());
                }
                2 if wishes.len() > 1 => {
                    let leaver = random.pick(&wishes.keys().cloned().collect::<Vec<_>>());
                    wishes.remove(&leaver);
                    owned.remove(&leaver);
                }
                _ => {
                    let name = topic(&format!("t{}", random.below(4)));
                    *topics.entry(name).or_insert(0) += random.between(1, 6);
                }
            }
            for wants in wishes.values_mut() {
                if uniform {
                    *wants = topics.keys().cloned().collect();
                } else if wants.is_empty() || random.below(5) == 0 {
                    *wants = topics
                        .keys()
                        .filter(|_| random.below(3) > 0)
                        .cloned()
                        .collect();
                }
            }
            let request = request(&topics, &wishes, &owned);
            let assignment = StickyAssignor.assign(&request);
            assignment.check(&request).unwrap();
            assert_balanced(&request, &assignment);
            let given: usize = (0..wishes.len()).map(|m| assignment.of(m).len()).sum();
            assert_eq!(
                given,
                request.partitions().count(),
                "seed {seed}: all are given"
            );

            let members = request.members().iter().enumerate();
            let lost: Vec<usize> = members
                .map(|(number, member)| {
                    let now = assignment.of(number);
                    member.owned().iter().filter(|p| !now.contains(p)).count()
                })
                .collect();
            if uniform && !wishes.is_empty() {
                let before: Vec<_> = request.members().iter().map(|m| m.owned().len()).collect();
                assert_eq!(
                    lost.iter().sum::<usize>(),
                    least_moves(&before, given),
                    "seed {seed}: no more moves than balance takes"
                );
            }

            owned = to_owned(&request, &assignment);
            let again = self::request(&topics, &wishes, &owned);
            assert_eq!(
                to_owned(&again, &StickyAssignor.assign(&again)),
                owned,
                "seed {seed}: nothing moves where nothing changed"
            );
        }
    }
}
