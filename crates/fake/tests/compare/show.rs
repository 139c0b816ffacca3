//! Answers as one line of text, the same for every cluster that gives the same answer.
//!
//! Every field of an answer is shown, by its `Debug` form, but for what is empty, null or no error. What differs between
//! two clusters by nature has a stand-in: addresses, the texts of errors, ids, the time of day. Names are those the
//! scenario uses.

use std::fmt::{Debug, Write};

use bytes::Bytes;
use ottla_wire::RecordSet;
use ottla_wire::records::{Decoder, RecordBatch, TimestampType, batches};

/// What a scenario calls the things that have another name in every cluster.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// (in the cluster, in the scenario): topics and topic ids.
    pub(crate) texts: Vec<(String, String)>,
    /// Producer ids, in the order they were given out.
    pub(crate) producers: Vec<i64>,
    /// The timestamp of the scenario's records.
    pub(crate) stamp: i64,
}

/// Timestamps so close to the scenario's are its own; others are of the broker's clock.
const OWN_STAMPS: i64 = 600_000;

impl Names {
    /// The answer in one line.
    pub(crate) fn show(&self, answer: &impl Debug) -> String {
        let mut text = format!("{answer:?}");
        for (theirs, ours) in &self.texts {
            text = text.replace(theirs, ours);
        }
        let mut shown = String::new();
        self.write(&mut shown, "", &Parser { rest: &text }.value());
        shown
    }

    fn write(&self, to: &mut String, field: &str, value: &Value) {
        match value {
            Value::Struct(fields) => {
                let shown = fields.iter().filter(|(name, value)| !is_left_out(name, value));
                let shown: Vec<String> = shown.map(|(name, value)| self.field(name, value)).collect();
                write!(to, "{{{}}}", shown.join(" ")).unwrap();
            }
            Value::List(items) => {
                let items = items.iter().map(|item| {
                    let mut one = String::new();
                    self.write(&mut one, field, item);
                    one
                });
                let mut items: Vec<String> = items.collect();
                if matches!(field, "responses" | "topics") {
                    // Brokers keep topics in hash maps.
                    items.sort_unstable();
                }
                write!(to, "[{}]", items.join(" ")).unwrap();
            }
            Value::Some(inner) => self.write(to, field, inner),
            Value::Word(word) => to.push_str(&self.word(field, word)),
        }
    }

    fn field(&self, name: &str, value: &Value) -> String {
        if name.ends_with("error_message") && !matches!(value, Value::Some(text) if text.is_word("\"\"")) {
            return format!("{name}=text");
        }
        let mut shown = format!("{name}=");
        self.write(&mut shown, name, value);
        shown
    }

    fn word(&self, field: &str, word: &str) -> String {
        if field == "topic_id" && !self.texts.iter().any(|(_, ours)| ours == word) {
            return "some".to_owned();
        }
        let Ok(number) = word.parse::<i64>() else {
            let word =
                word.strip_suffix(')').and_then(|word| word.split_once(" (")).map_or(word, |(name, _)| name);
            return word.to_owned();
        };
        match field {
            "port" | "session_id" if number > 0 => "some".to_owned(),
            "controller_id" | "finalized_features_epoch" if number >= 0 => "some".to_owned(),
            "producer_id" => self.producer(number),
            "timestamp" | "log_append_time_ms" => self.time(number),
            _ => number.to_string(),
        }
    }

    /// `A`, `B` and so on for ids that were given out; those that a scenario made up lie behind one of them.
    fn producer(&self, id: i64) -> String {
        let given = ('A'..='Z')
            .zip(&self.producers)
            .filter(|(_, known)| **known <= id)
            .max_by_key(|(_, known)| **known);
        match given {
            Some((letter, known)) if id == *known => letter.to_string(),
            Some((letter, known)) => format!("{letter}+{}", id - known),
            None => id.to_string(),
        }
    }

    fn time(&self, time: i64) -> String {
        match time - self.stamp {
            0 => "stamp".to_owned(),
            since if since.abs() < OWN_STAMPS => format!("stamp{since:+}"),
            since if since.abs() < 100 * OWN_STAMPS => "clock".to_owned(),
            _ => time.to_string(),
        }
    }

