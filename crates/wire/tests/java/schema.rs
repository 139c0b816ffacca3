//! Messages as a schema has them, read from the lines that `tools/java/Schema.java` prints or made from the table, and
//! how two schemas differ.
//!
//! Both are compared where their versions overlap, and the ranges themselves once. What cannot matter is left out: parts of a
//! range outside the message's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use ottla_wire::{Data, ErrorCode, FieldInfo, Kind, Message, Request, VersionRange, messages};

/// First and last version; [`i16::MAX`] where a range has no end.
type Range = (i16, i16);

/// What a jar or the table says: messages by name.
pub(crate) type Schema = BTreeMap<String, MessageSchema>;

/// One message and its rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageSchema {
    /// `request`, `response`, or what else there is.
    pub(crate) sort: String,
    pub(crate) key: Option<i16>,
    /// None where all versions were removed.
    pub(crate) versions: Option<Range>,
    pub(crate) flexible: Option<i16>,
    pub(crate) unstable: bool,
    pub(crate) on_brokers: bool,
    pub(crate) fields: Vec<FieldSchema>,
}

/// A row, under the names of all structs above it.
#[derive(Debug, Clone)]
pub(crate) struct FieldSchema {
    path: String,
    kind: String,
    versions: Range,
    tag: Option<u32>,
    default: String,
    nullable: Option<Range>,
    ignorable: bool,
}

/// The lines of `Schema.java` about the jars in `libs`.
pub(crate) fn lines(libs: &Path) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/java/Schema.java");
    let output = Command::new("java").arg("-cp").arg(libs.join("*")).arg(program).arg(libs).output();
    let output = output.expect("java starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The messages in those lines.
pub(crate) fn of_jars(lines: &str) -> Schema {
    let mut schema = Schema::new();
    let mut current = String::new();
    for line in lines.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["message", name, sort, key, versions, flexible, unstable, listeners] => {
                let message = MessageSchema {
                    sort: sort.to_owned(),
                    key: key.parse().ok(),
                    versions: range(versions),
                    flexible: range(flexible).map(|(first, _)| first),
                    unstable: unstable == "true",
                    on_brokers: listeners.split(',').any(|listener| listener == "broker"),
                    fields: Vec::new(),
                };
                current = name.to_owned();
                schema.insert(current.clone(), message);
            }
            ["field", path, kind, versions, tag, default, nullable, ignorable] => {
                let (_, path) = path.split_once('/').expect("a message and a field");
                let field = FieldSchema {
                    path: path.to_owned(),
                    kind: kind.to_owned(),
                    versions: range(versions).expect("a field has versions"),
                    tag: tag.parse().ok(),
                    default: canonical(kind, default),
                    nullable: range(nullable),
                    ignorable: ignorable == "true",
                };
                schema.get_mut(&current).expect("its message came first").fields.push(field);
            }
            _ => {}
        }
    }
    schema
}

/// `none` and `-` are no range.
fn range(text: &str) -> Option<Range> {
    let number = |text: &str| text.parse().ok();
    match text.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => match text.strip_suffix('+') {
            Some(first) => Some((number(first)?, i16::MAX)),
            None => number(text).map(|only| (only, only)),
        },
    }
}

/// A default in one spelling, also where nothing is said.
fn canonical(kind: &str, default: &str) -> String {
    let default = default.trim_matches('"');
    match (kind, default) {
        (_, "null" | "None") => "null".to_owned(),
        ("bool", "-") => "false".to_owned(),
        ("records", "-") => "null".to_owned(),
        ("uuid", "-") => "zero".to_owned(),
        ("float64" | "int8" | "int16" | "uint16" | "int32" | "int64", "-") => "0".to_owned(),
        (_, "-") => "empty".to_owned(),
        (_, hex) if hex.starts_with("0x") => {
            i64::from_str_radix(&hex[2..], 16).expect("a number").to_string()
        }
        (_, other) => other.to_owned(),
    }
}

/// The messages of the table.
pub(crate) fn of_table() -> Schema {
    struct Collect<'a>(&'a mut Schema);

    impl messages::Visitor for Collect<'_> {
        type Output = ();

        fn visit<R: Request>(self) {
            let VersionRange { min, max } = R::VERSIONS;
            let request = MessageSchema {
                sort: "request".to_owned(),
                key: Some(R::KEY.0),
                versions: Some((min, R::LATEST_UNSTABLE.unwrap_or(max))),
                flexible: R::FLEXIBLE,
                unstable: R::LATEST_UNSTABLE.is_some(),
                on_brokers: true,
                fields: rows(R::FIELDS),
            };
            let response = MessageSchema {
                sort: "response".to_owned(),
                fields: rows(R::Response::FIELDS),
                ..request.clone()
            };
            self.0.insert(R::NAME.to_owned(), request);
            self.0.insert(R::Response::NAME.to_owned(), response);
        }
    }

    impl messages::DataVisitor for Collect<'_> {
        type Output = ();

        fn visit<D: Data>(self) {
            let data = MessageSchema {
                key: D::RECORD_TYPE,
                versions: Some((D::VERSIONS.min, D::VERSIONS.max)),
                flexible: D::FLEXIBLE,
                fields: rows(D::FIELDS),
                ..MessageSchema::default()
            };
            self.0.insert(D::NAME.to_owned(), data);
        }
    }

    let mut schema = Schema::new();
    for &key in messages::KEYS {
        messages::visit(key, Collect(&mut schema)).expect("the table has its own keys");
    }
    for name in messages::DATA {
        messages::visit_data(name, Collect(&mut schema)).expect("the table has its own structs");
    }
    schema
}

