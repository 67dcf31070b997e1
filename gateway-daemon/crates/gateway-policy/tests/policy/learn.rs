//! What is learned allows what passed, and nothing that was not seen.
use crate::ask::{Ask, effects, policy, principal};
use gateway_core::{
    Destination, Effect, Lineage, Object, Subject, Timestamp, TreeId, Verb, Verdict,
};
use gateway_policy::{Head, KINDS_MAX, LearnError, Learner, Observation, PolicySet};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::collections::BTreeSet;

const DAY: u64 = 1_767_236_400_000_000_000;

/// One recorded operation in short form.
#[derive(Clone, Debug)]
struct Recorded {
    who: String,
    delegates: Vec<&'static str>,
    to: &'static str,
    resource: &'static str,
    protocol: &'static str,
    effects: String,
    statement: String,
    verdict: Verdict,
}

impl Recorded {
    fn new(who: &str, effects: &str) -> Recorded {
        Recorded {
            who: who.to_owned(),
            delegates: Vec::new(),
            to: "10.0.0.7:5432",
            resource: "orders",
            protocol: "postgres",
            effects: effects.to_owned(),
            statement: "SELECT * FROM t WHERE id = 7".to_owned(),
            verdict: Verdict::Allow,
        }
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            who: &self.who,
            delegates: &self.delegates,
            to: self.to,
            protocol: self.protocol,
            effects: &self.effects,
            ..Ask::default()
        }
    }
}

fn subject(recorded: &Recorded) -> Subject {
    Subject {
        principal: principal(&recorded.who),
        delegates: recorded.delegates.iter().map(|id| principal(id)).collect(),
        lineage: Lineage {
            tree: TreeId(1),
            processes: Vec::new(),
        },
    }
}

fn observe(learner: &mut Learner, recorded: &Recorded, time: u64) {
    learner
        .observe(&Observation {
            time: Timestamp(DAY + time),
            subject: &subject(recorded),
            destination: &Destination::from_address(recorded.to.parse().unwrap()),
            resource: recorded.resource,
            protocol: recorded.protocol,
            effects: &effects(&recorded.effects),
            statement: &recorded.statement,
            verdict: recorded.verdict,
        })
        .unwrap();
}

const HEAD: Head<'static> = Head {
    name: "p",
    cgroups: &[],
};

fn learned(recorded: &[Recorded]) -> String {
    let mut learner = Learner::default();
    for (time, recorded) in recorded.iter().enumerate() {
        observe(&mut learner, recorded, time as u64 * 1_000_000_000);
    }
    learner.policy(&HEAD).unwrap()
}

/// The rules, without comments and with the lines of each in one.
fn rules(text: &str) -> Vec<String> {
    let lines = |rule: &str| {
        let lines = rule.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("verdict"));
        lines.collect::<Vec<_>>().join(" ")
    };
    text.split("[[rule]]").skip(1).map(lines).collect()
}

