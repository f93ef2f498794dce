//! [`MemberId`], [`Subscription`] and [`JoinRequest`]: what a member is and wants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::assignor::{Assignor, CooperativeStickyAssignor, RangeAssignor};
use super::catalog::{PartitionKey, TopicCatalog, TopicShape};
use super::generation::Generation;
use crate::error::Result;
use crate::name::{Id, TopicName, TopicPartition, as_text};

/// The name of one member of a group: a new one for each time a consumer joins.
///
/// Cheap to clone. Kafka's look like `client-id-uuid`.
///
/// # Examples
///
/// ```
/// use topiclog::MemberId;
///
/// let member = MemberId::new("mailer-1");
/// assert_eq!(member.as_str(), "mailer-1");
/// assert!(member < MemberId::new("mailer-2"));
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// The id with this text.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(id.as_ref().into())
    }

    /// The id of a new member; `unique` must never be used twice.
    pub(crate) fn unique(client_id: &str, unique: Id) -> Self {
        Self(format!("{client_id}-{unique}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

as_text!(MemberId);

impl From<&str> for MemberId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for MemberId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

/// A rule by which a member subscribes to topics, those to come included. Must always say the same of
/// the same name. One that panics does not accept it.
pub(crate) type TopicPattern = Arc<dyn Fn(&TopicName) -> bool + Send + Sync>;

/// Calls a user's own code, which may panic: the group is locked meanwhile, and whoever calls may be
/// another member, or the thread that does the housekeeping.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    // What the code keeps for itself is its own affair; nothing of the group is handed to it to change.
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// The topics a member wants to read.
#[derive(Clone)]
pub(crate) enum Subscription {
    /// These, as soon as they exist.
    Topics(Arc<BTreeSet<TopicName>>),
    /// Whichever the pattern accepts, asked anew whenever topics change. Never an internal one.
    Pattern(TopicPattern),
}

impl Subscription {
    /// Subscribes to topics by name.
    pub(crate) fn topics(names: impl IntoIterator<Item = TopicName>) -> Self {
        Self::Topics(Arc::new(names.into_iter().collect()))
    }

    /// Subscribes to topics of these names.
    pub(crate) fn by_name(names: impl IntoIterator<Item: AsRef<str>>) -> Result<Self> {
        let names: Result<BTreeSet<_>> = names.into_iter().map(TopicName::new).collect();
        Ok(Self::Topics(Arc::new(names?)))
    }

    /// Subscribes to the topics a pattern accepts.
    pub(crate) fn pattern(pattern: impl Fn(&TopicName) -> bool + Send + Sync + 'static) -> Self {
        Self::Pattern(Arc::new(pattern))
    }

    /// The topics of the catalog it comes to, in the order of their names.
    pub(super) fn resolve(&self, catalog: &TopicCatalog) -> Arc<[Id]> {
        match self {
            Self::Topics(names) => names
                .iter()
                .filter_map(|name| Some(catalog.get(name)?.id))
                .collect(),
            Self::Pattern(pattern) => accepted(pattern, catalog)
                .map(|(_, shape)| shape.id)
                .collect(),
        }
    }

    /// The names it stands for: those given, there or not, or those of the catalog that its pattern accepts.
    pub(crate) fn names(&self, catalog: &TopicCatalog) -> Vec<TopicName> {
        match self {
            Self::Topics(names) => names.iter().cloned().collect(),
            Self::Pattern(pattern) => accepted(pattern, catalog)
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    /// What tells two apart while both are alive: clones of one have one address.
    pub(super) fn address(&self) -> *const () {
        match self {
            Self::Topics(names) => Arc::as_ptr(names).cast(),
            Self::Pattern(accepts) => Arc::as_ptr(accepts).cast(),
        }
    }

    /// Whether it asks for the same. Two patterns can only be compared by what they come to.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Topics(a), Self::Topics(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Pattern(_), Self::Pattern(_)) => true,
            (Self::Topics(_), Self::Pattern(_)) | (Self::Pattern(_), Self::Topics(_)) => false,
        }
    }
}

/// The topics of the catalog that a pattern accepts.
fn accepted<'c>(
    pattern: &'c TopicPattern,
    catalog: &'c TopicCatalog,
) -> impl Iterator<Item = (&'c TopicName, &'c TopicShape)> {
    catalog
        .iter()
        .filter(|(name, _)| !name.is_internal())
        .filter(move |(name, _)| guarded(|| pattern(name)) == Some(true))
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topics(names) => f.debug_tuple("Topics").field(names).finish(),
            Self::Pattern(_) => f.write_str("Pattern"),
        }
    }
}

