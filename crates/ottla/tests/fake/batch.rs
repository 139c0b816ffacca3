//! Batch producers: aggregators, ours and users' own, and what becomes of their inputs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ottla::{
    Aggregator, AggregatorError, AggregatorFailure, BatchProducer, BatchProducerBuilder, BatchWriter,
    BoxError, DeliveryOutcome, Error, InputTooLarge, PartitionClient, Partitions, Record, RecordAggregator,
    StatusDeaggregator, TryPush,
};
use ottla_fake::{Reaction, Rule, Stage};
use ottla_wire::{ApiKey, ErrorCode};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{PipeTransport, millis, one, pass, polled, secs, timed, world};

fn of_records(partition: &PartitionClient, maximum: usize) -> BatchProducer<RecordAggregator> {
    let builder = BatchProducerBuilder::new(partition.clone()).with_linger(secs(2));
    builder.build(RecordAggregator::new(maximum)).unwrap()
}

fn spawn<A: Aggregator>(
    producer: &BatchProducer<A>,
    input: A::Input,
) -> JoinHandle<ottla::Result<ottla::Status<A>>>
where
    A::Input: 'static,
    ottla::Status<A>: Send,
{
    let producer = producer.clone();
    tokio::spawn(async move { producer.produce(input).await })
}

/// Writes what it is given as one record, the words divided by commas; at most four words. Some words do harm.
#[derive(Debug, Default)]
pub(crate) struct Words {
    words: Vec<&'static str>,
    panics_in_check: bool,
    /// The producer that it belongs to, for the word that calls back.
    own: Own,
}

/// A producer that calls itself from inside, which it refuses at once.
#[derive(Debug, Default, Clone)]
struct Own(Arc<Mutex<Option<BatchProducer<Words>>>>);

impl Own {
    fn produce(&self) -> BoxError {
        let own = self.0.lock().unwrap().clone().unwrap();
        futures_now(polled(1, own.produce("again"))).expect("refused at once").unwrap_err().into()
    }

    fn flush(&self) -> BoxError {
        let own = self.0.lock().unwrap().clone().unwrap();
        futures_now(polled(1, own.flush())).expect("refused at once").unwrap_err().into()
    }
}

/// The offset of a word's record, and how many words there are in it.
pub(crate) type Place = (i64, usize);

impl Aggregator for Words {
    type Input = &'static str;
    type Tag = &'static str;
    type StatusDeaggregator = WordCount;

    fn try_push(&mut self, word: &'static str) -> Result<TryPush<&'static str, &'static str>, BoxError> {
        match word {
            "panic" => panic!("no such word: {word}"),
            "refuse" => return Err("this word is refused".into()),
            "call back" => return Err(self.own.produce()),
            "call back to flush" => return Err(self.own.flush()),
            "never" => return Ok(TryPush::NoCapacity(word)),
            _ => {}
        }
        if self.words.len() == 4 {
            return Ok(TryPush::NoCapacity(word));
        }
        self.words.push(word);
        Ok(TryPush::Aggregated(word))
    }

    fn flush(&mut self) -> Result<(BatchWriter, WordCount), BoxError> {
        let words = std::mem::take(&mut self.words);
        assert!(!words.contains(&"panic in flush"), "a word that no flush survives");
        if words.contains(&"call back in flush") {
            return Err(self.own.produce());
        }
        if words.contains(&"refused in flush") {
            return Err("these words are refused".into());
        }
        let mut batch = BatchWriter::new();
        if !words.contains(&"nothing") {
            batch.append(&Record::new(words.join(",")))?;
        }
        if words.contains(&"large") {
            batch.append(&Record::new(vec![0; 1_000_000]))?;
        }
        Ok((batch, WordCount(words.len(), self.own.clone())))
    }

