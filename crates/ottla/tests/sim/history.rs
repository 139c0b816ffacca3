//! What happened in a run, line by line: decisions of the application, faults, and the client's own events.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use tracing::field::{Field, Visit};

use crate::support::on_events;

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
        let history = self.clone();
        on_events(move |event| {
            let mut line = Line("client:".to_owned());
            event.record(&mut line);
            history.note(&line.0);
        })
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
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
