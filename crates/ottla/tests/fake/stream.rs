//! A stream over one partition: where it starts, what it hands over, what goes wrong.

use bytes::BytesMut;
use ottla::{
    Compression, Error, ErrorCode, IsolationLevel, OutOfRange, PartitionClient, StartOffset, StreamConsumer,
    StreamConsumerBuilder, Timestamp,
};
use ottla_fake::{Answer, Marker, NewRecord, Reaction, Rule, Stage};
use ottla_wire::{ApiKey, RecordSet, VersionRange};

use crate::support::{PipeTransport, cluster, millis, one, pass, polled, records, secs, timed, world};

fn from(client: &PartitionClient, start: StartOffset) -> StreamConsumer {
    StreamConsumerBuilder::new(client.clone(), start).with_max_wait_ms(100).build().unwrap()
}

/// The values of the next so many records.
async fn values(stream: &mut StreamConsumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    for _ in 0..count {
        let (record, _) = stream.next().await.unwrap().unwrap();
        values.push(String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap());
    }
    values
}

/// B8: a stream starts at the first record, the end, an offset or a time, and goes on as records are written.
#[tokio::test(start_paused = true)]
async fn a_stream_starts_where_it_is_told() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b"]);
    pass(secs(5)).await;
    let time = pipes.control(|cluster, now| cluster.wall_ms(now));
    pipes.append("t", 0, &["c"]);
    let starts = [
        (StartOffset::Earliest, "a"),
        (StartOffset::At(1), "b"),
        (StartOffset::Timestamp(Timestamp(time)), "c"),
        (StartOffset::Latest, "d"),
        (StartOffset::Timestamp(Timestamp(time + 3_600_000)), "d"),
    ];
    let mut streams = starts.map(|(start, first)| (from(&partition, start), first));
    pass(secs(1)).await;
    pipes.append("t", 0, &["d"]);
    for (stream, first) in &mut streams {
        assert_eq!(values(stream, 1).await, [*first]);
    }
}

/// B8: an item is a record with its offset, and the high watermark; positions, watermarks and lag can be asked for.
/// Trap C1: the position advances with what is handed over, and not with what was fetched.
#[tokio::test(start_paused = true)]
async fn the_position_advances_with_what_is_handed_over() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b", "c"]);
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!((stream.position(), stream.lag()), (None, None));
    let (record, high_watermark) = stream.next().await.unwrap().unwrap();
    assert_eq!((record.offset, high_watermark, stream.position(), stream.lag()), (0, 3, Some(1), Some(2)));
    pass(secs(2)).await;
    assert_eq!(stream.position(), Some(1));
    assert_eq!(values(&mut stream, 2).await, ["b", "c"]);
    assert_eq!((stream.position(), stream.lag(), stream.high_watermark()), (Some(3), Some(0), Some(3)));
}

/// Log start, last stable offset and high watermark.
type Watermarks = (Option<i64>, Option<i64>, Option<i64>);

/// What a stream says of them itself, and in its metrics, after it has heard what there is to hear.
async fn watermarks(stream: &mut StreamConsumer) -> Watermarks {
    pass(secs(1)).await;
    assert!(polled(1, stream.next()).await.is_none());
    let said = (stream.log_start_offset(), stream.last_stable_offset(), stream.high_watermark());
    let metrics = stream.metrics().partitions.remove(0);
    assert_eq!((metrics.log_start_offset, metrics.last_stable_offset, metrics.high_watermark), said);
    said
}

/// B8: where the log starts is told when records are deleted from it, although nothing is read.
#[tokio::test(start_paused = true)]
async fn records_that_are_deleted_raise_the_low_watermark() {
    let (partition, _client, pipes) = one().await;
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!((stream.log_start_offset(), stream.last_stable_offset()), (None, None), "nobody has said");
    pipes.append("t", 0, &["a", "b", "c"]);
    assert_eq!(values(&mut stream, 3).await, ["a", "b", "c"]);
    assert_eq!(watermarks(&mut stream).await, (Some(0), Some(3), Some(3)));
    assert_eq!(partition.delete_records(2, 1_000).await.unwrap(), 2);
    assert_eq!(watermarks(&mut stream).await, (Some(2), Some(3), Some(3)));
    assert_eq!(stream.position(), Some(3));
}

