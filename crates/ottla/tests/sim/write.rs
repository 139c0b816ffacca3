//! Those who write: callers of partition clients, and tasks that hand records to a producer as fast as they go.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ottla::{Client, Delivery, Error, PartitionClient, Producer, Record, TopicProducer, partition_of};
use tokio::time::sleep;

use crate::plan::Plan;
use crate::promise::{Kept, MEMORY, ONE_OUTCOME, broken};
use crate::random::Random;
use crate::read::isolation;
use crate::run::{CALL_TIMEOUT, Fate, World, delivered, fate, new_producer};
use crate::support::{polled, secs};

/// What becomes of a record that a producer was given.
enum Promise {
    Open(Delivery),
    /// It was waited for.
    Kept(Fate),
}

/// A record that a producer was given.
struct Poured {
    partition: i32,
    value: String,
    promise: Promise,
}

impl World {
    pub(crate) async fn write(
        self: Rc<Self>,
        plan: Plan,
        client: Client,
        writer: u64,
        mut random: Random,
    ) -> Kept {
        let mut partitions = Vec::new();
        for partition in 0..plan.partitions {
            partitions.push(self.open(&client, partition, plan.delivery_timeout).await?);
        }
        for call in 0..plan.calls {
            let partition = usize::try_from(random.below(partitions.len() as u64)).unwrap();
            let values: Vec<_> = (0..random.within(1..4)).map(|at| format!("{writer}-{call}-{at}")).collect();
            let polls = random.one_in(6).then(|| usize::try_from(random.below(6)).unwrap());
            self.produce(&plan, &partitions[partition], values, polls).await?;
            if random.one_in(2) {
                sleep(random.millis(0..1_500)).await;
            }
        }
        Ok(())
    }

    pub(crate) async fn open(
        &self,
        client: &Client,
        partition: i32,
        delivery_timeout: Duration,
    ) -> Kept<PartitionClient> {
        self.open_of(client, ("t", false), partition, delivery_timeout).await
    }

    pub(crate) async fn open_of(
        &self,
        client: &Client,
        (topic, is_committed): (&str, bool),
        partition: i32,
        delivery_timeout: Duration,
    ) -> Kept<PartitionClient> {
        loop {
            let build = client.partition(topic, partition).isolation(isolation(is_committed));
            let build = build.timeout(CALL_TIMEOUT).delivery_timeout(delivery_timeout);
            match self.in_time("partition_client", Duration::ZERO, CALL_TIMEOUT, build.build()).await? {
                Ok(partition) => return Ok(partition),
                Err(error) => self.note(|| format!("partition {partition} cannot be opened: {error}")),
            }
            sleep(secs(1)).await;
        }
    }

    /// Produces the values in one call, whose future is dropped after so many polls, if that is said.
    async fn produce(
        &self,
        plan: &Plan,
        client: &PartitionClient,
        values: Vec<String>,
        polls: Option<usize>,
    ) -> Kept {
        let partition = client.partition();
        self.note(|| format!("produce {values:?} to {partition}, dropped after {polls:?} polls"));
        let call = client.produce(values.iter().map(|value| Record::new(value.as_str())).collect());
        let result = match polls {
            None => Some(self.in_time("produce", Duration::ZERO, plan.delivery_timeout, call).await?),
            Some(polls) => {
                self.called();
                polled(polls, call).await
            }
        };
        self.note(|| format!("produce {values:?} to {partition}: {result:?}"));
        let fates = match result {
            Some(Ok(offsets)) if offsets.len() == values.len() => {
                offsets.into_iter().map(Fate::Written).collect()
            }
            Some(Ok(offsets)) => {
                let what = format!("{} values have {} offsets", values.len(), offsets.len());
                return Err(broken(ONE_OUTCOME, what));
            }
            Some(Err(error)) => vec![fate(&error)?; values.len()],
            None if polls == Some(0) => vec![Fate::NotWritten; values.len()],
            None => vec![Fate::Unknown; values.len()],
        };
        values.into_iter().zip(fates).try_for_each(|(value, fate)| self.tell(partition, value, fate))
    }

