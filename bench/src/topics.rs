//! The topics that a program works on: made for it with the cluster's defaults, and gone afterwards.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla::wire::Uuid;
use ottla::{Client, ClientBuilder, NewTopic};

use crate::Result;

/// Topics that nobody else uses.
#[derive(Debug)]
pub struct Topics {
    admin: Client,
    names: Vec<String>,
}

impl Topics {
    /// One for each purpose.
    pub async fn create(bootstrap: &[String], purposes: &[&str], partitions: i32) -> Result<Self> {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let admin = ClientBuilder::new(bootstrap.to_vec()).build().await?;
        let mut topics = Self { admin, names: Vec::new() };
        for purpose in purposes {
            let name = format!("bench-{purpose}-{stamp}");
            let controller = topics.admin.controller_client().await?;
            controller.create(NewTopic::new(&name).partitions(partitions), TIMEOUT).await?;
            topics.names.push(name);
        }
        Ok(topics)
    }

    /// The name of the topic for the purpose with this number.
    pub fn name(&self, purpose: usize) -> &str {
        &self.names[purpose]
    }

    /// Deletes them; one that stays is told.
    pub async fn delete(self) {
        for name in self.names {
            let deleted = match self.admin.controller_client().await {
                Ok(controller) => controller.delete_topic(&name, TIMEOUT).await,
                Err(error) => Err(error),
            };
            if let Err(error) = deleted {
                eprintln!("{name} stays: {error}");
            }
        }
    }
}

/// A topic's id, and the partitions that each broker leads, with its address.
pub async fn leaders(client: &Client, topic: &str) -> Result<(Uuid, Vec<(String, Vec<i32>)>)> {
    let brokers = client.describe_cluster().await?.brokers;
    let topics = client.list_topics().await?;
    let topic = topics.into_iter().find(|it| *it.name == *topic).ok_or("the topic is gone")?;
    let mut led: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in &topic.partitions {
        led.entry(partition.leader.ok_or("a partition has no leader")?).or_default().push(partition.index);
    }
    let address = |id| brokers.iter().find(|broker| broker.id == id).map(|broker| broker.address.to_string());
    let led = led.into_iter().filter_map(|(id, partitions)| Some((address(id)?, partitions)));
    Ok((topic.id, led.collect()))
}

/// How long creating and deleting a topic may take, in ms.
const TIMEOUT: i32 = 15_000;
