//! Keeps `docs/traps.md` and `docs/checklist.md` true: both name the tests of every item, and a test names its items
//! in its doc comment (`/// Trap W4: ...`, `/// D2: ...`).
//!
//! The `Tests:` lines follow from the code. With `OTTLA_WRITE_DOCS` in the environment they are written anew, without
//! it they are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many items each letter has. They are numbered from 1.
const TRAPS: &[(char, usize)] =
    &[('W', 13), ('N', 14), ('M', 6), ('P', 14), ('T', 6), ('C', 13), ('G', 9), ('S', 3), ('U', 3)];
const CHECKLIST: &[(char, usize)] = &[('A', 6), ('B', 8), ('C', 3), ('D', 9), ('E', 9), ('F', 5)];

/// What the line of an item says that has no test, and is not kept in another way.
const PLANNED: &str = "planned";

/// Tests by the item they keep: crate and function name.
type Tests = BTreeMap<String, BTreeSet<(String, String)>>;

#[test]
fn traps_are_all_listed_with_their_tests() {
    keep("docs/traps.md", TRAPS, &tests_of(Kind::Trap));
}

#[test]
fn promises_are_all_listed_with_their_tests() {
    keep("docs/checklist.md", CHECKLIST, &tests_of(Kind::Promise));
}

/// What the documents call by its path is there.
#[test]
fn paths_that_documents_name_exist() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        for path in quoted(&text).filter(|quote| is_path(quote)) {
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "named but not there:\n{}", missing.join("\n"));
}

/// `Type::method` and `Type::Variant` in a document are in the code, but for what the page for those who come from elsewhere says
/// of elsewhere: the first columns of its tables, and whose names they are.
#[test]
fn names_that_documents_use_are_in_the_code() {
    let sources = ["crates", "xtask"].map(|folder| files(&root().join(folder), "rs")).concat();
    let sources: String = sources.iter().map(|file| read(file)).collect();
    let words: BTreeSet<&str> = words(&sources).collect();
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        let ours = match document.ends_with("docs/coming-from.md") {
            true => text.lines().map(second_column).collect::<Vec<_>>().join("\n"),
            false => text,
        };
        let names = quoted(&ours).filter(|quote| is_name(quote));
        let gone = names.filter(|name| name.split("::").any(|part| !words.contains(part)));
        missing.extend(gone.map(|name| format!("{}: {name}", document.display())));
    }
    assert!(missing.is_empty(), "named but not there:\n{}", missing.join("\n"));
}

/// A row of a table without its first column; any other line as it is.
fn second_column(line: &str) -> &str {
    line.strip_prefix("| ").and_then(|row| row.split_once(" | ")).map_or(line, |(_, second)| second)
}

/// A doc comment that names an item which does not exist is a slip of the pen.
#[test]
fn tests_name_items_that_exist() {
    for (kind, numbering) in [(Kind::Trap, TRAPS), (Kind::Promise, CHECKLIST)] {
        let known: BTreeSet<String> = ids(numbering).collect();
        let unknown: Vec<_> = tests_of(kind).into_iter().filter(|(id, _)| !known.contains(id)).collect();
        assert!(unknown.is_empty(), "doc comments of tests name {unknown:?}, which no document lists");
    }
}

/// A2: nothing that the workspace depends on, for whatever target and with whatever feature, compiles C or looks for a C
/// library.
#[test]
fn no_dependency_compiles_c() {
    let lock = read(&root().join("Cargo.lock"));
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let builds_c = |name: &str| {
        let builders = ["bindgen", "cc", "cmake", "nasm-rs", "pkg-config", "vcpkg"];
        // Declarations only, for another system.
        builders.contains(&name) || (name.ends_with("-sys") && name != "windows-sys")
    };
    let found: Vec<&str> = names.filter(|name| builds_c(name)).collect();
    assert!(lock.contains("name = \"ottla-wire\"") && found.is_empty(), "{found:?}");
}

