//! Names for what happens in runs, and which of them have to come about: what nothing reaches, nothing tests.

use std::collections::BTreeSet;

/// A name, and whether it has to come about in many runs; otherwise it may.
pub(crate) type Row = (&'static str, bool);

/// A function that names the values of a type, and the list of those names. A value without a row does not compile, so that a
/// new one cannot be forgotten. What is `rare` may come about, and need not.
macro_rules! named {
    (
        $(#[$doc:meta])*
        fn $function:ident($of:ty) in $list:ident { $($pattern:pat => $($rare:ident)? $name:literal,)+ }
    ) => {
        $(#[$doc])*
        pub(crate) fn $function(of: &$of) -> &'static str {
            match of { $($pattern => $name,)+ }
        }
        pub(crate) const $list: &[$crate::named::Row] = &[$(named!(@row $name $($rare)?),)+];
    };
    (@row $name:literal) => { ($name, true) };
    (@row $name:literal rare) => { ($name, false) };
}
pub(crate) use named;

/// All names of a world, by group: what has to come about, and what may.
#[derive(Debug, Default)]
pub(crate) struct Names {
    must: BTreeSet<(&'static str, &'static str)>,
    may: BTreeSet<(&'static str, &'static str)>,
}

impl Names {
    /// One more group, with the names of its rows.
    pub(crate) fn with(mut self, group: &'static str, rows: &[Row]) -> Self {
        for (name, must) in rows {
            let names = if *must { &mut self.must } else { &mut self.may };
            names.insert((group, name));
        }
        self
    }

    /// What has to come about.
    pub(crate) fn must(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.must.iter().copied()
    }

    /// What may come about.
    pub(crate) fn may(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.may.iter().copied()
    }

    /// Whether it has a name here.
    pub(crate) fn knows(&self, group: &str, what: &str) -> bool {
        let is_here = |names: &BTreeSet<_>| names.iter().any(|it| *it == (group, what));
        is_here(&self.must) || is_here(&self.may)
    }
}
