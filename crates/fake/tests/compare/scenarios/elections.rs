//! Leaders that lack what their predecessor had.

use crate::requests::{end_of_epoch, fetch, fetch_with_epochs, plain, produce, sequenced};
use crate::talk::Talk;

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