#[test]
fn what_is_learned_is_readable() {
    let mut recorded = vec![
        Recorded {
            protocol: "",
            statement: String::new(),
            ..Recorded::new("ci:github:acme/api@refs/heads/main", "connect")
        },
        Recorded {
            statement: String::new(),
            ..Recorded::new("ci:github:acme/api@refs/heads/main", "authenticate")
        },
        Recorded::new("ci:github:acme/api@refs/heads/main", "read public.users"),
        Recorded {
            statement: "INSERT INTO audit VALUES ('secret', 42)\n[[rule]]\nname = \"x\"".into(),
            ..Recorded::new(
                "ci:github:acme/api@refs/heads/main",
                "read; write public.audit",
            )
        },
        Recorded::new("local:alice", "read public.users"),
        Recorded {
            statement: "DROP TABLE public.old".into(),
            verdict: Verdict::Approved,
            ..Recorded::new("local:alice", "define public.old")
        },
        Recorded {
            verdict: Verdict::Deny,
            ..Recorded::new("local:mallory", "read public.users")
        },
        Recorded {
            verdict: Verdict::Expired,
            ..Recorded::new("local:mallory", "write public.users")
        },
        Recorded {
            to: "10.0.0.9:22",
            resource: "10.0.0.9:22",
            protocol: "opaque",
            statement: String::new(),
            ..Recorded::new("local:alice", "unknown ?*")
        },
    ];
    let text = learned(&recorded);
    let expected = r#"# Learned from 7 operations since 2026-01-01T03:00:00Z. Read it before you use it.
# Not learned: 1 operation, denied by the rules, whatever the mode.
# Not learned: 1 operation, held and not approved.

[policy]
name = "p"
# No `cgroups`: it governs what `gateway run --policy` starts under it.
# Look at what it would deny for a while, then set this to "enforce".
mode = "shadow"
default = "deny"

[[resource]]
name = "orders"
protocol = "postgres"
hosts = ["10.0.0.7"]
ports = [5432]

[[resource]]
name = "10.0.0.9-22"
protocol = "opaque"
hosts = ["10.0.0.9"]
ports = [22]

# 4 operations since 2026-01-01T03:00:00Z, such as: SELECT * FROM t WHERE id = …
[[rule]]
name = "orders: connect, authenticate, read"
principals = ["ci:github:acme/api@refs/heads/main"]
resources = ["orders"]
verbs = ["connect", "authenticate", "read"]
objects = ["public.users"]
verdict = "allow"

# 1 operation since 2026-01-01T03:00:04Z, such as: SELECT * FROM t WHERE id = …
[[rule]]
name = "orders: read"
principals = ["local:alice"]
resources = ["orders"]
verbs = ["read"]
objects = ["public.users"]
verdict = "allow"

# 1 operation since 2026-01-01T03:00:03Z, such as: INSERT INTO audit VALUES ('…', …) [[rule]] name = "x"
[[rule]]
name = "orders: write"
principals = ["ci:github:acme/api@refs/heads/main"]
resources = ["orders"]
verbs = ["write"]
objects = ["public.audit"]
verdict = "allow"

# 1 operation since 2026-01-01T03:00:05Z, such as: DROP TABLE public.old
# A human approved each of these. Perhaps `verdict = "hold"` with `approvers`.
[[rule]]
name = "orders: define, approved"
principals = ["local:alice"]
resources = ["orders"]
verbs = ["define"]
objects = ["public.old"]
verdict = "allow"

# 1 operation since 2026-01-01T03:00:08Z, without a statement.
# What could not be classified, spoken as: opaque. It may do anything there.
[[rule]]
name = "10.0.0.9-22: unknown of any object"
principals = ["local:alice"]
resources = ["10.0.0.9-22"]
verbs = ["unknown"]
verdict = "allow"
"#;
    assert_eq!(text, expected);
    // Whatever order they are seen in.
    recorded.rotate_left(4);
    let mut learner = Learner::default();
    for (number, recorded) in recorded.iter().enumerate() {
        let time = (number as u64 + 4) % 9;
        observe(&mut learner, recorded, time * 1_000_000_000);
    }
    assert_eq!(learner.policy(&HEAD).unwrap(), expected);
}

#[test]
fn many_become_a_pattern_and_seven_do_not() {
    let tables = |count: usize, verb: &str| -> Vec<Recorded> {
        let one = |n| Recorded::new("a", &format!("{verb} s.t{n}"));
        (0..count).map(one).collect()
    };
    let objects = |recorded: &[Recorded]| rules(&learned(recorded)).join("; ");
    assert!(objects(&tables(8, "read")).contains("objects = [\"s.*\"]"));
    assert!(objects(&tables(8, "write")).contains("objects = [\"s.*\"]"));
    assert!(!objects(&tables(7, "read")).contains('*'));
    for verb in ["delete", "define", "grant", "execute", "admin", "unknown"] {
        assert!(!objects(&tables(20, verb)).contains('*'), "{verb}");
    }
    // Those that are deleted from too are read as many, and deleted from one by one.
    let both = objects(
        &tables(9, "read")
            .into_iter()
            .chain(tables(9, "delete"))
            .collect::<Vec<_>>(),
    );
    assert!(
        both.contains("verbs = [\"read\"] objects = [\"s.*\"]"),
        "{both}"
    );
    assert!(
        both.contains("verbs = [\"delete\"] objects = [\"s.t0\", \"s.t1\""),
        "{both}"
    );
    // Names with dots of another meaning, and the server's own.
    for name in ["pg_catalog.t", "information_schema.t", "a.b/c", "a.b:"] {
        let names = |n| Recorded::new("a", &format!("read {name}{n}"));
        let names: Vec<Recorded> = (0..20).map(names).collect();
        assert!(!objects(&names).contains('*'), "{name}");
    }
    let refs = |count: usize| -> String {
        let one = |n| Recorded::new(&format!("ci:github:acme/api@refs/heads/{n}"), "read s.t");
        objects(&(0..count).map(one).collect::<Vec<_>>())
    };
    assert!(refs(8).contains("principals = [\"ci:github:acme/api@*\"]"));
    assert!(!refs(7).contains('*'));
    let people = |n| Recorded::new(&format!("user:alice@{n}"), "read s.t");
    assert!(!objects(&(0..20).map(people).collect::<Vec<_>>()).contains('*'));
}

