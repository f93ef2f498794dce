//! [`Asked`]: an assignor that has said who it is.

use std::sync::Arc;

use super::super::generation::Generation;
use super::contract::{Assignment, AssignmentRequest, Assignor, PartitionIndex, RebalanceProtocol};

/// An assignor of the user's, asked once for its name and protocol: where a panic does no harm, and so that
/// the members of a group agree on something that stays.
#[derive(Debug)]
pub(crate) struct Asked<A> {
    name: String,
    protocol: RebalanceProtocol,
    inner: A,
}

impl<A: Assignor + 'static> Asked<A> {
    pub(crate) fn shared(inner: A) -> Arc<dyn Assignor> {
        Arc::new(Self {
            name: inner.name().to_owned(),
            protocol: inner.protocol(),
            inner,
        })
    }
}

impl<A: Assignor> Assignor for Asked<A> {
    fn name(&self) -> &str {
        &self.name
    }

    fn protocol(&self) -> RebalanceProtocol {
        self.protocol
    }

    fn user_data(&self) -> Vec<u8> {
        self.inner.user_data()
    }

    fn assign(&self, request: &AssignmentRequest) -> Assignment {
        self.inner.assign(request)
    }

    fn on_assignment(
        &self,
        request: &AssignmentRequest,
        member: usize,
        partitions: &[PartitionIndex],
        generation: Generation,
    ) {
        self.inner
            .on_assignment(request, member, partitions, generation);
    }
}
