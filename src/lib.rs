//! The library of minirun, a container runtime to learn from.
//!
//! Read it in this order; each module is one idea and has its lesson:
//!
//! | module | what it is | lesson |
//! |---|---|---|
//! | [`rootfs`] | what a root filesystem is; making one and checking one | 3 |
//! | [`error`] | one error type: what, why, what to do | 6 |

pub mod error;
mod hints;
pub mod rootfs;

pub use error::{Context, Error, Result};