/// Whoever is watched can choose names; none of them becomes a pattern, a group or a line.
#[test]
fn a_name_is_never_more_than_a_name() {
    let long = "x".repeat(1025);
    for (who, object) in [
        ("a", "public.*"),
        ("a", "*"),
        ("a", long.as_str()),
        ("ci:*", "public.t"),
        ("*", "public.t"),
        ("group:admins", "public.t"),
        ("", "public.t"),
    ] {
        let text = learned(&[Recorded::new(who, &format!("read {object}"))]);
        assert!(rules(&text).is_empty(), "{text}");
        assert!(text.contains("# Not learned: 1 operation, not to be named exactly by any rule"));
    }
    let mut learner = Learner::default();
    let effects = [Effect {
        verb: Verb::Read,
        objects: vec![Object::Named("a\"]\nverdict = \"deny".into())],
    }];
    let attack = Recorded {
        resource: "x\"\n[[rule]]",
        ..Recorded::new("eve\"]\nname = \"x", "read")
    };
    let subject = subject(&attack);
    let mut observation = Observation {
        time: Timestamp(DAY),
        subject: &subject,
        destination: &Destination::from_address(attack.to.parse().unwrap()),
        resource: attack.resource,
        protocol: "x\ny",
        effects: &effects,
        statement: "SELECT\u{85}\u{2028}\n\r[policy]",
        verdict: Verdict::Allow,
    };
    learner.observe(&observation).unwrap();
    assert_eq!(learner.seen().unnameable, 1);
    let alice = subject_of("al\"i\\ce");
    let plain = [Effect {
        verb: Verb::Unknown,
        objects: Vec::new(),
    }];
    observation.subject = &alice;
    observation.effects = &plain;
    learner.observe(&observation).unwrap();
    // An observation without effects is about nothing, and nothing allows it.
    observation.effects = &[];
    learner.observe(&observation).unwrap();
    let text = learner.policy(&HEAD).unwrap();
    assert_eq!(learner.seen().unnameable, 2);
    assert_eq!(rules(&text).len(), 1, "{text}");
    assert_eq!(
        text.matches("[policy]").count(),
        2,
        "one of them in a comment: {text}"
    );
    assert!(text.lines().all(|line| !line.contains('\r')));
}

fn subject_of(who: &str) -> Subject {
    subject(&Recorded::new(who, "read"))
}

#[test]
fn resources_are_what_was_reached_and_no_product_of_it() {
    let at = |to, resource, protocol| Recorded {
        to,
        resource,
        protocol,
        ..Recorded::new("a", "read s.t")
    };
    let text = learned(&[
        at("10.0.0.1:1", "db", "postgres"),
        at("10.0.0.2:2", "db", "postgres"),
        at("10.0.0.3:2", "db", "postgres"),
        at("10.0.0.3:3", "db", "opaque"),
        at("[fd00::1]:9", "[fd00::1]:9", "opaque"),
        at("[fd00::1]:9", "[fd00::1]:9", "postgres"),
    ]);
    let policy = policy(&text);
    for (to, protocol, allowed) in [
        ("10.0.0.1:1", "postgres", true),
        ("10.0.0.1:2", "postgres", false),
        ("10.0.0.2:1", "postgres", false),
        ("10.0.0.3:2", "postgres", true),
        ("10.0.0.3:2", "opaque", false),
        ("10.0.0.3:3", "opaque", true),
        ("10.0.0.3:3", "postgres", false),
        ("[fd00::1]:9", "postgres", true),
        ("[fd00::1]:9", "opaque", true),
        ("10.0.0.4:1", "postgres", false),
    ] {
        let asked = at(to, "", protocol);
        let verdict = asked.ask().of(&policy).verdict;
        assert_eq!(
            verdict == Verdict::Allow,
            allowed,
            "{to} {protocol}\n{text}"
        );
    }
    // One destination has one name, however often it was renamed.
    let text = learned(&[
        at("10.0.0.1:1", "old", "postgres"),
        at("10.0.0.1:1", "new", "postgres"),
        at("10.0.0.1:1", "new", "postgres"),
        at("10.0.0.1:1", "10.0.0.1:1", "postgres"),
    ]);
    assert_eq!(text.matches("[[resource]]").count(), 1);
    assert!(text.contains("name = \"new\""), "{text}");
}