fn rows(fields: &[FieldInfo]) -> Vec<FieldSchema> {
    fn collect(above: &str, fields: &[FieldInfo], rows: &mut Vec<FieldSchema>) {
        for field in fields {
            let path = format!("{above}{}", field.name);
            let kind = kind_name(field.kind);
            rows.push(FieldSchema {
                path: path.clone(),
                default: canonical(&kind, field.default.unwrap_or("-")),
                kind,
                versions: field.versions,
                tag: field.tag,
                nullable: field.nullable,
                ignorable: field.ignorable,
            });
            if let Kind::Struct(_, inside) = element(field.kind) {
                collect(&format!("{path}/"), inside, rows);
            }
        }
    }

    let mut rows = Vec::new();
    collect("", fields, &mut rows);
    rows
}

fn element(kind: Kind) -> Kind {
    match kind {
        Kind::Array(inside) => element(*inside),
        other => other,
    }
}

fn kind_name(kind: Kind) -> String {
    match kind {
        Kind::Primitive(name) | Kind::Struct(name, _) => name.to_owned(),
        Kind::Array(inside) => format!("[]{}", kind_name(*inside)),
    }
}

/// What is in `there` and not so `here`, a line each.
pub(crate) fn differences(here: &MessageSchema, there: &MessageSchema) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, here: String, there: String| {
        if here != there {
            found.push(format!("{what} {there}, in the table {here}"));
        }
    };
    compare("key", word(here.key), word(there.key));
    compare("versions", show(here.versions), show(there.versions));
    compare("flexible from", word(here.flexible), word(there.flexible));
    if here.sort == "request" {
        compare("newest version unstable:", here.unstable.to_string(), there.unstable.to_string());
        compare("on the broker's listener:", here.on_brokers.to_string(), there.on_brokers.to_string());
    }
    if let Some(common) = overlap(here.versions, there.versions) {
        found.extend(field_differences(here, there, common));
    }
    found
}

fn field_differences(here: &MessageSchema, there: &MessageSchema, common: Range) -> Vec<String> {
    let mut found = Vec::new();
    let paths = |message: &MessageSchema, tagged| {
        let rows = message.fields.iter().filter(move |row| tagged || row.tag.is_none());
        rows.map(|row| row.path.clone()).collect::<Vec<_>>()
    };
    let known = |message| paths(message, true).into_iter().collect::<BTreeSet<_>>();
    let (known_here, known_there) = (known(here), known(there));
    for field in &there.fields {
        match here.fields.iter().find(|candidate| candidate.path == field.path) {
            // Kafka leaves rows standing whose last version it has removed.
            None if overlap(Some(field.versions), there.versions).is_none() => {
                found.push(format!("in no version: {field}"));
            }
            None => found.push(format!("new: {field}")),
            Some(row) => found.extend(row.differs(field, common)),
        }
    }
    let gone = here.fields.iter().filter(|row| !known_there.contains(&row.path));
    found.extend(gone.map(|row| format!("not there: {row}")));
    // Tagged fields are in the order of their numbers on the wire, wherever their rows are.
    let order_here = paths(here, false).into_iter().filter(|path| known_there.contains(path));
    let order_there = paths(there, false).into_iter().filter(|path| known_here.contains(path));
    if let Some((a, b)) = order_here.zip(order_there).find(|(a, b)| a != b) {
        found.push(format!("order: {b} comes before {a}"));
    }
    found
}

impl FieldSchema {
    /// How `there` says otherwise, for the versions in `common`.
    fn differs(&self, there: &Self, common: Range) -> Option<String> {
        let (clipped_here, clipped_there) =
            (overlap(Some(self.versions), Some(common)), overlap(Some(there.versions), Some(common)));
        let nullable = |field: &Self, clipped| show(overlap(field.nullable, clipped));
        let attributes = [
            ("type", self.kind.clone(), there.kind.clone()),
            ("versions", show(clipped_here), show(clipped_there)),
            ("tag", word(self.tag), word(there.tag)),
            ("default", self.default.clone(), there.default.clone()),
            ("nullable", nullable(self, clipped_here), nullable(there, clipped_there)),
            ("ignorable", self.ignorable.to_string(), there.ignorable.to_string()),
        ];
        let changed: Vec<_> = attributes
            .into_iter()
            .filter(|(_, here, there)| here != there)
            .map(|(what, here, there)| format!("{what} {there}, in the table {here}"))
            .collect();
        (!changed.is_empty()).then(|| format!("{}: {}", self.path, changed.join("; ")))
    }
}

