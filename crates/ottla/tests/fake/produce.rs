//! Producing: offsets, exactly once under every kind of fault, and errors that say what is known.

use bytes::Bytes;
use ottla::{Acks, Codec, Compression, Error, ErrorCode, Record};
use ottla_fake::{Answer, FakeCluster, Reaction, Rule, Stage};
use ottla_wire::ApiKey;

use crate::support::{PipeTransport, cluster, millis, one, pass, records, secs, timed, world};

/// B4: the offset of every record comes back, also when one call takes several batches.
#[tokio::test(start_paused = true)]
async fn every_record_gets_its_offset() {
    let (partition, _client, pipes) = one().await;
    assert_eq!(partition.produce(records(&["a", "b", "c"])).await.unwrap(), [0, 1, 2]);
    assert_eq!(partition.produce(records(&["d"])).await.unwrap(), [3]);
    let large = Bytes::from(vec![b'x'; 400_000]);
    let many = vec![Record::new(large.clone()); 7];
    assert_eq!(partition.produce(many).await.unwrap(), [4, 5, 6, 7, 8, 9, 10]);
    let batches = pipes.control(|cluster, _| cluster.partition("t", 0).unwrap().log().batches().count());
    assert!(batches >= 2 + 4, "two of them fit into a megabyte: {batches}");
}

/// A5: batching and prefetching of the caller's own stand on the partition client as ottla's layers do: a batch is a call, and
/// the next records are on their way while these are used.
#[tokio::test(start_paused = true)]
async fn a_caller_batches_and_prefetches_with_a_partition_client_alone() {
    let (partition, _client, pipes) = one().await;
    let (sender, mut inputs) = tokio::sync::mpsc::channel(100);
    let batcher = tokio::spawn({
        let partition = partition.clone();
        async move {
            let mut batch = Vec::new();
            while inputs.recv_many(&mut batch, 10).await > 0 {
                partition.produce(batch.drain(..).map(Record::new).collect()).await.unwrap();
            }
        }
    });
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        sender.send(text.clone()).await.unwrap();
    }
    drop(sender);
    batcher.await.unwrap();
    assert_eq!((pipes.values("t", 0), pipes.requests(ApiKey::PRODUCE)), (texts.clone(), 10));

    let ahead = |offset| {
        let partition = partition.clone();
        tokio::spawn(async move { partition.fetch_records(offset, 1..200, 100).await.unwrap().0 })
    };
    let (mut read, mut next) = (Vec::new(), ahead(0));
    while read.len() < texts.len() {
        let records = next.await.unwrap();
        next = ahead(records.last().unwrap().offset + 1);
        read.extend(records.into_iter().map(|it| String::from_utf8(it.value.unwrap().to_vec()).unwrap()));
    }
    assert_eq!(read, texts);
    assert!(pipes.requests(ApiKey::FETCH) > 5, "a batch or a few at a time");
}

#[tokio::test(start_paused = true)]
async fn producing_nothing_sends_nothing() {
    let (partition, _client, pipes) = one().await;
    assert_eq!(partition.produce(vec![]).await.unwrap(), [0; 0]);
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 0);
}

/// B4: records of one call stay together, whatever else is produced at the same time.
#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_do_not_mix_their_records() {
    let (partition, _client, pipes) = one().await;
    let calls: Vec<_> = (0..40)
        .map(|call| {
            let partition = partition.clone();
            tokio::spawn(async move {
                let texts = [0, 1, 2].map(|index| format!("{call}.{index}"));
                let offsets = partition.produce(texts.iter().map(Record::new).collect()).await.unwrap();
                (texts, offsets)
            })
        })
        .collect();
    let mut made = Vec::new();
    for call in calls {
        made.push(call.await.unwrap());
    }
    let log = pipes.values("t", 0);
    assert_eq!(log.len(), 120);
    for (texts, offsets) in made {
        assert_eq!(offsets, [offsets[0], offsets[0] + 1, offsets[0] + 2]);
        let first = usize::try_from(offsets[0]).unwrap();
        assert_eq!(log[first..first + 3], texts);
    }
}

