//! The producer id and epoch: where they come from, and how sequences count under them.
//!
//! Without a transactional id the broker hands out an id once; the client raises the epoch by itself (KIP-360), and
//! asks for a fresh id when the 15 bits of epochs run out.

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The producer id, not negative.
    pub id: i64,
    /// Its epoch, not negative.
    pub epoch: i16,
}

/// What the machine has of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// Nobody needed one yet, or it is used up.
    Absent,
    /// InitProducerId is under way.
    Asked,
    /// InitProducerId did not work; it is sent again when the back-off is over.
    Pausing,
    Known(ProducerIdentity),
}

impl Identity {
    pub(super) fn known(self) -> Option<ProducerIdentity> {
        match self {
            Self::Known(identity) => Some(identity),
            Self::Absent | Self::Asked | Self::Pausing => None,
        }
    }

    /// For simulations.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Asked => "asked for",
            Self::Pausing => "asked for again after a pause",
            Self::Known(_) => "known",
        }
    }

    /// Leaves `used` behind, by the next epoch or, after the last one, by a fresh id. Does nothing when that happened
    /// already.
    pub(super) fn raise(&mut self, used: ProducerIdentity) {
        if self.known() == Some(used) {
            *self = match used.epoch.checked_add(1) {
                Some(epoch) => Self::Known(ProducerIdentity { id: used.id, epoch }),
                None => Self::Absent,
            };
        }
    }

    /// Leaves the whole producer id of `used` behind.
    pub(super) fn renew(&mut self, used: ProducerIdentity) {
        if self.known().is_some_and(|known| known.id == used.id) {
            *self = Self::Absent;
        }
    }
}

/// The sequence number after a batch: they count records and go from 2^31-1 to 0.
pub(super) fn sequence_after(base_sequence: i32, records: usize) -> i32 {
    let next = (i64::from(base_sequence) + records as i64) & i64::from(i32::MAX);
    next as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap P3: sequences go from 2^31-1 to 0.
    #[test]
    fn sequences_wrap_from_the_largest_to_zero() {
        assert_eq!(sequence_after(0, 3), 3);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 4), 2);
    }

    #[test]
    fn epochs_that_run_out_need_a_fresh_id() {
        let last = ProducerIdentity { id: 7, epoch: i16::MAX };
        let mut identity = Identity::Known(last);
        identity.raise(last);
        assert_eq!(identity, Identity::Absent);
    }

    #[test]
    fn an_identity_is_left_behind_once() {
        let first = ProducerIdentity { id: 7, epoch: 0 };
        let mut identity = Identity::Known(first);
        identity.raise(first);
        identity.raise(first);
        assert_eq!(identity.known(), Some(ProducerIdentity { id: 7, epoch: 1 }));
    }
}