    /// The batches of a fetched partition.
    pub(crate) fn records(&self, records: &RecordSet) -> String {
        let mut shown = Vec::new();
        for batch in batches(records.to_bytes()) {
            let Ok(batch) = batch else {
                shown.push("cut".to_owned());
                break;
            };
            shown.push(self.batch(&batch));
        }
        format!("[{}]", shown.join(" "))
    }

    fn batch(&self, batch: &RecordBatch) -> String {
        let header = batch.header();
        let mut shown = format!("{}+{}", header.base_offset, header.last_offset_delta);
        write!(shown, " epoch={}", header.partition_leader_epoch).unwrap();
        if header.producer_id >= 0 {
            let producer = self.producer(header.producer_id);
            write!(shown, " producer={producer}/{}/{}", header.producer_epoch, header.base_sequence).unwrap();
        }
        write!(shown, " times={}/{}", self.time(header.base_timestamp), self.time(header.max_timestamp))
            .unwrap();
        let attributes = header.attributes;
        match attributes.compression() {
            Ok(ottla_wire::compression::Compression::None) => {}
            other => write!(shown, " {other:?}").unwrap(),
        }
        for (is_so, word) in [
            (attributes.timestamp_type() == TimestampType::LogAppendTime, " log-append-time"),
            (attributes.is_transactional(), " transactional"),
            (attributes.is_control(), " control"),
            (batch.check_crc().is_err(), " bad-crc"),
        ] {
            shown.push_str(if is_so { word } else { "" });
        }
        match batch.decode(&mut Decoder::default()) {
            Err(error) => write!(shown, " {error}").unwrap(),
            Ok(decoded) => {
                for record in decoded.iter().flatten() {
                    let text = |bytes: Option<&[u8]>| match bytes {
                        None => "null".to_owned(),
                        Some(bytes) if bytes.len() > 12 => format!("({} bytes)", bytes.len()),
                        Some(bytes) => Bytes::copy_from_slice(bytes).escape_ascii().to_string(),
                    };
                    // A marker tells how often its coordinator has moved.
                    let marker = record.value.filter(|_| attributes.is_control());
                    let value = marker.and_then(|value| value.get(..2)).or(record.value);
                    write!(shown, " {}:{}={}", record.offset, text(record.key), text(value)).unwrap();
                }
            }
        }
        format!("({shown})")
    }
}

/// What says nothing is not shown; how long to wait is every cluster's own affair.
fn is_left_out(name: &str, value: &Value) -> bool {
    match value {
        Value::Word(word) => {
            matches!(&**word, "None" | "\"\"" | "false" | "NONE (0)" | "AAAAAAAAAAAAAAAAAAAAAA")
                || matches!(name, "throttle_time_ms" | "host" | "unknown_tags")
        }
        Value::List(items) => items.is_empty(),
        Value::Some(_) => name == "cluster_id",
        Value::Struct(_) => false,
    }
}

/// A value in `Debug` form.
enum Value {
    Struct(Vec<(String, Self)>),
    List(Vec<Self>),
    Some(Box<Self>),
    Word(String),
}

impl Value {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Value {
        if self.eat("[") {
            return Value::List(self.items("]", Self::value));
        }
        if self.eat("Some(") {
            let inner = self.value();
            assert!(self.eat(")"), "{}", self.rest);
            return Value::Some(Box::new(inner));
        }
        let word = self.word();
        if self.eat(" { ") {
            return Value::Struct(self.items(" }", |parser| {
                let name = parser.word();
                assert!(parser.eat(": "), "{}", parser.rest);
                (name, parser.value())
            }));
        }
        Value::Word(word)
    }

    fn items<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(item(self));
            self.eat(", ");
        }
        items
    }

    /// Up to what ends a value; text in quotes and in parentheses belongs to it.
    fn word(&mut self) -> String {
        let (mut quoted, mut escaped, mut depth) = (false, false, 0);
        let end = self.rest.char_indices().find(|(at, c)| {
            if quoted {
                quoted = escaped || *c != '"';
                escaped = !escaped && *c == '\\';
                return false;
            }
            match c {
                '"' => quoted = true,
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                ',' | ')' | ']' | ':' if depth == 0 => return true,
                ' ' if depth == 0 => return !self.rest[at + 1..].starts_with('('),
                _ => {}
            }
            false
        });
        let (word, rest) = self.rest.split_at(end.map_or(self.rest.len(), |(at, _)| at));
        self.rest = rest;
        word.to_owned()
    }

    fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        true
    }
}
