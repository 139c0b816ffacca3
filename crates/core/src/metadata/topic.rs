//! What is known of one topic, and how a newer answer changes it.

use std::sync::Arc;

use ottla_wire::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use ottla_wire::{ErrorCode, Uuid};

/// How often in a row a leader epoch may go backwards before it is believed: a lagging broker is passed over, a
/// cluster that was rebuilt is followed in the end.
const REGRESSIONS_IGNORED: u8 = 5;

/// The leader of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// The broker that leads.
    pub broker_id: i32,
    /// Its epoch; -1 when the broker is too old to say.
    pub epoch: i32,
}

/// A topic as last heard of. Shared by reference: an update replaces one topic and copies no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; nil when the cluster is older than topic ids (KIP-516). A topic created again has another one.
    pub id: Uuid,
    /// Whether the brokers keep it for themselves.
    pub is_internal: bool,
    /// By index, without gaps unless a broker left one out.
    pub partitions: Vec<Partition>,
}

/// A partition as last heard of.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// Its number in the topic.
    pub index: i32,
    /// The broker that leads; `None` while there is none.
    pub leader: Option<i32>,
    /// The newest leader epoch heard of; -1 when brokers do not say.
    pub leader_epoch: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those in sync with the leader.
    pub in_sync_replicas: Vec<i32>,
    /// Those that are offline.
    pub offline_replicas: Vec<i32>,
    regressions: u8,
}

impl Topic {
    /// The partition with this number.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        let direct = usize::try_from(index).ok().and_then(|at| self.partitions.get(at));
        match direct {
            Some(partition) if partition.index == index => direct,
            _ => self.partitions.iter().find(|partition| partition.index == index),
        }
    }

    /// The leader of a partition, where there is one.
    pub fn leader(&self, index: i32) -> Option<Leader> {
        self.partition(index)?.leader()
    }

    /// The topic after `answer`, of which some may be older than what is known.
    pub(super) fn updated(known: Option<&Self>, name: &str, answer: &MetadataResponseTopic) -> Self {
        let known = known.filter(|known| known.id == answer.topic_id || answer.topic_id.is_nil());
        let mut partitions: Vec<Partition> = answer
            .partitions
            .iter()
            .map(|answer| {
                Partition::updated(known.and_then(|topic| topic.partition(answer.partition_index)), answer)
            })
            .collect();
        partitions.sort_unstable_by_key(|partition| partition.index);
        partitions.dedup_by_key(|partition| partition.index);
        if let Some(known) = known {
            let heard = partitions.len();
            for partition in &known.partitions {
                if partitions[..heard].binary_search_by_key(&partition.index, |p| p.index).is_err() {
                    partitions.push(partition.clone());
                }
            }
            partitions.sort_unstable_by_key(|partition| partition.index);
        }
        Self {
            name: known.map_or_else(|| name.into(), |known| known.name.clone()),
            id: known.filter(|_| answer.topic_id.is_nil()).map_or(answer.topic_id, |known| known.id),
            is_internal: answer.is_internal,
            partitions,
        }
    }

    /// Takes a leader that a broker hinted at (KIP-951), and says whether that is news. The first of many hints copies the
    /// topic for those who hold it, the others do not.
    pub(super) fn take_hint(self: &mut Arc<Self>, index: i32, hint: Leader) -> bool {
        let found = self.partitions.binary_search_by_key(&index, |partition| partition.index);
        let Some(at) = found.ok().filter(|at| {
            hint.broker_id >= 0 && self.partitions.get(*at).is_some_and(|it| hint.epoch > it.leader_epoch)
        }) else {
            return false;
        };
        let partition = &mut Arc::make_mut(self).partitions[at];
        partition.leader = Some(hint.broker_id);
        partition.leader_epoch = hint.epoch;
        true
    }
}

