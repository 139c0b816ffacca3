//! Bytes of any message in any version, made from the table's rows and a string of choices.
//!
//! This is a second, slower reading of the protocol guide: it shares with the crate only the rows. The choices are
//! bytes (from proptest, or from a fuzzer); when they run out every further choice is the simplest one, so that
//! shrinking the choices shrinks the message.

use ottla_wire::{FieldInfo, Kind, Message};

/// The body of a message in `version`, with tagged fields and unknown tags where the version is flexible. Small.
pub(crate) fn body<M: Message>(choices: &[u8], version: i16, flexible: bool) -> Vec<u8> {
    sampled::<M>(Sampler { choices, always: 0, version, flexible, edges: false, longest: false })
}

/// The same, and now and then the longest string, an array whose compact length needs two bytes, extreme numbers, the
/// default of a tagged field.
pub(crate) fn with_edges<M: Message>(choices: &[u8], version: i16, flexible: bool) -> Vec<u8> {
    sampled::<M>(Sampler { choices, always: 0, version, flexible, edges: true, longest: false })
}

/// How many bodies [`edge`] makes.
pub(crate) const EDGES: usize = 6;

/// What must not be left to chance: everything empty or zero, everything null that may be, the longest string, the
/// smallest numbers and the largest, an unknown tagged field in every struct. (The last two have those of both ends.)
pub(crate) fn edge<M: Message>(which: usize, version: i16, flexible: bool) -> Vec<u8> {
    // What each choice means is told where it is made.
    let always = [0, 3, 4, 1, 254, 253][which];
    sampled::<M>(Sampler { choices: &[], always, version, flexible, edges: true, longest: which == 3 })
}

fn sampled<M: Message>(mut sampler: Sampler<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    sampler.fields(M::FIELDS, &mut out);
    out
}

struct Sampler<'a> {
    choices: &'a [u8],
    /// The choice when there are no more.
    always: u8,
    version: i16,
    flexible: bool,
    edges: bool,
    /// The next string is the longest one.
    longest: bool,
}

impl Sampler<'_> {
    fn choose(&mut self) -> u8 {
        let Some((first, rest)) = self.choices.split_first() else { return self.always };
        self.choices = rest;
        *first
    }

    /// A choice that stands for itself, or with edges for one of a few rare cases: 250 to 255.
    fn choose_edge(&mut self) -> (u8, Option<u8>) {
        let choice = self.choose();
        (choice, Some(choice).filter(|choice| self.edges && *choice >= 250))
    }

    fn raw(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.choose()).collect()
    }

    fn fields(&mut self, fields: &[FieldInfo], out: &mut Vec<u8>) {
        let version = self.version;
        let present = || fields.iter().filter(|field| field.is_in(version));
        for field in present().filter(|field| field.tag.is_none()) {
            self.value(field.kind, field.is_nullable_in(version), out);
        }
        if !self.flexible {
            return;
        }
        let mut tags = Vec::new();
        for field in present().filter(|field| field.tag.is_some()) {
            let (mut value, mut default) = (Vec::new(), Vec::new());
            default_value(field, version, true, &mut default);
            if self.edges && self.choose() % 8 == 1 {
                continue;
            }
            self.value(field.kind, field.is_nullable_in(version), &mut value);
            if matches!(field.kind, Kind::Struct(..)) && value == [0xff] {
                // What says in a tagged field that there is a struct is a varint.
                value = vec![0];
            }
            if value != default {
                tags.push((field.tag.unwrap(), value));
            }
        }
        if self.choose() > 200 {
            let (tag, len) = (100 + u32::from(self.choose()) * 1000, usize::from(self.choose() % 20));
            tags.push((tag, self.raw(len)));
        }
        tags.sort_by_key(|(tag, _)| *tag);
        uvarint(tags.len(), out);
        for (tag, value) in tags {
            uvarint(tag as usize, out);
            uvarint(value.len(), out);
            out.extend(value);
        }
    }

    fn value(&mut self, kind: Kind, nullable: bool, out: &mut Vec<u8>) {
        if nullable && self.choose() % 4 == 3 {
            return null(kind, self.flexible, out);
        }
        match kind {
            Kind::Primitive("string") => {
                let text: String = match self.choose_edge() {
                    _ if std::mem::take(&mut self.longest) => "x".repeat(32_767),
                    (_, Some(255)) => "x".repeat(32_767),
                    (_, Some(254)) => "\u{6f22}".repeat(42) + "\u{1f980}",
                    (_, Some(253)) => "\u{e9}".repeat(63),
                    (len, _) => (0..len % 10).map(|_| char::from(self.choose())).collect(),
                };
                length(kind, text.len(), self.flexible, out);
                out.extend(text.bytes());
            }
            Kind::Primitive("bytes" | "records") => {
                // Now and then longer than what the writer copies.
                let len = match self.choose() {
                    255 => 1500,
                    len => usize::from(len % 20),
                };
                length(kind, len, self.flexible, out);
                out.extend(self.raw(len));
            }
            Kind::Primitive("bool") => out.push(self.choose() & 1),
            // Finite, because a NaN does not equal itself.
            Kind::Primitive("float64") => out.extend(f64::from(self.choose()).to_be_bytes()),
            Kind::Primitive(name) => {
                let extreme = match self.choose_edge() {
                    (_, Some(255)) => Some((0xff, 0xff)),
                    (_, Some(254)) => Some((0x80, 0)),
                    (_, Some(253)) => Some((0x7f, 0xff)),
                    (first, _) => {
                        out.push(first);
                        None
                    }
                };
                match extreme {
                    Some((first, others)) => {
                        out.push(first);
                        out.extend(std::iter::repeat_n(others, width(name) - 1));
                    }
                    None => out.extend(self.raw(width(name) - 1)),
                }
            }
            Kind::Array(element) => {
                let count = match self.choose_edge() {
                    (_, Some(255)) => 130,
                    (count, _) => count % 4,
                };
                length(kind, count.into(), self.flexible, out);
                (0..count).for_each(|_| self.value(*element, false, out));
            }
            Kind::Struct(_, fields) => {
                if nullable {
                    out.push(1);
                }
                self.fields(fields, out);
            }
        }
    }
}

