//! Sensitive fields: what a policy says about them, in words that every protocol shares.
//!
//! A policy defines [`Mask`]s. Which of them concern an operation is part of the
//! [`Decision`](crate::Decision) about it, as [`Masks`]. A protocol finds the fields of its answers,
//! asks `Masks` about each by name, and has values covered by a [`Masker`].
use crate::Decision;
use crate::verdict::{HoldTerms, Mode, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What becomes of a masked value. In the order in which they win where several masks meet: the
/// later says less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// All but the last four characters are covered.
    Partial,
    /// A keyed digest: the same value becomes the same text, so joins still work.
    Hash,
    /// A constant that says so.
    Redact,
    /// Nothing: NULL.
    Null,
}

/// Finds a kind of sensitive value within any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// `alice@example.com`
    Email,
    /// `078-05-1120`
    UsSsn,
    /// A card number whose check digit is right (Luhn).
    CreditCard,
    /// An account number whose check digits are right (ISO 13616, mod 97).
    Iban,
    /// A secret with the prefix of a known service, such as `AKIA…` or `ghp_…`.
    ApiKey,
    /// A JSON Web Token.
    Jwt,
    /// A private key in PEM.
    PrivateKey,
}

impl Detector {
    /// All of them.
    pub const ALL: [Detector; 7] = [
        Detector::Email,
        Detector::UsSsn,
        Detector::CreditCard,
        Detector::Iban,
        Detector::ApiKey,
        Detector::Jwt,
        Detector::PrivateKey,
    ];

    /// The name used in policies and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Detector::Email => "email",
            Detector::UsSsn => "us-ssn",
            Detector::CreditCard => "credit-card",
            Detector::Iban => "iban",
            Detector::ApiKey => "api-key",
            Detector::Jwt => "jwt",
            Detector::PrivateKey => "private-key",
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What becomes of an operation that asks about a masked field without returning it: `WHERE email
/// LIKE 'a%'`, `ORDER BY email`. In the order in which they win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicates {
    /// It passes.
    Allow,
    /// A human is asked.
    Hold(HoldTerms),
    /// It is denied.
    Deny,
}

impl Predicates {
    /// What becomes of an operation that both are about: each has to be satisfied.
    #[must_use]
    pub fn and(&self, other: &Predicates) -> Predicates {
        match (self, other) {
            (Predicates::Deny, _) | (_, Predicates::Deny) => Predicates::Deny,
            (Predicates::Hold(one), Predicates::Hold(other)) => Predicates::Hold(one.and(other)),
            (hold @ Predicates::Hold(_), _) | (_, hold @ Predicates::Hold(_)) => hold.clone(),
            (Predicates::Allow, Predicates::Allow) => Predicates::Allow,
        }
    }
}

/// One mask of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of the values.
    pub with: Treatment,
    /// What becomes of operations that only ask about them.
    pub predicates: Predicates,
}

/// A mask as it concerns a field, or what a detector finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensitive {
    /// The mask that calls it sensitive.
    pub mask: Arc<Mask>,
    /// It is to be covered. Otherwise it is returned in the clear, and that is recorded.
    pub covered: bool,
}

/// What a policy calls sensitive, as far as one operation is concerned.
pub trait Masks: Send + Sync + fmt::Debug {
    /// Two with the same number say the same about everything.
    fn id(&self) -> u64;

    /// What is said about the field of this name, such as `public.users.email`. Of several masks
    /// the one that covers most.
    fn field(&self, name: &str) -> Option<Sensitive>;

    /// What is to be looked for in the values of all fields.
    fn detectors(&self) -> &[(Detector, Sensitive)];

    /// Is there anything that is to be covered? Otherwise sensitive fields are only counted.
    fn cover(&self) -> bool;

    /// What becomes of a row that is too long to be looked into: the client gets another one
    /// without any of its values. Otherwise the answer ends there, with an error.
    fn cuts_long_rows(&self) -> bool {
        false
    }
}

impl PartialEq for dyn Masks {
    fn eq(&self, other: &dyn Masks) -> bool {
        self.id() == other.id()
    }
}

impl Eq for dyn Masks {}

/// Is told where something is, and by which detector it was found.
pub type Tell<'a> = &'a mut dyn FnMut(Range<usize>, &(Detector, Sensitive));

/// Covers values. A pure function of the value and of a key that stays.
pub trait Masker: Send + Sync {
    /// Writes what a text becomes. False: it becomes nothing, and `out` is as it was.
    fn cover(&self, with: Treatment, value: &[u8], out: &mut Vec<u8>) -> bool;

    /// The keyed digest of a value, for what is no text.
    fn digest(&self, value: &[u8]) -> [u8; 32];

