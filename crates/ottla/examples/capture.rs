//! The work that `tools/capture.py` has every client do, so that what they send can be compared: create a topic, write two
//! records, read them, look an offset up, delete the topic. `KAFKA=host:port` names the broker.

use ottla::{ClientBuilder, NewTopic, OffsetAt, Record, Timestamp};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bootstrap = std::env::var("KAFKA").map_err(|_| "KAFKA=host:port is not set")?;
    let client = ClientBuilder::new(vec![bootstrap]).build().await?;
    let controller = client.controller_client().await?;
    let topic =
        NewTopic::new("capture-ottla").partitions(1).replication_factor(1).config("retention.ms", "-1");
    controller.create(topic, 10_000).await?;

    let partition = client.partition_client("capture-ottla", 0).await?;
    let first =
        Record::new("value-1").key("k1").header("h1", vec![1]).timestamp(Timestamp(1_700_000_000_000));
    let second = Record::tombstone("k2").timestamp(Timestamp(1_700_000_000_001));
    partition.produce(vec![first, second]).await?;
    let (records, _) = partition.fetch_records(0, 1..1_000_000, 1_000).await?;
    let offset = partition.get_offset(OffsetAt::Timestamp(Timestamp(1_700_000_000_001))).await?;
    controller.delete_topic("capture-ottla", 10_000).await?;
    if (records.len(), offset) != (2, 1) {
        return Err(format!("{} records, and the second one at {offset}", records.len()).into());
    }
    Ok(())
}
