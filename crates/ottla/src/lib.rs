#![doc = include_str!("../README.md")]

#[cfg(feature = "metrics")]
pub mod metrics;
pub mod transport;

mod client;
mod damage;
mod driver;
mod error;
mod partition;
mod producer;
mod record;
mod stream;
mod visible;

// The pages' snippets are tested as documentation of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/testing-your-service.md")]
mod testing_your_service {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/producing.md")]
mod producing {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/fetching.md")]
mod fetching {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/calling.md")]
mod calling {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/coming-from.md")]
mod coming_from {}

pub use client::{Client, ClientBuilder, ClusterDescription, ControllerClient, NewTopic, Topic};
pub use error::{Error, FetchError, Result};
pub use ottla_core::calls::{CallError, Cause, CoordinatorKind, End, Target};
pub use ottla_core::error::{CloseReason, Failure, Outcome, Peer, RequestError};
pub use ottla_core::fetcher::{FetchFailure, FetcherMetrics, Truncation};
pub use ottla_core::metadata::{Broker, Partition};
pub use ottla_core::partition_queue::Acks;
pub use ottla_core::producer::{
    DeliveryCause, DeliveryError, DeliveryOutcome, ProducerIdFailure, ProducerMetrics,
};
pub use ottla_core::{Histogram, HostPort, InvalidAddress};
pub use ottla_wire as wire;
pub use ottla_wire::compression::{Codec, Compression};
pub use ottla_wire::records::{BatchError, HeadersView, RecordView};
pub use ottla_wire::{ErrorCode, Uuid};
pub use partition::{
    ConsumerClient, IsolationLevel, OffsetAt, PartitionClient, PartitionClientBuilder, ProducerClient,
    UnknownTopic,
};
#[cfg(feature = "sink")]
pub use producer::TopicSink;
pub use producer::{
    Aggregator, AggregatorError, AggregatorFailure, BatchProducer, BatchProducerBuilder, BatchWriter,
    BoxError, InputTooLarge, RecordAggregator, RecordOffsets, Status, StatusDeaggregator, TryPush,
};
pub use producer::{
    Delivered, Delivery, Partitioner, Partitions, Producer, ProducerBuilder, TopicProducer,
    TopicProducerBuilder, partition_of,
};
pub use record::{Payload, Record, RecordAndOffset, Timestamp};
pub use stream::{
    Batch, OutOfRange, OwnedIter, PartitionMetrics, RecordStream, RecordStreamBuilder, Records, StartOffset,
    StreamConsumer, StreamConsumerBuilder, StreamMetrics, StreamRates, StreamRecord,
};
