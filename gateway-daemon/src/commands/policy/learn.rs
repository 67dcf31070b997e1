//! `gateway policy learn`: the policy that allows what was recorded.
use super::history::{self, Holes};
use crate::command::Learn;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::print;
use gateway_core::SessionOpened;
use gateway_policy::{Head, Learner, Observation, PolicySet};
use gateway_recording::{OperationView, Pattern, Query};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// How many names of policies are listed when there are several.
const NAMES_MAX: usize = 8;

/// Writes the policy to stdout. Exit 1 when there is nothing to learn from.
pub(crate) fn learn(config: &Config, asked: &Learn) -> Result<Exit, Failure> {
    let (learner, name, holes) = observe(&config.journal_dir(), asked)?;
    let seen = learner.seen();
    let cgroups = cgroups(&config.policy_dir, &name);
    print(write(&learner, &name, &cgroups)?.trim_end())?;
    let left_out = seen.denied + seen.not_approved + seen.unnameable + holes.orphans;
    eprintln!(
        "gateway: learned from {} operations; {left_out} not learned",
        seen.learned
    );
    Ok(Exit::Done)
}

fn write(learner: &Learner, name: &str, cgroups: &[Box<str>]) -> Result<String, Failure> {
    learner
        .policy(&Head { name, cgroups })
        .map_err(|error| Failure::no(format!("learn: {error}")))
}

/// Collects what is asked for; with it the name of the one policy that it was under.
fn observe(journal: &Path, asked: &Learn) -> Result<(Learner, Arc<str>, Holes), Failure> {
    let query = Query {
        since: asked.since,
        tree: asked.tree,
        principal: asked.principal.clone().map(Pattern::new),
        ..Query::default()
    };
    let wanted = asked.policy.as_deref();
    let mut learner = Learner::default();
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let holes = history::read(journal, &query, &mut |view, session| {
        if wanted.is_some_and(|wanted| *wanted != *session.policy) {
            return Ok(ControlFlow::Continue(()));
        }
        if names.len() < NAMES_MAX && !names.contains(&session.policy) {
            names.insert(Arc::clone(&session.policy));
        }
        learner
            .observe(&observation(view, session))
            .map_err(|error| Failure::no(format!("learn: {error}")))?;
        Ok(ControlFlow::Continue(()))
    })?;
    let mut found = names.iter();
    match (found.next(), found.next()) {
        (Some(_), None) if learner.seen().learned == 0 => Err(Failure::no(
            "learn: nothing was recorded that a policy could allow",
        )),
        (Some(name), None) => {
            let name = Arc::clone(name);
            Ok((learner, name, holes))
        }
        (None, _) => Err(Failure::no("learn: nothing was recorded of this")),
        (Some(_), Some(_)) => {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(", ");
            let message =
                format!("learn: it was under several policies, name one with --policy: {names}");
            Err(Failure::usage(message))
        }
    }
}

fn observation<'a>(view: &'a OperationView, session: &'a SessionOpened) -> Observation<'a> {
    let operation = &view.operation;
    Observation {
        time: operation.time,
        subject: &session.subject,
        destination: &session.destination,
        resource: &operation.resource,
        protocol: &operation.protocol,
        effects: &operation.effects,
        statement: &operation.statement,
        verdict: view.verdict(),
    }
}

/// Those of the policy of this name, where there is one: what it governs stays the same.
fn cgroups(policy_dir: &Path, name: &str) -> Vec<Box<str>> {
    let Ok(loaded) = PolicySet::load(policy_dir) else {
        return Vec::new();
    };
    let policy = loaded.set.policy(name);
    policy.map_or_else(Vec::new, |policy| policy.summary().cgroups)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::commands::policy::replay::tests::{Entry, Written};
    use crate::exit::Exit;
    use gateway_core::{TreeId, Verdict};

    /// What is written for a journal.
    pub(crate) fn learned(journal: &Path, asked: &Learn) -> Result<String, Failure> {
        let (learner, name, _) = observe(journal, asked)?;
        write(&learner, &name, &[])
    }

    const ALL: Learn = Learn {
        policy: None,
        principal: None,
        tree: None,
        since: None,
    };

    #[test]
    fn it_is_about_one_policy() {
        let written = Written::new();
        let asked = |policy: Option<&str>| Learn {
            policy: policy.map(str::to_owned),
            ..ALL
        };
        let exit = |policy| learned(written.path(), &asked(policy)).map_err(|failure| failure.exit);
        assert_eq!(exit(None), Err(Exit::No), "nothing was recorded");
        written.open(1, "ci:x", "ci");
        written.open(2, "local:alice", "bastion");
        written.add(Entry::default());
        written.add(Entry {
            session: 2,
            ..Entry::default()
        });
        assert_eq!(exit(None), Err(Exit::Usage));
        assert_eq!(exit(Some("nobody's")), Err(Exit::No));
        let text = exit(Some("bastion")).unwrap();
        assert!(
            text.contains("name = \"bastion\"") && !text.contains("ci:x"),
            "{text}"
        );
        let tree = Learn {
            tree: Some(TreeId(1)),
            ..ALL
        };
        assert!(
            learned(written.path(), &tree)
                .unwrap()
                .contains("name = \"ci\"")
        );
    }

    #[test]
    fn of_denials_alone_nothing_is_learned() {
        let written = Written::new();
        written.open(1, "ci:x", "ci");
        written.add(Entry {
            verdict: Verdict::Deny,
            ..Entry::default()
        });
        let failure = learned(written.path(), &ALL).unwrap_err();
        assert_eq!(failure.exit, Exit::No);
    }
}