/// B4: compression is an option of the client and a second form of the call.
#[tokio::test(start_paused = true)]
async fn batches_are_compressed_as_asked() {
    let (client, pipes) = world(1, 1).await;
    let codecs =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd, Compression::None];
    let text = "compressible ".repeat(3_000);
    for codec in codecs {
        let partition = client.partition("t", 0).compression(codec).build().await.unwrap();
        partition.produce(vec![Record::new(&text)]).await.unwrap();
        partition.produce_with(vec![Record::new("small")], Codec::from(codec)).await.unwrap();
    }
    let stored: Vec<_> = pipes.control(|cluster, _| {
        let batches = cluster.partition("t", 0).unwrap().log().batches();
        batches.map(|batch| (batch.header.attributes.compression().unwrap(), batch.bytes.len())).collect()
    });
    let used: Vec<_> = stored.iter().map(|(codec, _)| *codec).collect();
    assert_eq!(used, codecs.iter().flat_map(|codec| [*codec, *codec]).collect::<Vec<_>>());
    assert!(stored.iter().step_by(2).take(4).all(|(_, len)| *len < 5_000), "{stored:?}");
    assert_eq!(pipes.values("t", 0).iter().filter(|value| **value == text).count(), 5);
}

/// Trap P1: a connection that is cut after the broker has written leaves the outcome unknown; the same records under
/// the same sequence are written once.
#[tokio::test(start_paused = true)]
async fn a_connection_cut_after_the_append_writes_nothing_twice() {
    let (partition, _client, pipes) = one().await;
    partition.produce(records(&["first"])).await.unwrap();
    let cut = pipes.rule(Rule::new(Reaction::Disconnect(Stage::AfterApplying)).api(ApiKey::PRODUCE).times(3));
    assert_eq!(partition.produce(records(&["a", "b"])).await.unwrap(), [1, 2]);
    assert_eq!(pipes.struck(cut), 3);
    assert_eq!(partition.produce(records(&["c"])).await.unwrap(), [3]);
    assert_eq!(pipes.values("t", 0), ["first", "a", "b", "c"]);
    let duplicates =
        pipes.control(|cluster, _| cluster.accepted().iter().filter(|batch| batch.duplicate).count());
    assert_eq!(duplicates, 3, "the broker was asked again, and knew the sequence");
}

/// Trap P1: the same when the connection is cut before the broker has written, or never answers.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_lost_is_sent_again() {
    for reaction in [
        Reaction::Disconnect(Stage::BeforeApplying),
        Reaction::Silence(Stage::BeforeApplying),
        Reaction::Silence(Stage::AfterApplying),
    ] {
        let (client, pipes) = world(1, 1).await;
        let partition = client.partition("t", 0).timeout(secs(5)).build().await.unwrap();
        let rule = pipes.rule(Rule::new(reaction.clone()).api(ApiKey::PRODUCE).times(1));
        let (offsets, took) = timed(partition.produce(records(&["a"]))).await;
        assert_eq!(offsets.unwrap(), [0], "{reaction:?}");
        assert_eq!(pipes.struck(rule), 1);
        assert!(took < secs(40), "{reaction:?}: {took:?}");
        assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [1]);
        assert_eq!(pipes.values("t", 0), ["a", "b"], "{reaction:?}");
    }
}

/// Trap P1: codes that leave the outcome open are asked about again under the same sequence.
#[tokio::test(start_paused = true)]
async fn codes_with_an_unknown_outcome_write_nothing_twice() {
    for code in [
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ] {
        let (partition, _client, pipes) = one().await;
        let answer = Reaction::alter(move |answer| {
            let Answer::Produce(answer) = answer else { return };
            answer.responses[0].partition_responses[0].error_code = code;
        });
        pipes.rule(Rule::new(answer).api(ApiKey::PRODUCE).times(2));
        assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0], "{code}");
        assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [1], "{code}");
        assert_eq!(pipes.values("t", 0), ["a", "b"], "{code}");
    }
}

