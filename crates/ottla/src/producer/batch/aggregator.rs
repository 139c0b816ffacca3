//! The traits of what makes records of many callers' inputs, and what can go wrong in it.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use ottla_core::producer::DeliveryOutcome;

use super::BatchWriter;
use crate::error::Result;

/// What a user's own code comes back with when it refuses.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Makes the records of a batch out of what many callers hand to a [`BatchProducer`](super::BatchProducer).
///
/// Inputs need not be records, nor one record each: what they have in common can be written once. Every input gets a tag, and
/// when the batch is written, the batch's [`StatusDeaggregator`] makes the status of each input out of its tag and the offsets.
/// [`RecordAggregator`](super::RecordAggregator) is the simplest one; `examples/dictionary.rs` shares one dictionary of
/// strings between the inputs of a batch.
///
/// [`try_push`](Self::try_push) is called in the task of whoever calls `produce`, [`flush`](Self::flush) in a task that the batch producer
/// has for each partition. Neither is ever called at the same time as the other, and none of the client's locks is held
/// meanwhile; still, who calls `produce` waits for what is under way, so neither should block.
///
/// # Panics
/// A panic in `try_push` fails that call: its input is not written, and the aggregator stays in use as the panic left it. So the
/// part that can panic belongs before the part that changes something. A panic in `flush` fails all inputs of that
/// batch. Both are told as [`Error::Aggregator`](crate::Error::Aggregator).
pub trait Aggregator: Send + 'static {
    /// What `produce` takes.
    type Input: Send;

    /// What tells the inputs of a batch apart: a place in it, for example.
    type Tag: Send;

    /// What makes the statuses of a batch's inputs.
    type StatusDeaggregator: StatusDeaggregator<Tag = Self::Tag>;

    /// Takes an input into the batch, if it still fits.
    ///
    /// # Errors
    /// Why the input fits into no batch. It must leave the aggregator as it was: other inputs are not affected.
    fn try_push(&mut self, input: Self::Input) -> Result<TryPush<Self::Input, Self::Tag>, BoxError>;

    /// Ends the batch: its records, and what makes the statuses of its inputs. Called only after an input was taken. There may be
    /// fewer records than inputs, or none.
    ///
    /// A batch that its topic finds too large is split between two records, and the parts are written one after the other. If one
    /// of them is not written, all inputs of the batch are told that they may have been.
    ///
    /// Whatever it returns, and even if it panics, the next batch starts empty. So it takes what it holds out of itself
    /// first, with [`std::mem::take`] for example.
    ///
    /// # Errors
    /// Why there are no records. All inputs of the batch are told.
    fn flush(&mut self) -> Result<(BatchWriter, Self::StatusDeaggregator), BoxError>;

    /// Looks at its own settings; called once, when the batch producer is built. The producer's batches have at most
    /// `largest_batch` bytes. The default finds nothing wrong.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config), with the name of the setting.
    fn check(&self, largest_batch: usize) -> Result<()> {
        let _any_will_do = largest_batch;
        Ok(())
    }
}

/// Whether an [`Aggregator`] took an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryPush<I, T> {
    /// It did: the tag, for [`StatusDeaggregator::deaggregate`].
    Aggregated(T),
    /// The batch is full. The input is offered to the next one.
    NoCapacity(I),
}

/// Makes the status of each input of a batch that was written.
pub trait StatusDeaggregator: Send + Sync + 'static {
    /// What tells the inputs of a batch apart.
    type Tag;

    /// What `produce` returns.
    type Status;

    /// The status of the input with this tag. `offsets` are those of the batch's records, in order. Called in the task
    /// of whoever called `produce`, under no lock; for an input that nobody waits for any more it is not called.
    ///
    /// # Errors
    /// Why there is no status. The records are written all the same, which the error says. So it is with a panic.
    fn deaggregate(&self, offsets: &[i64], tag: Self::Tag) -> Result<Self::Status, BoxError>;
}

/// Users' code did not do its part; inside [`Error::Aggregator`](crate::Error::Aggregator).
#[derive(Debug, Clone)]
pub struct AggregatorError {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; -1 when none was chosen so far.
    pub partition: i32,
    /// What is known of the input: `NotWritten`, or `Written` when only its status could not be made.
    pub outcome: DeliveryOutcome,
    /// What went wrong.
    pub failure: AggregatorFailure,
}

/// What went wrong in an aggregator.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AggregatorFailure {
    /// What it returned; an [`InputTooLarge`](super::InputTooLarge), for example.
    Refused(Arc<dyn StdError + Send + Sync>),
    /// It panicked.
    Panicked {
        /// In which method.
        method: &'static str,
        /// With what.
        message: String,
    },
    /// It had no capacity although it was empty, or it accepted nothing.
    NoCapacity,
    /// The batch that it made is too large.
    BatchTooLarge {
        /// Bytes of the batch before compression.
        size: usize,
        /// The largest batch of the producer.
        limit: usize,
    },
    /// Its code called the batch producer that it belongs to.
    CalledBack,
}

impl AggregatorError {
    /// What the aggregator returned, as what it was.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.failure {
            AggregatorFailure::Refused(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

impl AggregatorFailure {
    pub(super) fn refused(error: BoxError) -> Self {
        Self::Refused(error.into())
    }

    pub(super) fn panicked(method: &'static str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panicked { method, message: message.unwrap_or("something that is no text").to_owned() }
    }
}

impl fmt::Display for AggregatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, outcome, failure } = self;
        write!(f, "{topic}/{partition}: {outcome}: {failure}")
    }
}

impl StdError for AggregatorError {}

impl fmt::Display for AggregatorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "the aggregator refused: {error}"),
            Self::Panicked { method, message } => {
                write!(f, "the aggregator panicked in `{method}`: {message}")
            }
            Self::NoCapacity => {
                f.write_str("the aggregator has no capacity for the input although it is empty")
            }
            Self::BatchTooLarge { size, limit } => write!(
                f,
                "the aggregator made a batch of {size} bytes, the limit is {limit}: let it refuse inputs earlier"
            ),
            Self::CalledBack => f.write_str(
                "the aggregator called the batch producer it belongs to, which waits for the aggregator: \
                 call it from a task of its own",
            ),
        }
    }
}
