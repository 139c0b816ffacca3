//! A fake cluster on loopback ports, for any Kafka client: prints its addresses, and ends when its input does.
//!
//! ```text
//! cargo run -p ottla-fake --features net --example serve -- [nodes] [topic:partitions ...]
//! ```

use std::error::Error;
use std::io;

use ottla_fake::FakeCluster;
use ottla_fake::net::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let nodes: i32 = arguments.next().map_or(Ok(1), |nodes| nodes.parse())?;
    let server = Server::start(FakeCluster::builder().nodes(nodes).auto_create_topics(true).build_now())?;
    for topic in arguments {
        let (name, partitions) = topic.split_once(':').unwrap_or((&topic, "1"));
        let partitions = partitions.parse()?;
        let replicas = i16::try_from(nodes.min(3))?;
        server.control(|cluster, now| cluster.create_topic(now, name, partitions, replicas))?;
    }
    println!("{}", server.bootstrap().join(","));
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    for counted in server.control(|cluster, _| cluster.counters().by_api()) {
        println!("{:>6} {}", counted.1, counted.0);
    }
    Ok(())
}
