//! What was done, as rules: products of principals, verbs and objects of which every part was seen.
use super::places::Places;
use super::{Evidence, Fact, Kind, Touch};
use gateway_core::Verb;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// From how many objects of one schema on a rule speaks of all of them.
const OBJECTS_MANY: usize = 8;
/// From how many refs of one repository on a rule speaks of all of them.
const REFS_MANY: usize = 8;

/// To which objects a rule is restricted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Objects {
    /// These patterns.
    Only(BTreeSet<String>),
    /// None: its verbs were only used without objects.
    Nothing,
    /// No restriction is possible, or none is needed for a connection and a login.
    Any,
}

/// A rule but for whom and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Body {
    /// What only humans let through is in rules of its own.
    pub(super) approved: bool,
    pub(super) verbs: Vec<Verb>,
    pub(super) objects: Objects,
}

impl Body {
    /// Does it allow more than was seen, since nothing narrower can be said?
    pub(super) fn is_open(&self) -> bool {
        self.objects == Objects::Any && !self.verbs.iter().all(|verb| is_opening(*verb))
    }
}

/// One `[[rule]]`, with what speaks for it.
#[derive(Debug)]
pub(super) struct Rule {
    /// The number of its resource.
    pub(super) resource: usize,
    pub(super) body: Body,
    pub(super) principals: BTreeSet<Arc<str>>,
    pub(super) protocols: BTreeSet<Arc<str>>,
    pub(super) evidence: Evidence,
}

/// What one principal does at one resource: each fact, and the kinds of operations that have it.
type Facts = BTreeMap<Fact, Vec<usize>>;

/// Whom a rule is for, and the kinds of operations that need it.
type Users = (BTreeSet<Arc<str>>, BTreeSet<usize>);

pub(super) fn rules(kinds: &[(&Kind, &Evidence)], places: &Places) -> Vec<Rule> {
    let patterns = patterns(kinds);
    let mut needs: BTreeMap<(usize, Arc<str>), Facts> = BTreeMap::new();
    for (number, (kind, _)) in kinds.iter().enumerate() {
        let Some(place) = places.of(kind) else {
            continue;
        };
        for id in &kind.who {
            let pattern = patterns.get(id).unwrap_or(id);
            let facts = needs.entry((place, Arc::clone(pattern))).or_default();
            for fact in &kind.facts {
                facts.entry(fact.clone()).or_default().push(number);
            }
        }
    }
    let mut rules: BTreeMap<(usize, Body), Users> = BTreeMap::new();
    for ((place, pattern), facts) in needs {
        for (body, used) in bodies(&facts, kinds) {
            let (principals, numbers) = rules.entry((place, body)).or_default();
            principals.insert(Arc::clone(&pattern));
            let of_fact = used.iter().filter_map(|fact| facts.get(fact));
            numbers.extend(of_fact.flatten().copied());
        }
    }
    let rule =
        |((resource, body), (principals, numbers)): ((usize, Body), (_, BTreeSet<usize>))| {
            let mut rule = Rule {
                resource,
                body,
                principals,
                protocols: BTreeSet::new(),
                evidence: Evidence::default(),
            };
            for (kind, evidence) in numbers.iter().filter_map(|number| kinds.get(*number)) {
                rule.protocols.insert(Arc::clone(&kind.protocol));
                rule.evidence.add(evidence);
            }
            rule
        };
    rules.into_iter().map(rule).collect()
}

/// The refs of a repository that has many, with the pattern for all of them.
fn patterns(kinds: &[(&Kind, &Evidence)]) -> FxHashMap<Arc<str>, Arc<str>> {
    let mut refs: BTreeMap<&str, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for id in kinds.iter().flat_map(|(kind, _)| &kind.who) {
        if let Some((repository, _)) = id.split_once('@')
            && repository.starts_with("ci:")
        {
            refs.entry(repository).or_default().insert(id);
        }
    }
    let mut patterns = FxHashMap::default();
    for (repository, ids) in refs.iter().filter(|(_, ids)| ids.len() >= REFS_MANY) {
        let pattern: Arc<str> = format!("{repository}@*").into();
        patterns.extend(ids.iter().map(|id| (Arc::clone(id), Arc::clone(&pattern))));
    }
    patterns
}

/// The rules that one principal needs at one resource, with the facts that each is for.
fn bodies(facts: &Facts, kinds: &[(&Kind, &Evidence)]) -> Vec<(Body, Vec<Fact>)> {
    let by_humans_alone = |numbers: &[usize]| {
        let mut kinds = numbers.iter().filter_map(|number| kinds.get(*number));
        kinds.all(|(kind, _)| kind.approved)
    };
    let mut found = Vec::new();
    for approved in [false, true] {
        let facts = facts
            .iter()
            .filter(|(_, numbers)| by_humans_alone(numbers) == approved)
            .map(|(fact, _)| fact);
        found.extend(Needs::of(facts).bodies(approved));
    }
    found
}

fn is_opening(verb: Verb) -> bool {
    matches!(verb, Verb::Connect | Verb::Authenticate)
}

