//! The topics of the cluster, by name and by id.
//!
//! It owns creation, growth and deletion as such; requests that ask for them are checked in `admin.rs`.

use std::collections::BTreeMap;

use ottla_wire::{Str, Uuid};

use crate::chance::mix;
use crate::config::TopicConfig;
use crate::partition::Partition;

/// One topic.
#[derive(Debug)]
pub struct Topic {
    pub(crate) name: Str,
    pub(crate) id: Uuid,
    pub(crate) config: TopicConfig,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id; a topic that is deleted and created again has another one.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its partitions.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// One of its partitions.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }
}

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<Str, Topic>,
    names: BTreeMap<Uuid, Str>,
    created: u64,
}

impl Topics {
    pub(crate) fn by_name(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<&Topic> {
        self.by_name.get(self.names.get(&id)?)
    }

    pub(crate) fn by_id_mut(&mut self, id: Uuid) -> Option<&mut Topic> {
        self.by_name.get_mut(self.names.get(&id)?)
    }

    pub(crate) fn partition(&self, id: Uuid, index: i32) -> Option<&Partition> {
        self.by_id(id)?.partition(index)
    }

    pub(crate) fn partition_mut(&mut self, id: Uuid, index: i32) -> Option<&mut Partition> {
        self.by_id_mut(id)?.partition_mut(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_name.values_mut()
    }

    /// Adds a topic under a new id, and returns the id. The name must be free.
    pub(crate) fn create(&mut self, name: Str, config: TopicConfig, partitions: Vec<Partition>) -> Uuid {
        let id = self.next_id();
        self.names.insert(id, name.clone());
        self.by_name.insert(name.clone(), Topic { name, id, config, partitions });
        id
    }

    /// An id that no topic has or had.
    pub(crate) fn next_id(&mut self) -> Uuid {
        self.created += 1;
        id_of(self.created)
    }

    pub(crate) fn delete(&mut self, id: Uuid) -> Option<Topic> {
        self.by_name.remove(&self.names.remove(&id)?)
    }
}

/// Ids that look random and are the same in every run.
fn id_of(number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(2 * number).to_be_bytes());
    bytes[8..].copy_from_slice(&mix(2 * number + 1).to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// Whether a topic may be called that.
pub(crate) fn is_legal_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(legal)
}
