//! The producers side by side: what a round is, and what it comes to.
//!
//! ```text
//! producing (parent)  -- words -->  producing round (child): one client, one round  -- words -->  parent
//! ```
//!
//! Each round is a process of its own, so that CPU and peak memory are one client's, and none inherits the heap and
//! the warm caches of another. Parent and child talk in words of the form `key=value`.

pub mod broker;
pub mod load;
pub mod outcome;
pub mod plot;
pub mod report;
pub mod round;
pub mod rows;
pub mod source;
pub mod words;

pub use load::{Codec, Load, Payloads};
pub use outcome::Outcome;
pub use source::{Item, Source};