impl fmt::Display for FieldSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, versions {}", self.path, self.kind, show(Some(self.versions)))?;
        if let Some(tag) = self.tag {
            write!(f, ", tag {tag}")?;
        }
        write!(f, ", default {}", self.default)?;
        if self.nullable.is_some() {
            write!(f, ", nullable {}", show(self.nullable))?;
        }
        f.write_str(if self.ignorable { ", ignorable" } else { "" })
    }
}

impl fmt::Display for MessageSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, versions {}, flexible from {}", self.sort, show(self.versions), word(self.flexible))
    }
}

fn overlap(a: Option<Range>, b: Option<Range>) -> Option<Range> {
    let (a, b) = (a?, b?);
    let both = (a.0.max(b.0), a.1.min(b.1));
    (both.0 <= both.1).then_some(both)
}

/// A range as the schema spells it.
fn show(range: Option<Range>) -> String {
    match range {
        None => "none".to_owned(),
        Some((first, i16::MAX)) => format!("{first}+"),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    }
}

fn word<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// The classes of Kafka's exception for each error code, in the lines: code, name, its own class and those above it.
pub(crate) fn exceptions(lines: &str) -> Vec<(ErrorCode, &str, Vec<&str>)> {
    let exception = |line: &'_ str| match line.split('\t').collect::<Vec<_>>()[..] {
        ["error", code, ..] => code.parse().ok(),
        _ => None,
    };
    let errors = lines.lines().filter_map(|line| Some((exception(line)?, line)));
    errors
        .map(|(code, line)| {
            let mut words = line.split('\t').skip(2);
            let name = words.next().expect("a name");
            (ErrorCode(code), name, words.next().expect("classes").split(',').collect())
        })
        .collect()
}

/// Error codes that the lines and the crate have not in common: name, whether retriable, whether metadata or what is known
/// of a coordinator is stale.
///
/// Kafka has a class for what is stale, and one below it for metadata; what is only in the first is about coordinators.
/// Releases before 4.0 have only the second.
pub(crate) fn code_differences(lines: &str) -> Vec<String> {
    let has_refreshes = lines.contains(REFRESH);
    let facts = |code: ErrorCode, name: &str| {
        let coordinator = has_refreshes && code.needs_coordinator();
        let (retriable, metadata) = (code.is_retriable(), code.needs_metadata());
        format!("{name}, retriable {retriable}, needs metadata {metadata}, needs coordinator {coordinator}")
    };
    let mut ours: BTreeMap<i16, String> = (i16::MIN..=i16::MAX)
        .filter_map(|code| Some((code, facts(ErrorCode(code), ErrorCode(code).name()?))))
        .collect();
    let mut found = Vec::new();
    for (code, name, classes) in exceptions(lines) {
        let here = ours.remove(&code.0).unwrap_or_else(|| "nothing".to_owned());
        let is = |class| classes.contains(&class);
        let (retriable, metadata) = (is("RetriableException"), is("InvalidMetadataException"));
        let coordinator = is(REFRESH) && !metadata;
        let there = format!(
            "{name}, retriable {retriable}, needs metadata {metadata}, needs coordinator {coordinator}"
        );
        if here != there {
            found.push(format!("{}: {there}; in the table {here}", code.0));
        }
    }
    found.extend(ours.iter().map(|(code, here)| format!("not there: {code}: {here}")));
    found
}

const REFRESH: &str = "RefreshRetriableException";

/// Whether a message of the jars should be in the table: requests on the broker's listener and their responses, and
/// what stands in records and group messages.
pub(crate) fn belongs(name: &str, message: &MessageSchema, jars: &Schema) -> bool {
    let is_on_brokers = |other: &MessageSchema| other.on_brokers && other.key == message.key;
    message.versions.is_some()
        && match &*message.sort {
            "request" => message.on_brokers,
            "response" => jars.values().any(|other| other.sort == "request" && is_on_brokers(other)),
            "coordinator-key" | "coordinator-value" => true,
            "data" | "header" => !READ_BY_HAND.contains(&name),
            _ => false,
        }
}

/// Data and headers that need no rows.
const READ_BY_HAND: [&str; 6] = [
    // `records::control` reads these two; `transaction_markers` in `tests/snapshots_batches.rs` has the bytes that Kafka's
    // classes make of them, both ways.
    "ControlRecordTypeSchema",
    "EndTxnMarker",
    // `crate::header` does, since which of them stands in front depends on the message; they are part of every exchange.
    "RequestHeader",
    "ResponseHeader",
    // Only in requests between brokers and controllers, and in a file of a controller.
    "DefaultPrincipalData",
    "QuorumStateData",
];
