//! Offsets looked up, and records deleted.

use std::time::Duration;

use ottla_core::metadata::Leader;
use ottla_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use ottla_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use ottla_wire::{AnyRequest, ErrorCode, Str};

use super::PartitionClient;
use crate::client::wait;
use crate::driver::cluster::{Purpose, Verdict};
use crate::error::{Error, Result};
use crate::record::Timestamp;

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetAt {
    /// The first offset that can be read.
    Earliest,
    /// The offset after the last one that can be read: the high watermark, or for read-committed clients the last
    /// stable offset.
    Latest,
    /// The first record at or after this time.
    Timestamp(Timestamp),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

impl OffsetAt {
    /// As ListOffsets spells it: times are not negative, so the special places are.
    fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(timestamp) => timestamp.0,
        }
    }
}

impl From<Timestamp> for OffsetAt {
    fn from(timestamp: Timestamp) -> Self {
        Self::Timestamp(timestamp)
    }
}

impl PartitionClient {
    /// The offset at a place in the log. Cancel safe.
    ///
    /// # Errors
    /// [`Error::NoSuchOffset`] when no record is at or after the timestamp, or when the partition is empty and the
    /// largest timestamp was asked for.
    pub async fn get_offset(&self, at: OffsetAt) -> Result<i64> {
        if let OffsetAt::Timestamp(Timestamp(ms)) = at
            && ms < 0
        {
            return Err(Error::config("at", format!("is timestamp {ms}: it must not be before 1970")));
        }
        let build = |leader: Option<Leader>| -> Box<dyn AnyRequest> {
            Box::new(ListOffsetsRequest {
                replica_id: -1,
                isolation_level: self.isolation.to_wire(),
                topics: vec![ListOffsetsTopic {
                    name: Str::from(&*self.topic.name),
                    partitions: vec![ListOffsetsPartition {
                        partition_index: self.partition,
                        current_leader_epoch: leader.map_or(-1, |leader| leader.epoch),
                        timestamp: at.to_wire(),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            })
        };
        let judge = |_: &_, response: ListOffsetsResponse| {
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            match partitions.find(|answer| answer.partition_index == self.partition) {
                Some(answer) if answer.error_code.is_none() => Verdict::Done(answer.offset),
                Some(answer) => Verdict::Code(answer.error_code, None),
                None => self.left_out(),
            }
        };
        let plan = self.plan(Purpose::Control, Duration::ZERO);
        match self.cluster.call::<ListOffsetsRequest, _>(plan, build, judge).await? {
            // What brokers answer when there is no such record.
            -1 => Err(Error::NoSuchOffset { topic: self.topic.name.clone(), partition: self.partition }),
            offset => Ok(offset),
        }
    }

    /// Deletes all records before `offset`, and returns the first offset that is left. Waits up to `timeout_ms` for
    /// the replicas; the call may take the partition client's time-out on top.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` when `offset` is beyond the high watermark; to delete everything, ask
    /// [`get_offset`](Self::get_offset) for [`OffsetAt::Latest`] first.
    ///
    /// # Cancel safety
    /// The records may be deleted although the future was dropped.
    pub async fn delete_records(&self, offset: i64, timeout_ms: i32) -> Result<i64> {
        if offset < 0 {
            return Err(Error::config("offset", format!("is {offset}: it must not be negative")));
        }
        let own_wait = wait("timeout_ms", timeout_ms)?;
        let build = |_: Option<Leader>| -> Box<dyn AnyRequest> {
            Box::new(DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: Str::from(&*self.topic.name),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: self.partition,
                        offset,
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                timeout_ms,
                ..Default::default()
            })
        };
        let judge = |_: &_, response: DeleteRecordsResponse| {
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            match partitions.find(|answer| answer.partition_index == self.partition) {
                Some(answer) if answer.error_code.is_none() => Verdict::Done(answer.low_watermark),
                Some(answer) => {
                    let about = (answer.error_code == ErrorCode::OFFSET_OUT_OF_RANGE).then(|| {
                        format!("offset {offset} is beyond the end; get_offset tells where that is")
                    });
                    Verdict::Code(answer.error_code, about)
                }
                None => self.left_out(),
            }
        };
        self.cluster.call::<DeleteRecordsRequest, _>(self.plan(Purpose::Admin, own_wait), build, judge).await
    }

    /// An answer that does not mention the partition is none.
    pub(super) fn left_out<T>(&self) -> Verdict<T> {
        let problem = format!("the answer does not mention {}/{}", self.topic.name, self.partition);
        Verdict::Code(ErrorCode::UNKNOWN_SERVER_ERROR, Some(problem))
    }
}