    /// Tells where in a text something sensitive is, from left to right and without overlaps.
    fn find(&self, detectors: &[(Detector, Sensitive)], text: &[u8], tell: Tell<'_>);
}

/// What an operation does with a masked field besides returning it covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UseKind {
    /// It asks about it: its answer depends on the value.
    Asks,
    /// It takes the value to where it is not masked, or cannot be shown not to.
    Takes,
    /// It gives it another name, by a view, a rename or another schema.
    Names,
    /// It writes the text that a mask has put in the value's place.
    WritesCover,
    /// It brings code of its own, or cannot be read: it could do any of these.
    Unproven,
}

/// A use of a masked field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What is done.
    pub kind: UseKind,
    /// The field, or what stands for all of them.
    pub field: Arc<str>,
    /// The mask that it is under.
    pub mask: Arc<Mask>,
}

impl Use {
    fn message(&self) -> Arc<str> {
        let Use { kind, field, mask } = self;
        let name = &mask.name;
        Arc::from(match kind {
            UseKind::Asks => format!(
                "it asks about {field}, which the mask {name} covers, and `predicates` does not \
                 allow that"
            ),
            UseKind::Takes => format!(
                "it would take {field}, which the mask {name} covers, to where it is not covered"
            ),
            UseKind::Names => {
                format!("it would give {field}, which the mask {name} covers, another name")
            }
            UseKind::Unproven => {
                "what it does with the values that masks cover cannot be shown".to_owned()
            }
            UseKind::WritesCover => {
                "it would write the text that a mask puts in a value's place".to_owned()
            }
        })
    }
}

/// The rule under which a mask refuses, as it is recorded.
fn rule_of(mask: &Mask) -> Arc<str> {
    Arc::from(format!("mask {}", mask.name))
}

/// Narrows a decision by what the operation does with masked fields: deny beats hold beats allow.
pub(crate) fn narrow(decision: &mut Decision, uses: &[Use]) {
    if decision.mode != Mode::Enforce {
        return;
    }
    for used in uses {
        let verdict = match (&used.kind, &used.mask.predicates) {
            (UseKind::Takes | UseKind::Names | UseKind::WritesCover | UseKind::Unproven, _)
            | (_, Predicates::Deny) => Verdict::Deny,
            (UseKind::Asks, Predicates::Allow) => continue,
            (UseKind::Asks, Predicates::Hold(_)) => Verdict::Hold,
        };
        match (decision.verdict, verdict, &used.mask.predicates) {
            (Verdict::Deny, ..) => {}
            (_, Verdict::Deny, _) => {
                decision.verdict = Verdict::Deny;
                decision.rule = Some(rule_of(&used.mask));
                decision.message = Some(used.message());
                decision.hold = None;
            }
            (_, _, Predicates::Hold(terms)) => {
                if decision.verdict != Verdict::Hold {
                    decision.rule = Some(rule_of(&used.mask));
                    decision.message = Some(used.message());
                }
                decision.verdict = Verdict::Hold;
                decision.hold = Some(Arc::new(unite(decision.hold.as_deref(), terms)));
            }
            _ => {}
        }
    }
}

/// Both have to be satisfied.
fn unite(held: Option<&HoldTerms>, more: &HoldTerms) -> HoldTerms {
    let Some(held) = held else {
        return more.clone();
    };
    let mut rules = held.rules.clone();
    for rule in &more.rules {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    HoldTerms {
        rules,
        timeout: held.timeout.min(more.timeout),
        grant: held.grant.min(more.grant),
    }
}

/// Counts by the name of a field.
pub type FieldCounts = Vec<(Arc<str>, u64)>;

/// Adds to the count of a field.
pub fn count(counts: &mut FieldCounts, field: &Arc<str>, more: u64) {
    if more == 0 {
        return;
    }
    match counts.iter_mut().find(|(name, _)| name == field) {
        Some((_, sum)) => *sum = sum.saturating_add(more),
        None => counts.push((Arc::clone(field), more)),
    }
}

/// The sum of all counts.
#[must_use]
pub fn total(counts: &FieldCounts) -> u64 {
    let counts = counts.iter().map(|(_, count)| *count);
    counts.fold(0, u64::saturating_add)
}

/// Covers every value with nothing, and finds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blank;

impl Masker for Blank {
    fn cover(&self, _: Treatment, _: &[u8], _: &mut Vec<u8>) -> bool {
        false
    }

    fn digest(&self, _: &[u8]) -> [u8; 32] {
        [0; 32]
    }

    fn find(&self, _: &[(Detector, Sensitive)], _: &[u8], _: Tell<'_>) {}
}
