//! Leaders that lack what their predecessor had.

use ottla_wire::messages::produce::ProduceRequest;

use crate::requests::{end_of_epoch, fetch, fetch_with_epochs, list_offset, plain, produce, sequenced};
use crate::talk::{Talk, metadata_of};

/// Records that one replica alone had are gone when the other leads; so is what was known of their producer.
pub(crate) fn truncation(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &[1, 2], &[("min.insync.replicas", "1")]);
    let stamp = talk.names.stamp;
    let id = talk.producer();
    talk.ask("on both replicas", 1, 9, &produce(&topic, -1, sequenced((id, 0), 0, 2, stamp)));
    talk.wait_for_high_watermark(2, &topic, 2);
    talk.place.kill(2);
    talk.wait_for(1, &topic, |row| row.isr_nodes == [1]);
    talk.ask("on one replica", 1, 9, &produce(&topic, -1, sequenced((id, 0), 2, 3, stamp)));
    talk.ask_fetch("what the leader has", 1, 12, &fetch(&topic, 0));
    talk.place.kill(1);
    talk.place.restart(2);
    talk.place.elect_uncleanly(&topic.name, 2);
    talk.wait_for_high_watermark(2, &topic, 2);
    talk.ask_fetch("what the new leader has", 2, 12, &fetch(&topic, 0));
    for (offset, last) in [(5, 0), (3, 0), (2, 0)] {
        talk.ask_fetch(&format!("a reader at {offset}"), 2, 12, &fetch_with_epochs(&topic, offset, -1, last));
    }
    talk.ask_fetch("a reader at 5 that knows no epoch", 2, 12, &fetch(&topic, 5));
    talk.ask("where epoch 0 ends now", 2, 4, &end_of_epoch(&topic, -1, 0));
    talk.ask("a duplicate of what both had", 2, 9, &produce(&topic, -1, sequenced((id, 0), 0, 2, stamp)));
    talk.ask("what comes after what was lost", 2, 9, &produce(&topic, -1, sequenced((id, 0), 5, 1, stamp)));
    talk.ask("what was lost, again", 2, 9, &produce(&topic, -1, sequenced((id, 0), 2, 3, stamp)));
    talk.ask("somebody else", 2, 9, &produce(&topic, -1, plain(&["x"], stamp)));
    talk.ask_fetch("a reader of the old log", 2, 12, &fetch_with_epochs(&topic, 5, -1, 0));
    talk.place.restart(1);
    talk.wait_for(2, &topic, |row| row.isr_nodes.len() == 2);
    talk.ask_fetch("in the end", 2, 12, &fetch(&topic, 0));
}

/// Too few replicas in sync for acks = all, enough for anything else.
pub(crate) fn too_few_replicas(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &[1, 2], &[]);
    let stamp = talk.names.stamp;
    let id = talk.producer();
    talk.ask("both in sync", 1, 9, &produce(&topic, -1, sequenced((id, 0), 0, 1, stamp)));
    talk.place.kill(2);
    talk.wait_for(1, &topic, |row| row.isr_nodes == [1]);
    let row = metadata_of(talk, 1, &topic).unwrap();
    let shown = talk.names.show(&row);
    talk.note("the partition", &shown);
    wait_until_refused(talk, &produce(&topic, -1, sequenced((id, 0), 0, 1, stamp)));
    talk.ask("acks = all", 1, 9, &produce(&topic, -1, sequenced((id, 0), 1, 1, stamp)));
    talk.ask("acks = all, a duplicate", 1, 9, &produce(&topic, -1, sequenced((id, 0), 0, 1, stamp)));
    talk.ask("acks = 1", 1, 9, &produce(&topic, 1, plain(&["x"], stamp)));
    talk.ask_fetch("what is there", 1, 12, &fetch(&topic, 0));
    talk.ask("the end", 1, 9, &list_offset(&topic, -1));
    talk.place.restart(2);
    talk.wait_for(1, &topic, |row| row.isr_nodes.len() == 2);
    talk.wait_for_high_watermark(1, &topic, 2);
    talk.ask("both again", 1, 9, &produce(&topic, -1, sequenced((id, 0), 1, 1, stamp)));
    let alone = talk.topic("alone", &[1], &[]);
    talk.ask("fewer replicas than there have to be", 1, 9, &produce(&alone, -1, plain(&["x"], stamp)));
    talk.wait_for_high_watermark(1, &alone, 1);
}

