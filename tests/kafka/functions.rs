//! What depends on its arguments alone: where a key goes, which names pass, who is assigned what.

use std::collections::{BTreeMap, BTreeSet};

use topiclog::{
    AssignmentRequest, Assignor, Generation, KeyHash, MemberId, MemberSubscription, Partitioner,
    RangeAssignor, Record, RoundRobinAssignor, StickyAssignor, TopicName, TopicPartition,
};

use super::recorded::{compare, lines, places, topic};

#[test]
fn a_key_has_the_same_partition_as_in_kafka() {
    let (hash, any_topic) = (KeyHash::new(), topic("t"));
    compare(include_str!("recorded/keys.txt"), 300, |question| {
        let (key, count) = question
            .strip_prefix("key 0x")
            .unwrap()
            .split_once(' ')
            .unwrap();
        let record = Record::new("value").key(bytes(key));
        hash.partition(&any_topic, &record, count.parse().unwrap())
            .to_string()
    });
}

#[test]
fn a_name_is_accepted_where_kafka_accepts_it() {
    compare(include_str!("recorded/topics.txt"), 200, |question| {
        let quoted = question
            .strip_prefix("topic '")
            .unwrap()
            .strip_suffix('\'')
            .unwrap();
        let accepted = TopicName::new(unescaped(quoted)).is_ok();
        if accepted { "accepted" } else { "refused" }.to_owned()
    });
}

#[test]
fn range_and_round_robin_assign_as_kafka_does() {
    let mut asked = 0;
    for line in lines(include_str!("recorded/assignors.txt")) {
        let assignor: &dyn Assignor = match line.question.split_once(' ').unwrap().0 {
            "range" => &RangeAssignor,
            "roundrobin" => &RoundRobinAssignor,
            _ => continue,
        };
        let ours = assigned(assignor, &request(line.question));
        assert_eq!(ours, answered(line.answer), "{}", line.question);
        asked += 1;
    }
    assert!(asked >= 300, "{asked} cases only");
}

/// Which partition goes to whom is left open here; what a sticky assignment is good for is not.
#[test]
fn the_sticky_assignor_shares_as_evenly_as_kafka_and_moves_no_more() {
    let mut asked = 0;
    for line in lines(include_str!("recorded/assignors.txt")) {
        if !line.question.starts_with("sticky ") {
            continue;
        }
        let request = request(line.question);
        let (ours, theirs) = (assigned(&StickyAssignor, &request), answered(line.answer));
        assert_eq!(
            counts(&ours),
            counts(&theirs),
            "{}: {ours:?}",
            line.question
        );
        let (kept, kept_there) = (kept(&ours, &request), kept(&theirs, &request));
        assert!(
            kept >= kept_there,
            "{}: {kept} kept, {kept_there} there",
            line.question
        );
        asked += 1;
    }
    assert!(asked >= 100, "{asked} cases only");
}

type Assigned = BTreeMap<String, BTreeSet<TopicPartition>>;

/// What `assignor | topics | member | member ...` asks.
fn request(question: &str) -> AssignmentRequest {
    let mut parts = question.split(" | ").skip(1);
    let topics = parts.next().unwrap().split(' ').map(|text| {
        let (name, partitions) = text.rsplit_once(':').unwrap();
        (topic(name), partitions.parse().unwrap())
    });
    AssignmentRequest::new(topics, parts.map(member))
}

/// `id[@instance] topics [owned]`: what is owned comes from the generation before.
fn member(text: &str) -> MemberSubscription {
    let mut words = text.split(' ');
    let id = words.next().unwrap();
    let (id, instance) = id
        .split_once('@')
        .map_or((id, None), |(id, name)| (id, Some(name)));
    let topics = words.next().unwrap().split(',').map(topic);
    let mut member = MemberSubscription::new(MemberId::new(id), topics);
    if let Some(instance) = instance {
        member = member.instance_id(instance);
    }
    match words.next() {
        Some(owned) => member.owned(Generation::new(5), places(owned)),
        None => member,
    }
}

fn assigned(assignor: &dyn Assignor, request: &AssignmentRequest) -> Assigned {
    let assignment = assignor.assign(request);
    let members = request.members().iter().enumerate();
    members
        .map(|(number, member)| {
            let places = assignment.of(number).iter();
            let places = places.map(|&place| request.place(place).unwrap());
            (member.id().as_str().to_owned(), places.collect())
        })
        .collect()
}

fn answered(answer: &str) -> Assigned {
    let members = answer.split(" | ");
    members
        .map(|member| {
            let (id, owned) = member.split_once(' ').unwrap_or((member, ""));
            (id.to_owned(), places(owned).into_iter().collect())
        })
        .collect()
}

/// How many partitions each member has, the least first.
fn counts(assigned: &Assigned) -> Vec<usize> {
    let mut counts: Vec<_> = assigned.values().map(BTreeSet::len).collect();
    counts.sort_unstable();
    counts
}

/// How many partitions stay where they were.
fn kept(assigned: &Assigned, request: &AssignmentRequest) -> usize {
    let stay = request.members().iter().map(|member| {
        let now = &assigned[member.id().as_str()];
        let owned = member
            .owned()
            .iter()
            .map(|&place| request.place(place).unwrap());
        owned.filter(|place| now.contains(place)).count()
    });
    stay.sum()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// A name in which `%41` stands for a byte.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut name = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.split_at(2);
        name.extend(bytes(byte));
        name.extend(rest.as_bytes());
    }
    String::from_utf8(name).unwrap()
}