    fn check(&self, _: usize) -> ottla::Result<()> {
        assert!(!self.panics_in_check, "no aggregator: check");
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct WordCount(usize, Own);

impl StatusDeaggregator for WordCount {
    type Tag = &'static str;
    type Status = Place;

    fn deaggregate(&self, offsets: &[i64], word: &'static str) -> Result<Place, BoxError> {
        assert_ne!(word, "panic in status");
        if word == "call back in status" {
            return Err(self.1.flush());
        }
        if word == "no status" {
            return Err("this word has no status".into());
        }
        Ok((offsets.first().copied().unwrap_or(-1), self.0))
    }
}

/// What a future comes to without waiting.
fn futures_now<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => None,
    }
}

/// A batch producer of words for partition 0 of `t`, which lingers for two seconds.
pub(crate) async fn of_words() -> (BatchProducer<Words>, PipeTransport) {
    let (partition, _client, pipes) = one().await;
    let words = Words::default();
    let own = words.own.clone();
    let producer = BatchProducerBuilder::new(partition).with_linger(secs(2)).build(words).unwrap();
    *own.0.lock().unwrap() = Some(producer.clone());
    (producer, pipes)
}

async fn all<A: Aggregator>(
    producer: &BatchProducer<A>,
    inputs: impl IntoIterator<Item = A::Input>,
) -> Vec<ottla::Result<ottla::Status<A>>>
where
    A::Input: 'static,
    ottla::Status<A>: Send,
{
    let tasks: Vec<_> = inputs.into_iter().map(|input| spawn(producer, input)).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[track_caller]
fn aggregator_error<T: std::fmt::Debug>(result: ottla::Result<T>) -> Arc<AggregatorError> {
    match result {
        Err(Error::Aggregator(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// B6, F3: inputs of many tasks share a batch and a request, and each gets the offset of its own record.
#[tokio::test(start_paused = true)]
async fn records_of_many_tasks_share_a_batch_and_each_gets_its_offset() {
    let (partition, _client, pipes) = one().await;
    let producer = of_records(&partition, 100_000);
    let before = pipes.requests(ApiKey::PRODUCE);
    let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let (offsets, took) = timed(all(&producer, values.iter().cloned().map(Record::new))).await;
    assert_eq!(offsets.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(pipes.values("t", 0), values);
    assert_eq!(pipes.requests(ApiKey::PRODUCE) - before, 1);
    assert!((secs(2)..secs(2) + millis(20)).contains(&took), "all lingered: {took:?}");
}

/// F2, Trap P7: a batch ends when the next input would make it too large, to the byte, or when its first input has lingered.
#[tokio::test(start_paused = true)]
async fn a_batch_ends_at_its_maximum_or_when_it_has_lingered() {
    let (partition, _client, pipes) = one().await;
    // 61 bytes of header; each record takes 7 bytes and its value.
    let producer = of_records(&partition, 61 + 3 * (7 + 50));
    let value = || Record::new("x".repeat(50));
    let mut tasks: Vec<_> = (0..4).map(|_| spawn(&producer, value())).collect();
    let last = tasks.pop().unwrap();
    let ((), took) = timed(async {
        for (offset, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap().unwrap(), offset);
        }
    })
    .await;
    assert!(took < millis(20), "a full batch does not linger: {took:?}");
    let (offset, took) = timed(last).await;
    assert_eq!(offset.unwrap().unwrap(), 3);
    assert!((secs(2) - millis(20)..secs(2) + millis(20)).contains(&took), "{took:?}");
    assert_eq!(pipes.values("t", 0).len(), 4);
}

/// Trap P7: the error of an input that fits into no batch names both sizes, and nobody else hears of it.
#[tokio::test(start_paused = true)]
async fn an_input_above_the_maximum_is_refused_alone() {
    let (partition, _client, pipes) = one().await;
    let producer = of_records(&partition, 168);
    let before = spawn(&producer, Record::new("before"));
    tokio::task::yield_now().await;
    let error = aggregator_error(producer.produce(Record::new("x".repeat(101))).await);
    let too_large = error.downcast_ref::<InputTooLarge>().expect("that is what it is");
    assert_eq!((too_large.size, too_large.maximum), (61 + 101 + 9, 168));
    assert!(error.to_string().contains("171") && error.to_string().contains("168"), "{error}");
    assert_eq!(before.await.unwrap().unwrap(), 0);
    assert_eq!(producer.produce(Record::new("x".repeat(98))).await.unwrap(), 1);
    assert_eq!(pipes.values("t", 0).len(), 2);
}

/// B7, F4: the inputs are the aggregator's own business, and so are their statuses.
#[tokio::test(start_paused = true)]
async fn an_aggregator_of_the_users_own_makes_records_and_statuses() {
    let (producer, pipes) = of_words().await;
    let places = all(&producer, ["a", "b", "c", "d", "e"]).await;
    let places: Vec<Place> = places.into_iter().map(Result::unwrap).collect();
    assert_eq!(places, [(0, 4), (0, 4), (0, 4), (0, 4), (1, 1)]);
    assert_eq!(pipes.values("t", 0), ["a,b,c,d", "e"]);
    let before = pipes.requests(ApiKey::PRODUCE);
    assert_eq!(
        producer.produce("nothing").await.unwrap(),
        (-1, 1),
        "a batch without a record needs no request"
    );
    assert_eq!(pipes.requests(ApiKey::PRODUCE), before);
}

/// Trap U2: a panic in the user's code fails that call; the batch that it was not part of is written.
#[tokio::test(start_paused = true)]
async fn a_panic_at_an_input_fails_that_call_and_no_other() {
    let (producer, pipes) = of_words().await;
    let results = all(&producer, ["a", "panic", "b"]).await;
    let [a, panicked, b] = results.try_into().unwrap();
    let error = aggregator_error(panicked);
    assert!(
        matches!(&error.failure, AggregatorFailure::Panicked { method: "try_push", message } if message.contains("no such word")),
        "{error}"
    );
    assert_eq!((a.unwrap(), b.unwrap()), ((0, 2), (0, 2)));
    assert_eq!(pipes.values("t", 0), ["a,b"]);
}

/// Trap U2: so does one where a partition is chosen, and where its aggregator is made, which happens anew for the next input.
#[tokio::test(start_paused = true)]
async fn a_panic_where_an_aggregator_is_made_fails_that_call_and_no_other() {
    for place in ["choose", "make", "check"] {
        let (client, pipes) = world(1, 1).await;
        let topic = client.producer().build().await.unwrap().topic("t").await.unwrap();
        let left = Arc::new(Mutex::new(Some(place)));
        let is_due = move |at| left.lock().unwrap().take_if(|due| *due == at).is_some();
        let choose = {
            let is_due = is_due.clone();
            move |_: &&'static str, _: &Partitions<'_>| {
                assert!(!is_due("choose"), "no aggregator: choose");
                0
            }
        };
        let make = move |_| {
            assert!(!is_due("make"), "no aggregator: make");
            Words { panics_in_check: is_due("check"), ..Words::default() }
        };
        let producer =
            BatchProducerBuilder::for_topic(topic).with_linger(secs(2)).build(choose, make).unwrap();
        let results = all(&producer, ["a", "b", "c"]).await;
        let [a, b, c] = results.try_into().unwrap();
        let error = aggregator_error(a);
        let expected = format!("no aggregator: {place}");
        assert!(
            matches!(&error.failure, AggregatorFailure::Panicked { method, message } if *method == place && *message == expected),
            "{error}"
        );
        assert_eq!((b.unwrap(), c.unwrap()), ((0, 2), (0, 2)), "{place}");
        assert_eq!(pipes.values("t", 0), ["b,c"], "{place}");
    }
}

/// Trap U2: a panic while a batch is ended fails its inputs; the next batch is written.
#[tokio::test(start_paused = true)]
async fn a_panic_or_refusal_at_the_end_of_a_batch_fails_that_batch() {
    let (producer, pipes) = of_words().await;
    for (word, text) in [
        ("panic in flush", "panicked in `flush`: a word that no flush survives"),
        ("refused in flush", "refused: these words are refused"),
        ("large", "a batch of 1000"),
    ] {
        for result in all(&producer, ["a", word, "b"]).await {
            let error = aggregator_error(result);
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.outcome, DeliveryOutcome::NotWritten);
        }
    }
    assert_eq!(producer.produce("next").await.unwrap(), (0, 1));
    assert_eq!(pipes.values("t", 0), ["next"]);
}

/// Trap U2: without a status the input is written all the same, and the error says so.
#[tokio::test(start_paused = true)]
async fn a_panic_or_refusal_at_a_status_fails_that_call_which_is_told_that_it_is_written() {
    let (producer, pipes) = of_words().await;
    let results = all(&producer, ["a", "panic in status", "no status"]).await;
    let [a, panicked, refused] = results.try_into().unwrap();
    assert_eq!(a.unwrap(), (0, 3));
    for (result, text) in [(panicked, "panicked in `deaggregate`"), (refused, "this word has no status")] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(text) && error.to_string().contains("t/0: written"), "{error}");
        assert!(error.may_have_happened() && !error.is_retriable());
    }
    assert_eq!(pipes.values("t", 0), ["a,panic in status,no status"]);
}

#[track_caller]
fn assert_called_back(error: &Error) {
    assert!(
        matches!(error, Error::Aggregator(error) if matches!(error.failure, AggregatorFailure::CalledBack)),
        "{error}"
    );
}

/// Trap U1: an aggregator that calls the object it belongs to is told so, at once, and nobody is stuck.
#[tokio::test(start_paused = true)]
async fn an_aggregator_that_calls_its_own_producer_is_refused() {
    let (producer, _pipes) = of_words().await;
    let is_refused = |result: Result<Place, Error>| {
        let error = aggregator_error(result);
        assert_called_back(error.downcast_ref().expect("the error that it was given"));
    };
    let results = all(&producer, ["a", "call back", "call back to flush", "b"]).await;
    let [a, produces, flushes, b] = results.try_into().unwrap();
    is_refused(produces);
    is_refused(flushes);
    assert_eq!((a.unwrap(), b.unwrap()), ((0, 2), (0, 2)));
    for word in ["call back in flush", "call back in status"] {
        let result = timeout(secs(5), producer.produce(word)).await.expect("nobody is stuck");
        is_refused(result);
    }
    assert_eq!(producer.produce("c").await.unwrap(), (2, 1));
}

/// Trap U1: so are those who choose a partition and make its aggregator, and who may go on after it.
#[tokio::test(start_paused = true)]
async fn a_choice_or_a_making_that_calls_its_own_producer_is_refused() {
    let (client, pipes) = world(1, 1).await;
    let topic = client.producer().build().await.unwrap().topic("t").await.unwrap();
    let (own, told) = (Own::default(), Arc::<Mutex<Vec<(&str, BoxError)>>>::default());
    let call_back = {
        let (own, told) = (own.clone(), told.clone());
        move |from| {
            let refused = [(from, own.produce()), (from, own.flush())];
            told.lock().unwrap().extend(refused);
        }
    };
    let choose = {
        let call_back = call_back.clone();
        move |word: &&'static str, _: &Partitions<'_>| {
            if *word != "again" {
                call_back("choose");
            }
            0
        }
    };
    let is_first = AtomicBool::new(true);
    let make = move |_| {
        if is_first.swap(false, Ordering::Relaxed) {
            call_back("make");
        }
        Words::default()
    };
    let producer = BatchProducerBuilder::for_topic(topic).with_linger(secs(2)).build(choose, make).unwrap();
    *own.0.lock().unwrap() = Some(producer.clone());
    for offset in 0..2 {
        let place = timeout(secs(5), producer.produce("a")).await.expect("nobody is stuck");
        assert_eq!(place.unwrap(), (offset, 1));
    }
    let told = std::mem::take(&mut *told.lock().unwrap());
    for (_, error) in &told {
        assert_called_back(error.downcast_ref().unwrap());
    }
    let from: Vec<_> = told.iter().map(|(from, _)| *from).collect();
    assert_eq!(from, ["choose", "choose", "make", "make", "choose", "choose"]);
    assert_eq!(pipes.values("t", 0), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_that_refuses_an_input_or_never_has_room_fails_that_call() {
    let (producer, _pipes) = of_words().await;
    let error = aggregator_error(producer.produce("refuse").await);
    assert!(
        error.to_string().contains("t/0: not written: the aggregator refused: this word is refused"),
        "{error}"
    );
    let error = aggregator_error(producer.produce("never").await);
    assert!(matches!(error.failure, AggregatorFailure::NoCapacity), "{error}");
    assert_eq!(producer.produce("a").await.unwrap(), (0, 1));
}

/// Every input of a batch hears what became of the batch.
#[tokio::test(start_paused = true)]
async fn all_inputs_of_a_batch_that_is_refused_get_its_error() {
    let (producer, pipes) = of_words().await;
    pipes.rule(Rule::new(Reaction::Error(ErrorCode::INVALID_RECORD)).api(ApiKey::PRODUCE).times(1));
    for result in all(&producer, ["a", "b", "c"]).await {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Delivery(_)), "{error}");
        assert_eq!((error.code(), error.may_have_happened()), (Some(ErrorCode::INVALID_RECORD), false));
    }
    assert_eq!(producer.produce("d").await.unwrap(), (0, 1));
}

/// Trap P7: a batch that its topic finds too large is split. Written in part, it tells nobody that nothing was.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_split_has_all_its_offsets_or_may_have_been_written() {
    let (client, pipes) = world(1, 1).await;
    pipes.create_with("small", 1, 1, &[("max.message.bytes", "1000")]);
    let partition = client.partition_client("small", 0).await.unwrap();
    let producer = of_records(&partition, 10_000);
    let values: Vec<String> = (0..10).map(|number| format!("{number:0200}")).collect();
    let offsets = all(&producer, values.iter().cloned().map(Record::new)).await;
    assert_eq!(offsets.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(pipes.values("small", 0), values);

    let mut values = values;
    values.push("x".repeat(1_000));
    for result in all(&producer, values.into_iter().map(Record::new)).await {
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.may_have_happened()), (Some(ErrorCode::MESSAGE_TOO_LARGE), true));
    }
    let alone = producer.produce(Record::new("x".repeat(1_000))).await.unwrap_err();
    assert!(!alone.may_have_happened(), "{alone}");
}

