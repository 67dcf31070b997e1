//! What holds for every policy.
use crate::ask::{Ask, effects, policy, principal};
use gateway_core::{Decision, Effect, Object, Principal, Verb, Verdict};
use gateway_policy::PolicySet;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const VERBS: [&str; 6] = ["read", "write", "execute", "unknown", "connect", "*"];
const PRINCIPALS: [&str; 5] = ["local:alice", "ci:*", "group:dev", "*", "unknown"];
const RESOURCES: [&str; 5] = ["db", "d*", "*", "10.0.0.9:80", "*:80"];
const OBJECTS: [&str; 6] = ["public.*", "public.a", "*.a", "*", "b", "hr.pay"];
const WHO: [&str; 5] = [
    "local:alice",
    "local:bob +dev",
    "ci:x",
    "unknown",
    "ci:y +dev +ops",
];

const MASKS: [&str; 3] = ["a", "b", "c"];

/// A rule as it is written.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    verdict: Verdict,
    message: bool,
    principals: Vec<&'static str>,
    resources: Vec<&'static str>,
    verbs: Vec<&'static str>,
    objects: Vec<&'static str>,
    /// None in a rule that denies.
    masks: Vec<&'static str>,
}

fn list<const N: usize>(words: [&'static str; N]) -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![1 => Just(Vec::new()), 2 => subsequence(words.to_vec(), 1..=2)]
}

fn written() -> impl Strategy<Value = Written> {
    let lists = (
        list(PRINCIPALS),
        list(RESOURCES),
        list(VERBS),
        list(OBJECTS),
    );
    let verdict = select(vec![
        Verdict::Allow,
        Verdict::Allow,
        Verdict::Deny,
        Verdict::Hold,
    ]);
    let masks = prop_oneof![1 => Just(Vec::new()), 1 => subsequence(MASKS.to_vec(), 1..=2)];
    (verdict, any::<bool>(), lists, masks).prop_map(|(verdict, message, lists, masks)| {
        let (principals, resources, verbs, objects) = lists;
        Written {
            name: String::new(),
            verdict,
            message,
            principals,
            resources,
            verbs,
            objects,
            masks: match verdict {
                Verdict::Deny => Vec::new(),
                _ => masks,
            },
        }
    })
}

fn rules(max: usize) -> impl Strategy<Value = Vec<Written>> {
    proptest::collection::vec(written(), 0..max).prop_map(|mut rules| {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{number}");
        }
        rules
    })
}

fn file(rules: &[Written], default: &str) -> String {
    let mut text = format!(
        "[policy]\nname = \"p\"\ndefault = \"{default}\"\n\
         [[resource]]\nname = \"db\"\nhosts = [\"10.0.0.7\"]\nports = [5432]\n"
    );
    for mask in MASKS {
        text += &format!("[[mask]]\nname = \"{mask}\"\nfields = [\"*.{mask}\"]\n");
    }
    for rule in rules {
        let verdict = rule.verdict;
        text += &format!(
            "[[rule]]\nname = \"{}\"\nverdict = \"{verdict}\"\n",
            rule.name
        );
        if verdict == Verdict::Hold {
            text += "approvers = [\"group:dba\"]\n";
        }
        if rule.message {
            text += "message = \"m\"\n";
        }
        for (key, list) in [
            ("principals", &rule.principals),
            ("resources", &rule.resources),
            ("verbs", &rule.verbs),
            ("objects", &rule.objects),
            ("masks", &rule.masks),
        ] {
            if !list.is_empty() {
                text += &format!("{key} = {list:?}\n");
            }
        }
    }
    text
}

#[derive(Clone, Debug)]
struct Asked {
    who: &'static str,
    delegates: Vec<&'static str>,
    to: &'static str,
    effects: String,
}

fn asked() -> impl Strategy<Value = Asked> {
    let object = select(vec!["public.a", "public.b", "hr.pay", "b", "?a", "?b"]);
    let effect = (
        select(VERBS[..5].to_vec()),
        proptest::collection::vec(object, 0..3),
    )
        .prop_map(|(verb, objects)| format!("{verb} {}", objects.join(" ")));
    let effects = proptest::collection::vec(effect, 1..3).prop_map(|effects| effects.join(";"));
    let delegates = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(WHO.to_vec(), 1..=1)];
    let to = select(vec![
        "10.0.0.7:5432",
        "10.0.0.9:80",
        "10.0.0.9:81",
        "10.0.0.7:80",
    ]);
    (select(WHO.to_vec()), delegates, to, effects).prop_map(|(who, delegates, to, effects)| Asked {
        who,
        delegates,
        to,
        effects,
    })
}