    /// Hands records to a producer as fast as they go, and looks at what became of them later. Those of a partition are
    /// written in this order. With a client of its own it closes the producer half-way, and makes another one.
    pub(crate) async fn pour(
        self: Rc<Self>,
        plan: Plan,
        (mut producer, own): (Producer, Option<Client>),
        pourer: u64,
        mut random: Random,
    ) -> Kept {
        let mut topic = self.topic(&producer).await;
        let mut poured = Vec::new();
        let mut number = 0;
        while number < plan.pours {
            // Digits in front: what comes of records that were not waited for is checked in this order.
            let mut value = |number| {
                let filler = "x".repeat(usize::try_from(random.below(300)).unwrap());
                format!("p{pourer}-{number}-{filler}")
            };
            let mut values = vec![value(number)];
            // Draws of seeds that are as old as that stay what they were.
            let is_run = plan.closes && number % 16 == 5;
            if is_run {
                values.extend((1..8).map(|more| value(number + more)));
            }
            number += values.len() as u64;
            let partition = i32::try_from(random.below(plan.partitions as u64)).unwrap();
            if is_run {
                self.pour_all(&plan, &producer, values, &mut poured).await?;
            } else if plan.closes && number % 16 < 4 {
                self.pour_anywhere(&plan, (&producer, &topic), values.swap_remove(0), &mut poured).await?;
            } else {
                let value = values.swap_remove(0);
                let waits = plan.awaits > 0 && random.one_in(plan.awaits);
                self.pour_one(&plan, &topic, (partition, value, waits), &mut poured).await?;
            }
            if random.one_in(20) {
                sleep(random.millis(0..400)).await;
            }
            if random.one_in(100) {
                self.flush(&plan, &producer, &mut poured).await?;
            }
            if number % 8 == 0 {
                self.holds_little(&plan, &producer, &mut poured).await?;
            }
            if let Some(client) = &own
                && random.one_in(60)
            {
                producer = self.close(&plan, client, (producer, &topic), &mut poured).await?;
                topic = self.topic(&producer).await;
            }
        }
        // It may have been the last handle: what was accepted is written all the same.
        drop((topic, producer));
        self.count("left", u64::from(plan.leaves));
        for Poured { partition, value, promise } in poured {
            let fate = match promise {
                Promise::Kept(fate) => fate,
                Promise::Open(delivery) if !random.one_in(10) => {
                    let limit = plan.delivery_timeout;
                    delivered(self.in_time("delivery", Duration::ZERO, limit, delivery).await?)?
                }
                Promise::Open(_) => Fate::Unknown,
            };
            self.tell(partition, value, fate)?;
        }
        Ok(())
    }

    /// One record to a partition, waited for or not.
    async fn pour_one(
        &self,
        plan: &Plan,
        topic: &TopicProducer,
        (partition, value, waits): (i32, String, bool),
        poured: &mut Vec<Poured>,
    ) -> Kept {
        let limit = plan.delivery_timeout;
        let record = Record::new(value.as_str());
        let promise = if waits {
            let sent = self.in_time("send", Duration::ZERO, limit, topic.send_to(partition, record)).await?;
            self.count("awaited", 1);
            Promise::Kept(delivered(sent)?)
        } else {
            match topic.try_enqueue_to(partition, record.clone()) {
                Ok(delivery) => Promise::Open(delivery),
                Err(Error::Full { .. }) => {
                    self.count("full", 1);
                    let call = topic.enqueue_to(partition, record);
                    match self.in_time("enqueue", Duration::ZERO, limit, call).await? {
                        Ok(delivery) => Promise::Open(delivery),
                        Err(error) => {
                            self.note(|| format!("{value} for {partition}: {error}"));
                            Promise::Kept(fate(&error)?)
                        }
                    }
                }
                Err(error) => Promise::Kept(fate(&error)?),
            }
        };
        poured.push(Poured { partition, value, promise });
        Ok(())
    }

    /// One record to a partition that the producer chooses: by key, to a topic by its name; or any.
    async fn pour_anywhere(
        &self,
        plan: &Plan,
        (producer, topic): (&Producer, &TopicProducer),
        value: String,
        poured: &mut Vec<Poured>,
    ) -> Kept {
        let (limit, record) = (plan.delivery_timeout, Record::new(value.as_str()));
        let has_key = value.len().is_multiple_of(2);
        let enqueued = if has_key {
            let call = producer.enqueue("t", record.key(value.as_str()));
            self.in_time("enqueue", CALL_TIMEOUT, limit, call).await?
        } else {
            self.in_time("enqueue", Duration::ZERO, limit, topic.enqueue(record)).await?
        };
        self.count(if has_key { "by key" } else { "anywhere" }, 1);
        let (partition, promise) = match enqueued {
            Ok(delivery) => (delivery.partition(), Promise::Open(delivery)),
            Err(Error::Delivery(error)) => (error.partition, Promise::Kept(fate(&Error::Delivery(error))?)),
            Err(error @ (Error::Topic { .. } | Error::Call(_))) => {
                self.note(|| format!("the topic cannot be found: {error}"));
                return Ok(());
            }
            Err(error) => return fate(&error).map(drop),
        };
        if has_key && partition != partition_of(value.as_bytes(), plan.partitions) {
            return Err(broken(ONE_OUTCOME, format!("{value} went to {partition}, which is not its key's")));
        }
        poured.push(Poured { partition, value, promise });
        Ok(())
    }

