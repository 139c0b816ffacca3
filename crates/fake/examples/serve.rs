//! A fake cluster on loopback ports, for any Kafka client: prints its addresses, does what its input says, and ends
//! when that ends, with the number of requests it served.
//!
//! ```text
//! cargo run -p ottla-fake --features net --example serve -- [nodes] [topic:partitions ...]
//! kill 1 | pause 1 | restart 1 | move orders 0 2
//! ```

use std::error::Error;
use std::io::{self, BufRead};

use ottla_fake::FakeCluster;
use ottla_fake::net::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let nodes = arguments.next().unwrap_or_else(|| "1".to_owned());
    let Ok(nodes) = nodes.parse::<i32>() else {
        return Err(format!("{nodes:?} is no number of nodes: serve [nodes] [topic:partitions ...]").into());
    };
    let server = Server::start(FakeCluster::builder().nodes(nodes).auto_create_topics(true).build_now())?;
    for topic in arguments {
        let (name, partitions) = topic.split_once(':').unwrap_or((&topic, "1"));
        let partitions = partitions.parse()?;
        let replicas = i16::try_from(nodes.min(3))?;
        server.control(|cluster, now| cluster.create_topic(now, name, partitions, replicas))?;
    }
    println!("{}", server.bootstrap().join(","));
    let server = tokio::task::spawn_blocking(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Err(error) = obey(&server, &line) {
                eprintln!("'{line}': {error}");
            }
        }
        server
    })
    .await?;
    for (api, count) in server.control(|cluster, _| cluster.counters().by_api()) {
        println!("{count:>6} {api}");
    }
    Ok(())
}

fn obey(server: &Server, line: &str) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["kill", node] => {
            let node = known(server, node)?;
            server.control(|cluster, now| cluster.kill(now, node));
        }
        ["pause", node] => {
            let node = known(server, node)?;
            server.control(|cluster, now| cluster.pause(now, node));
        }
        ["restart", node] => {
            let node = known(server, node)?;
            server.control(|cluster, now| cluster.restart(now, node));
        }
        ["move", topic, partition, node] => {
            let (partition, node) = (partition.parse()?, known(server, node)?);
            server.control(|cluster, now| cluster.move_leader(now, topic, partition, node))?;
        }
        _ => return Err("kill, pause or restart a node, or move a topic's partition to a node".into()),
    }
    Ok(())
}

fn known(server: &Server, node: &str) -> Result<i32, String> {
    let ids = server.control(|cluster, _| cluster.node_ids());
    ids.iter()
        .copied()
        .find(|id| id.to_string() == node)
        .ok_or_else(|| format!("there are the nodes {ids:?}"))
}
