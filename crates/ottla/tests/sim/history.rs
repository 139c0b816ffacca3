//! What happened in a run, line by line: decisions of the application, faults, the client's own events, and each request with
//! what it came to.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::subscribed;

#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    start: Arc<Mutex<Option<Instant>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl History {
    pub(crate) fn note(&self, what: &str) {
        let now = Instant::now();
        let start = *self.start.lock().unwrap().get_or_insert(now);
        self.lines.lock().unwrap().push(format!("{:>9.3} {what}", (now - start).as_secs_f64()));
    }

    /// Notes what the client says, until what comes back is dropped.
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        subscribed(Listener { history: self.clone(), spans: Mutex::default() })
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Hears the client's events, and of its requests: each is a span, which is told its outcome.
struct Listener {
    history: History,
    spans: Mutex<Spans>,
}

#[derive(Default)]
struct Spans {
    /// How many there have been, of all kinds: their ids.
    count: u64,
    /// Requests that have no outcome yet: their numbers, and what they are.
    requests: BTreeMap<u64, (u64, String)>,
    /// How many requests there have been.
    requested: u64,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ottla")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line("client:".to_owned());
        event.record(&mut line);
        self.history.note(&line.0);
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.count += 1;
        let id = spans.count;
        if span.metadata().name() == "request" {
            let mut line = Line(String::new());
            span.record(&mut line);
            spans.requested += 1;
            let number = spans.requested;
            self.history.note(&format!("request {number}:{}", line.0));
            spans.requests.insert(id, (number, line.0));
        }
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((number, request)) = spans.requests.remove(&span.into_u64()) else { return };
        let mut line = Line(request);
        values.record(&mut line);
        self.history.note(&format!("answer to {number}:{}", line.0));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _never_fails = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