/// Trap P8: an input that was accepted is sent, whoever waits for it; one that was not is not.
#[tokio::test(start_paused = true)]
async fn a_dropped_produce_is_sent_once_it_was_accepted() {
    let (producer, pipes) = of_words().await;
    for (word, polls) in [("zero", 0), ("one", 1), ("two", 1)] {
        assert!(polled(polls, producer.produce(word)).await.is_none());
    }
    assert_eq!(producer.produce("last").await.unwrap(), (0, 3));
    assert_eq!(pipes.values("t", 0), ["one,two,last"]);
}

/// Trap P8: dropping the last handle sends what was accepted; flush waits for it.
#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_sent_by_a_flush_and_after_the_last_handle_is_gone() {
    let (partition, _client, pipes) = one().await;
    let producer = of_records(&partition, 1_000);
    let kept = spawn(&producer, Record::new("flushed"));
    tokio::task::yield_now().await;
    let ((), took) = timed(async { producer.flush().await.unwrap() }).await;
    assert!(took < millis(20), "{took:?}");
    assert_eq!(kept.await.unwrap().unwrap(), 0);
    assert_eq!(pipes.values("t", 0), ["flushed"]);

    assert!(polled(1, producer.produce(Record::new("dropped"))).await.is_none());
    drop(producer);
    let ((), took) = timed(async {
        while pipes.values("t", 0).len() < 2 {
            pass(millis(1)).await;
        }
    })
    .await;
    assert!(took < millis(20), "it does not linger: {took:?}");
}

