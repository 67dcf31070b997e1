//! Questions in short form.
use gateway_core::ports::Case;
use gateway_core::{
    Assurance, Attribute, Claim, Decision, Destination, Effect, Lineage, Object, Operation,
    Principal, Process, Provenance, Subject, Timestamp, TreeId, Verb,
};
use gateway_policy::{Policy, PolicySet};
use std::sync::Arc;

/// A policy that must be without mistakes. The head is added when the text has none.
pub(crate) fn policy(text: &str) -> Arc<Policy> {
    let text = match text.contains("[policy]") {
        true => text.to_owned(),
        false => format!("[policy]\nname = \"p\"\n{text}"),
    };
    let loaded = PolicySet::load_texts([("p.toml", text.as_str())]);
    let shown: Vec<String> = loaded.diagnostics.iter().map(|d| d.render()).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    let policy = loaded.set.policies().next().map(Arc::clone);
    policy.expect("a policy")
}

/// `local:alice +dev +ops`: a principal with groups.
pub(crate) fn principal(text: &str) -> Principal {
    let mut words = text.split(" +");
    Principal {
        id: words.next().unwrap_or_default().into(),
        assurance: Assurance::Kernel,
        groups: words.map(Into::into).collect(),
    }
}

/// A process that executes a file, with two arguments.
pub(crate) fn process(exe: &str) -> Process {
    Process {
        pid: 42,
        start: 7,
        exe: exe.into(),
        argv: vec![exe.into(), "--flag".into()],
        uid: 1000,
        cwd: Some("/srv".into()),
        cgroup: "ci.slice/job".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    }
}

/// `read public.a public.b; write ?users`: effects with their objects, `?` for unresolved ones.
pub(crate) fn effects(text: &str) -> Vec<Effect> {
    let effect = |part: &str| {
        let mut words = part.split_whitespace();
        let verb: Verb = words.next().expect("a verb").parse().expect("a verb");
        let object = |word: &str| match word.strip_prefix('?') {
            Some(name) => Object::Unresolved(name.into()),
            None => Object::Named(word.into()),
        };
        Effect {
            verb,
            objects: words.map(object).collect(),
        }
    };
    text.split(';')
        .filter(|part| !part.trim().is_empty())
        .map(effect)
        .collect()
}

/// A question that nothing is special about but what is set.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) who: &'a str,
    pub(crate) delegates: &'a [&'a str],
    pub(crate) to: &'a str,
    /// The names that lead there, what was asked for last first.
    pub(crate) hosts: &'a [&'a str],
    /// Which of them the client says that it means.
    pub(crate) claim: Claim,
    pub(crate) protocol: &'static str,
    pub(crate) effects: &'a str,
    pub(crate) statement: &'a str,
    pub(crate) attributes: &'a [(Arc<str>, Attribute)],
    /// The files that the processes of the tree execute, root first.
    pub(crate) tree: &'a [&'a str],
    pub(crate) now: Timestamp,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            who: "local:alice",
            delegates: &[],
            to: "10.0.0.7:5432",
            hosts: &[],
            claim: Claim::Nothing,
            protocol: "postgres",
            effects: "read",
            statement: "",
            attributes: &[],
            tree: &[],
            now: Timestamp(1_767_236_400_000_000_000),
        }
    }
}

impl Ask<'_> {
    pub(crate) fn destination(&self) -> Destination {
        Destination {
            hosts: self.hosts.iter().map(|host| (*host).into()).collect(),
            claim: self.claim.clone(),
            ..Destination::from_address(self.to.parse().expect("an address"))
        }
    }

    /// Hands the question over as a case of the policy `p`.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Case<'_>) -> T) -> T {
        let subject = Subject {
            principal: principal(self.who),
            delegates: self.delegates.iter().map(|text| principal(text)).collect(),
            lineage: Lineage {
                tree: TreeId(1),
                processes: self.tree.iter().map(|exe| process(exe)).collect(),
            },
        };
        let destination = self.destination();
        let effects = effects(self.effects);
        let operation = Operation {
            protocol: self.protocol,
            verb: effects.first().map_or(Verb::Read, |effect| effect.verb),
            effects: &effects,
            statement: self.statement,
            parameters: &[],
            attributes: self.attributes,
            announces: false,
            uses: &[],
            shown: None,
            shape: None,
            basis: 0,
        };
        f(&Case {
            policy: "p",
            subject: &subject,
            destination: &destination,
            operation: &operation,
        })
    }

    pub(crate) fn of(&self, policy: &Policy) -> Decision {
        self.with(|case| {
            let decision = policy.decide(case, self.now);
            let explained = policy.explain(case, self.now);
            if decision.mode != gateway_core::Mode::Observe {
                assert_eq!(
                    decision.verdict, explained.verdict,
                    "explain is decide:\n{explained}"
                );
                assert_eq!(
                    decision.rule, explained.rule,
                    "explain is decide:\n{explained}"
                );
                let covers = explained.masks.iter().any(|mask| mask.covered);
                assert_eq!(
                    decision.masks.as_ref().map(|masks| masks.cover()),
                    (!explained.masks.is_empty()).then_some(covers),
                    "explain is decide:\n{explained}"
                );
            }
            let kept = explained.answers.as_ref().map_or(0, |kept| kept.bytes);
            assert_eq!(decision.answers.unwrap_or(0), kept, "{explained}");
            assert_eq!(decision.resource, explained.resource);
            decision
        })
    }

    /// `allow by read`, `deny by default`.
    pub(crate) fn verdict(&self, policy: &Policy) -> String {
        let decision = self.of(policy);
        match decision.rule {
            Some(rule) => format!("{} by {rule}", decision.verdict),
            None => decision.verdict.to_string(),
        }
    }
}
