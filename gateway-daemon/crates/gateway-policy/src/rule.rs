//! One rule, ready to be matched.
use crate::condition::Condition;
use crate::document::RuleTable;
use crate::glob::Glob;
use crate::hold;
use crate::maskbook::Maskbook;
use gateway_core::{Effect, HoldTerms, Object, Verb, VerbSet};
use std::sync::Arc;

/// Who a rule speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrincipalPattern {
    /// By the principal's name.
    Id(Glob),
    /// By one of its groups: `group:NAME`.
    Group(Glob),
}

impl PrincipalPattern {
    pub(crate) fn is_any(&self) -> bool {
        matches!(self, PrincipalPattern::Id(glob) if glob.is_any())
    }
}

/// What remains of a rule of a policy when it is known whom, where and which verbs it is about.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) message: Option<Arc<str>>,
    /// On which terms it holds, when it does.
    pub(crate) hold: Option<Arc<HoldTerms>>,
    pub(crate) when: Option<Arc<Condition>>,
    /// The number of its condition among those of the policy: rules with the same share one.
    pub(crate) condition: u16,
    /// The numbers of the masks that it puts on answers.
    pub(crate) masks: Box<[u16]>,
    /// How much of each answer it keeps, in bytes; 0: nothing.
    pub(crate) answers: u32,
    verbs: VerbSet,
    /// `None`: all of them.
    pub(crate) objects: Option<Box<[Glob]>>,
}

/// The verb by which what it meets could be found out, too.
pub(crate) const fn seen_by(verb: Verb) -> Verb {
    match verb {
        Verb::Connect | Verb::Authenticate => verb,
        _ => Verb::Read,
    }
}

impl Rule {
    /// `None` when the rule has no name, which was said by then.
    pub(crate) fn new(table: &mut RuleTable, masks: Option<&Maskbook>) -> Option<Rule> {
        let globs: Option<Vec<Glob>> = table
            .objects
            .take()
            .map(|list| list.iter().map(|text| Glob::new(text)).collect());
        let name: Arc<str> = table.name.take()?.value.into();
        let hold = table.hold.take();
        let named = table
            .masks
            .take()
            .map_or_else(Vec::new, |masks| masks.value);
        let numbers = named
            .iter()
            .filter_map(|mask| masks?.number(&mask.value))
            .collect();
        Some(Rule {
            hold: hold.map(|of| hold::terms(&name, of.approvers, of.timeout, of.grant)),
            name,
            message: table.message.take().map(Into::into),
            when: table.when.take().map(Arc::new),
            condition: 0,
            masks: numbers,
            answers: table.answers.as_ref().map_or(0, |answers| answers.value),
            verbs: table.verbs,
            objects: globs
                .filter(|globs| !globs.iter().any(Glob::is_any))
                .map(Vec::into_boxed_slice),
        })
    }

    /// Does a denying or holding rule catch the effect, principal and resource aside?
    ///
    /// One object is enough, and so is one that could be meant. An effect that may touch anything
    /// could touch what the rule protects.
    pub(crate) fn catches(&self, effect: &Effect) -> bool {
        if !self.verbs.contains(effect.verb) {
            return false;
        }
        let Some(globs) = &self.objects else {
            return true;
        };
        if effect.objects.is_empty() {
            return may_touch_anything(effect.verb);
        }
        effect.objects.iter().any(|object| {
            globs.iter().any(|glob| match object {
                Object::Named(name) => glob.matches(name),
                Object::Unresolved(name) => glob.could_mean(name),
            })
        })
    }

    /// Does it say something about answers?
    pub(crate) fn is_about_answers(&self) -> bool {
        !self.masks.is_empty() || self.answers > 0
    }

    /// Could the rule speak of anything in the effect, principal and resource aside? Its masks are
    /// put on then, and the answer is kept: to cover too much is right, and too little is not.
    ///
    /// What is done to an object besides reading it depends on what is in it, by a condition or by
    /// what is assigned: so a rule about reading speaks of it as well.
    pub(crate) fn meets(&self, effect: &Effect) -> bool {
        let speaks = self.verbs.contains(effect.verb) || self.verbs.contains(seen_by(effect.verb));
        let Some(globs) = &self.objects else {
            return speaks;
        };
        speaks
            && (effect.objects.is_empty()
                || effect.objects.iter().any(|object| {
                    globs.iter().any(|glob| match object {
                        Object::Named(name) => glob.matches(name),
                        Object::Unresolved(name) => glob.could_mean(name),
                    })
                }))
    }

    /// Does an allowing rule cover this object of an effect with this verb, principal and
    /// resource aside? `None` is an effect without objects.
    pub(crate) fn covers(&self, verb: Verb, object: Option<&Object>) -> bool {
        if !self.verbs.contains(verb) {
            return false;
        }
        let Some(globs) = &self.objects else {
            return true;
        };
        match object {
            None => !may_touch_anything(verb),
            Some(Object::Named(name)) => globs.iter().any(|glob| glob.matches(name)),
            Some(Object::Unresolved(_)) => false,
        }
    }

    /// Does an allowing rule cover any part of the effect?
    pub(crate) fn covers_any(&self, effect: &Effect) -> bool {
        if effect.objects.is_empty() {
            return self.covers(effect.verb, None);
        }
        let mut objects = effect.objects.iter();
        objects.any(|object| self.covers(effect.verb, Some(object)))
    }
}

/// An effect of such a verb that names no object is not about nothing: what it touches cannot be
/// said (a DO block, a statement that does not parse), or is the server itself.
pub(crate) fn may_touch_anything(verb: Verb) -> bool {
    match verb {
        Verb::Define | Verb::Grant | Verb::Execute | Verb::Admin | Verb::Unknown => true,
        Verb::Connect
        | Verb::Authenticate
        | Verb::Read
        | Verb::Write
        | Verb::Delete
        | Verb::Transfer => false,
    }
}
