//! Callers of batch producers, whose aggregator does harm now and then: it refuses, panics, calls back.

use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use ottla::{
    Aggregator, AggregatorFailure, BatchProducer, BatchProducerBuilder, BatchWriter, BoxError, Client, Error,
    Producer, Record, RecordAggregator, RecordOffsets, StatusDeaggregator, TryPush,
};
use ottla_core::producer::ProducerSettings;
use tokio::time::sleep;

use crate::plan::{AggregatorPlan, Plan};
use crate::promise::{Kept, USERS_CODE, broken};
use crate::random::Random;
use crate::run::{Fate, World, fate};
use crate::support::polled;

/// What an input does besides being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    Refuses,
    Panics,
    /// Calls the batch producer that it is given to.
    CallsBack,
    /// Is taken, and spoils the end of its batch.
    PanicsInFlush,
    /// Is written, and then has no status.
    PanicsInStatus,
}

const HARM: [Deed; 5] =
    [Deed::Refuses, Deed::Panics, Deed::CallsBack, Deed::PanicsInFlush, Deed::PanicsInStatus];

#[derive(Debug)]
struct Input {
    partition: i32,
    value: String,
    deed: Deed,
}

/// A record for each input, and the harm that inputs do.
struct Harmful {
    records: RecordAggregator,
    is_spoilt: bool,
    own: Own,
}

/// The batch producer that an aggregator belongs to, as long as there is one.
type Own = Arc<Mutex<Option<BatchProducer<Harmful>>>>;

struct Statuses(RecordOffsets);

impl Aggregator for Harmful {
    type Input = Input;
    type Tag = (usize, Deed);
    type StatusDeaggregator = Statuses;

    fn try_push(&mut self, input: Input) -> Result<TryPush<Input, (usize, Deed)>, BoxError> {
        match input.deed {
            Deed::Refuses => return Err("as it was told".into()),
            // It prints nothing, as `panic!` would.
            Deed::Panics => resume_unwind(Box::new("as it was told")),
            Deed::CallsBack => return Err(self.call_back(input)),
            Deed::Nothing | Deed::PanicsInFlush | Deed::PanicsInStatus => {}
        }
        let Input { partition, value, deed } = input;
        Ok(match self.records.try_push(Record::new(value.clone()))? {
            TryPush::Aggregated(place) => {
                self.is_spoilt |= deed == Deed::PanicsInFlush;
                TryPush::Aggregated((place, deed))
            }
            TryPush::NoCapacity(_) => TryPush::NoCapacity(Input { partition, value, deed }),
        })
    }

    fn flush(&mut self) -> Result<(BatchWriter, Statuses), BoxError> {
        let (batch, offsets) = self.records.flush()?;
        if std::mem::take(&mut self.is_spoilt) {
            resume_unwind(Box::new("as it was told"));
        }
        Ok((batch, Statuses(offsets)))
    }
}

impl Harmful {
    fn new(maximum: usize, own: &Own) -> Self {
        Self { records: RecordAggregator::new(maximum), is_spoilt: false, own: own.clone() }
    }

    /// What `produce` says to the aggregator's own code, at once.
    fn call_back(&self, input: Input) -> BoxError {
        let Some(own) = self.own.lock().unwrap().clone() else { return "there is nobody to call".into() };
        let again = Input { deed: Deed::Nothing, ..input };
        match pin!(own.produce(again)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => error.into(),
            Poll::Ready(Ok(_)) => "it was accepted".into(),
            Poll::Pending => "it waits for itself".into(),
        }
    }
}

impl StatusDeaggregator for Statuses {
    type Tag = (usize, Deed);
    type Status = i64;

    fn deaggregate(&self, offsets: &[i64], (place, deed): (usize, Deed)) -> Result<i64, BoxError> {
        if deed == Deed::PanicsInStatus {
            resume_unwind(Box::new("as it was told"));
        }
        self.0.deaggregate(offsets, place)
    }
}

impl World {
    /// A batch producer, and all who give it inputs, until the last of them has gone.
    pub(crate) async fn aggregate(
        self: Rc<Self>,
        plan: Plan,
        (client, producer): (Client, Producer),
        number: usize,
        random: Random,
    ) -> Kept {
        let of = plan.aggregators[number].clone();
        let own = Own::default();
        let batches = match of.partition {
            Some(partition) => {
                // Its linger is on top of what an attempt may take.
                let partition = self.open(&client, partition, plan.delivery_timeout + of.linger).await?;
                let builder = BatchProducerBuilder::new(partition).with_linger(of.linger);
                builder.build(Harmful::new(of.maximum, &own))
            }
            None => {
                let topic = self.topic(&producer).await;
                let (maximum, own) = (of.maximum, own.clone());
                BatchProducerBuilder::for_topic(topic)
                    .with_linger(of.linger)
                    .build(|input: &Input, _| input.partition, move |_| Harmful::new(maximum, &own))
            }
        };
        let batches = batches.map_err(|error| broken(USERS_CODE, format!("no batch producer: {error}")))?;
        drop((client, producer));
        *own.lock().unwrap() = Some(batches.clone());
        let tasks: Vec<_> = (0..of.tasks)
            .map(|task| {
                let name = format!("b{number}t{task}");
                let inputs = Inputs { name, plan: plan.clone(), of: of.clone(), batches: batches.clone() };
                tokio::task::spawn_local(self.clone().hand_in(inputs, random.branch(task)))
            })
            .collect();
        drop(batches);
        for task in tasks {
            Self::ended(task).await?;
        }
        // Held by itself it would not end.
        let last = own.lock().unwrap().take();
        drop(last);
        Ok(())
    }

