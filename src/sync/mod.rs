//! The crate's own door to locks, condition variables, atomics and threads, so that a model checker can stand
//! in; what a thread does before it sleeps; and what becomes of a panic while others wait for their turn.

mod panics;
#[cfg(not(shuttle))]
mod real;
#[cfg(shuttle)]
mod scheduled;
mod waiting;

pub(crate) use panics::Panics;
#[cfg(not(shuttle))]
pub(crate) use real::*;
#[cfg(shuttle)]
pub(crate) use scheduled::*;
pub(crate) use waiting::{Yielding, comes_soon};
