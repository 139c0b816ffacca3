//! Kafka's console tools, out of its jars.

use std::io::Write;
use std::process::Stdio;

use crate::fake::Fake;
use crate::peer::{environment, java};

/// Each line is a record.
pub(crate) fn console_producer(fake: &Fake, topic: &str, lines: &str) {
    let arguments = ["--bootstrap-server", &fake.bootstrap(), "--topic", topic];
    run("org.apache.kafka.tools.ConsoleProducer", &arguments, lines);
}

/// The values of so many records of one partition, a line each.
pub(crate) fn console_consumer(
    fake: &Fake,
    topic: &str,
    partition: &str,
    offset: &str,
    records: u32,
) -> String {
    let (bootstrap, records) = (fake.bootstrap(), records.to_string());
    let arguments = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        topic,
        "--partition",
        partition,
        "--offset",
        offset,
        "--max-messages",
        &records,
        "--timeout-ms",
        "30000",
    ];
    run("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments, "")
}

fn run(class: &str, arguments: &[&str], input: &str) -> String {
    let mut command = java();
    command.args(["-cp", &format!("{}/*", environment("OTTLA_KAFKA_LIBS")), class]).args(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class}: {said}");
    // The producer prompts for each line.
    String::from_utf8(output.stdout).unwrap().replace('>', "")
}
