//! Every public future of the crate, one row each or more: how it is made, what it asks for, and what it writes.

#![expect(clippy::async_yields_async, reason = "what is prepared is a call, to be dropped half-way")]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

use futures_core::Stream;
use futures_sink::Sink;
use ottla::{
    BatchProducer, BatchProducerBuilder, Client, Compression, ConsumerClient, ControllerClient, Error,
    NewTopic, OffsetAt, PartitionClient, Producer, ProducerClient, Record, RecordAggregator, RecordStream,
    StartOffset, StreamConsumer, StreamConsumerBuilder, TopicProducer,
};
use ottla_wire::ApiKey;
use ottla_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use tokio::sync::Mutex;

use crate::support::{PipeTransport, millis, polled, secs};

/// What a row begins with: a client, a producer of it, and a topic `t` of two partitions.
#[derive(Clone)]
pub(super) struct World {
    pub(super) pipes: PipeTransport,
    pub(super) client: Client,
    pub(super) producer: Producer,
}

/// A public future.
pub(super) struct Row {
    /// `Type::function`, or `Type as Trait`.
    pub(super) name: &'static str,
    /// The request it needs, which is what meets trouble.
    pub(super) api: ApiKey,
    pub(super) writes: Writes,
    /// It may end when it is first polled.
    pub(super) ends_at_once: bool,
    pub(super) begin: Box<dyn Fn(World) -> Local<Make>>,
}

/// What becomes of the value that a call was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    Nothing,
    /// It was handed over before the call.
    Before,
    /// It is accepted when the call is first polled.
    AtOnce,
    /// It is accepted when the call has ended, and not before.
    AtTheEnd,
    /// It is accepted at some time.
    AtSomeTime,
}

pub(super) type Local<T> = Pin<Box<dyn Future<Output = T>>>;

/// The call itself.
pub(super) type Call = Local<ottla::Result<()>>;

/// Prepares a call with a value of its own, on the same objects each time.
pub(super) type Make = Box<dyn Fn(String) -> Local<Call>>;

pub(super) fn table() -> Vec<Row> {
    let mut rows = clients();
    rows.extend(controllers());
    rows.extend(partitions());
    rows.extend(producers());
    rows.extend(topics());
    rows.extend(batches());
    rows.extend(streams());
    rows
}