/// B8: up to where transactions are decided is told apart from where the log ends, whether the stream reads what lies
/// between or not.
#[tokio::test(start_paused = true)]
async fn an_open_transaction_holds_the_last_stable_offset() {
    let (partition, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    let mut streams = [&partition, &committed].map(|client| from(client, StartOffset::Earliest));
    pipes.append("t", 0, &["a"]);
    let producer = (7, 0);
    pipes.control(|cluster, now| {
        let record = NewRecord::new("k", "open", 1_000);
        cluster.append_transactional(now, "t", 0, producer, [record]).unwrap();
    });
    pipes.append("t", 0, &["b"]);
    for (stream, shown) in streams.iter_mut().zip([&["a", "open", "b"][..], &["a"]]) {
        assert_eq!(values(stream, shown.len()).await, shown);
        assert_eq!(watermarks(stream).await, (Some(0), Some(1), Some(3)));
        assert_eq!(stream.lag(), Some(0), "all that it may show");
    }
    pipes.control(|cluster, now| cluster.end_transaction(now, "t", 0, producer, Marker::Commit)).unwrap();
    assert_eq!(values(&mut streams[1], 2).await, ["open", "b"]);
    for stream in &mut streams {
        assert_eq!(watermarks(stream).await, (Some(0), Some(4), Some(4)));
    }
}

/// D9: what a broker is too old to say is not made up.
#[tokio::test(start_paused = true)]
async fn a_low_watermark_that_no_broker_says_is_none() {
    let pipes = cluster(1, 1);
    pipes.control(|cluster, _| cluster.set_versions(ApiKey::FETCH, Some(VersionRange { min: 4, max: 4 })));
    pipes.append("t", 0, &["a"]);
    let partition = pipes.client().await.partition_client("t", 0).await.unwrap();
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 1).await, ["a"]);
    assert_eq!(watermarks(&mut stream).await, (None, Some(1), Some(1)));
}

/// B8: batches are lent without a copy, and what is left of one that was begun record by record comes as a batch.
#[tokio::test(start_paused = true)]
async fn batches_are_lent() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b", "c"]);
    pipes.append("t", 0, &["d"]);
    let mut stream = from(&partition, StartOffset::At(1));
    let batch = stream.next_batch().await.unwrap().unwrap();
    let read: Vec<_> = batch.iter().map(|record| (record.offset, record.value.unwrap())).collect();
    assert_eq!(read, [(1, &b"b"[..]), (2, b"c"), (3, b"d")], "what comes before the start is left out");
    assert_eq!((batch.topic(), batch.partition(), batch.high_watermark()), ("t", 0, 4));
    assert_eq!(batch.to_owned()[0].offset, 1);
    assert_eq!(stream.position(), Some(4));
    stream.seek(StartOffset::At(0)).unwrap();
    assert_eq!(values(&mut stream, 1).await, ["a"]);
    let batch = stream.next_batch().await.unwrap().unwrap();
    assert_eq!(batch.iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(stream.metrics().records, 3 + 4, "each is counted once each time");
}

/// Trap C13: a record that is kept is a slice of the answer it came in, and one call copies it out.
#[tokio::test(start_paused = true)]
async fn a_record_is_detached_from_its_answer() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b"]);
    let mut stream = from(&partition, StartOffset::Earliest);
    let (first, _) = stream.next().await.unwrap().unwrap();
    let (second, _) = stream.next().await.unwrap().unwrap();
    let at = |record: &ottla::RecordAndOffset| record.value.as_ref().unwrap().as_ptr() as usize;
    let apart = at(&second) - at(&first);
    assert!(apart < 100, "one buffer has both: {apart}");
    let detached = first.detach();
    assert_eq!(detached, first);
    assert_ne!(at(&detached), at(&first));
    assert!(first.value.is_some_and(|value| !value.is_unique()));
    assert!(detached.value.is_some_and(|value| value.is_unique()));
}

/// Trap C6: a read-committed stream shows neither aborted records nor markers, and what it does not show moves it on.
#[tokio::test(start_paused = true)]
async fn a_committed_stream_hides_what_was_aborted() {
    let (_partition, client, pipes) = one().await;
    let committed = client.partition("t", 0).isolation(IsolationLevel::ReadCommitted).build().await.unwrap();
    let mut stream = from(&committed, StartOffset::Earliest);
    for (producer, marker) in [(1, Marker::Abort), (2, Marker::Commit)] {
        pipes.control(|cluster, now| {
            let record = NewRecord::new("k", format!("{marker:?}"), 1_000);
            cluster.append_transactional(now, "t", 0, (producer, 0), [record]).unwrap();
            cluster.end_transaction(now, "t", 0, (producer, 0), marker).unwrap();
        });
    }
    assert_eq!(values(&mut stream, 1).await, ["Commit"]);
    pass(secs(1)).await;
    assert!(polled(1, stream.next()).await.is_none());
    assert_eq!((stream.position(), stream.lag()), (Some(4), Some(0)));
}