impl Asked {
    fn ask(&self) -> Ask<'_> {
        Ask {
            who: self.who,
            delegates: &self.delegates,
            to: self.to,
            effects: &self.effects,
            ..Ask::default()
        }
    }
}

/// Globs, by definition.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(rest) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        None => match pattern.chars().next() {
            None => text.is_empty(),
            Some(c) => text
                .strip_prefix(c)
                .is_some_and(|text| glob(&pattern[c.len_utf8()..], text)),
        },
    }
}

fn any_of(list: &[&str], matches: impl Fn(&str) -> bool) -> bool {
    list.is_empty() || list.iter().any(|pattern| matches(pattern))
}

/// Does a rule speak of the principal, the place and the verb?
fn applies(rule: &Written, asked: &Asked, principal: &Principal, effect: &Effect) -> bool {
    let resource = match asked.to {
        "10.0.0.7:5432" => "db",
        to => to,
    };
    let verb = match effect.verb {
        Verb::Unknown => rule.verbs.contains(&"unknown"),
        verb => any_of(&rule.verbs, |name| name == "*" || name == verb.name()),
    };
    verb && any_of(&rule.resources, |pattern| glob(pattern, resource))
        && any_of(&rule.principals, |pattern| {
            match pattern.strip_prefix("group:") {
                Some(group) => principal.groups.iter().any(|name| glob(group, name)),
                None => glob(pattern, &principal.id),
            }
        })
}

/// Could a pattern mean one of the objects? No patterns, and a star alone, mean everything.
fn meant(rule: &Written, effect: &Effect) -> bool {
    let meant = |pattern: &str, object: &Object| match object {
        Object::Named(name) => glob(pattern, name),
        Object::Unresolved(name) => {
            let last = pattern.rsplit('.').next().unwrap_or(pattern);
            pattern.ends_with('*') || glob(last, name)
        }
    };
    let mut objects = effect.objects.iter();
    any_of(&rule.objects, |pattern| pattern == "*")
        || objects.any(|object| any_of(&rule.objects, |pattern| meant(pattern, object)))
}

fn everyone(asked: &Asked) -> Vec<Principal> {
    let who = std::iter::once(&asked.who).chain(&asked.delegates);
    who.map(|who| principal(who)).collect()
}

/// The masks that the contract puts on.
fn reference_masks(rules: &[Written], asked: &Asked) -> Vec<&'static str> {
    let (everyone, effects) = (everyone(asked), effects(&asked.effects));
    let matches = |rule: &&Written| {
        everyone.iter().any(|principal| {
            let mut effects = effects.iter();
            effects.any(|effect| {
                // What is done to an object tells what is in it, so rules about reading count.
                let read = Effect {
                    verb: match effect.verb {
                        Verb::Connect | Verb::Authenticate => effect.verb,
                        _ => Verb::Read,
                    },
                    ..effect.clone()
                };
                [effect, &read].iter().any(|effect| {
                    applies(rule, asked, principal, effect)
                        && (effect.objects.is_empty() || meant(rule, effect))
                })
            })
        })
    };
    let matching: Vec<&Written> = rules.iter().filter(matches).collect();
    let put_on = |mask: &&str| matching.iter().any(|rule| rule.masks.contains(mask));
    MASKS.into_iter().filter(put_on).collect()
}

/// The masks that a decision covers.
fn covered(decision: &Decision) -> Vec<&'static str> {
    let masks = decision.masks.as_ref().expect("the policy has masks");
    let is_covered = |mask: &&str| {
        let field = masks.field(&format!("public.users.{mask}"));
        field.expect("a sensitive field").covered
    };
    MASKS.into_iter().filter(is_covered).collect()
}

