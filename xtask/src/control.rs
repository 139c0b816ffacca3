//! Finding a running guardian and telling it what to do: one line each way over a loopback connection.
//!
//! `clusters/NAME/guardian` holds its process id and port while it runs. When a guardian was killed, the file
//! and its JVMs stay behind; `clear_remains` ends those, and only those.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::process::signal;

/// Where a guardian is to be reached.
pub(crate) struct Address {
    pub(crate) pid: u32,
    pub(crate) port: u16,
}

/// Sends one command to the guardian of the cluster in `dir` and returns its answer.
pub(crate) fn tell(dir: &Path, command: &str) -> Outcome<String> {
    let address = find(dir).ok_or_else(|| format!("cluster '{}' is not running", name(dir)))?;
    let answer = exchange(&address, command).map_err(|e| format!("guardian of '{}': {e}", name(dir)))?;
    match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
        ("ok", said) => Ok(said.to_owned()),
        (_, said) => Err(said.to_owned()),
    }
}

/// Waits until a guardian that was just started has started its nodes.
pub(crate) fn wait_for(dir: &Path) -> Outcome {
    let end = Instant::now() + Duration::from_secs(10);
    while tell(dir, "status").is_err() {
        if Instant::now() > end {
            let log = fs::read_to_string(dir.join("guardian.log")).unwrap_or_default();
            return Err(format!("the guardian of '{}' did not come up: {log}", name(dir)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether the guardian of this cluster answers.
pub(crate) fn is_running(dir: &Path) -> bool {
    tell(dir, "status").is_ok()
}

/// Ends the JVMs of a guardian that was killed. A process id that now belongs to somebody else is let be.
pub(crate) fn clear_remains(dir: &Path) -> Outcome {
    let Some(address) = find(dir) else { return Ok(()) };
    for entry in fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        let Ok(pid) = pid else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let ours = format!("{}/node-", dir.display());
        let command = String::from_utf8_lossy(&command);
        // Somebody may be reading a node's log.
        if pid != address.pid && command.contains(&ours) && command.contains("kafka.Kafka") {
            signal("KILL", i64::from(pid))?;
        }
    }
    withdraw(dir);
    Ok(())
}

/// Writes the address; the guardian does this once its nodes are started.
pub(crate) fn publish(dir: &Path, address: &Address) -> Outcome {
    let (path, draft) = (dir.join(FILE), dir.join("guardian.new"));
    let written = fs::write(&draft, format!("{} {}", address.pid, address.port));
    written.and_then(|()| fs::rename(&draft, &path)).map_err(|e| format!("{}: {e}", path.display()))
}

pub(crate) fn withdraw(dir: &Path) {
    // Not there is as good.
    drop(fs::remove_file(dir.join(FILE)));
}

const FILE: &str = "guardian";

fn find(dir: &Path) -> Option<Address> {
    let text = fs::read_to_string(dir.join(FILE)).ok()?;
    let (pid, port) = text.split_once(' ')?;
    Some(Address { pid: pid.parse().ok()?, port: port.parse().ok()? })
}

fn exchange(address: &Address, command: &str) -> std::io::Result<String> {
    let guardian = SocketAddr::from(([127, 0, 0, 1], address.port));
    let mut stream = TcpStream::connect_timeout(&guardian, Duration::from_secs(2))?;
    // A controlled shutdown may take its half minute.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
