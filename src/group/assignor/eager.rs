//! [`Eager`]: any assignor, under the eager protocol.

use super::super::generation::Generation;
use super::contract::{Assignment, AssignmentRequest, Assignor, PartitionIndex, RebalanceProtocol};

/// An assignor under the eager protocol: at every rebalance everybody gives up everything before anybody
/// gets something.
///
/// For handlers that keep state over several partitions and want one clear cut. Everybody stops
/// meanwhile, so do without it where you can.
///
/// # Examples
///
/// ```
/// use topiclog::{Assignor, Eager, RangeAssignor, RebalanceProtocol};
///
/// let assignor = Eager::new(RangeAssignor);
/// assert_eq!(assignor.name(), "range");
/// assert_eq!(assignor.protocol(), RebalanceProtocol::Eager);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Eager<A> {
    inner: A,
}

impl<A: Assignor> Eager<A> {
    /// Puts an assignor under the eager protocol.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

impl<A: Assignor> Assignor for Eager<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
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
