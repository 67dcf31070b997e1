//! One policy, ready to judge.
use crate::catalogue::Catalogue;
use crate::cgroup::CgroupGlob;
use crate::diagnostic::Location;
use crate::document::Asked;
use crate::evaluate::{Cause, Ruling};
use crate::harden::Measure;
use crate::maskbook::Maskbook;
use crate::place::{Spot, Written};
use crate::rule_set::RuleSet;
use crate::rulebook::Rulebook;
use gateway_core::ports::Case;
use gateway_core::{
    Attribute, ClientTls, Decision, Destination, LinkTerms, Masks, Mode, Posture, Subject,
    Timestamp, UpstreamTls, Verdict,
};
use serde::Serialize;
use std::sync::Arc;

/// Why datagrams do not pass.
const UNEXPECTED: &str = "datagrams pass only to resources with protocol = \"udp\"";

/// A policy that has passed all checks. It does not change.
#[derive(Debug)]
pub struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) file: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) allow_by_default: bool,
    pub(crate) boundaries: Vec<Box<str>>,
    pub(crate) posture: Posture,
    pub(crate) unix: Vec<Box<str>>,
    pub(crate) harden: Vec<Measure>,
    pub(crate) cgroups: Vec<CgroupGlob>,
    pub(crate) catalogue: Catalogue,
    pub(crate) rules: Rulebook,
    /// `None`: it calls nothing sensitive.
    pub(crate) masks: Option<Maskbook>,
    pub(crate) cases: Vec<PolicyCase>,
    pub(crate) places: Places,
}

/// Where in the file the things are that other files can collide with.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) name: Location,
    pub(crate) cgroups: Vec<Location>,
    /// The resources that name a protocol: its place.
    pub(crate) protocols: Vec<(Arc<str>, Location)>,
}

/// A `[[case]]`: a question with the answer that the policy must give.
#[derive(Debug)]
pub(crate) struct PolicyCase {
    pub(crate) location: Location,
    pub(crate) subject: Subject,
    pub(crate) time: Option<Timestamp>,
    pub(crate) resource: String,
    pub(crate) place: CasePlace,
    pub(crate) to: Written,
    pub(crate) protocol: Option<String>,
    pub(crate) attributes: Vec<(Arc<str>, Attribute)>,
    pub(crate) asked: Asked,
    pub(crate) verdict: Verdict,
    pub(crate) rule: Option<String>,
    pub(crate) masks: Option<Vec<String>>,
}

/// The resource of a case, found when the file was checked.
#[derive(Debug)]
pub(crate) enum CasePlace {
    Named(u16),
    Unnamed(Arc<str>),
}

/// What people want to know about a policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicySummary {
    /// Its name.
    pub name: Arc<str>,
    /// How it is applied.
    pub mode: Mode,
    /// What the kernel half has to know of it.
    #[serde(skip)]
    pub posture: Posture,
    /// The unix sockets outside of a tree that it may use, where BPF LSM is active.
    #[serde(skip)]
    pub unix: Vec<Box<str>>,
    /// Its cgroup globs as they were written.
    pub cgroups: Vec<Box<str>>,
    /// The file that it came from.
    pub file: Arc<str>,
    /// How many resources it names.
    pub resources: usize,
    /// How many rules it has.
    pub rules: usize,
    /// How many cases prove it.
    pub cases: usize,
}

impl Policy {
    /// The name that `gateway run --policy` takes.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How it is applied.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The programs of services that run many jobs, as absolute paths.
    #[must_use]
    pub fn boundaries(&self) -> &[Box<str>] {
        &self.boundaries
    }

    /// What `gateway run` takes from a command, in this order.
    #[must_use]
    pub fn harden(&self) -> &[Measure] {
        &self.harden
    }

    /// What the kernel half has to know of it.
    #[must_use]
    pub fn posture(&self) -> Posture {
        self.posture
    }

    /// The file that it came from.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// What people want to know about it.
    #[must_use]
    pub fn summary(&self) -> PolicySummary {
        PolicySummary {
            name: Arc::clone(&self.name),
            mode: self.mode,
            posture: self.posture,
            unix: self.unix.clone(),
            cgroups: self.cgroups.iter().map(|glob| glob.text().into()).collect(),
            file: Arc::clone(&self.file),
            resources: self.catalogue.resources().len(),
            rules: self.rules.len(),
            cases: self.cases.len(),
        }
    }

    /// Does one of its globs name the cgroup or one above it? With or without a leading `/`.
    #[must_use]
    pub fn governs(&self, cgroup: &str) -> bool {
        self.literal_prefix_len(cgroup).is_some()
    }

    /// How specifically its globs name a cgroup or one above it: the length in bytes of the
    /// longest literal prefix of those that do.
    #[must_use]
    pub fn literal_prefix_len(&self, cgroup: &str) -> Option<usize> {
        let cgroup = cgroup.strip_prefix('/').unwrap_or(cgroup);
        let globs = self.cgroups.iter().filter(|glob| glob.matches(cgroup));
        globs.map(|glob| glob.literal_prefix().len()).max()
    }

