//! Runs the detectors over a text, and makes one list of what they find.
use crate::detect::{Next, next_of};
use crate::spelling::plain;
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

/// Tells from left to right what is found, in the text as it is written and as it is meant. Where two
/// overlap they are told as one, which is as long as both together, and which is called what the stronger of
/// them is: no byte of what is to be covered is shown because it also belongs to something that is not, or
/// not as much.
pub(crate) fn find(detectors: &[Asked], text: &[u8], tell: &mut dyn FnMut(Range<usize>, &Asked)) {
    let mut list = List { last: None, tell };
    let mut ways = plain(text).peekable();
    if ways.peek().is_none() {
        each(detectors, text, |range, asked| list.add(range, asked));
        return list.end();
    }
    let mut found = Vec::new();
    each(detectors, text, |range, asked| found.push((range, asked)));
    for plain in ways {
        each(detectors, &plain.text, |range, asked| {
            found.push((plain.written(&range), asked));
        });
    }
    found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    for (range, asked) in found {
        list.add(range, asked);
    }
    list.end();
}

/// What each detector finds, in the order of where it begins.
fn each<'d>(detectors: &'d [Asked], text: &[u8], mut tell: impl FnMut(Range<usize>, &'d Asked)) {
    let mut scans = scans(detectors, text);
    while let Some((range, asked)) = first(&mut scans, text) {
        tell(range, asked);
    }
}

/// What is found, from left to right.
struct List<'t, 'd> {
    last: Option<(Range<usize>, &'d Asked)>,
    tell: &'t mut dyn FnMut(Range<usize>, &Asked),
}

impl<'d> List<'_, 'd> {
    fn add(&mut self, range: Range<usize>, asked: &'d Asked) {
        match &mut self.last {
            Some((whole, strongest)) if range.start < whole.end => {
                whole.end = whole.end.max(range.end);
                if strength(asked) > strength(strongest) {
                    *strongest = asked;
                }
            }
            last => {
                if let Some((range, asked)) = last.replace((range, asked)) {
                    (self.tell)(range, asked);
                }
            }
        }
    }

    fn end(self) {
        if let Some((range, asked)) = self.last {
            (self.tell)(range, asked);
        }
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