/// What somebody who wants to be a member says of itself.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    /// Never used before in this group, unless a member joins again to change its wishes.
    pub(crate) member_id: MemberId,
    /// Makes it a static member, which keeps its place over a restart.
    pub(crate) instance_id: Option<Arc<str>>,
    /// What people call this consumer; need not be unique.
    pub(crate) client_id: Arc<str>,
    /// What it wants to read.
    pub(crate) subscription: Subscription,
    /// The assignors it accepts, the preferred one first. Must not be empty.
    pub(crate) assignors: Vec<Arc<dyn Assignor>>,
    /// How long it may stay away from poll before it is removed.
    pub(crate) max_poll_interval: Duration,
    /// How long its place is kept while it is away, if it went to come back.
    pub(crate) session_timeout: Duration,
}

/// The assignors of a member that names none, as in Kafka.
pub(crate) fn default_assignors() -> Vec<Arc<dyn Assignor>> {
    vec![Arc::new(RangeAssignor), Arc::new(CooperativeStickyAssignor)]
}

/// The order in which members joined; names a member inside the group even while its id changes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct MemberKey(pub(super) u64);

/// Whether somebody is there to act for a member.
///
/// - `Here`: polls. Leaves to `Away` when it closes to come back, or is removed.
/// - `Away`: owns nothing, but what it is to get waits for it. Leaves to `Here` when somebody joins with
///   its instance id; is removed at the end of its session timeout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Presence {
    Here { last_poll: Duration },
    Away { since: Duration },
}

/// A member as the group keeps it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) subscription: Subscription,
    /// What the subscription comes to at present.
    pub(super) topics: Arc<[Id]>,
    pub(super) assignors: Vec<Arc<dyn Assignor>>,
    pub(super) max_poll_interval: Duration,
    pub(super) session_timeout: Duration,
    pub(super) presence: Presence,
    /// The generation it was last told.
    pub(super) generation: Generation,
    /// What it is to own.
    pub(super) target: Vec<PartitionKey>,
    /// What it does own, with the generation in which it got it.
    pub(super) owned: BTreeMap<PartitionKey, Generation>,
    /// What it owned until its topic was deleted, and was not told yet.
    pub(super) lost: Vec<TopicPartition>,
    /// Whether its next poll may have something for it.
    pub(super) pending: bool,
    /// Whether no target was decided yet that counts it in.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn new(now: Duration, request: JoinRequest, topics: Arc<[Id]>) -> Self {
        Self {
            id: request.member_id,
            instance_id: request.instance_id,
            client_id: request.client_id,
            subscription: request.subscription,
            topics,
            assignors: request.assignors,
            max_poll_interval: request.max_poll_interval,
            session_timeout: request.session_timeout,
            presence: Presence::Here { last_poll: now },
            generation: Generation::NONE,
            target: Vec::new(),
            owned: BTreeMap::new(),
            lost: Vec::new(),
            pending: false,
            is_new: true,
        }
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here { .. })
    }

    /// When it is removed unless it polls, or comes back.
    pub(super) fn deadline(&self) -> Duration {
        match self.presence {
            Presence::Here { last_poll } => last_poll.saturating_add(self.max_poll_interval),
            Presence::Away { since } => since.saturating_add(self.session_timeout),
        }
    }

    /// Takes note that it polled.
    pub(super) fn polled(&mut self, at: Duration) {
        if let Presence::Here { last_poll } = &mut self.presence {
            *last_poll = at.max(*last_poll);
        }
    }

    pub(super) fn assignor(&self, name: &str) -> Option<&Arc<dyn Assignor>> {
        self.assignors.iter().find(|a| a.name() == name)
    }
}
