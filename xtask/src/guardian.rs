//! The process that keeps a cluster's JVMs: it starts them, sends them signals, and ends them with itself.
//!
//! ```text
//! cargo xtask test ---- stdin pipe ----> guardian ---- children ----> one JVM per node
//! test binary -> xtask kafka kill 2 -- TCP --^
//! ```
//!
//! A tied guardian ends when its stdin does. That happens when the run that started it ends, however it
//! ends: return, panic, Ctrl-C, SIGKILL. An untied one (`kafka up`) stays until `kafka down`. It is its own
//! process group, so Ctrl-C in the terminal does not reach the JVMs behind its back.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cluster::Cluster;
use crate::control::{self, Address};
use crate::home::Home;
use crate::process::{self, signal};

/// The hidden command that makes this program a guardian.
pub(crate) const COMMAND: &str = "guardian";

/// Starts a guardian for a cluster whose files are written. With `tied`, the pipe that keeps it alive.
pub(crate) fn spawn(cluster: &Cluster, tied: bool) -> Outcome<Option<Tie>> {
    let log = cluster.dir().join("guardian.log");
    let open = fs::File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
    let (out, err) = open.map_err(|e| format!("{}: {e}", log.display()))?;
    let me = process::myself()?;
    let mut command = Command::new(me);
    command.args([COMMAND, &cluster.name, if tied { TIED } else { "untied" }]);
    command.stdin(if tied { Stdio::piped() } else { Stdio::null() }).stdout(out).stderr(err).process_group(0);
    let mut child = command.spawn().map_err(|e| format!("guardian: {e}"))?;
    let stdin = child.stdin.take();
    Ok(stdin.map(|stdin| Tie { stdin: Some(stdin), child }))
}

/// Holds a tied guardian alive. Dropping it stops the cluster and waits until it is gone.
pub(crate) struct Tie {
    stdin: Option<ChildStdin>,
    child: Child,
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.stdin = None;
        if let Err(e) = self.child.wait() {
            eprintln!("waiting for a guardian: {e}");
        }
    }
}

/// The guardian's own life.
pub(crate) fn run(args: &[String]) -> Outcome {
    let [name, tie] = args else { return Err("guardian NAME tied|untied".to_owned()) };
    let cluster = Cluster::load(&Home::find()?, name)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("control port: {e}"))?;
    let port = listener.local_addr().map_err(|e| format!("control port: {e}"))?.port();

    let (events, inbox) = channel();
    if tie == TIED {
        let events = events.clone();
        thread::spawn(move || wait_for_the_end(&events));
    }
    thread::spawn(move || accept(&listener, &events));

    let mut guardian = Guardian { nodes: cluster.nodes.iter().map(|_| State::Stopped).collect(), cluster };
    for node in 1..=guardian.nodes.len() {
        guardian.start(node)?;
    }
    control::publish(guardian.cluster.dir(), &Address { pid: std::process::id(), port })?;
    guardian.serve(&inbox);
    Ok(())
}

const TIED: &str = "tied";

enum Event {
    Command(String, TcpStream),
    End,
}

enum State {
    Running(Child),
    Paused(Child),
    Stopped,
}

struct Guardian {
    cluster: Cluster,
    nodes: Vec<State>,
}

impl Guardian {
    fn serve(&mut self, inbox: &Receiver<Event>) {
        while let Ok(event) = inbox.recv() {
            match event {
                Event::End => break,
                Event::Command(line, mut answer_to) => {
                    let down = line == "down";
                    if down {
                        self.kill_all();
                    }
                    let answer = match self.handle(&line) {
                        Ok(said) => format!("ok {said}\n"),
                        Err(e) => format!("error {}\n", e.replace('\n', " ")),
                    };
                    // Who asked may be gone; the command is done all the same.
                    drop(answer_to.write_all(answer.as_bytes()));
                    if down {
                        break;
                    }
                }
            }
        }
        self.kill_all();
        control::withdraw(self.cluster.dir());
    }

    fn handle(&mut self, line: &str) -> Outcome<String> {
        let (verb, node) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "down" => return Ok(String::new()),
            "status" => return Ok(self.status()),
            _ => {}
        }
        let known = node.parse().ok().filter(|node| (1..=self.nodes.len()).contains(node));
        let node: usize = known.ok_or_else(|| format!("'{node}' is not a node of this cluster"))?;
        match verb {
            "kill" => self.kill(node),
            "stop" => self.stop(node)?,
            "pause" => self.pause(node)?,
            "resume" => self.resume(node)?,
            "restart" => {
                self.stop(node)?;
                self.start(node)?;
            }
            _ => return Err(format!("unknown command '{verb}'")),
        }
        Ok(self.status())
    }

    /// `1:running 2:paused 3:stopped`
    fn status(&mut self) -> String {
        let states = self.nodes.iter_mut().zip(1..).map(|(state, node)| {
            let word = match state {
                State::Running(child) => match child.try_wait() {
                    Ok(None) => "running",
                    _ => "exited",
                },
                State::Paused(_) => "paused",
                State::Stopped => "stopped",
            };
            format!("{node}:{word}")
        });
        states.collect::<Vec<_>>().join(" ")
    }

    fn start(&mut self, node: usize) -> Outcome {
        self.nodes[node - 1] = State::Running(self.cluster.start(node)?);
        Ok(())
    }

    fn kill(&mut self, node: usize) {
        if let State::Running(child) | State::Paused(child) = &mut self.nodes[node - 1] {
            // Either fails only for a process that has ended and was reaped.
            drop(child.kill());
            drop(child.wait());
        }
        self.nodes[node - 1] = State::Stopped;
    }

    fn kill_all(&mut self) {
        for node in 1..=self.nodes.len() {
            self.kill(node);
        }
    }

    /// SIGTERM: a controlled shutdown. What has not gone after half a minute is killed.
    fn stop(&mut self, node: usize) -> Outcome {
        if matches!(self.nodes[node - 1], State::Paused(_)) {
            self.resume(node)?;
        }
        if let State::Running(child) = &mut self.nodes[node - 1] {
            signal("TERM", i64::from(child.id()))?;
            let end = Instant::now() + Duration::from_secs(30);
            while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.kill(node);
        Ok(())
    }

    fn pause(&mut self, node: usize) -> Outcome {
        match std::mem::replace(&mut self.nodes[node - 1], State::Stopped) {
            State::Running(child) => {
                let sent = signal("STOP", i64::from(child.id()));
                self.nodes[node - 1] = State::Paused(child);
                sent
            }
            other => {
                self.nodes[node - 1] = other;
                Err(format!("node {node} is not running"))
            }
        }
    }

    fn resume(&mut self, node: usize) -> Outcome {
        match std::mem::replace(&mut self.nodes[node - 1], State::Stopped) {
            State::Paused(child) => {
                let sent = signal("CONT", i64::from(child.id()));
                self.nodes[node - 1] = State::Running(child);
                sent
            }
            other => {
                self.nodes[node - 1] = other;
                Err(format!("node {node} is not paused"))
            }
        }
    }
}

fn wait_for_the_end(events: &Sender<Event>) {
    let mut ignored = Vec::new();
    // An error means the pipe is gone too.
    drop(std::io::stdin().read_to_end(&mut ignored));
    drop(events.send(Event::End));
}

fn accept(listener: &TcpListener, events: &Sender<Event>) {
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        let limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
        if limit.is_ok() && BufReader::new(&stream).read_line(&mut line).is_ok() {
            drop(events.send(Event::Command(line.trim_end().to_owned(), stream)));
        }
    }
}