/// Trap P1: while replicas lag, the broker gives up waiting for them; the records are there once in the end.
#[tokio::test(start_paused = true)]
async fn a_high_watermark_that_stands_still_is_waited_for() {
    let pipes = cluster(2, 1);
    let client = pipes.client().await;
    let partition = client.partition("t", 0).timeout(secs(1)).build().await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| cluster.hold_high_watermark(now, "t", 0)).unwrap();
    let call = tokio::spawn(async move { partition.produce(records(&["b"])).await });
    pass(secs(4)).await;
    assert!(!call.is_finished());
    pipes.control(|cluster, now| cluster.release_high_watermark(now, "t", 0)).unwrap();
    assert_eq!(call.await.unwrap().unwrap(), [1]);
    assert_eq!(pipes.values("t", 0), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn too_few_replicas_are_waited_for() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(2));
    pipes.create_with("t", 1, 2, &[("min.insync.replicas", "2")]);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 0).await.unwrap();
    pipes.leave_behind(2);
    let call = tokio::spawn(async move { partition.produce(records(&["a"])).await });
    pass(secs(3)).await;
    assert!(!call.is_finished());
    pipes.control(|cluster, now| cluster.release_replica(now, "t", 0, 2)).unwrap();
    assert_eq!(call.await.unwrap().unwrap(), [0]);
    assert_eq!(pipes.values("t", 0), ["a"]);
}

/// Trap N5: a throttled Produce was applied. Its answer counts at once; only what comes after it waits.
#[tokio::test(start_paused = true)]
async fn a_throttled_produce_is_not_sent_twice() {
    let (partition, client, pipes) = one().await;
    partition.produce(records(&["warm"])).await.unwrap();
    pipes.rule(Rule::new(Reaction::Throttle(secs(3))).api(ApiKey::PRODUCE).times(1));
    let (offsets, took) = timed(partition.produce(records(&["a"]))).await;
    assert_eq!(offsets.unwrap(), [1]);
    assert!(took < millis(100), "{took:?}");
    let (topics, took) = timed(client.list_topics()).await;
    topics.unwrap();
    assert!(took < millis(100), "another connection is not muted: {took:?}");
    let (offsets, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(offsets.unwrap(), [2]);
    assert!((millis(2_900)..secs(4)).contains(&took), "{took:?}");
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 3);
    assert_eq!(pipes.values("t", 0), ["warm", "a", "b"]);
}

/// Trap N5: the pause is kept by the client, not only by brokers that enforce it.
#[tokio::test(start_paused = true)]
async fn a_throttle_time_is_waited_for_before_the_next_produce() {
    let (partition, _client, pipes) = one().await;
    let lenient = Reaction::alter(|answer| {
        if let Answer::Produce(answer) = answer {
            answer.throttle_time_ms = 2_000;
        }
    });
    pipes.rule(Rule::new(lenient).api(ApiKey::PRODUCE).times(1));
    partition.produce(records(&["a"])).await.unwrap();
    let (offsets, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(offsets.unwrap(), [1]);
    assert!((millis(1_990)..millis(2_200)).contains(&took), "{took:?}");
}

/// KIP-951: a broker that does not lead any more says who does, and the records go there without a look around.
#[tokio::test(start_paused = true)]
async fn records_follow_the_leader() {
    let pipes = cluster(3, 1);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    for (offset, leader) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
        pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, leader)).unwrap();
        let (offsets, took) = timed(partition.produce(vec![Record::new(format!("{offset}"))])).await;
        assert_eq!(offsets.unwrap(), [offset]);
        assert!(took < secs(1), "{took:?}");
    }
    assert_eq!(pipes.values("t", 0), ["0", "1", "2", "3"]);
}

