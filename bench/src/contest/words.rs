//! Words of the form `key=value`: what parent and child tell each other.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::Result;

/// Values by their keys, none of which has a space.
#[derive(Debug, Clone, Default)]
pub struct Words(BTreeMap<String, String>);

impl Words {
    /// With one more.
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.insert(key.to_owned(), value.to_string());
        self
    }

    /// From words; whatever has no `=` in it is an error.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let pair = |word: &'a str| word.split_once('=').ok_or_else(|| format!("not key=value: {word}"));
        let pairs = words.into_iter().map(|word| pair(word).map(|(key, value)| (key.into(), value.into())));
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    /// The value of a key.
    pub fn get<T: FromStr<Err: fmt::Display>>(&self, key: &str) -> Result<T> {
        let value = self.0.get(key).ok_or_else(|| format!("{key} is not there"))?;
        value.parse().map_err(|error| format!("{key}={value}: {error}").into())
    }

    /// One word each.
    pub fn to_vec(&self) -> Vec<String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_vec().join(" "))
    }
}
