//! What a message holds, field by field, whoever says so: the `Debug` text of a struct of the table, and the text in
//! the same grammar that `tools/java/Exchange.java` makes of a Java object by reflection.

use std::collections::BTreeMap;

/// A value, without the names of types. Names of fields are compared without underscores and case.
#[derive(Debug, Clone)]
pub(crate) enum Dump {
    Struct(BTreeMap<String, Self>),
    List(Vec<Self>),
    Text(String),
    /// Numbers, error codes (as numbers), `true`, `None`, the length of records.
    Word(String),
    /// What `Debug` does not show equals everything; see [`Dump::hidden`].
    Hidden,
}

/// Fields that Java's classes have and no version of the table: Kafka removed all versions of the message that had them.
const REMOVED: [&str; 1] = ["partitionmaxbytes"];

/// Ours on the left.
impl PartialEq for Dump {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden, _) | (_, Self::Hidden) => true,
            (Self::Struct(a), Self::Struct(b)) => {
                let removed = |name: &&String| REMOVED.contains(&name.as_str()) && !a.contains_key(*name);
                a.iter().all(|(name, value)| b.get(name) == Some(value))
                    && b.keys().all(|name| a.contains_key(name) || removed(&name))
            }
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            // Java spells floating point numbers otherwise.
            (Self::Word(a), Self::Word(b)) => {
                let bits = |word: &str| word.parse().map(f64::to_bits);
                a == b || (bits(a).is_ok() && bits(a) == bits(b))
            }
            _ => false,
        }
    }
}

impl Dump {
    /// What the other side shows of what is not shown here.
    pub(crate) fn hidden(&self, other: &Self, found: &mut Vec<String>) {
        match (self, other) {
            (Self::Hidden, Self::Text(text)) => found.push(text.clone()),
            (Self::Struct(ours), Self::Struct(theirs)) => {
                for (name, value) in ours {
                    value.hidden(&theirs[name], found);
                }
            }
            (Self::List(ours), Self::List(theirs)) => {
                ours.iter().zip(theirs).for_each(|(ours, theirs)| ours.hidden(theirs, found));
            }
            _ => {}
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut parser = Parser { rest: text };
        let value = parser.value();
        assert_eq!(parser.rest, "", "behind a value");
        value
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Dump {
        if self.skip("[hidden]") {
            return Dump::Hidden;
        }
        if self.skip("[") {
            let mut list = Vec::new();
            while !self.skip("]") {
                list.push(self.value());
                self.skip(", ");
            }
            return Dump::List(list);
        }
        if self.skip("b\"") || self.skip("\"") {
            return Dump::Text(self.quoted());
        }
        let end = self.rest.find([',', ']', '}', '{', '(', ')']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if let Some(fields) = rest.strip_prefix('{') {
            self.rest = fields.trim_start();
            return self.fields();
        }
        if let Some(inside) = rest.strip_prefix('(') {
            // `Some(value)`, or an error code: `NAME (6)`.
            self.rest = inside;
            let inside = self.value();
            assert!(self.skip(")"), "no end: {}", self.rest);
            return inside;
        }
        self.rest = rest;
        Dump::Word(word.trim_start_matches("unknown error ").to_owned())
    }

    fn fields(&mut self) -> Dump {
        let mut fields = BTreeMap::new();
        while !self.skip("}") {
            let (name, rest) = self.rest.split_once(": ").expect("a field");
            self.rest = rest;
            fields.insert(name.replace('_', "").to_lowercase(), self.value());
            self.skip(", ");
            self.skip(" ");
        }
        Dump::Struct(fields)
    }

    /// Up to the closing quote; bytes become the characters of the same number.
    fn quoted(&mut self) -> String {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().expect("a closing quote") {
                '"' => break,
                '\\' => text.push(match chars.next().expect("an escape") {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    'x' => escaped(&chars.by_ref().take(2).collect::<String>()),
                    'u' => escaped(&chars.by_ref().skip(1).take_while(|c| *c != '}').collect::<String>()),
                    other => other,
                }),
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        text
    }
}

fn escaped(hex: &str) -> char {
    u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).expect("a character's number")
}
