//! The producers that are compared, each behind [`Producing`], each used the way its own experts would: many records
//! in flight, and no wait for each.

mod frames;
mod kacrab;
mod krafka;
mod ottla;
mod rdkafka;
mod rskafka;

pub use self::frames::{codec_alone, frames};
pub use self::kacrab::Kacrab;
pub use self::krafka::Krafka;
pub use self::ottla::{Ottla, OttlaOneByOne};
pub use self::rdkafka::{RdKafkaBase, RdKafkaFuture};
pub use self::rskafka::RsKafka;

use std::future::Future;

use crate::Result;
use crate::producing::{Item, Load, Source};

/// A producer with one topic open. Whatever it has a setting for is set to
/// [`settings`](crate::producing::load::settings).
pub trait Producing: Sized + Send + Sync + 'static {
    /// What becomes of a record.
    type Delivery: Future<Output = Result<()>> + Send + 'static;

    /// Ready to produce what the load says.
    fn open(load: &Load) -> impl Future<Output = Result<Self>> + Send;

    /// Hands over everything that the source has, as fast as there is room, and waits until all of it is acknowledged.
    /// That it was written is checked where it was written to.
    fn produce(&self, source: &mut Source) -> impl Future<Output = Result<()>> + Send;

    /// Hands over one record.
    fn deliver(&self, item: Item<'_>) -> impl Future<Output = Result<Self::Delivery>> + Send;

    /// Waits until everything that was handed over is acknowledged.
    fn flush(&self) -> impl Future<Output = Result<()>> + Send;

    /// Bytes of a batch before it was compressed, on average; 0 when it does not count them.
    fn mean_batch(&self) -> u64 {
        0
    }

    /// Ends it in good order.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}