    /// One caller after another input.
    async fn hand_in(self: Rc<Self>, inputs: Inputs, mut random: Random) -> Kept {
        let Inputs { name, plan, of, batches } = inputs;
        // The batch before may have to end first, and the one before that to find room; and a broker serves one request after
        // another, of which as many are under way as may be.
        let in_flight = u32::try_from(ProducerSettings::default().max_in_flight).unwrap();
        let wait = of.linger * 3 + plan.slowest() * (in_flight + 1);
        for number in 0..of.inputs {
            let partition = match of.partition {
                Some(partition) => partition,
                None => i32::try_from(random.below(plan.partitions as u64)).unwrap(),
            };
            let value =
                format!("{name}-{number}-{}", "x".repeat(usize::try_from(random.below(100)).unwrap()));
            let deed = if of.harm > 0 && random.one_in(of.harm) { random.pick(&HARM) } else { Deed::Nothing };
            let polls = random.one_in(6).then(|| usize::try_from(random.below(6)).unwrap());
            let call = batches.produce(Input { partition, value: value.clone(), deed });
            let result = match polls {
                // For its turn, and then for the acknowledgement.
                None => {
                    let longest = (plan.delivery_timeout + of.linger) * 2;
                    Some(self.in_time("an aggregated produce", wait, longest, call).await?)
                }
                Some(polls) => {
                    self.called();
                    polled(polls, call).await
                }
            };
            self.note(|| format!("{name} gave {number} ({deed:?}) to {partition}: {result:?}"));
            let fate = match &result {
                None if polls == Some(0) => Fate::NotWritten,
                None => Fate::Unknown,
                Some(result) => self.aggregated(deed, result, of.harm > 0)?,
            };
            self.tell(partition, value, fate)?;
            if random.one_in(20) {
                let flush = batches.flush();
                let flushed = self.in_time("an aggregated flush", wait, plan.delivery_timeout * 2, flush);
                flushed.await?.map_err(|error| broken(USERS_CODE, format!("flush: {error}")))?;
                self.count("flush", 1);
            }
            if random.one_in(3) {
                sleep(random.millis(0..800)).await;
            }
        }
        Ok(())
    }

    /// What an input came to, if that is what its deed may come to.
    fn aggregated(&self, deed: Deed, result: &ottla::Result<i64>, may_harm: bool) -> Kept<Fate> {
        let error = match result {
            Ok(offset) if deed == Deed::Nothing || deed == Deed::PanicsInFlush => {
                self.count("aggregated", 1);
                return match deed {
                    Deed::Nothing => Ok(Fate::Written(*offset)),
                    _ => Err(broken(USERS_CODE, "a batch that could not end was written")),
                };
            }
            Ok(_) => return Err(broken(USERS_CODE, format!("{deed:?} did no harm"))),
            Err(Error::Aggregator(error)) => error,
            // Its turn did not come, or its batch was not acknowledged.
            Err(error) => return fate(error),
        };
        let panicked = |method| match &error.failure {
            AggregatorFailure::Panicked { method: at, .. } => *at == method,
            _ => false,
        };
        let (is_right, counted, fate) = match deed {
            // Of a neighbour that has spoilt the batch.
            Deed::Nothing => (may_harm && panicked("flush"), "panicked flush", Fate::NotWritten),
            _ if may_harm && panicked("flush") => (true, "panicked flush", Fate::NotWritten),
            Deed::PanicsInFlush => (false, "panicked flush", Fate::NotWritten),
            Deed::Panics => (panicked("try_push"), "panicked", Fate::NotWritten),
            Deed::PanicsInStatus => (panicked("deaggregate"), "panicked status", Fate::Somewhere),
            Deed::Refuses => {
                (matches!(error.failure, AggregatorFailure::Refused(_)), "refused", Fate::NotWritten)
            }
            Deed::CallsBack => {
                let said = error.downcast_ref::<Error>();
                let is_told = matches!(said, Some(Error::Aggregator(said))
                    if matches!(said.failure, AggregatorFailure::CalledBack));
                (is_told, "called back", Fate::NotWritten)
            }
        };
        self.count(counted, 1);
        if !is_right {
            return Err(broken(USERS_CODE, format!("{deed:?} came to {error}")));
        }
        Ok(fate)
    }
}

/// What a caller of a batch producer has.
struct Inputs {
    name: String,
    plan: Plan,
    of: AggregatorPlan,
    batches: BatchProducer<Harmful>,
}