/// A broker that dies takes nothing with it, and its successor is found within moments.
#[tokio::test(start_paused = true)]
async fn records_outlive_their_broker() {
    let pipes = PipeTransport::start(FakeCluster::builder().nodes(3).session_timeout(secs(2)));
    pipes.create("t", 3, 3);
    let client = pipes.client().await;
    let partition = client.partition_client("t", 1).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.control(|cluster, now| cluster.kill(now, 2));
    let (offsets, took) = timed(partition.produce(records(&["b"]))).await;
    assert_eq!(offsets.unwrap(), [1]);
    assert!((secs(2)..secs(4)).contains(&took), "a second after the new leader at most: {took:?}");
    assert_eq!(pipes.values("t", 1), ["a", "b"]);
}

/// Trap N13: a paused broker keeps its sockets open and says nothing. Work moves by the age of the oldest request, not
/// at the request time-out.
#[tokio::test(start_paused = true)]
async fn records_leave_a_paused_broker() {
    for session_timeout in [secs(0), secs(3)] {
        let pipes = PipeTransport::start(FakeCluster::builder().nodes(3).session_timeout(session_timeout));
        pipes.create("t", 3, 3);
        let client = pipes.client().await;
        let partition = client.partition_client("t", 1).await.unwrap();
        partition.produce(records(&["a"])).await.unwrap();
        pipes.control(|cluster, now| cluster.pause(now, 2));
        let (offsets, took) = timed(partition.produce(records(&["b"]))).await;
        assert_eq!(offsets.unwrap(), [1]);
        let elected = session_timeout.max(secs(2));
        assert!((elected..elected + millis(1_500)).contains(&took), "{session_timeout:?}: {took:?}");
        pipes.control(|cluster, now| cluster.resume(now, 2));
        pass(secs(5)).await;
        assert_eq!(partition.produce(records(&["c"])).await.unwrap(), [2]);
        assert_eq!(pipes.values("t", 1), ["a", "b", "c"]);
    }
}

/// Trap N13: a broker that is paused while it holds the records unreplicated answers late, to nobody.
#[tokio::test(start_paused = true)]
async fn a_late_answer_of_a_paused_broker_disturbs_nothing() {
    let pipes = cluster(2, 1);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    pipes.leave_behind(2);
    pipes.control(|cluster, now| cluster.release_replica(now, "t", 0, 2)).unwrap();
    let hold = pipes.rule(Rule::new(Reaction::Hold(Stage::AfterApplying)).api(ApiKey::PRODUCE).node(1));
    let call = tokio::spawn({
        let partition = partition.clone();
        async move { partition.produce(records(&["b"])).await }
    });
    pass(millis(500)).await;
    pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, 2)).unwrap();
    let (offsets, took) = timed(call).await;
    assert_eq!(offsets.unwrap().unwrap(), [1]);
    assert!(took < secs(4), "{took:?}");
    pipes.control(|cluster, now| cluster.remove_rule(now, hold));
    pass(secs(1)).await;
    assert_eq!(partition.produce(records(&["c"])).await.unwrap(), [2]);
    assert_eq!(pipes.values("t", 0), ["a", "b", "c"]);
}

/// Idempotence belongs to acks = all: with acks = 1 a batch carries no producer id.
#[tokio::test(start_paused = true)]
async fn acks_are_sent_as_asked() {
    let (client, pipes) = world(1, 1).await;
    let all = client.partition_client("t", 0).await.unwrap();
    let leader = client.partition("t", 0).acks(Acks::Leader).build().await.unwrap();
    assert_eq!(all.produce(records(&["a"])).await.unwrap(), [0]);
    assert_eq!(leader.produce(records(&["b"])).await.unwrap(), [1]);
    let sent: Vec<_> =
        pipes.control(|cluster, _| cluster.accepted().iter().map(|b| (b.acks, b.producer_id >= 0)).collect());
    assert_eq!(sent, [(-1, true), (1, false)]);
}

