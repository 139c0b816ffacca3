//! What arrived: every record that was acknowledged, once, in order, and nothing else.

use crate::Result;
use crate::clients::{Appender, Written};
use crate::load::{MARK, mark};

/// Reads all of the topic with `reader`: partition p must hold the numbers from 0 to `next[p]`, each at the offset of
/// its number, in a value of `size` bytes. How many records that was comes back.
pub async fn check<R: Appender>(reader: &R, next: &[u64], size: usize) -> Result<u64> {
    let mut total = 0;
    for (partition, &count) in (0..).zip(next) {
        read(reader, (partition, count, size), |offset, value| value == mark(partition, offset)).await?;
        total += count;
    }
    Ok(total)
}

/// The same for a writer that has several requests in flight and promises no order: each number once, wherever it is.
pub async fn check_unordered<R: Appender>(reader: &R, next: &[u64], size: usize) -> Result<u64> {
    let mut total = 0;
    for (partition, &count) in (0..).zip(next) {
        let mut is_there = vec![false; usize::try_from(count)?];
        let is_new = |_, value| {
            let at = number(partition, value).and_then(|number| is_there.get_mut(number));
            at.is_some_and(|seen| !std::mem::replace(seen, true))
        };
        read(reader, (partition, count, size), is_new).await?;
        total += count;
    }
    Ok(total)
}

fn number(partition: i32, value: [u8; MARK]) -> Option<usize> {
    let number = u64::from_be_bytes(*value[4..].first_chunk()?);
    (value == mark(partition, number)).then_some(usize::try_from(number).ok()?)
}

/// So many records of a partition, each at the next offset and with a value that has its size and begins as it should.
async fn read<R: Appender>(
    reader: &R,
    (partition, count, size): (i32, u64, usize),
    mut is_right: impl FnMut(u64, [u8; MARK]) -> bool,
) -> Result<()> {
    let end = reader.end(partition).await?;
    if u64::try_from(end) != Ok(count) {
        return Err(format!("partition {partition} ends at {end}, {count} records were acknowledged").into());
    }
    let mut next = 0;
    while next < count {
        let records = reader.read(partition, i64::try_from(next)?).await?;
        if records.is_empty() {
            return Err(format!("partition {partition} has no record {next} of {count}").into());
        }
        for Written { offset, value } in records {
            let start = value.first_chunk().copied();
            if u64::try_from(offset) != Ok(next)
                || value.len() != size
                || !start.is_some_and(|start| is_right(next, start))
            {
                let len = value.len();
                return Err(format!(
                    "partition {partition}: instead of record {next} there is {start:?} at offset {offset}, {len} bytes"
                )
                .into());
            }
            next += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic whose only partition has these numbers.
    struct Numbers(Vec<u64>);

    impl Appender for Numbers {
        const NAME: &'static str = "numbers";

        async fn append(&self, _: i32, _: &[u8]) -> Result<i64> {
            Err("it is only read".into())
        }

        async fn read(&self, partition: i32, offset: i64) -> Result<Vec<Written>> {
            let value = |number| [&mark(partition, number)[..], b"...."].concat();
            let rest = self.0.iter().zip(0..).skip(usize::try_from(offset)?).take(2);
            Ok(rest.map(|(number, offset)| Written { offset, value: value(*number) }).collect())
        }

        async fn end(&self, _: i32) -> Result<i64> {
            Ok(i64::try_from(self.0.len())?)
        }

        fn produce_requests(&self) -> Option<u64> {
            None
        }
    }

    #[test]
    fn what_is_out_of_order_is_told_unless_no_order_was_promised_and_what_is_there_twice_always() {
        let topic = |numbers: [u64; 3]| Numbers(numbers.to_vec());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let size = MARK + 4;
            check(&topic([0, 1, 2]), &[3], size).await.unwrap();
            check(&topic([0, 1, 2]), &[4], size).await.unwrap_err();
            check(&topic([0, 1, 2]), &[3], size + 1).await.unwrap_err();
            check(&topic([0, 2, 1]), &[3], size).await.unwrap_err();
            check_unordered(&topic([0, 2, 1]), &[3], size).await.unwrap();
            check_unordered(&topic([0, 2, 2]), &[3], size).await.unwrap_err();
            check_unordered(&topic([0, 1, 3]), &[3], size).await.unwrap_err();
        });
    }
}
