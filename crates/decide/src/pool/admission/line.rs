//! Who is next among the heads of lanes, without a look at each of them for each one that is taken: thousands of pods that each
//! ask for another node make thousands of lanes. In: the head of each lane. Out: the lane whose turn it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Asking;
use crate::pool::Order;

type Head<K> = (Reverse<i32>, u32, K, usize);

pub struct Line<K> {
    order: Order,
    heads: BinaryHeap<Reverse<Head<K>>>,
}

impl<K: Ord> Line<K> {
    pub fn new(order: Order) -> Self {
        Self { order, heads: BinaryHeap::new() }
    }

    /// `share`: places of its namespace.
    pub fn join(&mut self, lane: usize, head: Asking<K>, share: u32) {
        self.heads.push(Reverse((Reverse(head.priority), self.turn(share), head.key, lane)));
    }

    /// Takes the head of that lane out. `share`: what its namespace has by now, which is never less than when it joined.
    pub fn pop(&mut self, share: impl Fn(usize, &K) -> u32) -> Option<usize> {
        loop {
            let Reverse((priority, before, key, lane)) = self.heads.pop()?;
            let now = self.turn(share(lane, &key));
            if now == before {
                return Some(lane);
            }
            self.heads.push(Reverse((priority, now, key, lane)));
        }
    }

    fn turn(&self, share: u32) -> u32 {
        if self.order == Order::FairShare { share } else { 0 }
    }
}
