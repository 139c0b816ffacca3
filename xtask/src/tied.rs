//! Running a program so that it cannot outlive this one.
//!
//! ```text
//! xtask -- stdin pipe --> xtask tied PROGRAM -- same process group --> PROGRAM and whatever it starts
//! ```
//!
//! The process between watches its stdin: when that ends before the program does, however xtask ended, it kills
//! its whole process group. It does the same when the program takes longer than it may.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::process::{self, signal};

/// The hidden command that makes this program the process between.
pub(crate) const COMMAND: &str = "tied";

/// Runs a program to its end, its output on ours; anything but exit code 0 is an error.
pub(crate) fn run(program: &Command, limit: Duration) -> Outcome {
    let shown: Vec<_> = std::iter::once(program.get_program()).chain(program.get_args()).collect();
    let shown = shown.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let me = process::myself()?;
    let mut between = Command::new(me);
    between.arg(COMMAND).arg(limit.as_secs().to_string()).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => between.env(name, value),
            None => between.env_remove(name),
        };
    }
    if let Some(dir) = program.get_current_dir() {
        between.current_dir(dir);
    }
    let mut child =
        between.stdin(Stdio::piped()).process_group(0).spawn().map_err(|e| format!("{shown}: {e}"))?;
    // `wait` would close the pipe first, and with it end the program.
    let pipe = child.stdin.take();
    let status = child.wait().map_err(|e| format!("{shown}: {e}"))?;
    drop(pipe);
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

/// The life of the process between.
pub(crate) fn between(args: &[String]) -> ExitCode {
    let [limit, program, args @ ..] = args else { return ExitCode::FAILURE };
    let limit = limit.parse().map_or(Duration::MAX, Duration::from_secs);
    thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        end_group();
    });
    let what = program.clone();
    thread::spawn(move || {
        thread::sleep(limit);
        eprintln!("xtask: {what} took longer than {limit:?}");
        end_group();
    });
    match Command::new(program).args(args).stdin(Stdio::null()).status() {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(e) => {
            eprintln!("xtask: {program}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Kills the process group, this process included. It leads the group, so the group has its id.
fn end_group() {
    drop(signal("KILL", -i64::from(std::process::id())));
}
