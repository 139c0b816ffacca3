//! What a producer is told with each of the three acks.

use ottla::{Acks, Record};

use crate::support::cluster::eventually;
use crate::world::{SOON, client, new_topic, read, value};

/// Each record arrives once and in order; whoever asks for no acknowledgement is told no offset.
#[tokio::test]
async fn records_arrive_once_with_each_of_the_acks() {
    let client = client().await;
    let sent: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let name = new_topic(&client, "acks", &[]).await;
        let topic = client.producer().acks(acks).build().await.unwrap().topic(&name).await.unwrap();
        let mut deliveries = Vec::new();
        for value in &sent {
            deliveries.push(topic.enqueue(Record::new(value)).await.unwrap());
        }
        for (offset, delivery) in (0..).zip(deliveries) {
            let told = (acks != Acks::None).then_some(offset);
            assert_eq!(delivery.await.unwrap().offset, told, "{acks:?}");
        }
        let partition = client.partition_client(&name, 0).await.unwrap();
        // Without acks they may be on their way still.
        eventually("all are there", SOON, async || read(&partition, 0).await.len() >= sent.len()).await;
        let found = read(&partition, 0).await;
        let arrived: Vec<_> = found.iter().map(value).collect();
        assert_eq!(arrived, sent, "{acks:?}");
    }
}