impl Row {
    /// A row whose objects `begin` makes.
    fn new<B, M, P, C>(name: &'static str, api: ApiKey, writes: Writes, begin: B) -> Self
    where
        B: AsyncFn(World) -> M + 'static,
        M: Fn(String) -> P + 'static,
        P: Future<Output = C> + 'static,
        C: Future<Output = ottla::Result<()>> + 'static,
    {
        let begin = Rc::new(begin);
        let begin = move |world| {
            let begin = begin.clone();
            Box::pin(async move {
                let make = begin(world).await;
                Box::new(move |value| {
                    let prepare = make(value);
                    Box::pin(async move { Box::pin(prepare.await) as Call }) as Local<Call>
                }) as Make
            }) as Local<Make>
        };
        Self { name, api, writes, ends_at_once: false, begin: Box::new(begin) }
    }

    /// A row whose object is cloned for each call.
    fn of<O, B, C>(
        (name, api, writes): (&'static str, ApiKey, Writes),
        object: B,
        call: impl Fn(O, String) -> C + Copy + 'static,
    ) -> Self
    where
        O: Clone + 'static,
        B: AsyncFn(World) -> O + 'static,
        C: Future<Output = ottla::Result<()>> + 'static,
    {
        let object = Rc::new(object);
        Self::new(name, api, writes, async move |world| {
            let object = object(world).await;
            move |value| {
                let object = object.clone();
                async move { call(object, value) }
            }
        })
    }

    fn ends_at_once(self) -> Self {
        Self { ends_at_once: true, ..self }
    }
}

fn clients() -> Vec<Row> {
    let metadata = |name| (name, ApiKey::METADATA, Writes::Nothing);
    let client = async |world: World| world.client;
    let configs = |name| (name, ApiKey::DESCRIBE_CONFIGS, Writes::Nothing);
    vec![
        Row::of(
            metadata("ClientBuilder::build"),
            async |world: World| world.pipes,
            |pipes, _| async move { pipes.builder().build().await.map(drop) },
        ),
        Row::of(metadata("Client::list_topics"), client, |client, _| async move {
            client.list_topics().await.map(drop)
        }),
        Row::of(metadata("Client::describe_cluster"), client, |client, _| async move {
            client.describe_cluster().await.map(drop)
        }),
        Row::of(metadata("Client::controller_client"), client, |client, _| async move {
            client.controller_client().await.map(drop)
        })
        .ends_at_once(),
        Row::of(metadata("Client::partition_client"), new_topics, |topics, value| async move {
            let topic = topics.create(&value);
            topics.0.client.partition_client(topic, 0).await.map(drop)
        }),
        Row::of(metadata("PartitionClientBuilder::build"), new_topics, |topics, value| async move {
            let topic = topics.create(&value);
            topics.0.client.partition(topic, 0).timeout(secs(5)).build().await.map(drop)
        }),
        Row::of(configs("Client::call"), client, |client, _| async move {
            client.call(describe_configs()).await.map(drop)
        }),
        Row::of(configs("Client::call_broker"), client, |client, _| async move {
            client.call_broker(1, describe_configs()).await.map(drop)
        }),
    ]
}

/// Makes a topic for each call.
#[derive(Clone)]
struct Topics(World);

async fn new_topics(world: World) -> Topics {
    Topics(world)
}

impl Topics {
    fn create(&self, value: &str) -> String {
        let topic = format!("topic-{value}");
        self.0.pipes.create(&topic, 1, 1);
        topic
    }
}

fn describe_configs() -> DescribeConfigsRequest {
    let topic = DescribeConfigsResource { resource_type: 2, resource_name: "t".into(), ..Default::default() };
    DescribeConfigsRequest { resources: vec![topic], ..Default::default() }
}

fn controllers() -> Vec<Row> {
    let row = |name, api| (name, api, Writes::Nothing);
    let controller =
        async |world: World| -> ControllerClient { world.client.controller_client().await.unwrap() };
    let both = async |world: World| (world.client.controller_client().await.unwrap(), Topics(world));
    vec![
        Row::of(
            row("ControllerClient::create_topic", ApiKey::CREATE_TOPICS),
            controller,
            |controller, value| async move { controller.create_topic(value, 1, 1, 1_000).await },
        ),
        Row::of(
            row("ControllerClient::create", ApiKey::CREATE_TOPICS),
            controller,
            |controller, value| async move { controller.create(NewTopic::new(value), 1_000).await },
        ),
        Row::of(
            row("ControllerClient::create_partitions", ApiKey::CREATE_PARTITIONS),
            both,
            |(controller, topics), value| async move {
                controller.create_partitions(topics.create(&value), 2, 1_000).await
            },
        ),
        Row::of(
            row("ControllerClient::delete_topic", ApiKey::DELETE_TOPICS),
            both,
            |(controller, topics), value| async move {
                controller.delete_topic(topics.create(&value), 1_000).await
            },
        ),
    ]
}

fn partitions() -> Vec<Row> {
    let produce = |name| (name, ApiKey::PRODUCE, Writes::AtOnce);
    let reads = |name, api| (name, api, Writes::Nothing);
    let partition =
        async |world: World| -> PartitionClient { world.client.partition_client("t", 0).await.unwrap() };
    vec![
        Row::of(produce("PartitionClient::produce"), partition, |partition, value| async move {
            partition.produce(vec![Record::new(value)]).await.map(drop)
        }),
        Row::of(produce("PartitionClient::produce_with"), partition, |partition, value| async move {
            partition.produce_with(vec![Record::new(value)], Compression::Lz4).await.map(drop)
        }),
        Row::of(produce("ProducerClient::produce"), partition, |partition, value| async move {
            ProducerClient::produce(&partition, vec![Record::new(value)], Compression::None.into())
                .await
                .map(drop)
        }),
        Row::of(
            reads("ConsumerClient::fetch_records", ApiKey::FETCH),
            partition,
            |partition, _| async move {
                ConsumerClient::fetch_records(&partition, 0, 1..1_000, 20).await.map(drop)
            },
        ),
        Row::of(
            reads("ConsumerClient::get_offset", ApiKey::LIST_OFFSETS),
            partition,
            |partition, _| async move {
                ConsumerClient::get_offset(&partition, OffsetAt::Earliest).await.map(drop)
            },
        ),
        Row::of(
            reads("PartitionClient::fetch_records", ApiKey::FETCH),
            partition,
            |partition, _| async move { partition.fetch_records(0, 1..1_000, 20).await.map(drop) },
        ),
        Row::of(
            reads("PartitionClient::get_offset", ApiKey::LIST_OFFSETS),
            partition,
            |partition, _| async move { partition.get_offset(OffsetAt::Earliest).await.map(drop) },
        ),
        Row::of(
            reads("PartitionClient::delete_records", ApiKey::DELETE_RECORDS),
            partition,
            |partition, _| async move { partition.delete_records(0, 1_000).await.map(drop) },
        ),
    ]
}

fn producers() -> Vec<Row> {
    let by_name = |name, writes| (name, ApiKey::METADATA, writes);
    vec![
        Row::of(
            ("ProducerBuilder::build", ApiKey::METADATA, Writes::Nothing),
            async |world: World| world.client,
            |client, _| async move { client.producer().build().await.map(drop) },
        )
        .ends_at_once(),
        Row::of(
            ("Producer::topic", ApiKey::METADATA, Writes::Nothing),
            new_topics,
            |topics, value| async move {
                let topic = topics.create(&value);
                topics.0.producer.topic(topic).await.map(drop)
            },
        ),
        Row::of(
            ("TopicProducerBuilder::build", ApiKey::METADATA, Writes::Nothing),
            new_topics,
            |topics, value| async move {
                let topic = topics.create(&value);
                topics.0.producer.topic_builder(topic).build().await.map(drop)
            },
        ),
        Row::of(by_name("Producer::send", Writes::AtSomeTime), new_topics, |topics, value| async move {
            let topic = topics.create(&value);
            topics.0.producer.send(topic, Record::new(value)).await.map(drop)
        }),
        Row::of(by_name("Producer::enqueue", Writes::AtTheEnd), new_topics, |topics, value| async move {
            let topic = topics.create(&value);
            topics.0.producer.enqueue(topic, Record::new(value)).await.map(drop)
        }),
        Row::of(
            by_name("Producer::enqueue_all", Writes::AtSomeTime),
            new_topics,
            |topics, value| async move {
                let topic = topics.create(&value);
                let outcomes = topics.0.producer.enqueue_all(topic, [Record::new(value)]).await?;
                outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
            },
        ),
        Row::new("Producer::flush", ApiKey::PRODUCE, Writes::Before, async |world: World| {
            let topic = world.producer.topic("t").await.unwrap();
            move |value: String| {
                let (producer, topic) = (world.producer.clone(), topic.clone());
                async move {
                    let _told_by_the_flush = topic.try_enqueue_to(0, Record::new(value)).unwrap();
                    async move {
                        producer.flush().await;
                        Ok(())
                    }
                }
            }
        }),
        Row::new("Producer::close", ApiKey::PRODUCE, Writes::Before, async |world: World| {
            move |value: String| {
                let client = world.client.clone();
                async move {
                    let producer = client.producer().build().await.unwrap();
                    let topic = producer.topic("t").await.unwrap();
                    let _told_by_the_close = topic.try_enqueue_to(0, Record::new(value)).unwrap();
                    async move {
                        producer.close().await;
                        Ok(())
                    }
                }
            }
        }),
        Row::new("Delivery as Future", ApiKey::PRODUCE, Writes::Before, async |world: World| {
            let topic = world.producer.topic("t").await.unwrap();
            move |value: String| {
                let delivery = topic.try_enqueue_to(0, Record::new(value)).unwrap();
                async move { async move { delivery.await.map(drop) } }
            }
        }),
    ]
}

fn topics() -> Vec<Row> {
    let produce = |name, writes| (name, ApiKey::PRODUCE, writes);
    let topic = async |world: World| -> TopicProducer { world.producer.topic("t").await.unwrap() };
    vec![
        Row::of(produce("TopicProducer::send", Writes::AtOnce), topic, |topic, value| async move {
            topic.send(Record::new(value)).await.map(drop)
        }),
        Row::of(produce("TopicProducer::send_to", Writes::AtOnce), topic, |topic, value| async move {
            topic.send_to(0, Record::new(value)).await.map(drop)
        }),
        Row::of(
            produce("TopicProducer::send_to", Writes::AtSomeTime),
            full_topic,
            |full, value| async move { full.0.send_to(0, Record::new(full.fill(value))).await.map(drop) },
        ),
        Row::of(produce("TopicProducer::enqueue", Writes::AtTheEnd), full_topic, |full, value| async move {
            let record = Record::new(full.fill(value)).key("key");
            full.0.enqueue(record).await.map(drop)
        }),
        Row::of(
            produce("TopicProducer::enqueue_to", Writes::AtTheEnd),
            full_topic,
            |full, value| async move { full.0.enqueue_to(0, Record::new(full.fill(value))).await.map(drop) },
        ),
        Row::of(
            produce("TopicProducer::enqueue_all", Writes::AtSomeTime),
            full_topic,
            |full, value| async move {
                let outcomes = full.0.enqueue_all([Record::new(full.fill(value)).key("key")]).await;
                outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
            },
        ),
        Row::new("TopicSink as Sink", ApiKey::PRODUCE, Writes::AtSomeTime, async |world: World| {
            let sink = world.producer.topic("t").await.unwrap().sink();
            let sink = Rc::new(Mutex::new(sink));
            move |value: String| {
                let sink = sink.clone();
                async move {
                    async move {
                        let sink = &mut *sink.lock().await;
                        poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)).await?;
                        Pin::new(&mut *sink).start_send(Record::new(value))?;
                        poll_fn(|cx| Pin::new(&mut *sink).poll_flush(cx)).await
                    }
                }
            }
        }),
    ]
}

