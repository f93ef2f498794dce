//! [`Assignor`]: the rule that deals the partitions out, and what it is told and answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::generation::Generation;
use super::super::member::MemberId;
use crate::convert::to_usize;
use crate::name::{TopicName, TopicPartition};

/// How the members of a group go from one assignment to the next.
///
/// Kafka: `RebalanceProtocol`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RebalanceProtocol {
    /// Only the partitions that move stop: their owner gives them up, then the new one gets them. The
    /// default.
    #[default]
    Cooperative,
    /// Everybody gives up everything before anybody gets something.
    Eager,
}

/// A rule that deals the partitions of a group out to its members.
///
/// Kafka: `ConsumerPartitionAssignor`. All members of a group must have one assignor in common, by its
/// name. The group asks the instance of its oldest member.
///
/// # Contract
///
/// [`assign`](Self::assign)
///
/// - **must** give each partition to at most one member;
/// - **must** give a member only partitions of topics it subscribes to;
/// - **must** depend on the request alone, so that the same request has the same answer;
/// - **should** give every partition that somebody subscribes to: one that is not given is read by
///   nobody;
/// - **must not** block, wait, or call into the event log: the group is locked meanwhile.
///
/// An answer that breaks one of the first two rules is refused: the group keeps its old assignment, and
/// the call that asked for the new one fails with [`InvalidInput`](crate::ErrorKind::InvalidInput). Polls
/// of members that joined go on asking, and failing. A panic in `assign` or [`user_data`](Self::user_data)
/// is caught and counts as such an answer; one in [`on_assignment`](Self::on_assignment) is caught and
/// changes nothing.
///
/// # Examples
///
/// All partitions to the first member that subscribes, the others stand by:
///
/// ```
/// use topiclog::{Assignment, AssignmentRequest, Assignor, PartitionIndex};
///
/// #[derive(Debug)]
/// struct Failover;
///
/// impl Assignor for Failover {
///     fn name(&self) -> &str {
///         "failover"
///     }
///
///     fn assign(&self, request: &AssignmentRequest) -> Assignment {
///         let mut assignment = Assignment::new(request);
///         for (topic, t) in request.topics().iter().enumerate() {
///             let first = request.members().iter().position(|m| m.subscribes(topic));
///             for partition in 0..t.partitions() {
///                 if let Some(member) = first {
///                     assignment.give(member, PartitionIndex { topic, partition });
///                 }
///             }
///         }
///         assignment
///     }
/// }
/// ```
pub trait Assignor: fmt::Debug + Send + Sync {
    /// The name by which members agree on an assignor. Asked once, by whoever takes it, as is
    /// [`protocol`](Self::protocol).
    fn name(&self) -> &str;

    /// How members go from one assignment to the next. Cooperative unless said otherwise.
    ///
    /// One member that asks for [`Eager`](RebalanceProtocol::Eager) makes the group eager.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    /// What this member wants the assignor to know, handed to [`assign`](Self::assign) as
    /// [`AssignableMember::user_data`]. Asked of every member's own instance before each assignment.
    fn user_data(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Deals the partitions out.
    fn assign(&self, request: &AssignmentRequest) -> Assignment;

    /// Tells every member's own instance what the member will get by an accepted assignment.
    ///
    /// `member` is its number in [`AssignmentRequest::members`].
    fn on_assignment(
        &self,
        request: &AssignmentRequest,
        member: usize,
        partitions: &[PartitionIndex],
        generation: Generation,
    ) {
        let _ = (request, member, partitions, generation);
    }
}

/// So that which one it is can be decided at run time, and several can share one.
macro_rules! assignor_behind {
    ($($pointer:ident),+) => {$(
        impl<T: Assignor + ?Sized> Assignor for $pointer<T> {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn protocol(&self) -> RebalanceProtocol {
                (**self).protocol()
            }

            fn user_data(&self) -> Vec<u8> {
                (**self).user_data()
            }

            fn assign(&self, request: &AssignmentRequest) -> Assignment {
                (**self).assign(request)
            }

            fn on_assignment(
                &self,
                request: &AssignmentRequest,
                member: usize,
                partitions: &[PartitionIndex],
                generation: Generation,
            ) {
                (**self).on_assignment(request, member, partitions, generation);
            }
        }
    )+};
}

assignor_behind!(Box, Arc);

/// A partition in an [`AssignmentRequest`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::exhaustive_structs,
    reason = "an assignor writes it, and a partition is never more than this"
)]
pub struct PartitionIndex {
    /// The topic's number in [`AssignmentRequest::topics`].
    pub topic: usize,
    /// The partition's number in the topic.
    pub partition: u32,
}

