//! The walk-through: every step of using ottla, one after another, each with what came of it.
//!
//! ```text
//! cargo run -p ottla --example walkthrough                        against a fake cluster inside this process
//! KAFKA=host:port[,host:port] cargo run ...                       against a real one
//! KAFKA=host:port TOPIC=name cargo run ...                        in a topic that exists already, with two partitions
//! ```
//!
//! What a step does is compared with what it says. The first one that differs is printed, and the program ends with a
//! status that is not zero. A topic that the walk-through creates is deleted at the end, however it ends; one that was
//! given is kept, and no record of it is deleted. A broker that does not offer an API is told from one that does not
//! do what it should: such a step says so and is left out.

#[path = "dictionary/shared.rs"]
mod dictionary;

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dictionary::{DictionaryAggregator, Measurement, Place};
use ottla::{
    Acks, BatchProducerBuilder, Client, ClientBuilder, Codec, Compression, ControllerClient, ErrorCode,
    InputTooLarge, IsolationLevel, OffsetAt, PartitionClient, Payload, Record, RecordAggregator,
    RecordAndOffset, StartOffset, StreamConsumerBuilder, Timestamp, UnknownTopic,
};
use ottla_fake::FakeCluster;
use ottla_fake::net::Server;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    match walk().await {
        Ok(left_out) if left_out.is_empty() => println!("\nevery step did what it says"),
        Ok(left_out) => println!("\nevery step did what it says; left out: {}", left_out.join("; ")),
        Err(error) => {
            eprintln!("\nthe walk-through ends here: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn walk() -> Outcome<Vec<String>> {
    let mut fake = None;
    let bootstrap = match std::env::var("KAFKA") {
        Ok(addresses) => addresses.split(',').map(|address| address.trim().to_owned()).collect::<Vec<_>>(),
        Err(_) => fake.insert(Server::start(FakeCluster::builder().nodes(3).build_now())?).bootstrap(),
    };

    say("B1", &format!("ClientBuilder::new(vec!{bootstrap:?}).build()"));
    let client = ClientBuilder::new(bootstrap).request_timeout(Duration::from_secs(15)).build().await?;
    let cluster = client.describe_cluster().await?;
    let names: Vec<_> =
        cluster.brokers.iter().map(|broker| format!("{} at {}", broker.id, broker.address)).collect();
    ensure(!names.is_empty(), "a cluster has brokers", &names)?;
    got(&format!(
        "cluster {}, brokers {}",
        cluster.cluster_id.as_deref().unwrap_or("without an id"),
        names.join(", ")
    ));

    let given = std::env::var("TOPIC").ok();
    let has_controller = cluster.brokers.iter().any(|broker| Some(broker.id) == cluster.controller_id);
    let mut walk = Walk {
        controller: client.controller_client().await?,
        topic: given.clone().unwrap_or_else(unique_name),
        is_mine: false,
        is_mock: cluster.cluster_id.is_some_and(|id| id.starts_with("mockCluster")),
        replicas: i16::try_from(cluster.brokers.len().min(3))?,
        client,
        left_out: Vec::new(),
    };
    match given {
        Some(topic) => {
            say("B2", &format!("TOPIC={topic}"));
            walk.leave_out(
                "creating, growing and deleting a topic and deleting records (the topic was given)",
            )?;
        }
        None if !has_controller => return Err(format!("this cluster names no controller; {NO_TOPIC}").into()),
        None => walk.create_topic().await?,
    }
    let result = walk.use_topic().await;
    // Whatever happened: nothing is left behind.
    let tidied = if walk.is_mine { walk.delete_topic().await } else { Ok(()) };
    result?;
    tidied?;
    Ok(walk.left_out)
}

struct Walk {
    client: Client,
    controller: ControllerClient,
    topic: String,
    /// Created here, and so to be deleted here.
    is_mine: bool,
    /// librdkafka's mock cluster knows no offsets by time.
    is_mock: bool,
    replicas: i16,
    left_out: Vec<String>,
}

impl Walk {
    async fn create_topic(&mut self) -> Outcome {
        let Self { topic, replicas, .. } = self;
        say("B2", &format!("controller_client.create_topic({topic:?}, 2, {replicas}, 5_000)"));
        let created = self.controller.create_topic(topic.as_str(), 2, *replicas, 5_000).await;
        if self.offered("CreateTopics", created)?.is_none() {
            return Err(
                "this broker creates no topics: TOPIC=name names one that exists, with two partitions".into(),
            );
        }
        self.is_mine = true;
        let again = self.controller.create_topic(self.topic.as_str(), 2, self.replicas, 5_000).await;
        let code = again.expect_err_code("a topic that exists is not created again")?;
        ensure_eq(&code, &ErrorCode::TOPIC_ALREADY_EXISTS, "a topic that exists is not created again")?;
        got(&format!("created; once more: {code}"));
        Ok(())
    }

    async fn use_topic(&mut self) -> Outcome {
        let partition = self.partition_clients().await?;
        let written = self.produce(&partition).await?;
        self.fetch(&partition, &written).await?;
        self.look_up_offsets(&partition, &written).await?;
        self.compress(&partition).await?;
        self.batch_records(&partition).await?;
        self.aggregate(&partition).await?;
        self.stream(&partition, &written).await?;
        if self.is_mine {
            self.delete_records(&partition, &written).await?;
            self.grow_topic().await?;
        }
        Ok(())
    }

    async fn partition_clients(&self) -> Outcome<PartitionClient> {
        say("B3", &format!("client.partition_client({:?}, 0)", self.topic));
        let partition = self.client.partition_client(&self.topic, 0).await?;
        let listed = self.client.list_topics().await?;
        let topic = listed
            .iter()
            .find(|topic| *topic.name == *self.topic)
            .ok_or("list_topics leaves the topic out")?;
        got(&format!(
            "found: {} partitions, id {}; one of {} topics",
            topic.partitions.len(),
            topic.id,
            listed.len()
        ));

        say("B3", "an unknown topic: refused at once, or asked for again while a time-out lasts");
        let unknown = unique_name();
        let at_once = self.client.partition(&unknown, 0).unknown_topic(UnknownTopic::Error).build().await;
        let code = at_once.expect_err_code("a topic nobody created is not there")?;
        ensure_eq(&code, &ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "a topic nobody created is not there")?;
        let patience = Duration::from_millis(500);
        let started = Instant::now();
        let later = self.client.partition(&unknown, 0).timeout(patience).build().await;
        let waited = started.elapsed();
        ensure_eq(&later.expect_err_code("nor later")?, &code, "nor later")?;
        let in_time = waited >= patience && waited < patience + Duration::from_secs(2);
        ensure(in_time, "it is asked for as long as the time-out says", &waited)?;
        got(&format!("{code}; after {waited:.1?}: {code}"));
        Ok(partition)
    }

    /// What was produced, and the offset of the first record.
    async fn produce(&self, partition: &PartitionClient) -> Outcome<Written> {
        say("B4", "partition_client.produce(vec![record, tombstone, ...])");
        let before = partition.get_offset(OffsetAt::Latest).await?;
        let records = records();
        let offsets = partition.produce(records.clone()).await?;
        let expected: Vec<i64> = (before..).take(records.len()).collect();
        ensure_eq(&offsets, &expected, "every record has its offset, in order, behind what was there")?;
        got(&format!("offsets {offsets:?}"));

        say("B4", "with acks = leader, and read back by a client for committed records");
        let settings = || self.client.partition(&self.topic, 1);
        let leader = settings().acks(Acks::Leader).build().await?;
        let offset = leader.produce(vec![Record::new("to the leader")]).await?[0];
        let committed = settings().isolation(IsolationLevel::ReadCommitted).build().await?;
        let (read, _) = committed.fetch_records(offset, 1..1_000_000, 1_000).await?;
        ensure_eq(&value(&read, 0), &Some("to the leader"), "the record is read back")?;
        got(&format!("offset {offset}"));
        Ok(Written { records, first: before })
    }

    async fn fetch(&self, partition: &PartitionClient, written: &Written) -> Outcome {
        let first = written.first;
        say("B5", &format!("partition_client.fetch_records({first}, 1..1_000_000, 1_000)"));
        let (read, high_watermark) = partition.fetch_records(first, 1..1_000_000, 1_000).await?;
        ensure_eq(&read.len(), &written.records.len(), "every record is read back")?;
        for ((record, expected), offset) in read.iter().zip(&written.records).zip(first..) {
            same(record, expected, offset)?;
        }
        ensure_eq(
            &high_watermark,
            &written.next(),
            "the high watermark is the offset after the last record",
        )?;
        got(&format!("{} records as they were written, high watermark {high_watermark}", read.len()));

        say("B5", "at the end of the partition: waits for a record, and comes back without one");
        let started = Instant::now();
        let (none, _) = partition.fetch_records(high_watermark, 1..1_000_000, 300).await?;
        let waited = started.elapsed();
        ensure(
            none.is_empty() && waited < Duration::from_secs(3),
            "there is nothing to read yet",
            &(none, waited),
        )?;
        got(&format!("nothing after {waited:.1?}"));
        Ok(())
    }

    async fn look_up_offsets(&mut self, partition: &PartitionClient, written: &Written) -> Outcome {
        say("   ", "partition_client.get_offset(Earliest | Latest | Timestamp | MaxTimestamp)");
        let earliest = partition.get_offset(OffsetAt::Earliest).await?;
        let latest = partition.get_offset(OffsetAt::Latest).await?;
        ensure(earliest <= written.first, "the log starts at or before the first record", &earliest)?;
        ensure_eq(&latest, &written.next(), "the log ends behind the last record")?;
        got(&format!("earliest {earliest}, latest {latest}"));
        if self.is_mock {
            return self.leave_out("offsets by time (this mock cluster has none)");
        }
        let by_time = partition.get_offset(OffsetAt::Timestamp(SECOND_TIME)).await?;
        let far = partition.get_offset(OffsetAt::Timestamp(Timestamp(i64::MAX))).await;
        let far = far.expect_err_in(
            |error| matches!(error, ottla::Error::NoSuchOffset { .. }),
            "no record is that late",
        )?;
        if self.is_mine {
            ensure_eq(&by_time, &(written.first + 1), "the second record is the first one at its time")?;
        }
        got(&format!("at {} ms: {by_time}; later than all: {far}", SECOND_TIME.0));
        let newest = partition.get_offset(OffsetAt::MaxTimestamp).await;
        if let Some(newest) = self.offered("the offset of the largest timestamp", newest)? {
            if self.is_mine {
                ensure_eq(&newest, &(written.next() - 1), "the last record has the largest timestamp")?;
            }
            got(&format!("largest timestamp: {newest}"));
        }
        Ok(())
    }

    async fn compress(&self, partition: &PartitionClient) -> Outcome {
        say("B4", "partition_client.produce_with(records, Compression::...), and B5 again");
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            if let Err(left_out) = Codec::from(compression).check() {
                got(&format!("{compression:?}: {left_out}"));
                continue;
            }
            let records: Vec<Record<'_>> =
                (0..100).map(|_| Record::new("the same words, over and over").key("k")).collect();
            let offsets = partition.produce_with(records.clone(), compression).await?;
            let (read, _) = partition.fetch_records(offsets[0], 1..1_000_000, 1_000).await?;
            ensure_eq(&read.len(), &records.len(), "every record is read back")?;
            for ((record, expected), offset) in read.iter().zip(&records).zip(offsets) {
                same(record, expected, offset)?;
            }
            got(&format!("{compression:?}: {} records", read.len()));
        }
        Ok(())
    }

    async fn batch_records(&self, partition_client: &PartitionClient) -> Outcome {
        say(
            "B6",
            "BatchProducerBuilder::new(partition_client).build(RecordAggregator::new(1024)), from many tasks",
        );
        let before = partition_client.get_offset(OffsetAt::Latest).await?;
        let producer = BatchProducerBuilder::new(partition_client.clone())
            .with_linger(Duration::from_secs(2))
            .with_compression(Self::codec())
            .build(RecordAggregator::new(1024 /* maximum bytes */))?;
        let started = Instant::now();
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let producer = producer.clone();
                let record = Record::new(format!("{number:090}"));
                tokio::spawn(async move { producer.produce(record).await })
            })
            .collect();
        let mut offsets = Vec::new();
        for task in tasks {
            let offset: i64 = task.await??;
            offsets.push(offset);
        }
        let waited = started.elapsed();
        let read = read_from(partition_client, before, 20).await?;
        for (number, offset) in offsets.iter().enumerate() {
            let record = read.iter().find(|record| record.offset == *offset);
            let value = record.and_then(|record| record.value.as_deref());
            ensure_eq(
                &value,
                &Some(format!("{number:090}").as_bytes()),
                "each task has the offset of its record",
            )?;
        }
        let first = offsets.iter().min().copied().unwrap_or_default();
        ensure(waited >= Duration::from_secs(2), "the last batch is not full, and lingers", &waited)?;
        got(&format!("20 records from offset {first} on, after {waited:.1?}"));

        let error = producer.produce(Record::new(vec![0; 2_000])).await;
        let error = error.expect_err_in(
            |error| matches!(error, ottla::Error::Aggregator(error) if error.downcast_ref::<InputTooLarge>().is_some()),
            "a record above the maximum is refused",
        )?;
        got(&error.to_string());
        Ok(())
    }

    async fn aggregate(&self, partition_client: &PartitionClient) -> Outcome {
        say("B7", "the same with an aggregator that shares one dictionary between all inputs of a batch");
        let before = partition_client.get_offset(OffsetAt::Latest).await?;
        let producer = BatchProducerBuilder::new(partition_client.clone())
            .with_linger(Duration::from_millis(200))
            .with_compression(Self::codec())
            .build(DictionaryAggregator::new(10_000))?;
        let measurement = |number: u32| Measurement {
            host: format!("host-{}.example", number % 3),
            metric: "temperature".to_owned(),
            value: f64::from(number),
        };
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let producer = producer.clone();
                let my_data = measurement(number);
                tokio::spawn(async move { producer.produce(my_data).await })
            })
            .collect();
        let (mut places, mut bytes) = (Vec::new(), 0);
        for task in tasks {
            let status: Place = task.await??;
            places.push(status);
        }
        let written = partition_client.get_offset(OffsetAt::Latest).await? - before;
        let records = read_from(partition_client, before, written).await?;
        for (number, Place { offset, index }) in (0..).zip(places) {
            let record = records.iter().find(|record| record.offset == offset);
            let value = record.and_then(|record| record.value.as_deref()).ok_or("a record is missing")?;
            let measurements = dictionary::read(value).ok_or("a record cannot be read")?;
            ensure_eq(
                &measurements.get(index),
                &Some(&measurement(number)),
                "each task has the place of its measurement",
            )?;
            bytes = value.len();
        }
        got(&format!("100 measurements in {} record(s), the last one of {bytes} bytes", records.len()));
        Ok(())
    }

    /// LZ4, where it is compiled in.
    fn codec() -> Codec {
        let codec = Codec::from(Compression::Lz4);
        if codec.check().is_ok() { codec } else { Compression::None.into() }
    }

    async fn stream(&mut self, partition: &PartitionClient, written: &Written) -> Outcome {
        let start = |start| StreamConsumerBuilder::new(partition.clone(), start).with_max_wait_ms(100);
        let first = written.first;
        say(
            "B8",
            &format!("StreamConsumerBuilder::new(partition_client, StartOffset::At({first})).build()?"),
        );
        let mut stream = start(StartOffset::At(first)).with_prefetch_bytes(16 << 20).build()?;
        for (expected, offset) in written.records.iter().zip(first..) {
            let (record, high_watermark) = stream.next().await.ok_or("a stream does not end by itself")??;
            same(&record, expected, offset)?;
            ensure(
                high_watermark >= written.next(),
                "the high watermark is behind the record",
                &high_watermark,
            )?;
        }
        ensure_eq(&stream.position(), &Some(written.next()), "the position is behind what was handed over")?;
        got(&format!(
            "{} records as they were written, {:?} more to read",
            written.records.len(),
            stream.lag()
        ));

        say("B8", "from the end: what is written from now on, borrowed, as a batch");
        let end = partition.get_offset(OffsetAt::Latest).await?;
        let mut stream = start(StartOffset::At(end)).build()?;
        partition.produce(vec![Record::new("new"), Record::new("newer")]).await?;
        let batch = stream.next_batch().await?.ok_or("a stream does not end by itself")?;
        let values: Vec<_> = batch.iter().map(|record| record.value.unwrap_or_default()).collect();
        ensure_eq(&values, &vec![&b"new"[..], b"newer"], "the batch has what was written")?;
        got(&format!("{} records from offset {end} on", values.len()));
        if self.is_mock {
            return self.leave_out("a stream from a time (this mock cluster has no offsets by time)");
        }

        say("B8", "from the first record, and from a time");
        for (place, wanted) in [
            (StartOffset::Earliest, partition.get_offset(OffsetAt::Earliest).await?),
            (StartOffset::Timestamp(SECOND_TIME), partition.get_offset(SECOND_TIME.into()).await?),
        ] {
            let mut stream = start(place).build()?;
            let (record, _) = stream.next().await.ok_or("a stream does not end by itself")??;
            ensure_eq(&record.offset, &wanted, "it starts where get_offset says")?;
            got(&format!("{place:?}: offset {}", record.offset));
        }
        Ok(())
    }

    async fn delete_records(&mut self, partition: &PartitionClient, written: &Written) -> Outcome {
        let offset = written.first + 2;
        say("   ", &format!("partition_client.delete_records({offset}, 5_000)"));
        let deleted = partition.delete_records(offset, 5_000).await;
        let Some(low_watermark) = self.offered("DeleteRecords", deleted)? else { return Ok(()) };
        ensure_eq(&low_watermark, &offset, "the records before it are deleted")?;
        ensure_eq(&partition.get_offset(OffsetAt::Earliest).await?, &offset, "the log starts there now")?;
        let gone = partition.fetch_records(written.first, 1..1_000_000, 100).await;
        let code = gone.expect_err_code("a deleted record is not read")?;
        ensure_eq(&code, &ErrorCode::OFFSET_OUT_OF_RANGE, "a deleted record is not read")?;
        got(&format!("the log starts at {low_watermark}; reading before it: {code}"));
        Ok(())
    }

    async fn grow_topic(&mut self) -> Outcome {
        say("   ", &format!("controller_client.create_partitions({:?}, 3, 5_000)", self.topic));
        let grown = self.controller.create_partitions(&self.topic, 3, 5_000).await;
        if self.offered("CreatePartitions", grown)?.is_some() {
            let third = self.client.partition_client(&self.topic, 2).await?;
            let offsets = third.produce(vec![Record::new("in a new partition")]).await?;
            ensure_eq(&offsets, &vec![0], "a new partition starts at 0")?;
            got("three partitions, the new one is written to");
        }
        Ok(())
    }

    async fn delete_topic(&mut self) -> Outcome {
        say("B2", &format!("controller_client.delete_topic({:?}, 5_000)", self.topic));
        let deleted = self.controller.delete_topic(&self.topic, 5_000).await;
        if self.offered("DeleteTopics", deleted)?.is_some() {
            // Brokers hear of it one after another.
            until("no broker lists the topic", async || {
                Ok(self.client.list_topics().await?.iter().all(|topic| *topic.name != *self.topic))
            })
            .await?;
            got("gone");
        }
        Ok(())
    }

    /// The value; `None`, and a word about it, when the broker does not offer what was asked for.
    fn offered<T>(&mut self, what: &str, result: ottla::Result<T>) -> Outcome<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_unsupported() => {
                got(&error.to_string());
                self.leave_out(what)?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn leave_out(&mut self, what: &str) -> Outcome {
        got(&format!("left out: {what}"));
        self.left_out.push(what.to_owned());
        Ok(())
    }
}

