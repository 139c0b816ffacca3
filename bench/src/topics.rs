//! The topics that a program works on: made for it with the cluster's defaults, and gone afterwards.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// How long creating and deleting a topic may take, in ms.
const TIMEOUT: i32 = 15_000;
