//! Calls as spans: which are told, and when they began and ended.
//!
//! A span that isn't told costs nothing but the look at its parent. What a span holds is bounded, as its texts come
//! from tables of ours.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use super::queue::Queue;
use super::span::{Ended, Ids, Times, encode};
use super::{Batch, Sampler};

/// Random bytes of one span that begins a trace.
const RANDOM: usize = 24;
/// Random bytes that a thread asks the kernel for at once.
const RANDOM_KEPT: usize = 64 * RANDOM;

thread_local! {
    /// Random bytes, and how many of them are left.
    static KEPT: RefCell<([u8; RANDOM_KEPT], usize)> = const { RefCell::new(([0; RANDOM_KEPT], 0)) };
}

/// Where calls are told.
#[derive(Debug)]
pub struct Spans {
    sampler: Sampler,
    pub(super) queue: Queue<Vec<u8>>,
}

/// A span that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    ids: Ids,
    at: SystemTime,
}

impl Spans {
    pub(super) fn new(sampler: Sampler, batch: Batch) -> Self {
        Self { sampler, queue: Queue::new(batch) }
    }

    /// Begins a span below this parent (W3C `traceparent`), if it is to be told.
    pub fn begin(&self, parent: Option<&str>) -> Option<Started> {
        let parent = parent.and_then(Parent::read);
        if self.is_left_out(parent.as_ref()) {
            return None;
        }
        let random = random()?;
        let (own_trace, span) = random.split_at(16);
        let trace_id =
            parent.as_ref().map_or_else(|| own_trace.try_into().unwrap_or_default(), |it| it.trace_id);
        let is_told = match &parent {
            Some(parent) if self.sampler.is_parent_based => parent.is_told,
            _ => is_within(trace_id, self.sampler.ratio),
        };
        is_told.then(|| Started {
            ids: Ids {
                trace: trace_id,
                span: span.try_into().unwrap_or_default(),
                parent: parent.map(|parent| parent.span_id),
            },
            at: SystemTime::now(),
        })
    }

    /// What needs no random number to know.
    fn is_left_out(&self, parent: Option<&Parent>) -> bool {
        match parent {
            Some(parent) if self.sampler.is_parent_based => !parent.is_told,
            _ => self.sampler.ratio <= 0.0,
        }
    }

    /// Ends it, after so long.
    pub fn end(&self, started: Started, took: Duration, ended: &Ended<'_>) {
        let times = Times { started: started.at, took };
        self.queue.push(encode(&started.ids, times, ended));
    }
}

/// Random bytes for one span; none if the kernel has none.
fn random() -> Option<[u8; RANDOM]> {
    KEPT.with_borrow_mut(|(bytes, left)| {
        if *left < RANDOM {
            getrandom::fill(bytes).ok()?;
            *left = RANDOM_KEPT;
        }
        *left -= RANDOM;
        bytes[*left..*left + RANDOM].try_into().ok()
    })
}

struct Parent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    is_told: bool,
}

impl Parent {
    /// Reads `00-TRACE-SPAN-FLAGS`; what comes after is of a later version.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-').skip(1);
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| trace.len() == 32 && *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| span.len() == 16 && *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let (trace_id, span_id) = (trace_id.to_be_bytes(), span_id.to_be_bytes());
        Some(Self { trace_id, span_id, is_told: flags & 1 == 1 })
    }
}

/// Whether a trace belongs to this part of all: every server that asks for the same part says the same.
fn is_within(trace_id: [u8; 16], ratio: f64) -> bool {
    // The last seven bytes are the random ones (W3C Trace Context, level 2).
    const RANDOM_BITS: u32 = 56;
    let random = u128::from_be_bytes(trace_id) & ((1 << RANDOM_BITS) - 1);
    #[expect(clippy::cast_precision_loss, reason = "of 56 bits the last three make no difference")]
    let place = random as f64 / (1_u64 << RANDOM_BITS) as f64;
    place < ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn spans(is_parent_based: bool, ratio: f64) -> Spans {
        let batch = Batch { queue_max: 10, batch_max: 10, delay: Duration::ZERO };
        Spans::new(Sampler { is_parent_based, ratio }, batch)
    }

    #[test]
    fn a_span_is_below_its_parent_and_otherwise_begins_a_trace() {
        let spans = spans(true, 1.0);
        let below = spans.begin(Some(&format!("{TRACE}-01"))).unwrap();
        assert_eq!(below.ids.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
        assert_eq!(below.ids.parent, Some(0xb7ad_6b71_6920_3331_u64.to_be_bytes()));
        let first = spans.begin(None).unwrap();
        let second = spans.begin(Some("garbage")).unwrap();
        assert!(first.ids.parent.is_none() && second.ids.parent.is_none());
        assert!(first.ids.trace != second.ids.trace && first.ids.span != second.ids.span);
    }

    #[test]
    fn the_client_decides_for_its_own_traces_if_it_may() {
        let (told, untold) = (format!("{TRACE}-01"), format!("{TRACE}-00"));
        for (is_parent_based, ratio, parent, expect) in [
            (true, 1.0, Some(&untold), false),
            (true, 0.0, Some(&told), true),
            (true, 0.0, None, false),
            (false, 1.0, Some(&untold), true),
            (false, 0.0, Some(&told), false),
        ] {
            let begun = spans(is_parent_based, ratio).begin(parent.map(String::as_str));
            assert_eq!(begun.is_some(), expect, "{is_parent_based} {ratio} {parent:?}");
        }
    }

    #[test]
    fn a_part_of_the_traces_is_told() {
        let spans = spans(false, 0.25);
        let told = (0..4000).filter(|_| spans.begin(None).is_some()).count();
        assert!((800..1200).contains(&told), "{told}");
    }
}
