//! What the included files find around them in the client's `producer`.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::partition_queue::BatchSettings;

use crate::record::Record;

pub(crate) use handle::{Limits, Shared};
pub(crate) use outbox::{AcceptedOne, How, Outbox};
pub(crate) use promise::{Fate, Promise, Waiter};

#[path = "../../crates/ottla/src/producer/busy.rs"]
mod busy;
#[path = "../../crates/ottla/src/producer/outbox.rs"]
mod outbox;
#[path = "../../crates/ottla/src/producer/promise.rs"]
mod promise;
#[path = "../../crates/ottla/src/producer/wire.rs"]
mod wire;

/// Records of one partition under one lock, as `ProducerHandle::enqueue_run` appends them; whether the driver must be told.
pub(crate) fn append_run(
    outbox: &Arc<Outbox>,
    shared: &Shared,
    now: Instant,
    records: &[Record<'_>],
    settings: &BatchSettings,
    accepted: impl FnMut(AcceptedOne),
) -> bool {
    let (count, ready_changed) = outbox.append_run(shared, now, records, settings, accepted);
    assert_eq!(count, records.len(), "there is room");
    ready_changed
}

mod handle {
    use ottla_wire::records::Chunks;
    use tokio::sync::Semaphore;

    use super::busy::Busy;

    /// As in the client.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Limits {
        pub(crate) batch_bytes: usize,
        pub(crate) buffer: usize,
        pub(crate) partition_buffer: usize,
    }

    /// What handles share with the driver: the memory of all outboxes, and the chunks that batches are built in.
    #[derive(Debug)]
    pub(crate) struct Shared {
        pub(super) limits: Limits,
        pub(crate) chunks: Chunks,
        pub(crate) memory: Semaphore,
        pub(crate) busy: Busy,
    }

    impl Shared {
        pub(crate) fn new(limits: Limits) -> Self {
            let chunks = Chunks::new(1024, 64);
            Self { limits, chunks, memory: Semaphore::new(limits.buffer), busy: Busy::default() }
        }
    }
}