/// A topic of a producer whose buffers are full when a call is made.
#[derive(Clone)]
struct FullTopic(TopicProducer);

async fn full_topic(world: World) -> FullTopic {
    FullTopic(world.producer.topic("t").await.unwrap())
}

impl FullTopic {
    /// Both partitions, with large records and then with what is smaller than any value.
    fn fill(&self, value: String) -> String {
        for (partition, size) in [(0, 500), (0, 0), (1, 500), (1, 0)] {
            loop {
                match self.0.try_enqueue_to(partition, Record::new("x".repeat(size))) {
                    Ok(_nobody_waits) => {}
                    Err(Error::Full { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        value
    }
}

fn batches() -> Vec<Row> {
    let batches =
        async |world: World| -> BatchProducer<RecordAggregator> { batch_producer(world, 1_000).await };
    let produce = |writes| ("BatchProducer::produce", ApiKey::PRODUCE, writes);
    vec![
        Row::of(produce(Writes::AtOnce), batches, |batches, value| async move {
            batches.produce(Record::new(value)).await.map(drop)
        }),
        Row::new("BatchProducer::produce", ApiKey::PRODUCE, Writes::AtSomeTime, async |world: World| {
            // A batch has room for one.
            let batches = batch_producer(world, 150).await;
            move |value: String| {
                let batches = batches.clone();
                async move {
                    let first = format!("first-{value}-{}", "x".repeat(50));
                    assert!(polled(1, batches.produce(Record::new(first))).await.is_none());
                    async move { batches.produce(Record::new(value)).await.map(drop) }
                }
            }
        }),
        Row::new("BatchProducer::flush", ApiKey::PRODUCE, Writes::Before, async move |world: World| {
            let batches = batch_producer(world, 1_000).await;
            move |value: String| {
                let batches = batches.clone();
                async move {
                    assert!(polled(1, batches.produce(Record::new(value))).await.is_none());
                    async move { batches.flush().await }
                }
            }
        }),
    ]
}

async fn batch_producer(world: World, maximum: usize) -> BatchProducer<RecordAggregator> {
    let partition = world.client.partition_client("t", 0).await.unwrap();
    let builder = BatchProducerBuilder::new(partition).with_linger(millis(3));
    builder.build(RecordAggregator::new(maximum)).unwrap()
}

fn streams() -> Vec<Row> {
    vec![
        of_consumer("StreamConsumer::next", |one| async move {
            let (record, _) = one.stream.lock().await.next().await.unwrap()?;
            one.follows(record.offset);
            Ok(())
        }),
        of_consumer("StreamConsumer as Stream", |one| async move {
            let stream = &mut *one.stream.lock().await;
            let (record, _) = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await.unwrap()?;
            one.follows(record.offset);
            Ok(())
        }),
        of_consumer("StreamConsumer::next_batch", |one| async move {
            let stream = &mut *one.stream.lock().await;
            for record in stream.next_batch().await?.unwrap() {
                one.follows(record.offset);
            }
            Ok(())
        }),
        of_stream("RecordStream::next", |many| async move {
            let record = many.stream.lock().await.next().await.unwrap()?;
            many.follows(record.record.offset);
            Ok(())
        }),
        of_stream("RecordStream as Stream", |many| async move {
            let stream = &mut *many.stream.lock().await;
            let record = poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await.unwrap()?;
            many.follows(record.record.offset);
            Ok(())
        }),
        of_stream("RecordStream::next_batch", |many| async move {
            let stream = &mut *many.stream.lock().await;
            for record in stream.next_batch().await?.unwrap() {
                many.follows(record.offset);
            }
            Ok(())
        }),
        Row::new("RecordStream::add", ApiKey::METADATA, Writes::Nothing, async |world: World| {
            let stream = Rc::new(Mutex::new(world.client.stream().build().unwrap()));
            let topics = Topics(world);
            move |value: String| {
                let (stream, topic) = (stream.clone(), topics.create(&value));
                async move {
                    async move {
                        let stream = &mut *stream.lock().await;
                        // Dropped, nothing was added.
                        assert_eq!(stream.assignment().count(), 0);
                        stream.add(&topic, 0, StartOffset::Earliest).await?;
                        stream.remove(&topic, 0)
                    }
                }
            }
        }),
    ]
}

/// A stream of partition 0, and where it has to go on.
struct Reading<S> {
    stream: Rc<Mutex<S>>,
    next: Rc<Cell<i64>>,
}

impl<S> Reading<S> {
    fn new(stream: S) -> Self {
        Self { stream: Rc::new(Mutex::new(stream)), next: Rc::default() }
    }

    fn follows(&self, offset: i64) {
        assert_eq!(offset, self.next.replace(offset + 1), "no record is lost or comes twice");
    }
}

impl<S> Clone for Reading<S> {
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone(), next: self.next.clone() }
    }
}

fn of_consumer<C>(name: &'static str, call: impl Fn(Reading<StreamConsumer>) -> C + Copy + 'static) -> Row
where
    C: Future<Output = ottla::Result<()>> + 'static,
{
    reading(name, call, async |world: &World| {
        let partition = world.client.partition_client("t", 0).await.unwrap();
        StreamConsumerBuilder::new(partition, StartOffset::Earliest).with_max_wait_ms(20).build().unwrap()
    })
}

fn of_stream<C>(name: &'static str, call: impl Fn(Reading<RecordStream>) -> C + Copy + 'static) -> Row
where
    C: Future<Output = ottla::Result<()>> + 'static,
{
    reading(name, call, async |world: &World| {
        let mut stream = world.client.stream().max_wait(millis(20)).build().unwrap();
        stream.add("t", 0, StartOffset::Earliest).await.unwrap();
        stream
    })
}

/// There is one more record for each call, which waits for it.
fn reading<S: 'static, C>(
    name: &'static str,
    call: impl Fn(Reading<S>) -> C + Copy + 'static,
    stream: impl AsyncFn(&World) -> S + 'static,
) -> Row
where
    C: Future<Output = ottla::Result<()>> + 'static,
{
    let stream = Rc::new(stream);
    Row::new(name, ApiKey::FETCH, Writes::Before, async move |world: World| {
        let reading = Reading::new(stream(&world).await);
        move |value: String| {
            world.pipes.append("t", 0, &[&value]);
            let reading = reading.clone();
            async move { call(reading) }
        }
    })
}
