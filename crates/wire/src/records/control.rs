//! [`ControlRecord`]: what the broker writes into a partition for itself.
//!
//! A control batch holds an ordinary record. Its *key* carries a version and the type, its value what the type needs.
//! Versions beyond the known ones are read as far as they are known: later ones only add fields at the end. KIP-98
//! has the transaction markers; the quorum's own records (types 2 to 6) only occur in the metadata log.

use super::{BatchError, BatchErrorKind};

/// A control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlRecord {
    /// The transaction was aborted.
    Abort {
        /// The epoch of the coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// The transaction was committed.
    Commit {
        /// The epoch of the coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// Another type, which means nothing to a client.
    Other(i16),
}

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

impl ControlRecord {
    /// The type in the record's key.
    pub fn record_type(self) -> i16 {
        match self {
            Self::Abort { .. } => ABORT,
            Self::Commit { .. } => COMMIT,
            Self::Other(record_type) => record_type,
        }
    }

    /// The key of such a record, version 0.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = self.record_type().to_be_bytes();
        [0, 0, high, low]
    }

    /// The value of such a record, version 0; other types than transaction markers have none here.
    pub fn value(self) -> Option<[u8; 6]> {
        match self {
            Self::Abort { coordinator_epoch } | Self::Commit { coordinator_epoch } => {
                let [a, b, c, d] = coordinator_epoch.to_be_bytes();
                Some([0, 0, a, b, c, d])
            }
            Self::Other(_) => None,
        }
    }
}

/// Reads key and value of a record in a control batch.
///
/// # Errors
/// A key too short for version and type, a negative version, a transaction marker without its epoch. The error's base
/// offset is -1: a record does not know its batch.
pub fn control_record(key: &[u8], value: Option<&[u8]>) -> Result<ControlRecord, BatchError> {
    let (version, rest) = read_i16(key).ok_or_else(|| malformed("the key has no version"))?;
    let (record_type, _) = read_i16(rest).ok_or_else(|| malformed("the key has no type"))?;
    if version < 0 {
        return Err(malformed("the key's version is negative"));
    }
    match record_type {
        ABORT => Ok(ControlRecord::Abort { coordinator_epoch: coordinator_epoch(value)? }),
        COMMIT => Ok(ControlRecord::Commit { coordinator_epoch: coordinator_epoch(value)? }),
        other => Ok(ControlRecord::Other(other)),
    }
}

fn coordinator_epoch(value: Option<&[u8]>) -> Result<i32, BatchError> {
    let value = value.ok_or_else(|| malformed("a transaction marker's value is null"))?;
    let (version, rest) = read_i16(value).ok_or_else(|| malformed("the value has no version"))?;
    if version < 0 {
        return Err(malformed("the value's version is negative"));
    }
    let epoch = rest.first_chunk().ok_or_else(|| malformed("the value has no coordinator epoch"))?;
    Ok(i32::from_be_bytes(*epoch))
}

fn read_i16(bytes: &[u8]) -> Option<(i16, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((i16::from_be_bytes(*first), rest))
}

fn malformed(what: &'static str) -> BatchError {
    BatchError { base_offset: -1, kind: BatchErrorKind::Control { what } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap W1: version and type are in the key.
    #[test]
    fn type_is_read_from_the_key() {
        for record in
            [ControlRecord::Abort { coordinator_epoch: 7 }, ControlRecord::Commit { coordinator_epoch: -1 }]
        {
            let value = record.value();
            let value = value.as_ref().map(|value| &value[..]);
            assert_eq!(control_record(&record.key(), value), Ok(record));
        }
        assert_eq!(control_record(&[0, 0, 0, 5], None), Ok(ControlRecord::Other(5)));
        let later = control_record(&[0, 3, 0, 1, 9], Some(&[0, 9, 0, 0, 0, 4, 1, 2]));
        assert_eq!(later, Ok(ControlRecord::Commit { coordinator_epoch: 4 }), "later versions only add");
    }

    #[test]
    fn malformed_control_records_are_errors() {
        let commit = [0, 0, 0, 1];
        for (key, value) in [
            (&[][..], None),
            (&[0, 0, 0][..], None),
            (&[0xff, 0xff, 0, 1][..], None),
            (&commit[..], None),
            (&commit[..], Some(&[0][..])),
            (&commit[..], Some(&[0, 0, 1, 2, 3][..])),
            (&commit[..], Some(&[0x80, 0, 0, 0, 0, 1][..])),
        ] {
            assert!(control_record(key, value).is_err(), "{key:?} {value:?} was accepted");
        }
    }
}
