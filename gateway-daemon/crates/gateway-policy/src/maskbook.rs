//! The masks of a policy, and what they say together: for each set of them that is covered one
//! answer, made once.
use crate::document::{MaskTable, PredicatesTable};
use crate::glob::Glob;
use crate::hold;
use crate::rule_set::{PatternIndex, RuleSet};
use arc_swap::ArcSwap;
use gateway_core::mask::{Detector, Predicates, Sensitive};
use gateway_core::{Mask, Masks};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The protocols whose answers can be masked.
pub(crate) const PROTOCOLS: [&str; 1] = ["postgres"];

/// How many answers are remembered. There are as many as sets of masks that rules put on
/// together, which are few; whoever writes more has them made anew.
const COVERAGES_MAX: usize = 64;

/// All masks of one policy. Sets of them are sets of their numbers.
#[derive(Debug)]
pub(crate) struct Maskbook {
    table: Arc<Table>,
    /// By the set that is covered.
    known: ArcSwap<FxHashMap<RuleSet, Arc<Coverage>>>,
}

#[derive(Debug)]
struct Table {
    /// Sorted by name, so that their order in the file cannot matter to anything.
    masks: Box<[Arc<Mask>]>,
    fields: PatternIndex,
    /// Those that somebody looks for, in the order of [`Detector::ALL`].
    detectors: Vec<(Detector, RuleSet)>,
    /// Those that would rather cut a long row than end the answer.
    cut_long_rows: RuleSet,
}

/// What the masks say where some of them are covered and the others are only watched.
#[derive(Debug)]
pub(crate) struct Coverage {
    /// Of no other coverage in this process, of whatever policy.
    id: u64,
    table: Arc<Table>,
    covered: RuleSet,
    detectors: Box<[(Detector, Sensitive)]>,
}

impl Maskbook {
    /// `None` when there are no masks.
    pub(crate) fn new(mut tables: Vec<MaskTable>) -> Option<Maskbook> {
        tables.retain(|table| table.name.is_some());
        tables.sort_by(|a, b| name(a).cmp(name(b)));
        if tables.is_empty() {
            return None;
        }
        let numbered = || tables.iter().zip(0u16..);
        let globs: Vec<(Glob, u16)> = numbered()
            .flat_map(|(table, number)| table.fields.iter().map(move |text| (text, number)))
            .map(|(text, number)| (Glob::new(text), number))
            .collect();
        let detectors = Detector::ALL.map(|detector| {
            let of = numbered().filter(|(table, _)| table.detectors.contains(&detector));
            (detector, of.map(|(_, number)| number).collect::<RuleSet>())
        });
        let detectors = detectors.into_iter().filter(|(_, set)| !set.is_empty());
        let cutting = numbered().filter(|(table, _)| table.cuts_long_rows);
        let cutting = cutting.map(|(_, number)| number).collect();
        let table = Table {
            cut_long_rows: cutting,
            fields: PatternIndex::new(globs.iter().map(|(glob, number)| (glob, *number))),
            detectors: detectors.collect(),
            masks: tables.into_iter().map(mask).collect(),
        };
        Some(Maskbook {
            table: Arc::new(table),
            known: ArcSwap::default(),
        })
    }

    /// The number of a mask.
    pub(crate) fn number(&self, name: &str) -> Option<u16> {
        let of = |mask: &Arc<Mask>| (*mask.name).cmp(name);
        let index = self.table.masks.binary_search_by(of).ok()?;
        u16::try_from(index).ok()
    }

    /// The names of the masks, in the order of their numbers.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u16, &Arc<str>)> {
        let masks = self.table.masks.iter();
        (0u16..).zip(masks.map(|mask| &mask.name))
    }

    /// What is said where these are covered.
    pub(crate) fn covering(&self, covered: &RuleSet) -> Arc<Coverage> {
        if let Some(known) = self.known.load().get(covered) {
            return Arc::clone(known);
        }
        let made = Arc::new(Coverage::new(&self.table, *covered));
        self.known.rcu(|known| {
            if known.contains_key(covered) {
                return Arc::clone(known);
            }
            let mut next = match known.len() < COVERAGES_MAX {
                true => FxHashMap::clone(known),
                false => FxHashMap::default(),
            };
            next.insert(*covered, Arc::clone(&made));
            Arc::new(next)
        });
        // Another thread may have been faster.
        match self.known.load().get(covered) {
            Some(known) => Arc::clone(known),
            None => made,
        }
    }
}

impl Coverage {
    fn new(table: &Arc<Table>, covered: RuleSet) -> Coverage {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let detectors = table.detectors.iter().filter_map(|(detector, of)| {
            let sensitive = table.together(of, &covered)?;
            Some((*detector, sensitive))
        });
        Coverage {
            // It only has to be another one each time.
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            detectors: detectors.collect(),
            table: Arc::clone(table),
            covered,
        }
    }
}

impl Masks for Coverage {
    fn id(&self) -> u64 {
        self.id
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        let mut found = RuleSet::EMPTY;
        self.table.fields.add_matching(name, &mut found);
        self.table.together(&found, &self.covered)
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &self.detectors
    }

    fn cover(&self) -> bool {
        !self.covered.is_empty()
    }

    fn cuts_long_rows(&self) -> bool {
        self.cover() && self.covered.and(&self.table.cut_long_rows) == self.covered
    }
}

impl Table {
    /// What several masks say about the same values: those that are covered, where any is.
    fn together(&self, found: &RuleSet, covered: &RuleSet) -> Option<Sensitive> {
        let under = found.and(covered);
        let covered = !under.is_empty();
        let set = if covered { under } else { *found };
        let mask = self.unite(&set)?;
        Some(Sensitive { mask, covered })
    }

    /// The strongest treatment, under the name of the mask that has it, and the strictest word
    /// about predicates.
    fn unite(&self, set: &RuleSet) -> Option<Arc<Mask>> {
        let of = || {
            set.iter()
                .filter_map(|number| self.masks.get(usize::from(number)))
        };
        // Of equal ones the first by name.
        let strongest = of().min_by_key(|mask| Reverse(mask.with))?;
        let predicates = of()
            .map(|mask| mask.predicates.clone())
            .reduce(|one, other| one.and(&other))
            .unwrap_or(Predicates::Deny);
        if strongest.predicates == predicates {
            return Some(Arc::clone(strongest));
        }
        Some(Arc::new(Mask {
            name: Arc::clone(&strongest.name),
            with: strongest.with,
            predicates,
        }))
    }
}

/// How a mask is named where rules are: in records, and in the terms of a hold.
pub(crate) fn as_rule(mask: &str) -> String {
    format!("mask {mask}")
}

fn name(table: &MaskTable) -> &str {
    table.name.as_ref().map_or("", |name| &name.value)
}

fn mask(table: MaskTable) -> Arc<Mask> {
    let rule: Arc<str> = as_rule(name(&table)).into();
    let predicates = match table.predicates {
        PredicatesTable::Allow => Predicates::Allow,
        PredicatesTable::Deny => Predicates::Deny,
        PredicatesTable::Hold(of) => {
            let terms = hold::terms(&rule, of.approvers, of.timeout, of.grant);
            Predicates::Hold(Arc::unwrap_or_clone(terms))
        }
    };
    Arc::new(Mask {
        name: table.name.map_or("".into(), |name| name.value.into()),
        with: table.with,
        predicates,
    })
}
