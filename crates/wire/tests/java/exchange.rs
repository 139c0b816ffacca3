//! Messages that go back and forth between the table and the classes that Kafka generates from its schemas.
//!
//! ```text
//! for every message in every version:
//!   samples of ours, random  -->  Java: reads all of it, writes it again          -->  the same bytes?
//!                                 and what it read, field by field                -->  the same values?
//!                                 and writes it in another version                -->  the same bytes, or no one can?
//!   samples of Java's own    -->  the same three, the other way round
//! ```
//!
//! Bytes alone would not show a default that differs for fields that a version lacks, a field that is dropped where it
//! must not be, or two fields of one type in each other's place. Values and other versions do.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use ottla_wire::{Message, messages};

use crate::dump::Dump;
use crate::sample;
use crate::subject::{EachSubject, Head, Subject, for_every_subject};

/// Samples of each side for each message and version, unless `OTTLA_SAMPLES` says how many.
const SAMPLES: usize = 200;

/// D3, D4, D5, D9, E1, Trap W11, Trap W13: bytes, values, and what another version makes of them, are those of Kafka's
/// own classes. `OTTLA_SEED` chooses other samples, `OTTLA_WRITE_SEEDS` names a folder that gets a small one of each.
#[test]
fn messages_are_exchanged_with_kafkas_own_classes() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (samples, seed) = (number("OTTLA_SAMPLES").unwrap_or(SAMPLES), number("OTTLA_SEED").unwrap_or(1));
    let seeds = std::env::var_os("OTTLA_WRITE_SEEDS").map(PathBuf::from);
    let mut java = Java::start();
    let (sent, received) = sync_channel(2);
    let mut asking = Asking { java: java.0.stdin.take().unwrap(), sent, samples, seed: seed as u64 };
    let answers = BufReader::new(java.0.stdout.take().unwrap());
    let comparing = Comparing { answers, received, samples, seed, seeds, seen: 0, pairs: 0 };
    std::thread::scope(|scope| {
        scope.spawn(move || for_every_subject(&mut asking));
        // Both end with this closure, so that the other thread ends too when something is different.
        let (_java, mut comparing) = (java, comparing);
        for_every_subject(&mut comparing);
        println!("{} samples, {} of them written in another version", comparing.seen, comparing.pairs);
    });
}

/// A process that does not outlive its test.
struct Java(Child);

impl Drop for Java {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

impl Java {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/java/Exchange.java");
        let mut java = Command::new("java");
        java.arg("-cp").arg(crate::libs().join("*")).arg(program);
        Self(java.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("java starts"))
    }
}

/// Sends samples, a message and version at a time, and tells the other half what it sent.
struct Asking {
    java: ChildStdin,
    sent: SyncSender<Vec<(Head, Bytes)>>,
    samples: usize,
    seed: u64,
}

impl EachSubject for Asking {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            let samples = self.samples::<S>(version);
            let label = S::label();
            let mut job = (label.len() as u16).to_be_bytes().to_vec();
            job.extend(label.bytes());
            for number in [version, *S::versions().start(), *S::versions().end()] {
                job.extend(number.to_be_bytes());
            }
            job.extend(self.seed.to_be_bytes());
            job.extend((samples.len() as u32).to_be_bytes());
            for (_, sample) in &samples {
                job.extend((sample.len() as u32).to_be_bytes());
                job.extend_from_slice(sample);
            }
            // Where nobody listens any more, the other half has said why.
            if self.java.write_all(&job).is_err() || self.sent.send(samples).is_err() {
                return;
            }
        }
    }
}

