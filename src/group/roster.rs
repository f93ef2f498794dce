//! [`Roster`]: the members of a group, found by key, by id and by instance id.
//!
//! **Invariants**
//!
//! - Every member that is here is found by its id; one that is away is not, since nobody acts for it.
//! - At most one member bears an instance id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::member::{Member, MemberId, MemberKey, Presence};

#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<MemberKey, Member>,
    by_id: HashMap<MemberId, MemberKey>,
    by_instance: HashMap<Arc<str>, MemberKey>,
    next: u64,
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The key of the member that is here under this id.
    pub(super) fn key(&self, id: &MemberId) -> Option<MemberKey> {
        self.by_id.get(id).copied()
    }

    /// The key of the static member with this instance id, here or away.
    pub(super) fn key_of_instance(&self, instance_id: &str) -> Option<MemberKey> {
        self.by_instance.get(instance_id).copied()
    }

    /// The key of the static member that was here last under this id, and is away.
    pub(super) fn key_of_away(&self, id: &MemberId) -> Option<MemberKey> {
        let mut members = self.iter();
        let found = members.find(|(_, member)| !member.is_here() && member.id == *id);
        found.map(|(key, _)| key)
    }

    pub(super) fn get(&self, key: MemberKey) -> Option<&Member> {
        self.members.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: MemberKey) -> Option<&mut Member> {
        self.members.get_mut(&key)
    }

    /// The members in the order in which they joined.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberKey, &Member)> {
        self.members.iter().map(|(&key, member)| (key, member))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (MemberKey, &mut Member)> {
        self.members.iter_mut().map(|(&key, member)| (key, member))
    }

    pub(super) fn keys(&self) -> Vec<MemberKey> {
        self.members.keys().copied().collect()
    }

    pub(super) fn insert(&mut self, member: Member) -> MemberKey {
        let key = MemberKey(self.next);
        self.next += 1;
        self.by_id.insert(member.id.clone(), key);
        if let Some(instance) = &member.instance_id {
            self.by_instance.insert(Arc::clone(instance), key);
        }
        self.members.insert(key, member);
        key
    }

    pub(super) fn remove(&mut self, key: MemberKey) -> Option<Member> {
        let member = self.members.remove(&key)?;
        if member.is_here() {
            self.by_id.remove(&member.id);
        }
        if let Some(instance) = &member.instance_id {
            self.by_instance.remove(instance);
        }
        Some(member)
    }

    /// Lets a member go away but keep its place.
    pub(super) fn depart(&mut self, key: MemberKey, now: Duration) {
        if let Some(member) = self.members.get_mut(&key) {
            if member.is_here() {
                self.by_id.remove(&member.id);
            }
            member.presence = Presence::Away { since: now };
        }
    }

    /// Gives the place of a static member to somebody with a new id, who is here.
    pub(super) fn take_over(&mut self, key: MemberKey, id: MemberId, now: Duration) {
        if let Some(member) = self.members.get_mut(&key) {
            if member.is_here() {
                self.by_id.remove(&member.id);
            }
            member.id = id.clone();
            member.presence = Presence::Here { last_poll: now };
            self.by_id.insert(id, key);
        }
    }
}
