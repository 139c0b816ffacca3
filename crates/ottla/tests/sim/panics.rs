//! Panics during a run, in whichever task: nobody waits for the tasks of the client, and it catches some panics itself.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Mutex, Once, PoisonError};

use crate::history::History;

/// The run under way. There is one at a time, and it may have threads of its own.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

#[derive(Debug, Default)]
struct Run {
    history: Option<History>,
    first: Option<String>,
}

/// Notes panics instead of printing them, until it is dropped. Those of users' code that a plan asks for are none: they
/// begin with `resume_unwind`, which tells nobody.
#[derive(Debug)]
pub(crate) struct Panics(());

impl Panics {
    pub(crate) fn watch(history: Option<History>) -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = take_hook();
            set_hook(Box::new(move |panic| {
                if !note(panic) {
                    usual(panic);
                }
            }));
        });
        *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Run { history, first: None });
        Self(())
    }

    /// What the first of them said, and where.
    pub(crate) fn first(self) -> Option<String> {
        RUN.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.first.take()
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        *RUN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether there is a run to note it for.
fn note(panic: &PanicHookInfo<'_>) -> bool {
    let mut run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(run) = run.as_mut() else { return false };
    let payload = panic.payload();
    let said = payload.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
    let what = match panic.location() {
        Some(place) => format!("{said} ({place})"),
        None => said.to_owned(),
    };
    if let Some(history) = &run.history {
        history.note(&format!("a task panics: {what}"));
    }
    run.first.get_or_insert(what);
    true
}
