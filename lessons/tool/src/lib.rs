//! What makes and checks the book of lessons. lessons/README.md says how the book is made.

pub mod check;
pub mod labs;
pub mod pace;
pub mod page;
pub mod picture;
pub mod recording;
pub mod render;
pub mod session;
pub mod slides;
pub mod transcript;
