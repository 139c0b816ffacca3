//! What happened in a run, line by line: decisions of the application, faults, and the client's own events.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span;

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

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for History {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ottla")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line("client:".to_owned());
        event.record(&mut line);
        self.note(&line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
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
