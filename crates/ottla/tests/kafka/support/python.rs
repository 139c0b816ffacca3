//! librdkafka, through its Python binding, as a peer.

use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use super::environment;
use super::peer::{Peer, Process};

/// librdkafka, speaking to the cluster behind these addresses.
pub(crate) fn librdkafka(bootstrap: &[String]) -> Peer {
    static PROCESS: OnceLock<Arc<Mutex<Process>>> = OnceLock::new();
    let process = PROCESS.get_or_init(|| {
        let mut command = Command::new(environment("OTTLA_PYTHON"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/python/peer.py"));
        Process::start(command)
    });
    Peer::new(Arc::clone(process), bootstrap)
}