#[test]
fn what_is_too_much_is_said() {
    let mut learner = Learner::default();
    for n in 0..2049 {
        observe(
            &mut learner,
            &Recorded::new(&format!("p{n}"), &format!("read s{n}.t")),
            0,
        );
    }
    assert!(matches!(
        learner.policy(&HEAD),
        Err(LearnError::Tables(2049))
    ));
    let one = Recorded::new("a", "read s.t");
    let subject = subject(&one);
    let mut learner = Learner::default();
    for n in 0..=KINDS_MAX {
        let effects = [Effect {
            verb: Verb::Read,
            objects: vec![Object::Named(format!("s.t{n}").into())],
        }];
        let observed = learner.observe(&Observation {
            time: Timestamp(DAY),
            subject: &subject,
            destination: &Destination::from_address(one.to.parse().unwrap()),
            resource: one.resource,
            protocol: one.protocol,
            effects: &effects,
            statement: "",
            verdict: Verdict::Allow,
        });
        assert_eq!(observed.is_err(), n == KINDS_MAX, "{n}");
    }
    let head = Head {
        name: "",
        cgroups: &[],
    };
    assert!(matches!(
        learner.policy(&head),
        Err(LearnError::NoPolicy(_))
    ));
}

#[test]
fn the_head_is_written_as_it_is_given() {
    let head = Head {
        name: "ci \"jobs\"",
        cgroups: &["ci.slice/**".into()],
    };
    let text = Learner::default().policy(&head).unwrap();
    let loaded = PolicySet::load_texts([("p.toml", text.as_str())]);
    let summary = loaded.set.policy("ci \"jobs\"").unwrap().summary();
    assert_eq!(summary.cgroups, ["ci.slice/**".into()]);
    assert_eq!(summary.rules, 0);
}

const WHO: [&str; 4] = ["local:alice", "ci:x", "user:bob@acme.com", "unknown"];
const TO: [(&str, &str); 5] = [
    ("10.0.0.7:5432", "db"),
    ("10.0.0.8:5432", "db"),
    ("10.0.0.8:5433", "db"),
    ("10.0.0.9:80", "10.0.0.9:80"),
    ("[fd00::9]:80", "[fd00::9]:80"),
];
const OBJECTS: [&str; 6] = ["public.a", "public.b", "hr.pay", "b", "?a", "?*"];

fn verb() -> impl Strategy<Value = &'static str> {
    select(Verb::ALL.map(Verb::name).to_vec())
}

fn recorded() -> impl Strategy<Value = Recorded> {
    // Some of many tables and many refs, so that there is something to generalise.
    let object = prop_oneof![
        2 => select(OBJECTS.to_vec()).prop_map(str::to_owned),
        3 => (0..12u8).prop_map(|n| format!("many.t{n}")),
    ];
    let who = prop_oneof![
        2 => select(WHO.to_vec()).prop_map(str::to_owned),
        1 => (0..12u8).prop_map(|n| format!("ci:github:acme/api@refs/{n}")),
    ];
    let effect = (verb(), proptest::collection::vec(object, 0..3))
        .prop_map(|(verb, objects)| format!("{verb} {}", objects.join(" ")));
    let effects = proptest::collection::vec(effect, 1..3).prop_map(|effects| effects.join(";"));
    let delegates = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(WHO.to_vec(), 1..=2)];
    let verdict = prop_oneof![
        8 => Just(Verdict::Allow),
        2 => Just(Verdict::Approved),
        1 => select(vec![Verdict::Deny, Verdict::Hold, Verdict::Denied, Verdict::Expired]),
    ];
    let protocol = select(vec!["postgres", "postgres", "postgres", "opaque", ""]);
    (
        who,
        delegates,
        select(TO.to_vec()),
        protocol,
        effects,
        verdict,
    )
        .prop_map(
            |(who, delegates, (to, resource), protocol, effects, verdict)| Recorded {
                who,
                delegates,
                to,
                resource,
                protocol,
                effects,
                statement: "SELECT 1".to_owned(),
                verdict,
            },
        )
}

