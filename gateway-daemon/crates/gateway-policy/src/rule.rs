//! One rule, ready to be matched.
use crate::glob::Glob;
use gateway_core::{Effect, Object, Principal, Verb, VerbSet, Verdict};
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
    pub(crate) fn matches(&self, principal: &Principal) -> bool {
        match self {
            PrincipalPattern::Id(glob) => glob.matches(&principal.id),
            PrincipalPattern::Group(glob) => {
                principal.groups.iter().any(|group| glob.matches(group))
            }
        }
    }

    fn is_any(&self) -> bool {
        matches!(self, PrincipalPattern::Id(glob) if glob.is_any())
    }
}

/// A rule of a policy. `None` in a list: everything.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) verdict: Verdict,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) verbs: VerbSet,
    pub(crate) principals: Option<Box<[PrincipalPattern]>>,
    pub(crate) resources: Option<Box<[Glob]>>,
    pub(crate) objects: Option<Box<[Glob]>>,
}

/// A list that holds `*` restricts nothing.
pub(crate) fn restriction<T>(
    list: Option<Vec<T>>,
    is_any: impl Fn(&T) -> bool,
) -> Option<Box<[T]>> {
    list.filter(|list| !list.iter().any(is_any))
        .map(Vec::into_boxed_slice)
}

impl Rule {
    pub(crate) fn principals(
        list: Option<Vec<PrincipalPattern>>,
    ) -> Option<Box<[PrincipalPattern]>> {
        restriction(list, PrincipalPattern::is_any)
    }

    pub(crate) fn globs<T: AsRef<str>>(list: Option<Vec<T>>) -> Option<Box<[Glob]>> {
        let globs = list.map(|list| list.iter().map(|text| Glob::new(text.as_ref())).collect());
        restriction(globs, Glob::is_any)
    }

    pub(crate) fn speaks_of(&self, principal: &Principal) -> bool {
        let Some(patterns) = &self.principals else {
            return true;
        };
        patterns.iter().any(|pattern| pattern.matches(principal))
    }

    /// Does the rule apply to the resource of this name?
    pub(crate) fn reaches(&self, resource: &str) -> bool {
        let Some(globs) = &self.resources else {
            return true;
        };
        globs.iter().any(|glob| glob.matches(resource))
    }

    /// Does a denying rule catch the effect, principal and resource aside?
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
}

/// An effect of such a verb that names no object is not about nothing: what it touches cannot be
/// said (a DO block, a statement that does not parse), or is the server itself.
fn may_touch_anything(verb: Verb) -> bool {
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
