//! The producers side by side: what a round is.

pub mod load;
#[cfg(feature = "peers")]
pub mod round;
pub mod rows;
pub mod source;

pub use load::{Load, Payloads};
pub use source::{Item, Source};