/// A topic that at least one member of the group subscribes to.
#[derive(Clone, Debug)]
pub struct AssignableTopic {
    name: TopicName,
    partitions: u32,
}

impl AssignableTopic {
    pub(in crate::group) fn new(name: TopicName, partitions: u32) -> Self {
        Self { name, partitions }
    }

    /// The topic's name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }
}

/// A member of the group as an [`Assignor`] sees it.
#[derive(Clone, Debug)]
pub struct AssignableMember {
    pub(in crate::group) id: MemberId,
    pub(in crate::group) instance_id: Option<Arc<str>>,
    pub(in crate::group) topics: Arc<[usize]>,
    pub(in crate::group) owned: Vec<PartitionIndex>,
    pub(in crate::group) generation: Generation,
    pub(in crate::group) user_data: Vec<u8>,
}

impl AssignableMember {
    /// The member's id.
    pub fn id(&self) -> &MemberId {
        &self.id
    }

    /// The id that a static member keeps over restarts.
    pub fn instance_id(&self) -> Option<&str> {
        self.instance_id.as_deref()
    }

    /// The topics it subscribes to, as numbers in [`AssignmentRequest::topics`], rising.
    pub fn topics(&self) -> &[usize] {
        &self.topics
    }

    /// Whether it subscribes to the topic of this number.
    pub fn subscribes(&self, topic: usize) -> bool {
        self.topics.binary_search(&topic).is_ok()
    }

    /// What it owns, or was to get by the assignment before, as far as it still subscribes; rising.
    pub fn owned(&self) -> &[PartitionIndex] {
        &self.owned
    }

    /// The last generation it took part in.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What its own assignor said in [`Assignor::user_data`].
    pub fn user_data(&self) -> &[u8] {
        &self.user_data
    }

    /// Static members by instance id come before dynamic ones by member id (Kafka: `MemberInfo`).
    fn rank(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(instance) => (false, instance),
            None => (true, self.id.as_str()),
        }
    }
}

/// A member to put into an [`AssignmentRequest`] made by hand, to try an assignor.
#[derive(Clone, Debug)]
pub struct MemberSubscription {
    pub(crate) id: MemberId,
    instance_id: Option<Arc<str>>,
    topics: Vec<TopicName>,
    owned: Vec<TopicPartition>,
    generation: Generation,
    user_data: Vec<u8>,
}

impl MemberSubscription {
    /// A dynamic member that subscribes to these topics and owns nothing.
    pub fn new(id: MemberId, topics: impl IntoIterator<Item = TopicName>) -> Self {
        Self {
            id,
            instance_id: None,
            topics: topics.into_iter().collect(),
            owned: Vec::new(),
            generation: Generation::NONE,
            user_data: Vec::new(),
        }
    }

    /// Makes it a static member.
    #[must_use]
    pub fn instance_id(mut self, instance_id: impl AsRef<str>) -> Self {
        self.instance_id = Some(instance_id.as_ref().into());
        self
    }

    /// Lets it own partitions since a generation.
    #[must_use]
    pub fn owned(
        mut self,
        generation: Generation,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Self {
        self.generation = generation;
        self.owned = partitions.into_iter().collect();
        self
    }

    /// Sets what its own assignor said in [`Assignor::user_data`].
    #[must_use]
    pub fn user_data(mut self, user_data: impl Into<Vec<u8>>) -> Self {
        self.user_data = user_data.into();
        self
    }
}

/// What an [`Assignor`] is to deal out, and to whom.
///
/// # Examples
///
/// ```
/// use topiclog::{
///     AssignmentRequest, Assignor, MemberId, MemberSubscription, RangeAssignor, TopicName,
/// };
///
/// let topic = TopicName::new("payment-done")?;
/// let request = AssignmentRequest::new(
///     [(topic.clone(), 3)],
///     ["a", "b"].map(|id| MemberSubscription::new(MemberId::new(id), [topic.clone()])),
/// );
/// let assignment = RangeAssignor.assign(&request);
/// assert_eq!(assignment.of(0).len(), 2);
/// assert_eq!(request.place(assignment.of(1)[0]).unwrap().to_string(), "payment-done-2");
/// # Ok::<(), topiclog::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AssignmentRequest {
    topics: Vec<AssignableTopic>,
    members: Vec<AssignableMember>,
}