/// Waits until node 1, which leads, refuses `duplicate`, a batch that is on all replicas: what the metadata say of the ISR, the
/// leader itself may learn a moment later.
fn wait_until_refused(talk: &mut Talk<'_>, duplicate: &ProduceRequest) {
    talk.until("the leader knows", |talk| {
        talk.call(1, 9, duplicate).unwrap().responses[0].partition_responses[0].error_code.is_err()
    });
}

/// Batches with acks = all are in the log of a leader whose follower is silent when their time is over. Once the follower is out
/// of the ISR they count where enough replicas are left.
pub(crate) fn timed_out(talk: &mut Talk<'_>) {
    let (two, three) = (talk.topic("two", &[1, 2], &[]), talk.topic("three", &[1, 3, 2], &[]));
    let stamp = talk.names.stamp;
    let id = talk.producer();
    let batch = |sequence, timeout_ms, topic| ProduceRequest {
        timeout_ms,
        ..produce(topic, -1, sequenced((id, 0), sequence, 1, stamp))
    };
    let (place, both) = (talk.place, [&*two.name, &*three.name]);
    for topic in [&two, &three] {
        talk.ask("all in sync", 1, 9, &batch(0, 10_000, topic));
    }
    // No more than this may come between: a broker that is gone is in the ISR for less than two seconds.
    place.stop_following(&both, 2);
    talk.ask("a follower is silent", 1, 9, &batch(1, 50, &three));
    let too_few = "it leaves the ISR meanwhile, and too few are left";
    talk.ask_while(too_few, 1, 9, &batch(1, 3_000, &two), || place.miss_follower(&both, 2));
    talk.wait_for(1, &two, |row| row.isr_nodes == [1]);
    wait_until_refused(talk, &batch(0, 10_000, &two));
    talk.ask("too few in sync, the same again", 1, 9, &batch(1, 10_000, &two));
    talk.ask("too few in sync, the next", 1, 9, &batch(2, 10_000, &two));
    talk.ask_fetch("what too few have", 1, 12, &fetch(&two, 0));
    talk.wait_for_high_watermark(1, &three, 2);
    talk.ask("enough in sync, the same again", 1, 9, &batch(1, 10_000, &three));
    talk.ask("enough in sync, the next", 1, 9, &batch(2, 10_000, &three));
    place.follow_again(&both, 2);
    talk.wait_for_high_watermark(1, &two, 2);
    for sequence in [1, 2] {
        talk.ask("both in sync again", 1, 9, &batch(sequence, 10_000, &two));
    }
    talk.wait_for_high_watermark(1, &two, 3);
    for topic in [&two, &three] {
        talk.ask_fetch("in the end", 1, 12, &fetch(topic, 0));
    }
}

/// The leader dies, another replica in sync leads, and knows what the old one knew.
pub(crate) fn failover(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &[1, 2, 3], &[]);
    let stamp = talk.names.stamp;
    let id = talk.producer();
    for sequence in 0..3 {
        talk.ask("before", 1, 9, &produce(&topic, -1, sequenced((id, 0), sequence, 1, stamp)));
    }
    talk.place.kill(1);
    for node in [2, 3] {
        talk.wait_for(node, &topic, |row| row.leader_id == 2 && row.isr_nodes.len() == 2);
    }
    talk.wait_for_high_watermark(2, &topic, 3);
    let row = metadata_of(talk, 2, &topic).unwrap();
    let shown = talk.names.show(&row);
    talk.note("the partition", &shown);
    for sequence in [1, 4, 3, 4, 2] {
        let request = produce(&topic, -1, sequenced((id, 0), sequence, 1, stamp));
        talk.ask(&format!("sequence {sequence} at the new leader"), 2, 9, &request);
    }
    talk.ask("at a follower", 3, 10, &produce(&topic, -1, sequenced((id, 0), 5, 1, stamp)));
    talk.wait_for_high_watermark(3, &topic, 5);
    for node in [2, 3] {
        talk.ask_fetch(&format!("what node {node} has"), node, 12, &fetch(&topic, 0));
    }
    for epoch in [0, 1] {
        talk.ask(&format!("where epoch {epoch} ends"), 2, 4, &end_of_epoch(&topic, -1, epoch));
    }
    talk.place.restart(1);
    talk.wait_for(2, &topic, |row| row.isr_nodes.len() == 3);
    talk.wait_for_high_watermark(1, &topic, 5);
    talk.ask_fetch("what the old leader has", 1, 12, &fetch(&topic, 0));
}
