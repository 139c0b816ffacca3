//! Every field of the table, in every version that lacks it: a value that matters is an error with the field's name.

use std::collections::BTreeSet;

use ottla_wire::{EncodeErrorKind, FieldInfo, Kind, Message};

use crate::sample;
use crate::subject::{EachSubject, Subject, for_every_subject};

/// A field and the structs it is in, from the outermost: each with the name of the struct that has it.
type Path = Vec<(&'static str, &'static FieldInfo)>;

/// Trap W13: a value that a version cannot carry is an error that names its field, unless it is the default or the row
/// says that it may be dropped. For every field, from every version that has it to every other.
#[test]
fn every_field_that_a_version_lacks_is_refused_by_name_or_may_be_dropped() {
    let mut every = EveryField::default();
    for_every_subject(&mut every);
    println!(
        "{} values refused by name, {} dropped, {} carried",
        every.refused, every.dropped, every.carried
    );
    assert!(every.refused > 1000 && every.dropped > 500 && every.carried > 10_000);
    assert!(every.inexpressible * 20 < every.refused, "{} defaults cannot be written", every.inexpressible);
}

#[derive(Default)]
struct EveryField {
    refused: usize,
    dropped: usize,
    carried: usize,
    /// Pairs of versions where even the defaults of the one cannot be written in the other: a null, mostly.
    inexpressible: usize,
    /// Fields of the message at hand that were refused or dropped at least once.
    tried: BTreeSet<String>,
}

impl EachSubject for EveryField {
    fn each<S: Subject>(&mut self) {
        let mut paths = Vec::new();
        collect(S::Value::NAME, S::Value::FIELDS, &Vec::new(), &mut paths);
        for from in S::versions() {
            let mut body = Vec::new();
            sample::defaults(S::Value::FIELDS, from, S::is_flexible(from), &mut body);
            let defaults = S::decode(&S::payload(from, &body), from).unwrap();
            for to in S::versions() {
                if S::encode(&defaults, to).is_err() {
                    self.inexpressible += 1;
                    continue;
                }
                let present = paths.iter().filter(|path| path.iter().all(|(_, field)| field.is_in(from)));
                present.for_each(|path| self.check::<S>(path, from, to));
            }
        }
        let tried = std::mem::take(&mut self.tried);
        for path in &paths {
            let has = |version: &i16| path.iter().all(|(_, field)| field.is_in(*version));
            let is_lacked = S::versions().any(|version| has(&version)) && !S::versions().all(|v| has(&v));
            assert!(!is_lacked || tried.contains(&spelled(path)), "{} was never left out", spelled(path));
        }
    }
}

impl EveryField {
    fn check<S: Subject>(&mut self, path: &Path, from: i16, to: i16) {
        let mut body = Vec::new();
        with_one(S::Value::FIELDS, path, from, S::is_flexible(from), &mut body);
        let value = S::decode(&S::payload(from, &body), from).unwrap();
        let encoded = S::encode(&value, to);
        // The outermost of the structs that the version lacks decides for all that is in it.
        match path.iter().find(|(_, field)| !field.is_in(to)) {
            None => {
                encoded.unwrap_or_else(|e| panic!("from version {from}: {e}"));
                self.carried += 1;
            }
            Some((_, field)) if field.ignorable => {
                self.tried.insert(spelled(path));
                encoded.unwrap_or_else(|e| panic!("from version {from}: {e}"));
                self.dropped += 1;
            }
            Some((owner, field)) => {
                self.tried.insert(spelled(path));
                let name = format!("{owner}.{}", field.name);
                let error = encoded.expect_err(&name);
                assert_eq!((error.kind, error.version), (EncodeErrorKind::NotInVersion, to), "{name}");
                assert_eq!(error.field.replace("r#", ""), name);
                self.refused += 1;
            }
        }
    }
}

/// The names of a path.
fn spelled(path: &Path) -> String {
    path.iter().map(|(owner, field)| format!("/{owner}.{}", field.name)).collect()
}

/// Every field whose value can differ from its default by itself.
fn collect(owner: &'static str, fields: &'static [FieldInfo], above: &Path, paths: &mut Vec<Path>) {
    for field in fields {
        let mut path = above.clone();
        path.push((owner, field));
        match field.kind {
            Kind::Struct(name, inside) => collect(name, inside, &path, paths),
            Kind::Array(Kind::Struct(name, inside)) => collect(name, inside, &path, paths),
            _ => {}
        }
        if field.nullable.is_some() || !matches!(field.kind, Kind::Struct(..)) {
            paths.push(path);
        }
    }
}

/// A struct whose fields have their defaults, all but the one at `path`.
fn with_one(
    fields: &[FieldInfo],
    path: &[(&'static str, &'static FieldInfo)],
    version: i16,
    flexible: bool,
    out: &mut Vec<u8>,
) {
    let ((_, chosen), rest) = path.split_first().unwrap();
    for field in fields.iter().filter(|field| field.is_in(version) && field.tag.is_none()) {
        if field.name == chosen.name {
            other_value(field, rest, version, flexible, out);
        } else {
            sample::default_value(field, version, flexible, out);
        }
    }
    if !flexible {
        return;
    }
    sample::uvarint(usize::from(chosen.tag.is_some()), out);
    if let Some(tag) = chosen.tag {
        let mut value = Vec::new();
        other_value(chosen, rest, version, flexible, &mut value);
        sample::uvarint(tag as usize, out);
        sample::uvarint(value.len(), out);
        out.extend(value);
    }
}

/// Not the field's default.
fn other_value(
    field: &FieldInfo,
    path: &[(&'static str, &'static FieldInfo)],
    version: i16,
    flexible: bool,
    out: &mut Vec<u8>,
) {
    match field.kind {
        Kind::Struct(_, fields) => {
            if field.is_nullable_in(version) {
                out.push(1);
            }
            struct_value(fields, path, version, flexible, out);
        }
        Kind::Array(Kind::Struct(_, fields)) => {
            sample::length(field.kind, 1, flexible, out);
            struct_value(fields, path, version, flexible, out);
        }
        Kind::Array(element) => {
            sample::length(field.kind, 1, flexible, out);
            element_value(*element, None, flexible, out);
        }
        kind => element_value(kind, field.default, flexible, out),
    }
}

fn struct_value(
    fields: &[FieldInfo],
    path: &[(&'static str, &'static FieldInfo)],
    version: i16,
    flexible: bool,
    out: &mut Vec<u8>,
) {
    if path.is_empty() {
        sample::defaults(fields, version, flexible, out);
    } else {
        with_one(fields, path, version, flexible, out);
    }
}

fn element_value(kind: Kind, default: Option<&str>, flexible: bool, out: &mut Vec<u8>) {
    match kind {
        Kind::Primitive("string" | "bytes" | "records") => {
            sample::length(kind, 1, flexible, out);
            out.push(b'x');
        }
        Kind::Primitive("bool") => out.push((default != Some("true")).into()),
        Kind::Primitive("uuid") => out.extend([1; 16]),
        Kind::Primitive("float64") => out.extend(1f64.to_be_bytes()),
        Kind::Primitive(name) => {
            let number: u8 = if default == Some("1") { 2 } else { 1 };
            out.extend(std::iter::repeat_n(0, sample::width(name) - 1));
            out.push(number);
        }
        other => unreachable!("an array of {other:?}"),
    }
}