impl AssignmentRequest {
    /// A request made by hand, to try an assignor.
    ///
    /// Topics that nobody subscribes to are left out; so are subscriptions to topics that are not there.
    pub fn new(
        topics: impl IntoIterator<Item = (TopicName, u32)>,
        members: impl IntoIterator<Item = MemberSubscription>,
    ) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        let topics: Vec<_> = topics
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .filter(|(name, _)| members.iter().any(|m| m.topics.contains(name)))
            .map(|(name, partitions)| AssignableTopic::new(name, partitions))
            .collect();
        let number = |name: &TopicName| topics.binary_search_by(|t| t.name.cmp(name)).ok();
        let members = members
            .into_iter()
            .map(|member| {
                let mut subscribed: Vec<_> = member.topics.iter().filter_map(number).collect();
                subscribed.sort_unstable();
                subscribed.dedup();
                let mut owned: Vec<_> = member
                    .owned
                    .iter()
                    .filter_map(|place| {
                        let topic = number(place.topic())?;
                        let exists = place.partition() < topics.get(topic)?.partitions;
                        (exists && subscribed.binary_search(&topic).is_ok()).then_some(
                            PartitionIndex {
                                topic,
                                partition: place.partition(),
                            },
                        )
                    })
                    .collect();
                owned.sort_unstable();
                owned.dedup();
                AssignableMember {
                    id: member.id,
                    instance_id: member.instance_id,
                    topics: subscribed.into(),
                    owned,
                    generation: member.generation,
                    user_data: member.user_data,
                }
            })
            .collect();
        Self::from_parts(topics, members)
    }

    /// `topics` come in the order of their names; the members are put in theirs.
    pub(in crate::group) fn from_parts(
        topics: Vec<AssignableTopic>,
        mut members: Vec<AssignableMember>,
    ) -> Self {
        members.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Self { topics, members }
    }

    /// The topics somebody subscribes to, in the order of their names.
    pub fn topics(&self) -> &[AssignableTopic] {
        &self.topics
    }

    /// The members in Kafka's order: static ones by instance id, then dynamic ones by member id.
    pub fn members(&self) -> &[AssignableMember] {
        &self.members
    }

    /// The name of a partition, if it exists.
    pub fn place(&self, index: PartitionIndex) -> Option<TopicPartition> {
        let topic = self.topics.get(index.topic)?;
        (index.partition < topic.partitions)
            .then(|| TopicPartition::new(topic.name.clone(), index.partition))
    }

    /// All partitions of all topics, in order.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionIndex> + '_ {
        self.topics.iter().enumerate().flat_map(|(topic, t)| {
            (0..t.partitions).map(move |partition| PartitionIndex { topic, partition })
        })
    }

    /// Whether all members subscribe to the same topics.
    pub fn is_uniform(&self) -> bool {
        self.members.windows(2).all(|pair| match pair {
            [a, b] => Arc::ptr_eq(&a.topics, &b.topics) || a.topics == b.topics,
            _ => true,
        })
    }

    /// For each topic the numbers of the members that subscribe to it, rising.
    pub fn subscribers(&self) -> Vec<Vec<usize>> {
        let mut subscribers = vec![Vec::new(); self.topics.len()];
        for (number, member) in self.members.iter().enumerate() {
            for &topic in member.topics() {
                if let Some(list) = subscribers.get_mut(topic) {
                    list.push(number);
                }
            }
        }
        subscribers
    }
}

/// An [`Assignor`]'s answer: which member gets which partitions.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Assignment {
    members: Vec<Vec<PartitionIndex>>,
    stray: bool,
}

impl Assignment {
    /// An answer that gives nobody anything yet.
    pub fn new(request: &AssignmentRequest) -> Self {
        Self {
            members: vec![Vec::new(); request.members.len()],
            stray: false,
        }
    }

    /// Gives a partition to the member of this number.
    pub fn give(&mut self, member: usize, partition: PartitionIndex) {
        match self.members.get_mut(member) {
            Some(given) => given.push(partition),
            None => self.stray = true,
        }
    }

    /// What the member of this number gets, in the order in which it was given.
    pub fn of(&self, member: usize) -> &[PartitionIndex] {
        self.members.get(member).map_or(&[], Vec::as_slice)
    }

    /// Says which rule of the contract the answer breaks, if any.
    pub(in crate::group) fn check(&self, request: &AssignmentRequest) -> Result<(), &'static str> {
        if self.stray || self.members.len() != request.members.len() {
            return Err("a member that does not exist");
        }
        let mut given: Vec<Vec<bool>> = request
            .topics
            .iter()
            .map(|topic| vec![false; to_usize(topic.partitions)])
            .collect();
        for (member, partitions) in request.members.iter().zip(&self.members) {
            for index in partitions {
                let slot = given
                    .get_mut(index.topic)
                    .and_then(|topic| topic.get_mut(to_usize(index.partition)))
                    .ok_or("a partition that does not exist")?;
                if std::mem::replace(slot, true) {
                    return Err("a partition given twice");
                }
                if !member.subscribes(index.topic) {
                    return Err(
                        "a partition given to a member that does not subscribe to its topic",
                    );
                }
            }
        }
        Ok(())
    }
}
