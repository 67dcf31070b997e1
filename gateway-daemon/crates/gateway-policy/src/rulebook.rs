//! The rules of a policy, with indexes over whom, where and what they speak of.
use crate::condition::Condition;
use crate::document::RuleTable;
use crate::glob::Glob;
use crate::maskbook::Maskbook;
use crate::rule::{PrincipalPattern, Rule, seen_by};
use crate::rule_set::{PatternIndex, RuleSet};
use gateway_core::{Effect, Object, Principal, Verb, VerbSet, Verdict};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// All rules of one policy.
#[derive(Debug)]
pub(crate) struct Rulebook {
    /// Sorted by name, so that their order in the file cannot matter to anything; denials that
    /// have a message for the client come first.
    rules: Box<[Rule]>,
    pub(crate) denials: RuleSet,
    pub(crate) allowances: RuleSet,
    pub(crate) holds: RuleSet,
    /// Rules that put masks on answers.
    pub(crate) masking: Meeting,
    /// Rules that keep answers.
    pub(crate) keeping: Meeting,
    /// Rules with a condition.
    pub(crate) conditional: RuleSet,
    /// Rules whose condition can come to something else for the next operation of a shape.
    pub(crate) unstable: RuleSet,
    /// A condition looks at the time.
    pub(crate) asks_time: bool,
    /// A condition looks at the name of the destination.
    pub(crate) asks_host: bool,
    /// By the number of the verb.
    verbs: [RuleSet; Verb::ALL.len()],
    /// Rules that speak of everyone.
    of_everyone: RuleSet,
    by_id: PatternIndex,
    by_group: PatternIndex,
    /// Rules that apply everywhere.
    everywhere: RuleSet,
    by_resource: PatternIndex,
    /// By the number of the resource.
    named: Box<[RuleSet]>,
}

/// Rules that say something about answers, by the objects that they speak of.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) rules: RuleSet,
    /// Those of them that speak of any object.
    of_anything: RuleSet,
    by_object: PatternIndex,
}

impl Meeting {
    fn of(rules: &[Rule], has: impl Fn(&Rule) -> bool) -> Meeting {
        let those = || {
            let numbered = rules.iter().zip(0u16..);
            numbered.filter(|(rule, _)| has(rule))
        };
        let objects = those().flat_map(|(rule, number)| {
            let globs = rule.objects.iter().flatten();
            globs.map(move |glob| (glob, number))
        });
        let of_anything = those().filter(|(rule, _)| rule.objects.is_none());
        Meeting {
            rules: those().map(|(_, number)| number).collect(),
            of_anything: of_anything.map(|(_, number)| number).collect(),
            by_object: PatternIndex::new(objects),
        }
    }
}