/// Changes the records in answers.
pub(crate) fn damage(alter: impl Fn(&mut BytesMut) + Send + Sync + 'static) -> Rule {
    let reaction = Reaction::alter(move |answer| {
        let Answer::Fetch(answer) = answer else { return };
        for row in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let Some(records) = row.records.as_mut().filter(|records| !records.is_empty()) else { continue };
            let mut bytes = BytesMut::from(&records.to_bytes()[..]);
            alter(&mut bytes);
            *records = RecordSet::from(bytes.freeze());
        }
    });
    Rule::new(reaction).api(ApiKey::FETCH)
}

/// Trap C1: a damaged batch is an error that says where it is and where to go on; what comes before it was handed over.
#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_an_error_with_a_way_past_it() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    let first = pipes
        .control(|cluster, _| cluster.partition("t", 0).unwrap().log().batches().next().unwrap().bytes.len());
    pipes.append("t", 0, &["b", "c"]);
    pipes.append("t", 0, &["d"]);
    let rule = pipes.rule(damage(move |bytes| {
        if bytes.len() > first + 70 {
            bytes[first + 65] ^= 1;
        }
    }));
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 1).await, ["a"]);
    let error = stream.next().await.unwrap().unwrap_err();
    let Error::Corrupt { partition: 0, offset: 1, next: 3, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("t/0 holds a damaged batch at or after offset 1"), "{error}");
    assert!(stream.next().await.is_none(), "until it is sought, there is nothing more to say");
    pipes.control(|cluster, now| cluster.remove_rule(now, rule));
    stream.seek(StartOffset::At(3)).unwrap();
    assert_eq!(values(&mut stream, 1).await, ["d"]);
}

/// Trap W5: what a compressed batch becomes has a limit, which can be set; a larger one is an error with a way past it.
#[cfg(feature = "zstd")]
#[tokio::test(start_paused = true)]
async fn a_batch_that_becomes_too_large_is_an_error() {
    let (partition, _client, _pipes) = one().await;
    let codec = Compression::Zstd;
    let record = |len: usize| ottla::Record::new(vec![b'x'; len]);
    partition.produce_with(vec![record(1_000), record(99_000)], codec).await.unwrap();
    partition.produce_with(vec![record(2_000)], codec).await.unwrap();
    let build = |limit| {
        let builder = StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest);
        builder.with_max_decompressed_bytes(limit).build()
    };
    let mut stream = build(100_000).unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Corrupt { offset: 0, next: 2, .. }), "{error}");
    assert!(error.to_string().contains("bytes of zstd become more than 100000"), "{error}");
    stream.seek(StartOffset::At(2)).unwrap();
    assert_eq!(values(&mut stream, 1).await[0].len(), 2_000);
    assert_eq!(values(&mut build(101_000).unwrap(), 3).await[1].len(), 99_000);
    assert!(build(0).unwrap_err().to_string().contains("max_decompressed_bytes"));
}

/// Trap C1: what comes from behind the damage is not handed over, before somebody says where to go on.
#[tokio::test(start_paused = true)]
async fn nothing_comes_from_behind_damage_before_a_seek() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    let first = pipes.control(|cluster, _| cluster.partition("t", 0).unwrap().log().bytes().len());
    pipes.append("t", 0, &["b", "c"]);
    pipes.rule(damage(move |bytes| bytes[first + 65] ^= 1).times(1));
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 1).await, ["a"]);
    assert!(matches!(stream.next().await, Some(Err(Error::Corrupt { offset: 1, next: 3, .. }))));
    pipes.append("t", 0, &["d"]);
    pass(secs(1)).await;
    assert!(stream.next().await.is_none());
    stream.seek(StartOffset::At(1)).unwrap();
    assert_eq!(values(&mut stream, 3).await, ["b", "c", "d"]);
}