/// The users' contract, word by word, without tables and without thoughts of speed.
fn reference(rules: &[Written], default_allow: bool, asked: &Asked) -> Verdict {
    let sweeping = |verb: Verb| {
        matches!(
            verb,
            Verb::Define | Verb::Grant | Verb::Execute | Verb::Admin | Verb::Unknown
        )
    };
    let applies = |rule: &Written, principal: &Principal, effect: &Effect| {
        applies(rule, asked, principal, effect)
    };
    let denies = |rule: &Written, effect: &Effect| {
        meant(rule, effect) || (effect.objects.is_empty() && sweeping(effect.verb))
    };
    let covers = |rule: &Written, verb: Verb, object: Option<&Object>| {
        let unrestricted = any_of(&rule.objects, |pattern| pattern == "*");
        unrestricted
            || match object {
                None => !sweeping(verb),
                Some(Object::Named(name)) => any_of(&rule.objects, |pattern| glob(pattern, name)),
                Some(Object::Unresolved(_)) => false,
            }
    };
    let principals = everyone(asked);
    let effects = effects(&asked.effects);
    // Deny and hold: one effect of one of them is enough.
    let caught = |verdict: Verdict| {
        principals.iter().any(|principal| {
            let caught = |rule: &&Written, effect: &Effect| {
                applies(rule, principal, effect) && denies(rule, effect)
            };
            let mut rules = rules.iter().filter(|rule| rule.verdict == verdict);
            rules.any(|rule| effects.iter().any(|effect| caught(&rule, effect)))
        })
    };
    if caught(Verdict::Deny) {
        return Verdict::Deny;
    }
    for principal in &principals {
        for effect in &effects {
            let speaks = |rule: &&Written| match rule.verdict {
                Verdict::Allow => applies(rule, principal, effect),
                Verdict::Hold => applies(rule, principal, effect) && denies(rule, effect),
                _ => false,
            };
            let covering: Vec<&Written> = rules.iter().filter(speaks).collect();
            let covered = |object| {
                let mut rules = covering.iter();
                rules.any(|rule| covers(rule, effect.verb, object))
            };
            let covered = match effect.objects.is_empty() {
                true => covered(None),
                false => effect.objects.iter().all(|object| covered(Some(object))),
            };
            if !covered && (effect.verb == Verb::Unknown || !default_allow) {
                return Verdict::Deny;
            }
        }
    }
    match caught(Verdict::Hold) {
        true => Verdict::Hold,
        false => Verdict::Allow,
    }
}

