//! Bugs that the proofs found, each as the shortest story that showed it.