/// Trap C1: where the header is damaged, the way past it leads behind the batch all the same: it may have 10,000 records.
#[tokio::test(start_paused = true)]
async fn a_damaged_header_is_passed_by_one_seek() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    let first = pipes.control(|cluster, _| cluster.partition("t", 0).unwrap().log().bytes().len());
    pipes.append("t", 0, &["b", "c", "d"]);
    let flip = |at: usize, bit: u8| {
        pipes.rule(damage(move |bytes| {
            if bytes.len() > at {
                bytes[at] ^= bit;
            }
        }))
    };
    // Length, magic, last offset delta, number of records: as they cannot be, and as they could.
    let places = [(8, 0x80), (16, 1), (16, 0x40), (23, 0x80), (24, 0x40), (26, 0x40), (57, 0x80)];
    for is_last in [true, false] {
        for (place, bit) in places {
            // With nothing behind it, a batch that does not say where it ends is passed offset by offset.
            let expected = if is_last && place == 23 { 2 } else { 4 };
            let rule = flip(first + place, bit);
            let mut stream = from(&partition, StartOffset::Earliest);
            assert_eq!(values(&mut stream, 1).await, ["a"]);
            let error = stream.next().await.unwrap().unwrap_err();
            let Error::Corrupt { offset: 1, next, .. } = error else { panic!("{error}") };
            assert_eq!(next, expected, "byte {place}, last: {is_last}");
            pipes.control(|cluster, now| cluster.remove_rule(now, rule));
            let rule = flip(place, bit);
            let error = partition.fetch_records(1, 1..1_000, 100).await.unwrap_err();
            let Error::Corrupt { offset: 1, next: called, .. } = error else { panic!("{error}") };
            assert_eq!(called, expected, "byte {place}, last: {is_last}");
            pipes.control(|cluster, now| cluster.remove_rule(now, rule));
            if !is_last {
                stream.seek(StartOffset::At(next)).unwrap();
                assert_eq!(values(&mut stream, 1).await, ["e"]);
            }
        }
        pipes.append("t", 0, &["e"]);
    }
}

/// Trap W3: a record that cannot be read, in a batch whose checksum is right, is an error and not the end of the batch.
#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_an_error() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b"]);
    // One record more is announced than there is.
    pipes.rule(damage(|bytes| bytes[60] = 3));
    for batches in [false, true] {
        let builder = StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest);
        let mut stream = builder.with_check_crcs(false).build().unwrap();
        if batches {
            let batch = stream.next_batch().await.unwrap().unwrap();
            // The second look finds what the first one found.
            for _ in 0..2 {
                let owned: Vec<_> = batch.owned().collect();
                assert_eq!((batch.iter().count(), owned.len()), (2, 2));
                assert_eq!(batch.to_owned(), owned);
            }
            let error = stream.next_batch().await.unwrap_err();
            assert!(matches!(error, Error::Corrupt { offset: 2, .. }), "{error}");
        } else {
            assert_eq!(values(&mut stream, 2).await, ["a", "b"]);
            let error = stream.next().await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Corrupt { offset: 2, next: 3, .. }), "{error}");
        }
        assert!(stream.next_batch().await.unwrap().is_none());
    }
}

/// Trap C10: retention that overtakes the reader is an error that says where the log starts, or is followed.
#[tokio::test(start_paused = true)]
async fn retention_that_overtakes_the_reader_follows_the_policy() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b", "c"]);
    pipes.control(|cluster, now| cluster.raise_log_start(now, "t", 0, 2)).unwrap();
    let mut stream = from(&partition, StartOffset::At(0));
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert!(error.to_string().starts_with("Fetch of t/0: offset 0 is not in the log"), "{error}");
    assert!(stream.next().await.is_none());
    stream.seek(StartOffset::Earliest).unwrap();
    assert_eq!(values(&mut stream, 1).await, ["c"]);
    let policies =
        [(OutOfRange::Earliest, "c"), (OutOfRange::Ago(secs(3_600)), "c"), (OutOfRange::Latest, "d")];
    for (policy, first) in policies {
        let builder =
            StreamConsumerBuilder::new(partition.clone(), StartOffset::At(0)).with_out_of_range(policy);
        let mut stream = builder.build().unwrap();
        if first == "d" {
            assert!(polled(1, stream.next()).await.is_none());
            pass(secs(1)).await;
            pipes.append("t", 0, &["d"]);
        }
        assert_eq!(values(&mut stream, 1).await, [first]);
    }
}