impl Rulebook {
    /// Builds the indexes. The names are those of the policy's resources, in their order.
    pub(crate) fn new<'n>(
        tables: Vec<RuleTable>,
        resources: impl Iterator<Item = &'n str>,
        masks: Option<&Maskbook>,
    ) -> Rulebook {
        let mut tables: Vec<(RuleTable, Rule)> = tables
            .into_iter()
            .filter_map(|mut table| Rule::new(&mut table, masks).map(|rule| (table, rule)))
            .collect();
        tables.sort_by(|(_, a), (_, b)| {
            (a.message.is_none(), &a.name).cmp(&(b.message.is_none(), &b.name))
        });
        let (tables, mut rules): (Vec<RuleTable>, Vec<Rule>) = tables.into_iter().unzip();
        share_conditions(&mut rules);
        let globs: Vec<Vec<Glob>> = tables.iter().map(resource_globs).collect();
        let mut ids = Vec::new();
        let mut groups = Vec::new();
        for (table, number) in tables.iter().zip(0u16..) {
            for pattern in principals(table) {
                match pattern {
                    PrincipalPattern::Id(glob) => ids.push((glob, number)),
                    PrincipalPattern::Group(glob) => groups.push((glob, number)),
                }
            }
        }
        let places = globs.iter().zip(0u16..);
        let places =
            places.flat_map(|(globs, number)| globs.iter().map(move |glob| (glob, number)));
        let set = |has: &dyn Fn(&RuleTable) -> bool| {
            tables
                .iter()
                .zip(0u16..)
                .filter(|(table, _)| has(table))
                .map(|(_, number)| number)
                .collect()
        };
        let conditional = |has: &dyn Fn(&Condition) -> bool| {
            let of = rules.iter().zip(0u16..);
            of.filter(|(rule, _)| rule.when.as_deref().is_some_and(has))
                .map(|(_, number)| number)
                .collect()
        };
        let asks = |what: &dyn Fn(&Condition) -> bool| {
            let mut conditions = rules.iter().filter_map(|rule| rule.when.as_deref());
            conditions.any(what)
        };
        let mut book = Rulebook {
            masking: Meeting::of(&rules, |rule| !rule.masks.is_empty()),
            keeping: Meeting::of(&rules, |rule| rule.answers > 0),
            holds: set(&|table| table.verdict == Verdict::Hold),
            conditional: conditional(&|_| true),
            unstable: conditional(&|condition| condition.unstable),
            asks_time: asks(&|when| when.asks_time),
            asks_host: asks(&|when| when.asks_host),
            denials: set(&|table| table.verdict == Verdict::Deny),
            allowances: set(&|table| table.verdict == Verdict::Allow),
            verbs: Verb::ALL.map(|verb| set(&|table| table.verbs.contains(verb))),
            of_everyone: set(&|table| principals(table).is_empty()),
            by_id: PatternIndex::new(ids),
            by_group: PatternIndex::new(groups),
            everywhere: set(&|table| resource_globs(table).is_empty()),
            by_resource: PatternIndex::new(places),
            named: Box::default(),
            rules: rules.into(),
        };
        book.named = resources.map(|name| book.reaching(name)).collect();
        book
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    /// What a rule says.
    pub(crate) fn verdict(&self, number: u16) -> Verdict {
        match (
            self.allowances.contains(number),
            self.holds.contains(number),
        ) {
            (true, _) => Verdict::Allow,
            (_, true) => Verdict::Hold,
            _ => Verdict::Deny,
        }
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Rule> {
        self.rules.get(usize::from(number))
    }

    /// The rules of a set, in their order.
    pub(crate) fn of(&self, set: &RuleSet) -> impl Iterator<Item = (u16, &Rule)> {
        set.iter()
            .filter_map(|number| Some((number, self.get(number)?)))
    }

    /// The rules among these that meet an effect by its verb and what is known of its objects, as
    /// [`Rule::meets`] has it.
    pub(crate) fn meeting_named(&self, meeting: &Meeting, effect: &Effect) -> RuleSet {
        let of_verb = self
            .with_verb(effect.verb)
            .or(self.with_verb(seen_by(effect.verb)));
        let of_verb = meeting.rules.and(&of_verb);
        if effect.objects.is_empty() {
            return of_verb;
        }
        let mut speaking = meeting.of_anything;
        for object in &effect.objects {
            if let Object::Named(name) = object {
                meeting.by_object.add_matching(name, &mut speaking);
            }
        }
        of_verb.and(&speaking)
    }

    /// The masks that these rules put on.
    pub(crate) fn masks_of(&self, rules: &RuleSet) -> RuleSet {
        let rules = self.of(rules);
        rules
            .flat_map(|(_, rule)| rule.masks.iter().copied())
            .collect()
    }

    /// How many bytes of an answer these rules keep: the most that one says.
    pub(crate) fn answers_of(&self, rules: &RuleSet) -> u32 {
        let rules = self.of(rules);
        rules.map(|(_, rule)| rule.answers).max().unwrap_or(0)
    }

    /// The rules that have the verb in their list.
    pub(crate) fn with_verb(&self, verb: Verb) -> &RuleSet {
        // The verbs are numbered in the order of `Verb::ALL`. What is not there, no rule has.
        self.verbs.get(verb as usize).unwrap_or(&RuleSet::EMPTY)
    }

    /// The rules that have one of the verbs in their list.
    pub(crate) fn with_verbs_of(&self, effects: &[Effect]) -> RuleSet {
        let verbs: VerbSet = effects.iter().map(|effect| effect.verb).collect();
        verbs
            .iter()
            .fold(RuleSet::EMPTY, |set, verb| set.or(self.with_verb(verb)))
    }

    /// The rules that speak of a principal, by its name or by one of its groups.
    pub(crate) fn speaking_of(&self, principal: &Principal) -> RuleSet {
        let mut set = self.of_everyone;
        self.by_id.add_matching(&principal.id, &mut set);
        for group in &principal.groups {
            self.by_group.add_matching(group, &mut set);
        }
        set
    }

    /// The rules that do more than to allow.
    pub(crate) fn restricting(&self) -> RuleSet {
        let about_answers = self.masking.rules.or(&self.keeping.rules);
        self.denials.or(&self.holds).or(&about_answers)
    }

    /// The rules that apply to the resource of this number.
    pub(crate) fn at(&self, resource: u16) -> RuleSet {
        self.named
            .get(usize::from(resource))
            .copied()
            .unwrap_or(self.everywhere)
    }

    /// The rules that apply to a resource of this name.
    pub(crate) fn reaching(&self, resource: &str) -> RuleSet {
        let mut set = self.everywhere;
        self.by_resource.add_matching(resource, &mut set);
        set
    }
}

/// Gives rules with the same condition the same one, so that it is evaluated once.
fn share_conditions(rules: &mut [Rule]) {
    let mut known: FxHashMap<Arc<str>, (u16, Arc<Condition>)> = FxHashMap::default();
    for rule in rules {
        let Some(when) = &rule.when else { continue };
        let next = u16::try_from(known.len()).unwrap_or(u16::MAX);
        let shared = known
            .entry(Arc::clone(&when.text))
            .or_insert_with(|| (next, Arc::clone(when)));
        rule.condition = shared.0;
        rule.when = Some(Arc::clone(&shared.1));
    }
}

/// The principals that a rule is restricted to; none when the list is missing or holds `*`.
fn principals(table: &RuleTable) -> &[PrincipalPattern] {
    match &table.principals {
        Some(list) if !list.iter().any(PrincipalPattern::is_any) => list,
        _ => &[],
    }
}

/// The resources that a rule is restricted to; none when the list is missing or holds `*`.
fn resource_globs(table: &RuleTable) -> Vec<Glob> {
    let texts = table.resources.iter().flatten();
    let globs: Vec<Glob> = texts.map(|text| Glob::new(&text.value)).collect();
    if globs.iter().any(Glob::is_any) {
        Vec::new()
    } else {
        globs
    }
}