/// What was produced, from which offset on.
struct Written {
    records: Vec<Record<'static>>,
    first: i64,
}

impl Written {
    /// The offset after the last of them.
    fn next(&self) -> i64 {
        self.first + self.records.len() as i64
    }
}

const NO_TOPIC: &str = "TOPIC=name names a topic that exists, with two partitions or more";

const FIRST_TIME: Timestamp = Timestamp(1_700_000_000_000);
const SECOND_TIME: Timestamp = Timestamp(1_700_000_060_000);

fn records() -> Vec<Record<'static>> {
    vec![
        Record::new("created")
            .key("order-1")
            .header("trace", "4bf92f35")
            .null_header("flag")
            .header("trace", "again")
            .header(&b"\xff\x00"[..], "names need not be text")
            .timestamp(FIRST_TIME),
        Record::new(vec![0, 159, 146, 150]).timestamp(SECOND_TIME),
        Record::tombstone("order-1").timestamp(SECOND_TIME),
        Record::new("").key(""),
    ]
}

/// Whether the record that was read is the one that was written. One without a time was stamped on the way.
fn same(read: &RecordAndOffset, written: &Record<'_>, offset: i64) -> Outcome {
    let headers: Vec<_> = read.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
    let expected: Vec<_> = written
        .headers
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_ref().map(Payload::as_slice)))
        .collect();
    ensure_eq(&read.offset, &offset, "offsets follow one another")?;
    ensure_eq(&read.key.as_deref(), &written.key.as_ref().map(Payload::as_slice), "the key is read back")?;
    ensure_eq(
        &read.value.as_deref(),
        &written.value.as_ref().map(Payload::as_slice),
        "the value is read back",
    )?;
    ensure_eq(&headers, &expected, "headers keep order and repetitions")?;
    match written.timestamp {
        Some(timestamp) => ensure_eq(&read.timestamp, &timestamp, "the time is read back"),
        None => ensure(
            read.timestamp > SECOND_TIME,
            "a record without a time gets the present one",
            &read.timestamp,
        ),
    }
}

