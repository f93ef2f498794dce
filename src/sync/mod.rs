//! The crate's own door to locks, condition variables, atomics and threads, so that a model checker can stand
//! in; and what a thread does before it sleeps.

#[cfg(not(shuttle))]
mod real;
#[cfg(shuttle)]
mod scheduled;
mod waiting;

#[cfg(not(shuttle))]
pub(crate) use real::*;
#[cfg(shuttle)]
pub(crate) use scheduled::*;
pub(crate) use waiting::{Yielding, comes_soon};