/// Trap C2: what was fetched, and what is on its way, is thrown away by a seek.
#[tokio::test(start_paused = true)]
async fn a_seek_throws_away_what_was_fetched() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a", "b", "c"]);
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 2).await, ["a", "b"]);
    pipes.append("t", 0, &["d"]);
    pass(secs(1)).await;
    for _ in 0..3 {
        stream.seek(StartOffset::At(1)).unwrap();
        assert_eq!(stream.position(), Some(1));
        assert_eq!(values(&mut stream, 3).await, ["b", "c", "d"]);
    }
    assert!(matches!(stream.seek(StartOffset::At(-1)), Err(Error::Config { setting: "start", .. })));
    assert_eq!(stream.position(), Some(4));
}

/// Trap C9: an unclean election that took records is reported with both epochs, and the new log is followed.
#[tokio::test(start_paused = true)]
async fn a_truncated_log_is_reported_and_followed() {
    let (mut stream, _client, _pipes) = reader_of_what_is_lost().await;
    let error = stream.next().await.unwrap().unwrap_err();
    let Error::Truncated { truncation, .. } = &error else { panic!("{error}") };
    assert_eq!((truncation.offset, truncation.end_offset), (2, 1), "{error}");
    assert!(truncation.leader_epoch > truncation.epoch, "{error}");
    assert_eq!(values(&mut stream, 1).await, ["instead"]);
}

/// Has read offset 1, in whose place another leader has another record.
pub(crate) async fn reader_of_what_is_lost() -> (StreamConsumer, ottla::Client, PipeTransport) {
    let (client, pipes) = world(2, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    pipes.append("t", 0, &["a"]);
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 1).await, ["a"]);
    let (leader, follower) = leader_and_follower(&pipes);
    pipes.leave_behind(follower);
    pipes.append("t", 0, &["lost"]);
    assert_eq!(values(&mut stream, 1).await, ["lost"]);
    pipes.lead_without(leader, follower);
    pipes.append("t", 0, &["instead"]);
    (stream, client, pipes)
}

pub(crate) fn leader_and_follower(pipes: &PipeTransport) -> (i32, i32) {
    pipes.control(|cluster, _| match cluster.partition("t", 0).unwrap().leader() {
        1 => (1, 2),
        other => (other, 1),
    })
}

/// Trap C3: moved leaders, cut connections and killed nodes interrupt nothing.
#[tokio::test(start_paused = true)]
async fn a_stream_outlives_what_happens_to_brokers() {
    let (client, pipes) = world(2, 1).await;
    let partition = client.partition_client("t", 0).await.unwrap();
    let mut stream = from(&partition, StartOffset::Earliest);
    for round in 0..6 {
        let (leader, follower) = leader_and_follower(&pipes);
        match round % 3 {
            0 => pipes.control(|cluster, now| cluster.move_leader(now, "t", 0, follower)).unwrap(),
            1 => pipes.disconnect_all(),
            _ => pipes.control(|cluster, now| cluster.pause(now, leader)),
        }
        let value = format!("record {round}");
        pipes.append("t", 0, &[&value]);
        let (read, took) = timed(values(&mut stream, 1)).await;
        assert_eq!(read, [value]);
        assert!(took < secs(10), "{round}: {took:?}");
        pipes.control(|cluster, now| cluster.resume(now, leader));
        pass(secs(1)).await;
    }
}

/// F1: the budget bounds what is held, whoever slow reads, and everything comes all the same.
#[tokio::test(start_paused = true)]
async fn a_small_budget_is_kept_and_everything_comes() {
    let (partition, _client, pipes) = one().await;
    let value = "x".repeat(1_000);
    for _ in 0..100 {
        pipes.append("t", 0, &[&value]);
    }
    pipes.append("t", 0, &["y".repeat(50_000).as_str()]);
    let builder = StreamConsumerBuilder::new(partition, StartOffset::Earliest);
    let mut stream = builder.with_prefetch_bytes(10_000).with_max_bytes(5_000).build().unwrap();
    pass(secs(5)).await;
    let asked = pipes.requests(ApiKey::FETCH);
    assert!((1..=4).contains(&asked), "{asked} fetches before anything was read");
    // What is around the records of an answer is held as well, about a kilobyte. From 90 on the large batch may have come.
    let around = 2_000;
    for read in 0..85 {
        let buffered = stream.metrics().buffered;
        assert!((1..=10_000 + around).contains(&buffered), "{buffered} bytes after {read} records");
        assert_eq!(values(&mut stream, 1).await.len(), 1);
    }
    let rest = values(&mut stream, 16).await;
    assert_eq!(rest[15].len(), 50_000);
}