/// As many records as that, from an offset on: some brokers answer with one batch at a time.
async fn read_from(partition: &PartitionClient, offset: i64, count: i64) -> Outcome<Vec<RecordAndOffset>> {
    let mut records: Vec<RecordAndOffset> = Vec::new();
    let next = |records: &[RecordAndOffset]| records.last().map_or(offset, |record| record.offset + 1);
    while next(&records) < offset + count {
        let (more, _) = partition.fetch_records(next(&records), 1..1_000_000, 1_000).await?;
        ensure(!more.is_empty(), "every record is read back", &records.len())?;
        records.extend(more);
    }
    Ok(records)
}

fn value(records: &[RecordAndOffset], at: usize) -> Option<&str> {
    records.get(at)?.value.as_deref().and_then(|value| std::str::from_utf8(value).ok())
}

/// Errors that a step is there to see.
trait ExpectErr {
    fn expect_err_in(self, right: impl Fn(&ottla::Error) -> bool, what: &str) -> Outcome<ottla::Error>;
    fn expect_err_code(self, what: &str) -> Outcome<ErrorCode>;
}

impl<T: Debug> ExpectErr for ottla::Result<T> {
    fn expect_err_in(self, right: impl Fn(&ottla::Error) -> bool, what: &str) -> Outcome<ottla::Error> {
        match self {
            Err(error) if right(&error) => Ok(error),
            Err(error) => Err(error.into()),
            Ok(value) => Err(format!("{what}: there is no error but {value:?}").into()),
        }
    }

    fn expect_err_code(self, what: &str) -> Outcome<ErrorCode> {
        let error = self.expect_err_in(|error| error.code().is_some(), what)?;
        Ok(error.code().unwrap_or_default())
    }
}

fn ensure(holds: bool, what: &str, seen: &impl Debug) -> Outcome {
    if holds { Ok(()) } else { Err(format!("not so: {what}; there is {seen:?}").into()) }
}

fn ensure_eq<T: PartialEq + Debug>(seen: &T, expected: &T, what: &str) -> Outcome {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("not so: {what}; there is {seen:?}, not {expected:?}").into())
    }
}

/// Asks again for up to ten seconds.
async fn until<F: Future<Output = Outcome<bool>>>(what: &str, mut holds: impl FnMut() -> F) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await? {
        if Instant::now() > deadline {
            return Err(format!("not so within 10 s: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn unique_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("ottla-walkthrough-{}-{}", now.as_nanos(), std::process::id())
}

fn say(step: &str, what: &str) {
    println!("{step} {what}");
}

fn got(what: &str) {
    println!("     {what}");
}
