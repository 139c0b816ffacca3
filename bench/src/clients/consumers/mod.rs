//! The consumers that are compared, each behind [`Consuming`], each used the way its own experts would: partitions that
//! are assigned and not subscribed to, much fetched ahead.

mod frames;
mod kacrab;
mod krafka;
mod ottla;
mod rdkafka;
mod rskafka;

pub use self::frames::{codec_alone, frames, frames_of_log};
pub use self::kacrab::Kacrab;
pub use self::krafka::Krafka;
pub use self::ottla::{Ottla, OttlaStream};
pub use self::rdkafka::{RdKafkaBase, RdKafkaStream};
pub use self::rskafka::RsKafka;

use std::future::Future;

use crate::Result;
use crate::consuming::{Arrivals, Load};

/// A consumer of all partitions of one topic, from their starts. Whatever it has a setting for is set to
/// [`settings`](crate::consuming::load::settings); it compares checksums.
pub trait Consuming: Sized + Send + 'static {
    /// Ready to consume what the load says.
    fn open(load: &Load) -> impl Future<Output = Result<Self>> + Send;

    /// Hands over each record until the round is over, and goes on where it was when it is called again.
    fn consume(&mut self, arrivals: &mut Arrivals) -> impl Future<Output = Result<()>> + Send;

    /// Ends it in good order.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}
