//! What arrived: every record that was acknowledged, once, in order, and nothing else.

use crate::Result;
use crate::clients::Appender;
use crate::load::{MARK, VALUE, mark};

/// Reads all of the topic with `reader`: partition p must hold the numbers from 0 to `next[p]`, each at the offset of
/// its number. How many records that were comes back.
pub async fn check<R: Appender>(reader: &R, next: &[u64]) -> Result<u64> {
    let mut total = 0;
    for (partition, &count) in (0..).zip(next) {
        let end = reader.end(partition).await?;
        if u64::try_from(end) != Ok(count) {
            return Err(
                format!("partition {partition} ends at {end}, {count} records were acknowledged").into()
            );
        }
        let mut number = 0;
        while number < count {
            let records = reader.read(partition, i64::try_from(number)?).await?;
            if records.is_empty() {
                return Err(format!("partition {partition} has no record {number} of {count}").into());
            }
            for record in records {
                let expected = mark(partition, number);
                if u64::try_from(record.offset) != Ok(number)
                    || record.value.len() != VALUE
                    || record.value[..MARK] != expected
                {
                    let found = record.value.get(..MARK);
                    return Err(format!(
                        "partition {partition}: instead of record {number} there is {found:?} at offset {}",
                        record.offset
                    )
                    .into());
                }
                number += 1;
            }
        }
        total += count;
    }
    Ok(total)
}