    /// Many at once, to a topic by its name, each to the partition of its key.
    async fn pour_all(
        &self,
        plan: &Plan,
        producer: &Producer,
        values: Vec<String>,
        poured: &mut Vec<Poured>,
    ) -> Kept {
        let records = values.iter().map(|value| Record::new(value.as_str()).key(value.as_str()));
        let call = producer.enqueue_all("t", records);
        // To look the topic up, and then for room.
        let outcomes = self.in_time("enqueue_all", CALL_TIMEOUT, plan.delivery_timeout, call).await?;
        self.count("all at once", 1);
        let of = |value: &String| partition_of(value.as_bytes(), plan.partitions);
        let outcomes = match outcomes {
            Ok(outcomes) if outcomes.len() == values.len() => outcomes,
            Ok(outcomes) => {
                let what = format!("{} records have {} outcomes", values.len(), outcomes.len());
                return Err(broken(ONE_OUTCOME, what));
            }
            Err(error) => {
                self.note(|| format!("the topic cannot be found: {error}"));
                for value in values {
                    poured.push(Poured {
                        partition: of(&value),
                        value,
                        promise: Promise::Kept(Fate::NotWritten),
                    });
                }
                return Ok(());
            }
        };
        for (value, outcome) in values.into_iter().zip(outcomes) {
            let partition = of(&value);
            let promise = match outcome {
                Ok(delivery) if delivery.partition() == partition => Promise::Open(delivery),
                Ok(delivery) => {
                    let what = format!("{value} went to {}, not to {partition}", delivery.partition());
                    return Err(broken(ONE_OUTCOME, what));
                }
                Err(error) => Promise::Kept(fate(&error)?),
            };
            poured.push(Poured { partition, value, promise });
        }
        Ok(())
    }

    /// After a flush all that was handed over before has its outcome.
    async fn flush(&self, plan: &Plan, producer: &Producer, poured: &mut [Poured]) -> Kept {
        // Brokers serve one request after another, and in the worst case each record has one of its own.
        let wait = plan.slowest() * u32::try_from(poured.len()).unwrap_or(u32::MAX);
        self.in_time("flush", wait, plan.delivery_timeout, producer.flush()).await?;
        self.count("flush", 1);
        Self::all_told(poured, "flush").await
    }

    /// Closes a producer that others may be at, who are refused; another one comes back.
    async fn close(
        &self,
        plan: &Plan,
        client: &Client,
        (producer, topic): (Producer, &TopicProducer),
        poured: &mut [Poured],
    ) -> Kept<Producer> {
        self.in_time("close", Duration::ZERO, plan.delivery_timeout, producer.close()).await?;
        self.count("close", 1);
        match topic.enqueue_to(0, Record::new("after the close")).await {
            Err(Error::Closed) => {}
            other => return Err(broken(ONE_OUTCOME, format!("a closed producer says {other:?}"))),
        }
        Self::all_told(poured, "close").await?;
        new_producer(plan, client).await
    }

    async fn all_told(poured: &mut [Poured], by: &str) -> Kept {
        for Poured { value, promise, .. } in poured {
            if let Promise::Open(delivery) = promise {
                match polled(1, delivery).await {
                    Some(result) => *promise = Promise::Kept(delivered(result)?),
                    None => return Err(broken(ONE_OUTCOME, format!("{value} has none after the {by}"))),
                }
            }
        }
        Ok(())
    }

    /// What has no outcome yet, by the caller's own count, is what the producer holds, or a part of it, where others have it,
    /// too; and it is no more than there is room for, in a partition and in all.
    async fn holds_little(&self, plan: &Plan, producer: &Producer, poured: &mut [Poured]) -> Kept {
        let mut under_way: BTreeMap<i32, u64> = BTreeMap::new();
        for Poured { partition, value, promise } in poured {
            if let Promise::Open(delivery) = promise {
                match polled(1, delivery).await {
                    Some(result) => *promise = Promise::Kept(delivered(result)?),
                    None => *under_way.entry(*partition).or_default() += value.len() as u64,
                }
            }
        }
        let (holds, limit) = (producer.metrics().buffered, plan.buffer_memory() as u64);
        let all = under_way.values().sum::<u64>();
        if all > holds || holds > limit {
            let what = format!(
                "a producer says that it holds {holds} bytes, {all} are under way, its buffer has {limit}"
            );
            return Err(broken(MEMORY, what));
        }
        if let Some((partition, bytes)) = under_way.into_iter().find(|(_, bytes)| *bytes > limit / 4) {
            let what = format!("{bytes} bytes for {partition} are under way, a quarter of {limit} may be");
            return Err(broken(MEMORY, what));
        }
        Ok(())
    }
}