    /// The catalogue name of a destination, else `address:port`.
    #[must_use]
    pub fn resource_name(&self, destination: &Destination) -> Arc<str> {
        self.spot(destination).name
    }

    /// How the way to a destination is to be. Where the policy says nothing, one that only watches
    /// leaves the encryption to the peers: to end it could refuse a client that believes nobody
    /// else, and observe and shadow never refuse.
    ///
    /// A certificate has to be for the name that `tls` has; else for the one by which the resource
    /// has the destination, which the policy names and no client can choose.
    #[must_use]
    pub fn link_terms(&self, destination: &Destination) -> Arc<LinkTerms> {
        let found = self.catalogue.find(destination).resource();
        let resource = found.and_then(|index| self.catalogue.get(index));
        let terms = match resource.and_then(|resource| resource.terms.as_ref()) {
            Some(terms) => Arc::clone(terms),
            None if self.mode == Mode::Enforce => Arc::default(),
            None => Arc::new(LinkTerms {
                client: ClientTls::Opaque,
                upstream: UpstreamTls::Disable,
                ..LinkTerms::default()
            }),
        };
        let host = found.and_then(|index| self.catalogue.name_of(index, destination));
        match (host, resource) {
            (Some(host), Some(resource)) if terms.name.is_none() => Arc::new(LinkTerms {
                name: Some(Arc::clone(host)),
                resource: Arc::clone(&resource.name),
                ..LinkTerms::clone(&terms)
            }),
            _ => terms,
        }
    }

    /// Does it have resources that are found by name? Then it needs name servers that are believed.
    #[must_use]
    pub fn asks_names(&self) -> bool {
        self.catalogue.has_names()
    }

    /// What it says about the ways to its resources, where it says something.
    pub fn links(&self) -> impl Iterator<Item = &Arc<LinkTerms>> {
        let resources = self.catalogue.resources().iter();
        resources.filter_map(|resource| resource.terms.as_ref())
    }

    /// Does a condition look at the time? If not, it does not matter which one is handed over.
    #[must_use]
    pub fn asks_time(&self) -> bool {
        self.rules.asks_time
    }

    /// Decides a case under this policy, whatever policy the case names. `now` is what conditions
    /// see as `time`.
    #[must_use]
    pub fn decide(&self, case: &Case<'_>, now: Timestamp) -> Decision {
        let spot = self.spot(case.destination);
        let resource = Arc::clone(&spot.name);
        if self.mode == Mode::Observe {
            // To keep an answer is to watch, and refuses nothing.
            let (keeping, stable) = self.keeping(case, &spot, now);
            return Decision {
                verdict: Verdict::Allow,
                mode: self.mode,
                rule: None,
                message: None,
                hold: None,
                masks: self.covered(&RuleSet::EMPTY),
                answers: self.kept(&keeping),
                stable,
                resource,
            };
        }
        let ruling = self.rule_on(case, &spot, now);
        let (rule, message) = self.named(&ruling, &spot);
        Decision {
            verdict: ruling.verdict,
            mode: self.mode,
            rule,
            message,
            hold: self.terms(&ruling.holds),
            masks: self.covered(&ruling.masking),
            answers: self.kept(&ruling.keeping),
            stable: ruling.stable,
            resource,
        }
    }

    /// What is sensitive where these rules put their masks on. What only watches covers nothing:
    /// observe and shadow change no answer.
    fn covered(&self, masking: &RuleSet) -> Option<Arc<dyn Masks>> {
        let book = self.masks.as_ref()?;
        let covered = match self.mode {
            Mode::Enforce => self.rules.masks_of(masking),
            Mode::Observe | Mode::Shadow => RuleSet::EMPTY,
        };
        Some(book.covering(&covered))
    }

    /// How much of the answer these rules keep. `None`: no rule of the policy keeps any.
    fn kept(&self, keeping: &RuleSet) -> Option<u32> {
        (!self.rules.keeping.rules.is_empty()).then(|| self.rules.answers_of(keeping))
    }

    /// The rule that a record names, and what a client is told.
    fn named(&self, ruling: &Ruling, spot: &Spot<'_>) -> (Option<Arc<str>>, Option<Arc<str>>) {
        match ruling.cause {
            Cause::Rule(number) => match self.rules.get(number) {
                Some(rule) => (Some(Arc::clone(&rule.name)), rule.message.clone()),
                None => (None, None),
            },
            // Not why: the reason can hold values that are none of the client's business.
            Cause::Condition(number) => match self.rules.get(number) {
                Some(rule) => {
                    let message = format!("the condition of the rule {:?} failed", rule.name);
                    (Some(Arc::clone(&rule.name)), Some(message.into()))
                }
                None => (None, None),
            },
            Cause::Protocol(resource) => {
                let resource = resource.and_then(|index| self.catalogue.get(index));
                let wrong = resource.and_then(|resource| resource.wrong_protocol.clone());
                (None, Some(wrong.unwrap_or_else(|| UNEXPECTED.into())))
            }
            Cause::Default | Cause::Unnamed if ruling.verdict == Verdict::Deny => {
                (None, self.contested(spot))
            }
            Cause::Default | Cause::Unnamed => (None, None),
        }
    }
}