/// B8: a stream waits for its minimum of bytes, and no longer than it says.
#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_its_minimum_of_bytes_or_its_time() {
    let (partition, _client, pipes) = one().await;
    let builder = StreamConsumerBuilder::new(partition, StartOffset::Earliest);
    let mut stream = builder.with_min_bytes(10_000).with_max_wait_ms(2_000).build().unwrap();
    pass(millis(500)).await;
    pipes.append("t", 0, &["little"]);
    let (little, took) = timed(values(&mut stream, 1)).await;
    assert!(little == ["little"] && took > millis(1_400) && took < millis(1_600), "{took:?}");
    pass(millis(500)).await;
    pipes.append("t", 0, &["x".repeat(20_000).as_str()]);
    let (much, took) = timed(values(&mut stream, 1)).await;
    assert!(much[0].len() == 20_000 && took < millis(100), "{took:?}");
}

/// Trap C6: an idle stream asks once for each wait.
#[tokio::test(start_paused = true)]
async fn an_idle_stream_asks_once_for_each_wait() {
    let (partition, _client, pipes) = one().await;
    let mut stream = from(&partition, StartOffset::Latest);
    assert!(polled(1, stream.next()).await.is_none());
    pass(secs(10)).await;
    let asked = pipes.requests(ApiKey::FETCH);
    assert!((95..=102).contains(&asked), "{asked}");
}

/// A4: dropping a stream ends its task and closes its connections.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_closes_its_connections() {
    let (partition, _client, pipes) = one().await;
    let stream = from(&partition, StartOffset::Earliest);
    pass(secs(1)).await;
    let open = pipes.connections_open();
    drop(stream);
    pass(secs(6)).await;
    assert_eq!(pipes.connections_open(), open - 1);
}

/// Trap U3: settings that cannot work are refused when the stream is built, with their names.
#[tokio::test(start_paused = true)]
async fn odd_settings_of_a_stream_are_refused() {
    let (partition, _client, _pipes) = one().await;
    let new = || StreamConsumerBuilder::new(partition.clone(), StartOffset::Earliest);
    let odd = [
        (new().with_prefetch_bytes(0), "prefetch_bytes"),
        (new().with_max_bytes(0), "max_bytes"),
        (new().with_min_bytes(-1), "min_bytes"),
        (new().with_max_bytes(5).with_min_bytes(6), "min_bytes"),
        (new().with_max_wait_ms(-1), "max_wait_ms"),
        (StreamConsumerBuilder::new(partition.clone(), StartOffset::At(-1)), "start"),
        (StreamConsumerBuilder::new(partition.clone(), StartOffset::Timestamp(Timestamp(-5))), "start"),
    ];
    for (builder, name) in odd {
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::Config { setting, .. } if setting == name), "{name}: {error}");
    }
}

/// F1, E1: compressed batches are read in the reader's task, each codec.
#[tokio::test(start_paused = true)]
async fn every_codec_is_streamed() {
    let (partition, _client, _pipes) = one().await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for codec in codecs {
        partition.produce_with(records(&["a", "b"]), codec).await.unwrap();
    }
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 10).await.join(""), "ababababab");
}

/// Trap N5: a throttled fetch holds its own stream back, and is no error.
#[tokio::test(start_paused = true)]
async fn a_throttled_stream_waits() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    pipes.rule(Rule::new(Reaction::Throttle(secs(2))).api(ApiKey::FETCH).times(1));
    let mut stream = from(&partition, StartOffset::Earliest);
    let (read, took) = timed(values(&mut stream, 1)).await;
    assert_eq!(read, ["a"]);
    assert!((secs(2)..millis(2_300)).contains(&took), "{took:?}");
}

/// Trap C5: a broker that is slow to answer is waited for; nothing is asked twice meanwhile.
#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_not_asked_for_twice() {
    let (partition, _client, pipes) = one().await;
    pipes.append("t", 0, &["a"]);
    pipes.rule(Rule::new(Reaction::Delay(Stage::AfterApplying, secs(10))).api(ApiKey::FETCH).times(1));
    let mut stream = from(&partition, StartOffset::Earliest);
    assert_eq!(values(&mut stream, 1).await, ["a"]);
    assert!(pipes.requests(ApiKey::FETCH) <= 2);
}
