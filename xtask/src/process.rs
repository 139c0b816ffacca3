//! Other programs: running them to their end, their output, and signals to them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::Outcome;

/// Runs a program to its end, its output on ours; anything but exit code 0 is an error.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|e| format!("{}: {e}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", shown(command))) }
}

/// Runs a program to its end, quietly; what it printed is part of the error when it did not succeed.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{}: {e}", shown(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}\n{stdout}{stderr}", shown(command), output.status))
}

/// Whether a program is there and exits with 0.
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Sends a signal (`STOP`, `CONT`, `TERM`, `KILL`) to a process; a negative id is a process group.
///
/// Through the shell's own `kill`: std has no signals but SIGKILL, and `/bin/kill` is not on every machine.
pub(crate) fn signal(name: &str, pid: i64) -> Outcome {
    output(Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}"))).map(drop)
}

/// The path of this program, as it was when this was first called: `main` does so at once, because cargo may
/// put a new build in its place while it runs.
pub(crate) fn myself() -> Outcome<PathBuf> {
    static PATH: OnceLock<Outcome<PathBuf>> = OnceLock::new();
    PATH.get_or_init(|| std::env::current_exe().map_err(|e| format!("xtask's own path: {e}"))).clone()
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let first = command.get_args().next().map(|arg| format!(" {}", arg.to_string_lossy()));
    format!("{program}{}", first.unwrap_or_default())
}