/// How much a verdict lets through.
fn freedom(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 2,
        Verdict::Hold => 1,
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn the_verdict_is_that_of_the_contract(
        rules in rules(6), default in select(vec!["allow", "deny"]), asked in asked(),
    ) {
        let decision = asked.ask().of(&policy(&file(&rules, default)));
        prop_assert_eq!(decision.verdict, reference(&rules, default == "allow", &asked));
    }

    #[test]
    fn the_order_of_rules_never_matters(
        (rules, shuffled) in rules(6).prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        default in select(vec!["allow", "deny"]),
        asked in asked(),
    ) {
        let decision = asked.ask().of(&policy(&file(&rules, default)));
        let other = asked.ask().of(&policy(&file(&shuffled, default)));
        prop_assert_eq!(covered(&decision), covered(&other));
        // Masks of two policies are never equal.
        let rest = |decision| Decision { masks: None, ..decision };
        prop_assert_eq!(rest(decision), rest(other), "the whole decision, with its rule and message");
    }

    #[test]
    fn the_masks_are_those_of_the_contract(rules in rules(6), asked in asked()) {
        let decision = asked.ask().of(&policy(&file(&rules, "deny")));
        prop_assert_eq!(covered(&decision), reference_masks(&rules, &asked));
    }

    #[test]
    fn no_further_rule_takes_a_mask_off(rules in rules(5), more in written(), asked in asked()) {
        let more = Written { name: "more".into(), ..more };
        let before = covered(&asked.ask().of(&policy(&file(&rules, "deny"))));
        let after = covered(&asked.ask().of(&policy(&file(&[&rules[..], &[more]].concat(), "deny"))));
        prop_assert!(before.iter().all(|mask| after.contains(mask)), "{:?} {:?}", before, after);
    }

    #[test]
    fn no_delegate_and_no_further_effect_takes_a_mask_off(
        rules in rules(5), asked in asked(), delegate in select(WHO.to_vec()), more in asked(),
    ) {
        let policy = policy(&file(&rules, "allow"));
        let before = covered(&asked.ask().of(&policy));
        let effects = format!("{};{}", asked.effects, more.effects);
        let mut further = Asked { effects, ..asked };
        further.delegates.push(delegate);
        let after = covered(&further.ask().of(&policy));
        prop_assert!(before.iter().all(|mask| after.contains(mask)), "{:?} {:?}", before, after);
    }

    #[test]
    fn a_further_denial_never_allows(rules in rules(5), more in written(), asked in asked()) {
        let more = Written { name: "more".into(), verdict: Verdict::Deny, masks: Vec::new(), ..more };
        let before = asked.ask().of(&policy(&file(&rules, "deny"))).verdict;
        let after = asked.ask().of(&policy(&file(&[&rules[..], &[more]].concat(), "deny"))).verdict;
        prop_assert!(freedom(after) <= freedom(before), "{} {}", before, after);
    }

    #[test]
    fn a_further_hold_never_lets_anything_through(
        rules in rules(5), default in select(vec!["allow", "deny"]), more in written(), asked in asked(),
    ) {
        let more = Written { name: "more".into(), verdict: Verdict::Hold, ..more };
        let before = asked.ask().of(&policy(&file(&rules, default))).verdict;
        let after = asked.ask().of(&policy(&file(&[&rules[..], &[more]].concat(), default))).verdict;
        prop_assert!(after != Verdict::Allow || before == Verdict::Allow);
        prop_assert!(before != Verdict::Allow || after != Verdict::Deny);
    }

    #[test]
    fn a_delegate_never_widens(rules in rules(5), asked in asked(), delegate in select(WHO.to_vec())) {
        let policy = policy(&file(&rules, "deny"));
        let before = asked.ask().of(&policy).verdict;
        let mut narrowed = asked.clone();
        narrowed.delegates.push(delegate);
        let after = narrowed.ask().of(&policy).verdict;
        prop_assert!(freedom(after) <= freedom(before), "{} {}", before, after);
    }

    #[test]
    fn a_further_effect_never_allows(rules in rules(5), asked in asked(), more in asked()) {
        let policy = policy(&file(&rules, "allow"));
        let before = asked.ask().of(&policy).verdict;
        let both = Asked { effects: format!("{};{}", asked.effects, more.effects), ..asked };
        let after = both.ask().of(&policy).verdict;
        prop_assert!(freedom(after) <= freedom(before), "{} {}", before, after);
    }

    #[test]
    fn no_text_breaks_the_reader(
        rules in rules(3), cuts in proptest::collection::vec((any::<usize>(), any::<usize>(), "\\PC{0,4}"), 1..4),
    ) {
        let mut text = file(&rules, "deny");
        for (at, length, insert) in cuts {
            let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let start = boundary(at % (text.len() + 1));
            let end = boundary(start + length % 6).max(start);
            text.replace_range(start..end, &insert);
        }
        let loaded = PolicySet::load_texts([("f.toml", text.as_str())]);
        prop_assert_eq!(loaded.set.is_empty(), !loaded.diagnostics.is_empty(), "{}", &text);
        let lines: Vec<&str> = text.split('\n').collect();
        for diagnostic in &loaded.diagnostics {
            let at = &diagnostic.location;
            let line = lines[at.line as usize - 1].trim_end_matches('\r');
            prop_assert_eq!(at.source.as_deref(), Some(line));
            prop_assert!(at.column as usize <= line.chars().count() + 1, "{}", diagnostic.render());
            prop_assert!(!diagnostic.message.is_empty() && !diagnostic.expected.is_empty());
        }
    }

    #[test]
    fn no_bytes_break_the_reader(text in "[\\[\\]{}a-z\"'=,.#\\\\ \n\u{0}-\u{ff}]{0,60}") {
        let loaded = PolicySet::load_texts([("f.toml", text.as_str())]);
        prop_assert_eq!(loaded.set.is_empty(), !loaded.diagnostics.is_empty());
        loaded.diagnostics.iter().for_each(|diagnostic| drop(diagnostic.render()));
    }
}
