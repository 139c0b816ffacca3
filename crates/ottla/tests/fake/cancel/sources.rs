//! What the crate's sources offer that has to be awaited, so that no table can forget it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What users implement and the client calls: it is no call of theirs.
const OF_USERS: [&str; 2] = ["Transport::connect", "Resolve::resolve"];

/// `Type::function` of every public function that is asynchronous or returns a future, `Trait::function` of those that
/// public traits ask for, and `Type as Trait` of every future, stream and sink, of what `lib.rs` hands out.
pub(super) fn public_futures() -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exports = fs::read_to_string(sources.join("lib.rs")).unwrap();
    let mut exports: BTreeSet<&str> = exports.split(|it: char| !it.is_alphanumeric()).collect();
    exports.extend(OF_USERS.map(word));
    let mut files = Vec::new();
    collect(&sources, &mut files);
    let found = files.iter().flat_map(|file| offered(&fs::read_to_string(file).unwrap()));
    let found = found.filter(|(of, _)| exports.contains(of.as_str())).map(|(of, what)| of + &what);
    let mut found: BTreeSet<_> = found.collect();
    for of_users in OF_USERS {
        assert!(found.remove(of_users), "{of_users} is no more");
    }
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// What the `impl` blocks and the public traits of a file offer, by type or trait. rustfmt has seen the file: a block begins and ends at the first
/// column.
fn offered(text: &str) -> Vec<(String, String)> {
    let (mut offered, mut of) = (Vec::new(), None);
    // All that a trait asks for is as public as itself.
    let mut begin = "pub ";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('}') {
            of = None;
        } else if let Some(rest) = line.strip_prefix("impl") {
            let (implemented, implementor) = block(rest);
            if ["Future", "Stream", "Sink"].contains(&implemented) {
                offered.push((implementor.to_owned(), format!(" as {implemented}")));
            }
            (of, begin) = (Some(implementor.to_owned()), "pub ");
        } else if let Some(rest) = line.strip_prefix("pub trait ") {
            (of, begin) = (Some(word(rest).to_owned()), "");
        } else if let (Some(of), Some(rest)) = (&of, item(line, begin)) {
            let mut signature = rest.to_owned();
            while !signature.contains(['{', ';']) {
                signature += lines.next().unwrap_or(";");
            }
            let is_awaited =
                ["async fn ", "impl Future<", "BoxFuture<"].iter().any(|it| signature.contains(it));
            if let (true, Some((_, name))) = (is_awaited, signature.split_once("fn ")) {
                offered.push((of.clone(), format!("::{}", word(name))));
            }
        }
    }
    offered
}

/// What an item begins with, comments and attributes being none.
fn item<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    let line = line.trim_start();
    line.strip_prefix(begin).filter(|_| !line.starts_with(['/', '#', '}']) && !line.is_empty())
}

/// The trait, or nothing, and the type of `impl<T> Trait<U> for Type<T> {`, of which `impl` is gone.
fn block(rest: &str) -> (&str, &str) {
    let mut depth = 0;
    let begin = rest.find(|it| {
        depth += i32::from(it == '<') - i32::from(it == '>');
        depth == 0 && it == ' '
    });
    let rest = &rest[begin.unwrap_or(0)..];
    match rest.split_once(" for ") {
        Some((implemented, implementor)) => (word(implemented.trim()), word(implementor)),
        None => ("", word(rest.trim())),
    }
}

/// The name that a text begins with.
fn word(text: &str) -> &str {
    text.split(|it: char| !it.is_alphanumeric() && it != '_').next().unwrap_or_default()
}