/// C1: each module that knows something of the protocol says where that is written: in the protocol guide, in a chapter of
/// the documentation, or in a KIP.
#[test]
fn modules_that_know_the_protocol_name_their_source() {
    let wire = root().join("crates/wire/src");
    let mut modules = files(&wire.join("messages"), "rs");
    modules.retain(|path| !path.ends_with("messages/mod.rs") && !path.ends_with("messages/data.rs"));
    let of_wire = ["frame", "header", "primitives", "varint", "tags", "uuid", "error_code"];
    modules.extend(of_wire.map(|name| wire.join(format!("{name}.rs"))));
    modules.extend(["records", "compression"].map(|name| wire.join(name).join("mod.rs")));
    let core = root().join("crates/core/src");
    modules.extend(["frames", "mod", "versions"].map(|name| core.join(format!("connection/{name}.rs"))));
    modules.extend(["metadata", "producer", "fetcher"].map(|name| core.join(name).join("mod.rs")));
    modules.push(core.join("calls.rs"));
    let silent: Vec<_> = modules.iter().filter(|path| !names_its_source(&read(path))).collect();
    assert!(modules.len() > 80 && silent.is_empty(), "these name no source: {silent:#?}");
}

/// Whether the comment at the top of a module, or that of an item in it, has a source.
fn names_its_source(module: &str) -> bool {
    const SOURCES: &[&str] = &["KIP-", "protocol guide", "documentation's chapter", "kafka.apache.org"];
    let comments = module.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    let text = comments.map(|line| line.trim_start_matches(['/', '!', ' '])).collect::<Vec<_>>().join(" ");
    SOURCES.iter().any(|source| text.contains(source))
}

#[test]
fn marks_are_read_with_their_kind() {
    let both = |text| (items(text, Kind::Trap), items(text, Kind::Promise));
    let strings = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(both("Trap W4: a size"), (strings(&["W4"]), vec![]));
    assert_eq!(both("Trap N1, D7: answers"), (strings(&["N1"]), strings(&["D7"])));
    assert_eq!(both("D2, Trap W4: the size"), (strings(&["W4"]), strings(&["D2"])));
    assert_eq!(both("Traps C6 and C10: hidden"), (strings(&["C6", "C10"]), vec![]));
    assert_eq!(both("C2: the code follows the broker"), (vec![], strings(&["C2"])));
    assert_eq!(both("E4/E7: lies"), (vec![], strings(&["E4", "E7"])));
    assert_eq!(both("Trap N2."), (strings(&["N2"]), vec![]));
    assert_eq!(both("A batch: closed"), (vec![], vec![]));
    assert_eq!(both("W4 without the word"), (vec![], vec![]));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Trap,
    Promise,
}

fn keep(document: &str, numbering: &[(char, usize)], tests: &Tests) {
    let path = root().join(document);
    let text = read(&path);
    let listed: Vec<&str> = text.lines().filter_map(item_of).collect();
    let expected: Vec<String> = ids(numbering).collect();
    assert_eq!(listed, expected, "{document} lists each item once, in order");

    let kept = with_tests(&text, tests);
    if std::env::var_os("OTTLA_WRITE_DOCS").is_some() {
        fs::write(&path, kept).expect("the document can be written");
        return;
    }
    for (old, new) in text.lines().zip(kept.lines()) {
        assert_eq!(
            old, new,
            "{document} does not name the tests that there are; \
             OTTLA_WRITE_DOCS=1 cargo test -p xtask --test documents mends it"
        );
    }
    assert_eq!(text, kept);
}

/// The document with each `Tests:` line as the code has it.
fn with_tests(text: &str, tests: &Tests) -> String {
    let (mut item, mut otherwise) = ("", PLANNED);
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(id) = item_of(line) {
            (item, otherwise) = (id, PLANNED);
        } else if line.starts_with("  - Kept by: ") {
            otherwise = "none";
        }
        match line.strip_prefix("  - Tests: ") {
            Some(_) => kept.push_str(&format!("  - Tests: {}", names(tests.get(item), otherwise))),
            None => kept.push_str(line),
        }
        kept.push('\n');
    }
    kept
}

