//! The Java client as a peer.

use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use super::environment;
use super::peer::{Peer, Process};

/// The Java client, speaking to the cluster behind these addresses.
pub(crate) fn java(bootstrap: &[String]) -> Peer {
    static PROCESS: OnceLock<Arc<Mutex<Process>>> = OnceLock::new();
    let process = PROCESS.get_or_init(|| {
        let classes = environment("OTTLA_PEER_CLASSES");
        let libs = environment("OTTLA_KAFKA_LIBS");
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=off");
        command.arg("-cp").arg(format!("{libs}/*:{classes}")).arg("Peer");
        Process::start(command)
    });
    Peer::new(Arc::clone(process), bootstrap)
}