/// F5, Trap P12: what is not acknowledged is bounded; who finds no room waits, in order, and loses nothing.
#[tokio::test(start_paused = true)]
async fn inputs_wait_while_the_buffers_are_full() {
    let (client, pipes) = world(1, 1).await;
    let producer = client.producer().batch_size(4_000).buffer_memory(16_000).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.send(Record::new("first")).await.unwrap();
    let batches = BatchProducerBuilder::for_topic(topic)
        .with_linger(secs(2))
        .build(|_: &Record<'_>, _: &Partitions<'_>| 0, |_| RecordAggregator::new(1_000))
        .unwrap();
    let rule = pipes.rule(Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
    let values: Vec<String> = (0..60).map(|number| format!("{number:0400}")).collect();
    let mut tasks: Vec<_> = values.iter().cloned().map(|value| spawn(&batches, Record::new(value))).collect();
    pass(secs(10)).await;
    // The partition's buffer holds one batch and a half; the task has one in its hands, and one is open.
    let cancelled = tasks.split_off(40);
    cancelled.iter().for_each(JoinHandle::abort);
    pipes.control(|cluster, now| {
        cluster.release(now, rule);
        cluster.remove_rule(now, rule);
    });
    for (offset, task) in (1..).zip(tasks) {
        assert_eq!(task.await.unwrap().unwrap(), offset);
    }
    batches.flush().await.unwrap();
    assert_eq!(
        pipes.values("t", 0)[1..],
        values[..40],
        "those that were waiting and gave up are not written"
    );
}

/// F5: waiting for one's turn ends.
#[tokio::test(start_paused = true)]
async fn an_input_waits_for_its_turn_for_a_delivery_time_out() {
    let (client, pipes) = world(1, 1).await;
    let builder = client.producer().batch_size(4_000).buffer_memory(16_000);
    let producer = builder.request_timeout(secs(1)).delivery_timeout(secs(4)).build().await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    topic.send(Record::new("first")).await.unwrap();
    pipes.rule(Rule::new(Reaction::Hold(Stage::BeforeApplying)).api(ApiKey::PRODUCE));
    let batches = BatchProducerBuilder::for_topic(topic)
        .with_linger(secs(2))
        .build(|_: &Record<'_>, _: &Partitions<'_>| 0, |_| RecordAggregator::new(100))
        .unwrap();
    let stuck: Vec<_> =
        (0..40).map(|_| spawn(&batches, Record::new("a batch of its own, for sure"))).collect();
    let mut outcomes = [0, 0];
    let ((), took) = timed(async {
        for task in stuck {
            let error = task.await.unwrap().unwrap_err();
            outcomes[usize::from(error.may_have_happened())] += 1;
        }
    })
    .await;
    assert!(took <= secs(8) + millis(10), "{took:?}");
    assert!(outcomes[0] > 20 && outcomes[1] > 0, "{outcomes:?}");
}

/// What aggregators make enters the queue of the partition client: same connection, same request, same order.
#[tokio::test(start_paused = true)]
async fn batches_share_requests_with_what_else_is_produced() {
    let (client, pipes) = world(1, 2).await;
    let zero = client.partition_client("t", 0).await.unwrap();
    let other = client.partition_client("t", 1).await.unwrap();
    let producer = of_records(&zero, 10_000);
    zero.produce(vec![Record::new("first")]).await.unwrap();
    let (requests, connections) = (pipes.requests(ApiKey::PRODUCE), pipes.connections_made());
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, millis(50))).api(ApiKey::PRODUCE));
    let under_way = tokio::spawn({
        let zero = zero.clone();
        async move { zero.produce(vec![Record::new("under way")]).await }
    });
    pass(millis(1)).await;
    let appended = tokio::spawn(async move { other.produce(vec![Record::new("other")]).await });
    let batch = spawn(&producer, Record::new("batch"));
    pass(millis(1)).await;
    producer.flush().await.unwrap();
    assert_eq!(under_way.await.unwrap().unwrap(), [1]);
    assert_eq!((appended.await.unwrap().unwrap(), batch.await.unwrap().unwrap()), (vec![0], 2));
    assert!(pipes.requests(ApiKey::PRODUCE) - requests <= 3);
    assert_eq!(pipes.connections_made(), connections);
}

