//! What happened, as the clients saw it: the only thing that the checker knows.

use topiclog::Durability;

/// A partition of one very topic: a topic that is made anew under an old name has another number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) topic: u32,
    pub(crate) partition: u32,
}

/// How a log came to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    /// Closed, and `close` said that all is well.
    Closed,
    /// The process was killed, or `close` failed.
    Killed,
    PowerCut,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Kept,
    /// Refused, since the committer does not own what it commits for.
    Fenced,
    /// Refused for another reason; nothing of it is kept.
    Refused,
    /// It failed, or nobody has heard: it may be kept or not.
    Unknown,
}

/// One thing that happened. Groups, members (one number per consumer), producers, commits and records are
/// known by their numbers; numbers of records and commits rise in the order in which they were sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// How committed offsets are kept; the first event.
    Begun {
        offsets: Durability,
    },
    TopicMade {
        topic: u32,
        level: Durability,
        /// Whether records are ever deleted from it, by age or by hand.
        trimmed: bool,
    },
    TopicDeleted {
        topic: u32,
    },
    /// Its deletion failed: nobody knows what there will be after the next opening.
    TopicDoubtful {
        topic: u32,
    },
    /// Whether it is there after an opening.
    TopicFound {
        topic: u32,
        there: bool,
    },
    /// From now on operations of the storage may fail, or no more.
    Faults {
        active: bool,
    },
    Sent {
        id: u64,
        producer: u32,
        topic: u32,
        /// If the sender has said which.
        partition: Option<u32>,
    },
    /// Without an offset if the sender was not told.
    Acked {
        id: u64,
        place: Place,
        offset: Option<u64>,
    },
    /// It is certain that nothing was written.
    NotWritten {
        id: u64,
    },
    LogStart {
        place: Place,
        offset: u64,
    },
    /// All that can be read of a partition. A record that is not as it was sent has no id.
    Contents {
        place: Place,
        start: u64,
        end: u64,
        records: Vec<(u64, Option<u64>)>,
        /// Whether it is the first look after an opening.
        fresh: bool,
    },
    Joined {
        group: u32,
        member: u32,
    },
    Assigned {
        group: u32,
        member: u32,
        places: Vec<Place>,
    },
    /// Given up or lost.
    Released {
        member: u32,
        places: Vec<Place>,
    },
    /// Closed or dropped.
    Gone {
        member: u32,
    },
    /// It may have been removed without knowing: it has not polled for too long, was removed by hand, or
    /// somebody took its instance id.
    Doubtful {
        member: u32,
    },
    /// It has polled, so it knows what it owns.
    Polled {
        member: u32,
        generation: u32,
    },
    /// The members that the group says it has, with what they own.
    Described {
        group: u32,
        generation: u32,
        members: Vec<(Option<u32>, Vec<Place>)>,
    },
    Delivered {
        group: u32,
        member: u32,
        place: Place,
        offset: u64,
        id: Option<u64>,
    },
    Sought {
        member: u32,
        place: Place,
        offset: u64,
    },
    /// `unresolved`: what the member owns and has read nothing of yet; it may be committed too.
    CommitAsked {
        commit: u64,
        group: u32,
        member: u32,
        offsets: Vec<(Place, u64)>,
        unresolved: Vec<Place>,
        /// Whether the member did it by itself, so that nobody is told what became of it.
        automatic: bool,
    },
    CommitDone {
        commit: u64,
        outcome: Outcome,
    },
    /// What the group says is committed.
    Committed {
        group: u32,
        place: Place,
        offset: Option<u64>,
        fresh: bool,
    },
    Stopped {
        how: Stop,
    },
    /// A group has read everything and committed it.
    Drained {
        group: u32,
        place: Place,
        lag: Option<u64>,
    },
    /// Something that must never happen, whatever the history.
    Wrong {
        what: String,
    },
}