/// Verbs that never speak of more objects than were seen.
fn is_grave(verb: Verb) -> bool {
    match verb {
        Verb::Delete | Verb::Define | Verb::Grant | Verb::Execute | Verb::Admin => true,
        // It has rules of its own.
        Verb::Unknown => true,
        Verb::Connect | Verb::Authenticate | Verb::Read | Verb::Write | Verb::Transfer => false,
    }
}

/// Facts, by what a rule has to say for them.
#[derive(Default)]
struct Needs {
    /// Sets of verbs, each with the objects that had exactly these. Grave verbs are in sets apart
    /// from the others, and `unknown` in one by itself.
    groups: BTreeMap<Vec<Verb>, BTreeSet<Arc<str>>>,
    /// Verbs that were used without objects.
    bare: BTreeSet<Verb>,
    /// Verbs that were used on what nobody can name.
    open: BTreeSet<Verb>,
}

impl Needs {
    fn of<'f>(facts: impl Iterator<Item = &'f Fact>) -> Needs {
        let mut needs = Needs::default();
        let mut verbs: BTreeMap<(u8, &Arc<str>), Vec<Verb>> = BTreeMap::new();
        for (verb, touch) in facts {
            let apart = u8::from(is_grave(*verb)) + u8::from(*verb == Verb::Unknown);
            match touch {
                Touch::Nothing => drop(needs.bare.insert(*verb)),
                Touch::Anything => drop(needs.open.insert(*verb)),
                Touch::Named(name) => verbs.entry((apart, name)).or_default().push(*verb),
            }
        }
        for ((_, name), verbs) in verbs {
            let objects = needs.groups.entry(verbs).or_default();
            objects.insert(Arc::clone(name));
        }
        needs
    }

    fn bodies(mut self, approved: bool) -> Vec<(Body, Vec<Fact>)> {
        let mut bodies = Vec::new();
        // A rule with objects covers its verbs without objects too; these need no other one.
        let home = self.home();
        for (verbs, names) in std::mem::take(&mut self.groups) {
            let named = |verb: &Verb| {
                let names = names.iter().map(Arc::clone).map(Touch::Named);
                names.map(|name| (*verb, name)).collect::<Vec<_>>()
            };
            let mut facts: Vec<Fact> = verbs.iter().flat_map(named).collect();
            let mut all: BTreeSet<Verb> = verbs.iter().copied().collect();
            if home.as_ref() == Some(&verbs) {
                all.extend(self.bare.iter().filter(|verb| is_opening(**verb)));
            }
            for verb in &all {
                if self.bare.remove(verb) {
                    facts.push((*verb, Touch::Nothing));
                }
            }
            let objects = if verbs.iter().any(|verb| is_grave(*verb)) {
                names.iter().map(|name| name.to_string()).collect()
            } else {
                generalised(&names)
            };
            let body = Body {
                approved,
                verbs: all.into_iter().collect(),
                objects: Objects::Only(objects),
            };
            bodies.push((body, facts));
        }
        for grave in [false, true] {
            let bare = self.bare.iter().copied();
            let verbs: Vec<Verb> = bare.filter(|verb| is_grave(*verb) == grave).collect();
            if verbs.is_empty() {
                continue;
            }
            let facts = verbs.iter().map(|verb| (*verb, Touch::Nothing)).collect();
            let objects = match verbs.iter().all(|verb| is_opening(*verb)) {
                true => Objects::Any,
                false => Objects::Nothing,
            };
            let body = Body {
                approved,
                verbs,
                objects,
            };
            bodies.push((body, facts));
        }
        for verb in self.open {
            let body = Body {
                approved,
                verbs: vec![verb],
                objects: Objects::Any,
            };
            bodies.push((body, vec![(verb, Touch::Anything)]));
        }
        bodies
    }

    /// The group that opening a session goes with: that of reading.
    fn home(&self) -> Option<Vec<Verb>> {
        let mut groups = self.groups.keys();
        let reads = |verbs: &&Vec<Verb>| verbs.contains(&Verb::Read);
        let only = self.groups.get_key_value(&vec![Verb::Read]);
        only.map(|(verbs, _)| verbs)
            .or_else(|| groups.find(reads))
            .cloned()
    }
}

/// The objects; those of a schema that has many here become one pattern.
fn generalised(names: &BTreeSet<Arc<str>>) -> BTreeSet<String> {
    let mut of_schema: BTreeMap<&str, usize> = BTreeMap::new();
    for schema in names.iter().filter_map(|name| schema(name)) {
        *of_schema.entry(schema).or_default() += 1;
    }
    let many = |schema: &&str| of_schema.get(schema).is_some_and(|n| *n >= OBJECTS_MANY);
    let pattern = |name: &Arc<str>| match schema(name).filter(many) {
        Some(schema) => format!("{schema}.*"),
        None => name.to_string(),
    };
    names.iter().map(pattern).collect()
}

/// The schema of a name like `public.users`. Paths and host names have dots of another meaning,
/// and the server's own catalogues hold what nobody should get by the way.
fn schema(name: &str) -> Option<&str> {
    let (schema, rest) = name.split_once('.')?;
    let system = schema.starts_with("pg_") || schema == "information_schema";
    let word = |text: &str| !text.is_empty() && !text.contains(['/', ':', '@']);
    (word(schema) && word(rest) && !system).then_some(schema)
}
