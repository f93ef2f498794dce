//! Consumer groups: who reads which partition, and where to go on.
//!
//! Pure state machines. A [`Group`] is told what happens and what time it is, and says what is to be done;
//! it waits for nothing, reads no clock and touches no file. Whoever holds it keeps it behind a lock,
//! writes commits down, and wakes members ([`Effects`]).
//!
//! # How partitions move
//!
//! ```text
//!   join, leave, expire,          the assignor             each member's poll
//!   subscribe, topics_changed ──▶ decides the target ──▶   moves it towards its target
//!                                 (generation + 1)
//!
//!   member A   poll: revoke [p2]   listener   release [p2]
//!                                                  │ free
//!   member B                                       └──▶ poll: assigned [p2]   listener
//! ```
//!
//! A member owns a partition from the poll that assigns it to the release that gives it up, or until it
//! is no member any more. A partition that stays where it is never stops. Under the eager protocol the
//! target is decided only when nobody owns anything.
//!
//! # What the holder does
//!
//! - Before it lets the lock go after any call that changes something, it has the group
//!   [notice](Group::notice_emptiness) whether it has members, takes [`Effects`], flags and wakes the members
//!   named, and hands to the log of commits the tombstones of dropped offsets and since when nobody is there.
//! - A member's poll looks at its flag first. Unflagged, it does not come here at all. Flagged, it clears
//!   the flag and calls [`Group::poll`] until that is empty, each time in this order: tell the listener
//!   what is lost; tell it what is revoked, commit, [`Group::release`]; tell it what is assigned.
//! - A commit is checked and handed to the log under one hold of the lock, and applied when the log has
//!   kept it.
//! - Now and then it says which members polled unflagged ([`Group::touch`]), then calls
//!   [`Group::expire`], and every few minutes [`Group::expire_offsets`].
//!
//! # The rooms
//!
//! | module | holds |
//! |---|---|
//! | `group` | [`Group`]: joining, leaving, the passing of time |
//! | `rebalance` | deciding the target: topics, the choice of assignor, its answer |
//! | `reconcile` | poll and release: from what is owned to the target |
//! | `commits`, `offsets` | who may commit; what is committed; expiry |
//! | `describe` | [`GroupState`], [`GroupDescription`] |
//! | `assignor` | the rules that deal partitions out |
//! | `member`, `roster` | what a member is and wants; finding members |
//! | `catalog`, `generation` | the topics there are; the number of an assignment |

mod assignor;
mod catalog;
mod commits;
mod describe;
mod generation;
#[expect(clippy::module_inception, reason = "a file is called what is in it")]
mod group;
mod member;
mod offsets;
mod rebalance;
mod reconcile;
mod roster;

#[cfg(test)]
mod tests;

pub(crate) use assignor::Asked;
pub use assignor::{
    AssignableMember, AssignableTopic, Assignment, AssignmentRequest, Assignor,
    CooperativeStickyAssignor, Eager, MemberSubscription, PartitionIndex, RangeAssignor,
    RebalanceProtocol, RoundRobinAssignor, StickyAssignor,
};
pub(crate) use catalog::{TopicCatalog, TopicShape};
pub(crate) use commits::{Committer, OffsetCommit};
pub use describe::{GroupDescription, GroupState, MemberDescription};
pub use generation::Generation;
pub use group::Departure;
#[cfg(test)]
pub(crate) use group::{Effects, ExpiryReason, Joined};
pub(crate) use group::{Emptiness, Group, GroupOptions};
pub use member::MemberId;
pub(crate) use member::{JoinRequest, Subscription, default_assignors};
pub(crate) use offsets::Committed;
#[cfg(test)]
pub(crate) use reconcile::Reconcile;