/// B4, Trap P7: a record that no batch can take is refused before anything of the call is written.
#[tokio::test(start_paused = true)]
async fn a_record_too_large_for_a_batch_is_refused_with_its_call() {
    let (partition, _client, pipes) = one().await;
    let huge = vec![0; 2_000_000];
    let (result, took) = timed(partition.produce(vec![Record::new("small"), Record::new(&huge)])).await;
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Record { topic, partition: 0, .. } if &**topic == "t"), "{error}");
    assert!(error.to_string().contains("1000000"), "the limit is named: {error}");
    assert!(took < secs(1) && !error.is_retriable());
    assert_eq!(pipes.requests(ApiKey::PRODUCE), 0);
    assert_eq!(partition.produce(records(&["small"])).await.unwrap(), [0]);
}

/// What the broker refuses is refused at once, in its words, and costs the next record nothing.
#[tokio::test(start_paused = true)]
async fn a_record_the_broker_refuses_was_not_written() {
    let pipes = PipeTransport::start(FakeCluster::builder());
    pipes.create_with("t", 1, 1, &[("max.message.bytes", "1000")]);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    partition.produce(records(&["a"])).await.unwrap();
    let (result, took) = timed(partition.produce(vec![Record::new(vec![b'x'; 5_000])])).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MESSAGE_TOO_LARGE));
    let text = error.to_string();
    assert!(text.contains("not written") && text.contains("broker 1") && text.contains('t'), "{text}");
    assert!(took < secs(1), "{took:?}");
    assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [1]);
    assert_eq!(pipes.values("t", 0), ["a", "b"]);
}

/// Trap P1: what times out says that it may have been written, when a broker may have it.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_times_out_may_have_been_written() {
    let (client, pipes) = world(1, 1).await;
    let partition =
        client.partition("t", 0).timeout(secs(1)).delivery_timeout(secs(3)).build().await.unwrap();
    let rule = pipes.rule(Rule::new(Reaction::Silence(Stage::AfterApplying)).api(ApiKey::PRODUCE));
    let (result, took) = timed(partition.produce(records(&["a"]))).await;
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Delivery(_)), "{error}");
    assert!(error.to_string().contains("may have been written"), "{error}");
    assert!((secs(3)..secs(4)).contains(&took), "{took:?}");
    pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    let patient = client.partition_client("t", 0).await.unwrap();
    assert_eq!(patient.produce(records(&["b"])).await.unwrap(), [1]);
    assert_eq!(pipes.values("t", 0), ["a", "b"]);
}

/// Trap P1: and that it was not written, when none can have it.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_never_left_was_not_written() {
    let pipes = cluster(1, 1);
    let client = pipes.client().await;
    let partition =
        client.partition("t", 0).timeout(secs(1)).delivery_timeout(secs(3)).build().await.unwrap();
    pipes.control(|cluster, now| cluster.remove_leader(now, "t", 0)).unwrap();
    // Whoever asks is told that there is no leader, and so nothing is sent.
    client.list_topics().await.unwrap();
    let refused = Rule::new(Reaction::Error(ErrorCode::NOT_ENOUGH_REPLICAS)).api(ApiKey::PRODUCE);
    pipes.rule(refused);
    let (result, took) = timed(partition.produce(records(&["a"]))).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("not written"), "{error}");
    assert!((secs(3)..secs(4)).contains(&took), "{took:?}");
    assert_eq!(pipes.values("t", 0), [""; 0]);
}