/// B7: an aggregator serves a topic: one for each partition, which the caller's code chooses.
#[tokio::test(start_paused = true)]
async fn a_topic_has_an_aggregator_for_each_partition_that_is_used() {
    let (client, pipes) = world(2, 3).await;
    let topic = client.producer().build().await.unwrap().topic("t").await.unwrap();
    let made = Arc::new(Mutex::new(Vec::new()));
    let make = {
        let made = made.clone();
        move |partition| {
            made.lock().unwrap().push(partition);
            Words::default()
        }
    };
    let choose = |word: &&'static str, partitions: &Partitions<'_>| {
        assert_eq!((partitions.topic(), partitions.count()), ("t", 3));
        assert_ne!(*word, "panic in choose");
        i32::try_from(word.len()).unwrap() - 1
    };
    let producer = BatchProducerBuilder::for_topic(topic).with_linger(secs(2)).build(choose, make).unwrap();
    let places = all(&producer, ["a", "b", "cc", "d", "ee"]).await;
    let places: Vec<Place> = places.into_iter().map(Result::unwrap).collect();
    assert_eq!(places, [(0, 3), (0, 3), (0, 2), (0, 3), (0, 2)]);
    assert_eq!((pipes.values("t", 0), pipes.values("t", 1)), (vec!["a,b,d".into()], vec!["cc,ee".into()]));
    assert_eq!(*made.lock().unwrap(), [0, 1]);

    let error = producer.produce("four").await.unwrap_err();
    assert!(matches!(error, Error::Partition { partition: 3, partitions: 3, .. }), "{error}");
    let error = aggregator_error(producer.produce("panic in choose").await);
    assert!(matches!(error.failure, AggregatorFailure::Panicked { method: "choose", .. }), "{error}");
    assert_eq!(producer.produce("f").await.unwrap(), (1, 1));
}

