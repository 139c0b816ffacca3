//! Addresses as users and brokers write them: `host:port`, IPv6 in brackets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A host name or IP address and a port, not resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    host: Arc<str>,
    port: u16,
}

impl HostPort {
    /// From its parts; `host` is without brackets.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host name or the IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = |problem| InvalidAddress { text: text.to_owned(), problem };
        let text = text.trim();
        if text.contains("://") {
            return Err(invalid("has a scheme; write host:port alone"));
        }
        if text.contains(',') {
            return Err(invalid("is a list; give each address as an element of its own"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) =
                    rest.split_once(']').ok_or_else(|| invalid("lacks the closing bracket"))?;
                (host, port.strip_prefix(':').ok_or_else(|| invalid("lacks a port"))?)
            }
            None => text.rsplit_once(':').ok_or_else(|| invalid("lacks a port"))?,
        };
        if host.is_empty() {
            return Err(invalid("lacks a host"));
        }
        if host.contains(':') && !text.starts_with('[') {
            return Err(invalid("is an IPv6 address without brackets; write [address]:port"));
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::new(host, port)),
            _ => Err(invalid("has a port that is not a number from 1 to 65535")),
        }
    }
}

/// A text that is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidAddress {
    /// The text as given.
    pub text: String,
    problem: &'static str,
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {:?} {}", self.text, self.problem)
    }
}

impl std::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap N8: IPv6 addresses come in brackets, and go out in brackets.
    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["localhost:9092", "10.0.0.1:1", "[::1]:9092", "[fe80::1%eth0]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:9092".parse::<HostPort>().unwrap().host(), "::1");
    }

    #[test]
    fn a_wrong_address_is_named_with_its_problem() {
        for (text, problem) in [
            ("localhost", "lacks a port"),
            (":9092", "lacks a host"),
            ("::1:9092", "without brackets"),
            ("[::1]", "lacks a port"),
            ("[::1:9092", "closing bracket"),
            ("host:0", "1 to 65535"),
            ("host:99999", "1 to 65535"),
            ("kafka://host:9092", "scheme"),
            ("one:9092,other:9092", "each address as an element of its own"),
        ] {
            let error = text.parse::<HostPort>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(text), "{text}: {error}");
        }
    }
}
