//! Room that is taken ahead for the records of one partition.

use super::PartitionQueue;

/// Room is taken in pieces of this size, so that not every record has to ask.
const PIECE: usize = 4 * 1024;

/// Bytes of room that were taken and that no record has so far. What records have is the queue's
/// [`memory`](PartitionQueue::memory); the two together are what a partition has of its budgets.
#[derive(Debug, Default)]
pub struct Credit {
    bytes: usize,
}

impl Credit {
    /// Bytes that the caller has taken already.
    #[inline(always)]
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether there is room for a record of so many bytes. Where too little was taken, `take` is asked for more, all of it
    /// or nothing: for a piece first, then for no more than the record needs.
    #[inline(always)]
    pub fn covers(&mut self, size: usize, mut take: impl FnMut(usize) -> bool) -> bool {
        if self.bytes < size {
            let taken = [PIECE.max(size), size].into_iter().find(|bytes| take(*bytes));
            self.bytes += taken.unwrap_or(0);
        }
        self.bytes >= size
    }

    /// A record of so many bytes was appended.
    #[inline(always)]
    pub fn spend(&mut self, size: usize) {
        self.bytes -= size;
    }

    /// What is to be given back, since the partition holds nothing: others may need it.
    pub fn left_over<D>(&mut self, queue: &PartitionQueue<D>) -> usize {
        if queue.memory() == 0 { self.take() } else { 0 }
    }

    /// All of it is to be given back.
    pub fn take(&mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_in_pieces_and_by_the_byte_where_there_is_little() {
        let (mut credit, mut room) = (Credit::default(), PIECE + 100);
        let mut asked = Vec::new();
        let mut admit = |credit: &mut Credit, size: usize| {
            let is_covered = credit.covers(size, |bytes| {
                asked.push(bytes);
                let fits = bytes <= room;
                room -= if fits { bytes } else { 0 };
                fits
            });
            if is_covered {
                credit.spend(size);
            }
            is_covered
        };
        assert!(admit(&mut credit, 1_000) && admit(&mut credit, 3_000));
        assert!(!admit(&mut credit, 101), "96 bytes are left, and 100 of room");
        assert!(admit(&mut credit, 100), "only what it needs");
        assert_eq!(asked, [PIECE, PIECE, 101, PIECE, 100]);
        assert_eq!((credit.take(), credit.take(), room), (96, 0, 0));
    }

    #[test]
    fn what_is_left_is_given_back_once_and_only_when_nothing_is_held() {
        let mut queue = PartitionQueue::<u32>::new(400);
        let mut credit = Credit::default();
        credit.add(70);
        queue.memory = 1;
        assert_eq!(credit.left_over(&queue), 0);
        queue.release(1);
        assert_eq!([credit.left_over(&queue), credit.left_over(&queue)], [70, 0]);
    }
}
