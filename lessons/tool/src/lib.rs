//! What makes and checks the book of lessons. lessons/README.md says how the book is made.

pub mod check;
pub mod page;
pub mod render;
pub mod session;
pub mod transcript;