/// Trap P9: an answer with a partition twice, without one, or with one nobody asked about is handled, and nothing is
/// written twice.
#[tokio::test(start_paused = true)]
async fn odd_answers_to_produce_are_handled() {
    let oddities: [fn(&mut ottla_wire::messages::produce::ProduceResponse); 4] = [
        |answer| {
            let mut again = answer.responses[0].partition_responses[0].clone();
            again.base_offset = 77;
            again.error_code = ErrorCode::MESSAGE_TOO_LARGE;
            answer.responses[0].partition_responses.push(again);
        },
        |answer| answer.responses[0].partition_responses.clear(),
        |answer| answer.responses.clear(),
        |answer| {
            let mut other = answer.responses[0].partition_responses[0].clone();
            other.index = 5;
            answer.responses[0].partition_responses.insert(0, other);
        },
    ];
    for (number, oddity) in oddities.into_iter().enumerate() {
        let (partition, _client, pipes) = one().await;
        let answer = Reaction::alter(move |answer| {
            if let Answer::Produce(answer) = answer {
                oddity(answer);
            }
        });
        let rule = pipes.rule(Rule::new(answer).api(ApiKey::PRODUCE).times(1));
        assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0], "{number}");
        assert_eq!(pipes.struck(rule), 1);
        assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [1], "{number}");
        assert_eq!(pipes.values("t", 0), ["a", "b"], "{number}");
    }
}

/// An answer that is no answer: the outcome is unknown, and the error or the retry says so.
#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_leaves_no_duplicate() {
    let (partition, _client, pipes) = one().await;
    // The last byte is the count of tagged fields.
    let answer = Reaction::alter(|answer| {
        let Answer::Produce(answer) = answer else { return };
        answer.responses[0].partition_responses[0].error_message = Some("x".repeat(100).as_str().into());
    });
    pipes.rule(Rule::new(answer).api(ApiKey::PRODUCE).times(1));
    pipes.rule(Rule::new(Reaction::Corrupt(30)).api(ApiKey::PRODUCE).times(1));
    let first = partition.produce(records(&["a"])).await;
    let second = partition.produce(records(&["b"])).await;
    assert_eq!(second.unwrap(), [1]);
    assert_eq!(pipes.values("t", 0), ["a", "b"]);
    if let Err(error) = first {
        assert!(error.to_string().contains("may have been written"), "{error}");
    }
}

/// No producer id, no record: what can pass is waited for, what cannot is an error at once.
#[tokio::test(start_paused = true)]
async fn a_producer_id_that_is_refused_is_asked_for_again_or_reported() {
    let (partition, _client, pipes) = one().await;
    let loading = Rule::new(Reaction::Error(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS))
        .api(ApiKey::INIT_PRODUCER_ID)
        .times(2);
    pipes.rule(loading);
    assert_eq!(partition.produce(records(&["a"])).await.unwrap(), [0]);
    assert_eq!(pipes.requests(ApiKey::INIT_PRODUCER_ID), 3);

    let (partition, _client, pipes) = one().await;
    let refused = Reaction::Error(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    let rule = pipes.rule(Rule::new(refused).api(ApiKey::INIT_PRODUCER_ID));
    let (result, took) = timed(partition.produce(records(&["a"]))).await;
    assert!(result.unwrap_err().to_string().contains("CLUSTER_AUTHORIZATION_FAILED"));
    assert!(took < secs(1), "{took:?}");
    pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    assert_eq!(partition.produce(records(&["b"])).await.unwrap(), [0], "permitted by now");
}

/// Trap P5: a broker that has forgotten the producer is gone on with, under a new epoch.
#[tokio::test(start_paused = true)]
async fn a_producer_the_broker_has_forgotten_goes_on() {
    let (partition, _client, pipes) = one().await;
    for value in ["a", "b"] {
        partition.produce(records(&[value])).await.unwrap();
    }
    let id = pipes.control(|cluster, _| cluster.accepted()[0].producer_id);
    pipes.control(|cluster, now| cluster.forget_producer(now, "t", 0, id)).unwrap();
    assert_eq!(partition.produce(records(&["c"])).await.unwrap(), [2]);
    let out_of_order = Reaction::Error(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    pipes.rule(Rule::new(out_of_order).api(ApiKey::PRODUCE).times(1));
    assert_eq!(partition.produce(records(&["d"])).await.unwrap(), [3]);
    assert_eq!(partition.produce(records(&["e"])).await.unwrap(), [4]);
    assert_eq!(pipes.values("t", 0), ["a", "b", "c", "d", "e"]);
}