/// Trap U3: odd settings are refused, with their names, the aggregator's included.
#[tokio::test(start_paused = true)]
async fn odd_settings_of_a_batch_producer_are_refused() {
    let (partition, client, _pipes) = one().await;
    let builder = || BatchProducerBuilder::new(partition.clone());
    let small = || RecordAggregator::new(1_000);
    let results = [
        ("linger", builder().with_linger(secs(0)).build(small())),
        ("linger", builder().with_linger(secs(3_601)).build(small())),
        ("linger", builder().with_linger(secs(91)).build(small())),
        ("maximum", builder().build(RecordAggregator::new(0))),
        ("maximum", builder().build(RecordAggregator::new(67))),
        ("maximum", builder().build(RecordAggregator::new(1_000_001))),
    ];
    for (name, result) in results {
        match result {
            Err(Error::Config { setting, problem }) => assert_eq!(setting, name, "{problem}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let by_producer = client.producer().acks(ottla::Acks::None).build().await.unwrap();
    let topic = by_producer.topic("t").await.unwrap();
    let built = BatchProducerBuilder::for_topic(topic)
        .build(|_: &Record<'_>, _: &Partitions<'_>| 0, move |_| small());
    assert!(matches!(built, Err(Error::Config { setting: "acks", .. })), "{built:?}");
    let topic = client.producer().build().await.unwrap().topic("t").await.unwrap();
    let odd = BatchProducerBuilder::for_topic(topic)
        .build(|_: &Record<'_>, _: &Partitions<'_>| 0, |_| RecordAggregator::new(0))
        .unwrap();
    let error = odd.produce(Record::new("x")).await.unwrap_err();
    assert!(matches!(error, Error::Config { setting: "maximum", .. }), "{error}");
    builder().build(RecordAggregator::new(68)).unwrap().produce(Record::default()).await.unwrap();
}

/// Trap N11: whoever waits for a batch hears of it when the runtime that was to send it is gone.
#[test]
fn inputs_of_a_runtime_that_is_gone_are_told() {
    let (here, there) = [(); 2].map(|()| tokio::runtime::Runtime::new().unwrap()).into();
    let (producer, _pipes) = there.block_on(of_words());
    here.block_on(async {
        let waiting = spawn(&producer, "a");
        while polled(1, producer.produce("b")).await.is_some() {}
        there.shutdown_background();
        assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(producer.produce("c").await, Err(Error::Closed)));
        producer.flush().await.unwrap();
    });
}