/// A field's default; empty or zero where the default is a null that `version` does not have. What a tagged field must
/// not have, because its writer would have left it out.
pub(crate) fn default_value(field: &FieldInfo, version: i16, flexible: bool, out: &mut Vec<u8>) {
    let nullable = field.is_nullable_in(version);
    match (field.kind, field.default) {
        (kind, Some("None")) if nullable => null(kind, flexible, out),
        (Kind::Primitive("records"), None) if nullable => null(field.kind, flexible, out),
        (Kind::Primitive("bool"), default) => out.push((default == Some("true")).into()),
        (kind @ (Kind::Primitive("string" | "bytes" | "records") | Kind::Array(_)), _) => {
            length(kind, 0, flexible, out);
        }
        (Kind::Primitive("uuid"), _) => out.extend([0; 16]),
        (Kind::Primitive("float64"), _) => out.extend([0; 8]),
        (Kind::Primitive(name), default) => {
            let text = default.unwrap_or("0");
            let number: i64 = match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
                None => text.parse().unwrap(),
            };
            out.extend(&i128::from(number).to_be_bytes()[16 - width(name)..]);
        }
        (Kind::Struct(_, fields), _) => {
            if nullable {
                out.push(1);
            }
            defaults(fields, version, flexible, out);
        }
    }
}

/// A struct all of whose fields have their defaults.
pub(crate) fn defaults(fields: &[FieldInfo], version: i16, flexible: bool, out: &mut Vec<u8>) {
    for field in fields.iter().filter(|field| field.is_in(version) && field.tag.is_none()) {
        default_value(field, version, flexible, out);
    }
    if flexible {
        uvarint(0, out);
    }
}

pub(crate) fn width(name: &str) -> usize {
    match name {
        "int8" => 1,
        "int16" | "uint16" => 2,
        "int32" => 4,
        "int64" => 8,
        "uuid" => 16,
        other => unreachable!("no primitive is called {other}"),
    }
}

pub(crate) fn length(kind: Kind, length: usize, flexible: bool, out: &mut Vec<u8>) {
    match kind {
        _ if flexible => uvarint(length + 1, out),
        Kind::Primitive("string") => out.extend((length as i16).to_be_bytes()),
        _ => out.extend((length as i32).to_be_bytes()),
    }
}

fn null(kind: Kind, flexible: bool, out: &mut Vec<u8>) {
    match kind {
        Kind::Struct(..) => out.push(0xff),
        _ if flexible => out.push(0),
        Kind::Primitive("string") => out.extend([0xff; 2]),
        _ => out.extend([0xff; 4]),
    }
}

pub(crate) fn uvarint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}
