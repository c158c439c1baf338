//! A small host for one exercise: made, watched from outside, and removed.

pub mod group;
mod hold;
pub mod inside;
mod jail;
pub mod kernel;
pub mod run;
pub mod spec;
pub mod which;

pub use group::Group;
pub use run::{End, Run};
pub use spec::{Jail, Root, Spec, Start};