/// `(principal, resource, verb, object)` of all that passed; an object is `-` where there was
/// none, and `?` where it could not be said.
fn seen(all: &[Recorded]) -> BTreeSet<(String, &'static str, Verb, String)> {
    let mut seen = BTreeSet::new();
    for recorded in all.iter().filter(|recorded| recorded.verdict.passes()) {
        let ids = std::iter::once(recorded.who.as_str()).chain(recorded.delegates.iter().copied());
        for id in ids {
            for effect in effects(&recorded.effects) {
                for object in touched(&effect) {
                    seen.insert((id.to_owned(), recorded.resource, effect.verb, object));
                }
            }
        }
    }
    seen
}

fn touched(effect: &Effect) -> Vec<String> {
    use Verb::{Admin, Define, Execute, Grant, Unknown};
    if effect.objects.is_empty() {
        let sweeping = matches!(effect.verb, Define | Grant | Execute | Admin | Unknown);
        return vec![if sweeping { "?" } else { "-" }.to_owned()];
    }
    let objects = effect.objects.iter().map(|object| match object {
        Object::Named(name) => name.to_string(),
        Object::Unresolved(_) => "?".to_owned(),
    });
    objects.collect()
}

/// Was this seen, or is it what the users were told that is made of it?
fn is_justified(
    seen: &BTreeSet<(String, &'static str, Verb, String)>,
    (id, resource, verb, object): (&str, &str, Verb, &str),
) -> bool {
    let refs: BTreeSet<&str> = seen
        .iter()
        .map(|(id, ..)| id.as_str())
        .filter(|id| id.starts_with("ci:github:acme/api@"))
        .collect();
    let same = |other: &str| {
        other == id
            || (refs.len() >= 8
                && [id, other]
                    .iter()
                    .all(|id| id.starts_with("ci:github:acme/api@")))
    };
    let objects: BTreeSet<&str> = seen
        .iter()
        .filter(|(i, r, v, _)| same(i) && *r == resource && *v == verb)
        .map(|(.., object)| object.as_str())
        .collect();
    use Verb::{Admin, Define, Delete, Execute, Grant, Unknown};
    let grave = matches!(verb, Delete | Define | Grant | Execute | Admin | Unknown);
    let many = objects
        .iter()
        .filter(|name| name.starts_with("many."))
        .count();
    // A rule with objects covers its verbs without any, and opening has none.
    let opening = matches!(verb, Verb::Connect | Verb::Authenticate);
    objects.contains(object)
        || objects.contains("?")
        || (object == "-" && !objects.is_empty())
        || (opening && !objects.is_empty())
        || (object.starts_with("many.") && many >= 8 && !grave)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn all_that_passed_passes(all in proptest::collection::vec(recorded(), 0..80)) {
        let text = learned(&all);
        let policy = policy(&text);
        prop_assert_eq!(crate::schema::check(&text), [""; 0]);
        for recorded in all.iter().filter(|recorded| recorded.verdict.passes()) {
            let decision = recorded.ask().of(&policy);
            prop_assert_eq!(decision.verdict, Verdict::Allow, "{:?}\n{}", recorded, text);
        }
    }

    #[test]
    fn nothing_else_passes(
        all in proptest::collection::vec(recorded(), 0..60),
        probes in proptest::collection::vec(recorded(), 60),
    ) {
        let text = learned(&all);
        let policy = policy(&text);
        let seen = seen(&all);
        for probe in probes.iter().chain(&all) {
            if probe.ask().of(&policy).verdict != Verdict::Allow {
                continue;
            }
            let ids = std::iter::once(probe.who.as_str()).chain(probe.delegates.iter().copied());
            for id in ids {
                for effect in effects(&probe.effects) {
                    for object in touched(&effect) {
                        let asked = (id, probe.resource, effect.verb, object.as_str());
                        prop_assert!(is_justified(&seen, asked), "{asked:?}\n{text}");
                    }
                }
            }
        }
    }
}
