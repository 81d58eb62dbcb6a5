//! The newest of many paths, in memory for as many as are wanted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A path and when it was modified. The order is that of the result, worst first.
type Aged = ((i64, u64), Reverse<Vec<u8>>);

/// The newest paths seen, and how many were seen.
pub(super) struct Newest {
    heap: BinaryHeap<Reverse<Aged>>,
    most: usize,
    count: u64,
}

impl Newest {
    pub(super) fn new(most: usize) -> Self {
        Self { heap: BinaryHeap::new(), most, count: 0 }
    }

    /// Takes note of a path. `path` is called only if the path is among the newest so far.
    pub(super) fn add(&mut self, modified: (i64, u64), path: impl FnOnce() -> Vec<u8>) {
        self.count += 1;
        if self.heap.len() >= self.most
            && self.heap.peek().is_some_and(|Reverse((oldest, _))| *oldest > modified)
        {
            return;
        }
        self.push((modified, Reverse(path())));
    }

    /// Takes over what another thread found.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        for Reverse(aged) in other.heap {
            self.push(aged);
        }
    }

    fn push(&mut self, aged: Aged) {
        self.heap.push(Reverse(aged));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// The paths, newest first and then by name, and how many were seen.
    pub(super) fn into_sorted(self) -> (Vec<String>, u64) {
        let sorted = self.heap.into_sorted_vec().into_iter();
        (sorted.map(|Reverse((_, Reverse(path)))| text_of(path)).collect(), self.count)
    }
}

fn text_of(path: Vec<u8>) -> String {
    String::from_utf8(path).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_in_order_and_all_are_counted() {
        let mut newest = Newest::new(3);
        for (time, path) in [(1, "old"), (9, "b"), (9, "a"), (5, "mid"), (2, "older")] {
            newest.add((time, 0), || path.as_bytes().to_vec());
        }
        let mut other = Newest::new(3);
        other.add((10, 0), || b"new".to_vec());
        newest.merge(other);
        assert_eq!(newest.into_sorted(), (vec!["new".into(), "a".into(), "b".into()], 6));
    }
}
