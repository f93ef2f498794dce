//! The crate's own door to locks and condition variables, so that a model checker can stand in.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