impl Asking {
    /// The edges, which are not left to chance, and then what chance gives.
    fn samples<S: Subject>(&mut self, version: i16) -> Vec<(Head, Bytes)> {
        let bodies: Vec<Vec<u8>> = (0..self.samples).map(|i| self.body::<S>(version, i)).collect();
        // Short ones may be all that there is to say; where many long ones are the same, chance had no choice.
        let long = || bodies.iter().filter(|body| body.len() > 40);
        let (distinct, all) = (long().collect::<HashSet<_>>().len(), long().count());
        assert!(
            all < 50 || distinct * 5 >= all * 4,
            "{} {version}: {distinct} different ones of {all}",
            S::label()
        );
        let headed = bodies.iter().enumerate().map(|(index, body)| {
            let head = self.head::<S>(version, index);
            let payload = S::payload_with(&head, version, body);
            (head, payload)
        });
        headed.collect()
    }

    fn body<S: Subject>(&mut self, version: i16, index: usize) -> Vec<u8> {
        let flexible = S::is_flexible(version);
        if index < sample::EDGES {
            return sample::edge::<S::Value>(index, version, flexible);
        }
        let len = [40, 400, 4000][index % 3];
        let choices: Vec<u8> = (0..len).map(|_| (random(&mut self.seed) >> 32) as u8).collect();
        sample::with_edges::<S::Value>(&choices, version, flexible)
    }

    fn head<S: Subject>(&mut self, version: i16, index: usize) -> Head {
        let number = random(&mut self.seed);
        let correlation_id = [0, i32::MAX, i32::MIN, number as i32][index % 4];
        let client = ["", "me", "\u{6f22}\u{1f980}", "z"][index % 4];
        let client = if index == 7 { client.repeat(32_767) } else { client.to_owned() };
        let client_id = (!number.is_multiple_of(5) || index == 7).then_some(client);
        let tag = |at: u32| {
            (at * 100 + (number >> 40) as u32 % 100, number.to_be_bytes()[..at as usize].to_vec().into())
        };
        let tags = if S::is_flexible(version) && index % 3 == 2 { vec![tag(0), tag(7)] } else { Vec::new() };
        S::possible(&Head { correlation_id, client_id, tags }, version)
    }
}

/// The next of a sequence of numbers (splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Reads Java's answers and holds them against ours.
struct Comparing<R> {
    answers: R,
    received: Receiver<Vec<(Head, Bytes)>>,
    samples: usize,
    seed: usize,
    seeds: Option<PathBuf>,
    seen: usize,
    pairs: usize,
}

/// What Java says about one sample.
struct Answer {
    /// What it wrote after reading; for its own samples, the sample.
    payload: Result<Bytes, String>,
    dump: String,
    /// The same value in another version.
    other: Result<Bytes, String>,
}

impl<R: Read> EachSubject for Comparing<R> {
    fn each<S: Subject>(&mut self) {
        for version in S::versions() {
            let ours = self.received.recv().expect("the other half goes on");
            for index in 0..2 * self.samples {
                let answer = self.answer();
                let other = S::versions().start() + (index % S::versions().count()) as i16;
                let sample = ours.get(index);
                compare::<S>(version, other, sample, &answer).unwrap_or_else(|why| {
                    let whose = if sample.is_some() { "ours" } else { "Java's" };
                    panic!(
                        "{} version {version}, sample {index} ({whose}, seed {}): {why}",
                        S::label(),
                        self.seed
                    )
                });
                if sample.is_none() {
                    self.keep_seed::<S>(version, answer.payload.as_ref().unwrap());
                }
                self.seen += 1;
                self.pairs += usize::from(other != version && answer.other.is_ok());
            }
        }
    }
}

impl<R: Read> Comparing<R> {
    /// The first small sample of Java in each newest version, for the corpus of the fuzz target `messages`.
    fn keep_seed<S: Subject>(&mut self, version: i16, payload: &[u8]) {
        let is_wanted = version == *S::versions().end() && (20..150).contains(&payload.len());
        let Some(folder) = self.seeds.as_ref().filter(|_| is_wanted) else { return };
        let label = S::label();
        let (sort, key) = label.split_once(' ').unwrap();
        let (key, sort) = match sort {
            "request" => (key.parse().unwrap(), 0),
            "response" => (key.parse().unwrap(), 1),
            _ => (messages::DATA.iter().position(|name| *name == key).unwrap() as u8, 2),
        };
        let version = (version - S::versions().start()) as u8;
        let path = folder.join(S::Value::NAME);
        if !path.exists() {
            std::fs::write(path, [&[key, version, sort], payload].concat()).unwrap();
        }
    }

