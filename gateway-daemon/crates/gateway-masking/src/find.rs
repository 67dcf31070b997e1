//! Runs the detectors over a text, and makes one list of what they find.
use crate::detect::{Next, next_of};
use gateway_core::mask::{Detector, Sensitive};
use std::ops::Range;

type Asked = (Detector, Sensitive);

/// A detector on its way through a text.
struct Scan<'d> {
    next: Next,
    /// Where it goes on.
    at: usize,
    /// What it has found, and nobody was told yet.
    head: Range<usize>,
    asked: &'d Asked,
}

/// Tells from left to right what is found. Where two overlap they are told as one, which is as
/// long as both together, and which is called what the stronger of them is: no byte of what is to
/// be covered is shown because it also belongs to something that is not, or not as much.
pub(crate) fn find(detectors: &[Asked], text: &[u8], tell: &mut dyn FnMut(Range<usize>, &Asked)) {
    let mut scans = scans(detectors, text);
    let mut found: Option<(Range<usize>, &Asked)> = None;
    while let Some((range, asked)) = first(&mut scans, text) {
        match &mut found {
            Some((whole, strongest)) if range.start < whole.end => {
                whole.end = whole.end.max(range.end);
                if strength(asked) > strength(strongest) {
                    *strongest = asked;
                }
            }
            _ => {
                if let Some((range, asked)) = found.replace((range, asked)) {
                    tell(range, asked);
                }
            }
        }
    }
    if let Some((range, asked)) = found {
        tell(range, asked);
    }
}

/// One for each kind that has something to tell; of two that ask for the same kind the stronger.
fn scans<'d>(detectors: &'d [Asked], text: &[u8]) -> [Option<Scan<'d>>; Detector::ALL.len()] {
    Detector::ALL.map(|kind| {
        let same = detectors.iter().filter(|(detector, _)| *detector == kind);
        // Of equals the first.
        let asked = same.reduce(|one, other| match strength(other) > strength(one) {
            true => other,
            false => one,
        })?;
        let (next, mut at) = (next_of(kind), 0);
        let head = next(text, &mut at)?;
        Some(Scan {
            next,
            at,
            head,
            asked,
        })
    })
}

/// Takes what begins first of all that was found and not told yet, and of these the longest.
fn first<'d>(scans: &mut [Option<Scan<'d>>], text: &[u8]) -> Option<(Range<usize>, &'d Asked)> {
    let waiting = scans.iter_mut().filter(|scan| scan.is_some());
    let slot = waiting.min_by_key(|scan| {
        let head = scan.as_ref().map(|scan| (scan.head.start, scan.head.end));
        head.map(|(start, end)| (start, std::cmp::Reverse(end)))
    })?;
    let scan = slot.as_mut()?;
    let (head, asked) = (scan.head.clone(), scan.asked);
    match (scan.next)(text, &mut scan.at) {
        Some(next) => scan.head = next,
        None => *slot = None,
    }
    Some((head, asked))
}

/// What is covered beats what is only counted, and then what says less beats what says more.
fn strength((_, sensitive): &Asked) -> (bool, gateway_core::mask::Treatment) {
    (sensitive.covered, sensitive.mask.with)
}
