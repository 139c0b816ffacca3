//! Leader epochs: who may be asked, and where an epoch ends.

use crate::requests::{end_of_epoch, fetch, fetch_with_epochs, list_offset, plain, produce, sequenced};
use crate::talk::{Talk, Topic, metadata_of};

/// A topic with two records under each of three leaders.
fn moved(talk: &mut Talk<'_>) -> Topic {
    let topic = talk.topic("t", &[1, 2, 3], &[]);
    let stamp = talk.names.stamp;
    for order in [[1, 2, 3], [2, 3, 1], [3, 1, 2]] {
        if order[0] != 1 {
            talk.place.move_leader(&topic.name, &order);
        }
        let request = produce(&topic, -1, plain(&["a", "b"], stamp));
        talk.until("the leader serves", |talk| {
            let answer = talk.call(order[0], 9, &request).unwrap();
            answer.responses[0].partition_responses[0].error_code.is_none()
        });
    }
    settled(talk, &topic, 3, 6);
    topic
}

/// Waits until the leader shows everything up to `end`, and all replicas know it.
fn settled(talk: &mut Talk<'_>, topic: &Topic, leader: i32, end: i64) {
    for node in [1, 2, 3] {
        talk.wait_for(node, topic, |row| row.leader_id == leader && row.isr_nodes.len() == 3);
        talk.wait_for_high_watermark(node, topic, end);
    }
}

/// Producing and reading while the leader moves; the sequences go with the log.
pub(crate) fn leader_moves(talk: &mut Talk<'_>) {
    let topic = talk.topic("t", &[1, 2, 3], &[]);
    let stamp = talk.names.stamp;
    let id = talk.producer();
    talk.ask("before the move", 1, 9, &produce(&topic, -1, sequenced((id, 0), 0, 2, stamp)));
    talk.place.move_leader(&topic.name, &[2, 1, 3]);
    settled(talk, &topic, 2, 2);
    let row = metadata_of(talk, 1, &topic).unwrap();
    let shown = talk.names.show(&row);
    talk.note("the partition", &shown);
    for version in [9, 10, 13] {
        let request = produce(&topic, -1, sequenced((id, 0), 2, 1, stamp));
        talk.ask(&format!("at the old leader, version {version}"), 1, version, &request);
    }
    talk.ask("a duplicate at the new leader", 2, 9, &produce(&topic, -1, sequenced((id, 0), 0, 2, stamp)));
    talk.ask("a gap at the new leader", 2, 9, &produce(&topic, -1, sequenced((id, 0), 4, 1, stamp)));
    talk.ask("the next at the new leader", 2, 9, &produce(&topic, -1, sequenced((id, 0), 2, 1, stamp)));
    settled(talk, &topic, 2, 3);
    for version in [4, 10, 11, 15, 16, 17] {
        let what = format!("a fetch at the old leader, version {version}");
        talk.ask_fetch(&what, 1, version, &fetch(&topic, 0));
    }
    talk.ask("offsets at the old leader", 1, 9, &list_offset(&topic, -1));
    talk.ask("offsets at the new leader", 2, 9, &list_offset(&topic, -1));
    talk.ask_fetch("what is there", 2, 12, &fetch(&topic, 0));
}

/// OffsetForLeaderEpoch for every epoch that was, and some that were not.
pub(crate) fn ends_of_epochs(talk: &mut Talk<'_>) {
    let topic = moved(talk);
    for epoch in -1..=4 {
        talk.ask(&format!("epoch {epoch}"), 3, 4, &end_of_epoch(&topic, -1, epoch));
    }
    for version in [2, 3] {
        for epoch in [0, 2, 3] {
            talk.ask(
                &format!("epoch {epoch}, version {version}"),
                3,
                version,
                &end_of_epoch(&topic, -1, epoch),
            );
        }
        talk.ask(&format!("at a follower, version {version}"), 1, version, &end_of_epoch(&topic, 2, 0));
    }
    for current in 0..=4 {
        talk.ask(&format!("epoch 0 of {current}"), 3, 4, &end_of_epoch(&topic, current, 0));
    }
    for current in [-1, 0, 2, 3] {
        talk.ask(&format!("at a follower, of {current}"), 1, 4, &end_of_epoch(&topic, current, 0));
    }
    for current in [0, 2, 3] {
        let mut request = list_offset(&topic, -1);
        request.topics[0].partitions[0].current_leader_epoch = current;
        talk.ask(&format!("the end, of {current}"), 3, 9, &request);
        talk.ask(&format!("the end at a follower, of {current}"), 1, 9, &request);
    }
    for timestamp in [-1, -2, -3, -4, talk.names.stamp, talk.names.stamp + 1] {
        let what = if timestamp < 0 { timestamp.to_string() } else { "a time".to_owned() };
        talk.ask(&format!("offset for {what}"), 3, 9, &list_offset(&topic, timestamp));
    }
}

/// Fetches that say under which leader they think to be, and what they read last.
pub(crate) fn fetches_with_epochs(talk: &mut Talk<'_>) {
    let topic = moved(talk);
    for version in [12, 16] {
        for current in [-1, 0, 2, 3] {
            for node in [3, 1] {
                let what = format!("version {version}, node {node}, leader epoch {current}");
                talk.ask_fetch(&what, node, version, &fetch_with_epochs(&topic, 4, current, -1));
            }
        }
    }
    for (offset, last) in
        [(0, 0), (2, 0), (3, 0), (4, 0), (4, 1), (5, 1), (6, 1), (6, 2), (6, 3), (7, 2), (9, 0)]
    {
        let what = format!("from {offset}, read last under epoch {last}");
        talk.ask_fetch(&what, 3, 12, &fetch_with_epochs(&topic, offset, -1, last));
    }
}