    fn answer(&mut self) -> Answer {
        Answer { payload: self.outcome(), dump: self.text(), other: self.outcome() }
    }

    /// Bytes, or after the length -1 why there are none.
    fn outcome(&mut self) -> Result<Bytes, String> {
        match self.length() {
            Some(length) => Ok(self.bytes(length).into()),
            None => Err(self.text()),
        }
    }

    fn text(&mut self) -> String {
        let length = self.length().expect("a text");
        String::from_utf8(self.bytes(length)).unwrap()
    }

    fn length(&mut self) -> Option<usize> {
        let bytes = self.bytes(4);
        usize::try_from(i32::from_be_bytes(*bytes.first_chunk().unwrap())).ok()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.answers.read_exact(&mut bytes).expect("Java goes on");
        bytes
    }
}

fn compare<S: Subject>(
    version: i16,
    other: i16,
    sample: Option<&(Head, Bytes)>,
    answer: &Answer,
) -> Result<(), String> {
    let (sent, sample) = sample.map(|(head, sample)| (head, sample)).unzip();
    let payload = answer.payload.as_ref().map_err(|e| {
        format!("Java cannot read and write it: {e}\n{}", sample.map_or_else(String::new, |bytes| hex(bytes)))
    })?;
    if let Some(sample) = sample.filter(|sample| *sample != payload) {
        return Err(format!("Java writes other bytes\n{}\n{}", hex(sample), hex(payload)));
    }
    let (head, value) = S::decode_with(payload, version).map_err(|e| format!("{e}\n{}", hex(payload)))?;
    if let (Some(sent), Some(head)) = (sent, &head)
        && sent != head
    {
        return Err(format!("the header was {sent:?}, and is read as {head:?}"));
    }
    let head = head.unwrap_or_else(Head::usual);
    let again = S::encode_with(&head, &value, version).map_err(|e| format!("{e}\n{value:?}"))?;
    if again != payload {
        return Err(format!("we write other bytes\n{}\n{}\n{value:?}", hex(payload), hex(&again)));
    }
    let (ours, java) = (Dump::parse(&format!("{value:?}")), Dump::parse(&answer.dump));
    if ours != java {
        return Err(format!("other values\n{value:?}\n{}", answer.dump));
    }
    // What is secret is not shown: that it is in the bytes, which are the same on both sides, is what there is to see.
    let mut hidden = Vec::new();
    ours.hidden(&java, &mut hidden);
    if let Some(missing) = hidden.iter().find(|secret| !contains(payload, secret)) {
        return Err(format!("{missing:?} is not in the bytes\n{}", hex(payload)));
    }
    match (S::encode_with(&head.without_tags(), &value, other), &answer.other) {
        (Ok(ours), Ok(java)) if ours == java => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        (Ok(ours), Ok(java)) => {
            Err(format!("version {other} of it differs\n{}\n{}\n{value:?}", hex(java), hex(&ours)))
        }
        (ours, java) => Err(format!("version {other} of it: {ours:?}\nJava: {java:?}\n{value:?}")),
    }
}

/// Whether a text is in the payload, or the bytes whose characters it has.
fn contains(payload: &[u8], text: &str) -> bool {
    let has = |part: &[u8]| part.is_empty() || payload.windows(part.len()).any(|window| window == part);
    let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<_>>>();
    has(text.as_bytes()) || bytes.is_some_and(|bytes| has(&bytes))
}

/// The first bytes, for a person.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(2000) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