impl Partition {
    /// The leader, where there is one.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.map(|broker_id| Leader { broker_id, epoch: self.leader_epoch })
    }

    /// For simulations.
    pub(super) fn state(&self) -> &'static str {
        match (self.regressions, self.leader) {
            (0, Some(_)) => "partition: has a leader",
            (0, None) => "partition: has no leader",
            (1.., _) => "partition: an older epoch was passed over",
        }
    }

    fn updated(known: Option<&Self>, answer: &MetadataResponsePartition) -> Self {
        if let Some(known) = known
            && answer.leader_epoch >= 0
            && answer.leader_epoch < known.leader_epoch
            && known.regressions < REGRESSIONS_IGNORED
        {
            return Self { regressions: known.regressions + 1, ..known.clone() };
        }
        let known_epoch = known.map_or(-1, |known| known.leader_epoch);
        let leaderless = answer.leader_id < 0 || answer.error_code == ErrorCode::LEADER_NOT_AVAILABLE;
        Self {
            index: answer.partition_index,
            leader: (!leaderless).then_some(answer.leader_id),
            leader_epoch: if answer.leader_epoch < 0 { known_epoch } else { answer.leader_epoch },
            replicas: answer.replica_nodes.to_vec(),
            in_sync_replicas: answer.isr_nodes.to_vec(),
            offline_replicas: answer.offline_replicas.to_vec(),
            regressions: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: Uuid, partitions: &[(i32, i32, i32)]) -> MetadataResponseTopic {
        MetadataResponseTopic {
            topic_id: id,
            partitions: partitions
                .iter()
                .map(|&(partition_index, leader_id, leader_epoch)| MetadataResponsePartition {
                    partition_index,
                    leader_id,
                    leader_epoch,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    fn topic(partitions: &[(i32, i32, i32)]) -> Topic {
        Topic::updated(None, "t", &answer(Uuid::NIL, partitions))
    }

    fn then(known: &Topic, partitions: &[(i32, i32, i32)]) -> Topic {
        Topic::updated(Some(known), "t", &answer(Uuid::NIL, partitions))
    }

    /// Trap M2: an older leader epoch is ignored, a few times.
    #[test]
    fn an_epoch_that_goes_backwards_is_believed_only_in_the_end() {
        let mut known = topic(&[(0, 1, 7)]);
        for _ in 0..REGRESSIONS_IGNORED {
            known = then(&known, &[(0, 2, 6)]);
            assert_eq!(known.leader(0), Some(Leader { broker_id: 1, epoch: 7 }));
        }
        assert_eq!(then(&known, &[(0, 2, 6)]).leader(0), Some(Leader { broker_id: 2, epoch: 6 }));
        let fresh = then(&then(&topic(&[(0, 1, 7)]), &[(0, 2, 6)]), &[(0, 1, 7)]);
        assert_eq!(fresh.partition(0).unwrap().regressions, 0, "a current answer starts the count again");
    }

    /// Trap M2: epoch -1 never replaces a known epoch.
    #[test]
    fn an_unknown_epoch_keeps_the_known_one() {
        let known = then(&topic(&[(0, 1, 7)]), &[(0, -1, -1)]);
        assert_eq!((known.leader(0), known.partition(0).unwrap().leader_epoch), (None, 7));
        assert_eq!(then(&known, &[(0, 2, -1)]).leader(0), Some(Leader { broker_id: 2, epoch: 7 }));
    }

    /// Trap M3: a topic created again starts from nothing, whatever its epochs say.
    #[test]
    fn a_new_topic_id_carries_nothing_over() {
        let new_id = Uuid::from_bytes([7; 16]);
        let known = topic(&[(0, 1, 7), (1, 1, 7)]);
        let recreated = Topic::updated(Some(&known), "t", &answer(new_id, &[(0, 2, 0)]));
        assert_eq!((recreated.id, recreated.partitions.len()), (new_id, 1));
        assert_eq!(recreated.leader(0), Some(Leader { broker_id: 2, epoch: 0 }));
    }

    /// Trap M4: what a lagging broker leaves out is kept.
    #[test]
    fn a_partition_left_out_is_kept() {
        let known = then(&topic(&[(0, 1, 7), (1, 2, 3)]), &[(0, 1, 8)]);
        assert_eq!(known.leader(1), Some(Leader { broker_id: 2, epoch: 3 }));
        assert_eq!(known.partitions.len(), 2);
    }

    /// Trap M3, Trap M4: an answer without an id, as brokers give that have no leaders to tell, or are too old, takes
    /// nothing of what is known.
    #[test]
    fn an_answer_without_an_id_keeps_what_is_known() {
        let id = Uuid::from_bytes([7; 16]);
        let known = Topic::updated(None, "t", &answer(id, &[(0, 1, 7)]));
        let kept = then(&known, &[]);
        assert_eq!((kept.id, kept.leader(0)), (id, Some(Leader { broker_id: 1, epoch: 7 })));
        let moved = then(&known, &[(0, 2, 8)]);
        assert_eq!((moved.id, moved.leader(0)), (id, Some(Leader { broker_id: 2, epoch: 8 })));
    }

    #[test]
    fn a_hint_counts_only_with_a_newer_epoch() {
        let known = topic(&[(0, 1, 7)]);
        let mut hinted = Arc::new(known);
        assert!(!hinted.take_hint(0, Leader { broker_id: 2, epoch: 7 }));
        assert!(!hinted.take_hint(5, Leader { broker_id: 2, epoch: 9 }));
        let held = hinted.clone();
        assert!(hinted.take_hint(0, Leader { broker_id: 2, epoch: 8 }));
        assert_ne!(held, hinted, "who holds the topic holds what was known");
        assert_eq!(hinted.leader(0), Some(Leader { broker_id: 2, epoch: 8 }));
    }
}