fn names(tests: Option<&BTreeSet<(String, String)>>, otherwise: &str) -> String {
    let mut by_crate: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (krate, name) in tests.into_iter().flatten() {
        by_crate.entry(krate).or_default().push(format!("`{name}`"));
    }
    let groups: Vec<String> =
        by_crate.into_iter().map(|(krate, names)| format!("{krate} {}", names.join(", "))).collect();
    if groups.is_empty() { otherwise.to_owned() } else { groups.join("; ") }
}

/// `- **W4** ...` begins an item.
fn item_of(line: &str) -> Option<&str> {
    let (id, _) = line.strip_prefix("- **")?.split_once("**")?;
    Some(id)
}

fn ids(numbering: &[(char, usize)]) -> impl Iterator<Item = String> {
    numbering.iter().flat_map(|&(letter, count)| (1..=count).map(move |number| format!("{letter}{number}")))
}

/// Every test function whose doc comment begins with items of this kind.
fn tests_of(kind: Kind) -> Tests {
    let mut tests = Tests::new();
    for folder in ["crates", "xtask", "fuzz", "bench"] {
        for file in files(&root().join(folder), "rs") {
            let krate = krate(&file);
            for (name, ids) in named_tests(&read(&file), kind) {
                for id in ids {
                    tests.entry(id).or_default().insert((krate.clone(), name.clone()));
                }
            }
        }
    }
    tests
}

/// The functions marked as tests, with the items that the doc comment above them names.
fn named_tests(source: &str, kind: Kind) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut marked = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            marked.extend(items(comment.trim(), kind));
        } else if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(name) = function(line).filter(|_| is_test && !marked.is_empty()) {
            found.push((name.to_owned(), std::mem::take(&mut marked)));
            is_test = false;
        } else if !line.starts_with("//") {
            marked.clear();
            is_test = false;
        }
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let name = line.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// The items that a line of a doc comment begins with, up to a colon or a full stop: `D2, Trap W4: ...`, `E4/E7.`
fn items(comment: &str, kind: Kind) -> Vec<String> {
    let Some((marks, _)) = comment.split_once([':', '.']) else { return Vec::new() };
    let mut found = Vec::new();
    let mut in_traps = false;
    for word in marks.split([' ', ',', '/']).filter(|word| !word.is_empty() && *word != "and") {
        if word == "Trap" || word == "Traps" {
            in_traps = true;
            continue;
        }
        let Some((letter, number)) = word.split_at_checked(1) else { return Vec::new() };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Vec::new();
        }
        // Both lists have a C; behind the word Trap, it is the trap's.
        let is_promise = "ABDEF".contains(letter) || (letter == "C" && !in_traps);
        if is_promise == (kind == Kind::Promise) && (is_promise || in_traps) {
            found.push(word.to_owned());
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let mut documents = files(&root().join("docs"), "md");
    documents.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    documents
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A path into the repository, as opposed to code that happens to have a slash.
fn is_path(quote: &str) -> bool {
    const TOP: &[&str] = &["crates/", "xtask/", "docs/", "tools/", "fuzz/", "bench/", ".ci/"];
    TOP.iter().any(|top| quote.starts_with(top)) && !quote.contains([' ', '*', '{'])
}

/// `Type::method`, and names of several words: `fetch_records`.
fn is_name(quote: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && words(part).next() == Some(part);
    quote.split("::").all(is_word)
        && (quote.contains("::") || quote.contains('_'))
        && !quote.ends_with('_')
        && !is_variable(quote)
}

/// Names of the environment are not in the code of the crates.
fn is_variable(quote: &str) -> bool {
    quote.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn krate(file: &Path) -> String {
    let inside = file.strip_prefix(root()).unwrap_or(file);
    let mut parts = inside.iter().map(|part| part.to_string_lossy());
    let first = parts.next().unwrap_or_default();
    if first == "crates" { parts.next().unwrap_or_default().into_owned() } else { first.into_owned() }
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
