//! `gateway policy check`, `test` and `explain`: without a daemon, for whoever can read the files.
//! `replay` and `learn`, below, read the journal too.
mod history;
pub(crate) mod learn;
pub(crate) mod replay;

use crate::command::Explain;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::moment;
use crate::terminal::screen::{Screen, Tone, print, print_json};
use crate::wiring::protocols;
use gateway_core::ports::Case;
use gateway_core::{
    Assurance, Attribute, Destination, Effect, Lineage, Object, Operation, Principal, Process,
    Provenance, Subject, TreeId, Verb,
};
use gateway_policy::{
    CaseOperation, Diagnostic, Explanation, Loaded, Policy, PolicySet, run_cases,
};
use std::path::Path;
use std::sync::Arc;

/// Reads a file or a directory of policies; the policy directory when nothing is named.
fn load(config: &Config, path: Option<&Path>) -> Result<Loaded, Failure> {
    let path = path.unwrap_or(&config.policy_dir);
    let mut loaded = if path.is_dir() {
        PolicySet::load(path).map_err(|error| Failure::usage(error.to_string()))?
    } else if path.exists() {
        PolicySet::load_file(path)
    } else {
        let missing = format!("{}: no such file or directory", path.display());
        return Err(Failure::usage(missing));
    };
    let known = protocols::names();
    loaded
        .diagnostics
        .extend(loaded.set.check_protocols(&known));
    loaded.diagnostics.sort();
    Ok(loaded)
}

fn say(text: &str) -> Result<bool, Failure> {
    Ok(print(&escape::lines(text))?)
}

fn show_mistakes(diagnostics: &[Diagnostic], json: bool) -> Result<(), Failure> {
    for diagnostic in diagnostics {
        let more = if json {
            print_json(diagnostic)?
        } else {
            say(&diagnostic.render())?
        };
        if !more {
            break;
        }
    }
    Ok(())
}

/// Exit 1 when something is wrong; each mistake with file, line and column.
pub(crate) fn check(config: &Config, path: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let loaded = load(config, path)?;
    if loaded.diagnostics.is_empty() {
        if !json {
            let count = loaded.set.policies().count();
            print(&format!(
                "{count} {} good",
                if count == 1 {
                    "policy is"
                } else {
                    "policies are"
                }
            ))?;
        }
        return Ok(Exit::Done);
    }
    show_mistakes(&loaded.diagnostics, json)?;
    if !json {
        let count = loaded.diagnostics.len();
        eprintln!(
            "gateway: {count} {}",
            if count == 1 { "mistake" } else { "mistakes" }
        );
    }
    Ok(Exit::No)
}

/// Takes a statement apart with the protocol that is named.
fn interpret(protocol: &str, statement: &str) -> Result<Vec<CaseOperation>, String> {
    let protocol = protocols::by_name(protocol)
        .ok_or_else(|| format!("the protocol {protocol:?} is not built"))?;
    let taken = protocol.interpret(statement);
    Ok(vec![CaseOperation {
        verb: taken.verb,
        effects: taken.effects,
        attributes: taken.attributes,
    }])
}

/// Exit 1 when a case fails, or a policy is wrong: what is not loaded proves nothing.
pub(crate) fn test(config: &Config, path: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let loaded = load(config, path)?;
    if !loaded.diagnostics.is_empty() {
        show_mistakes(&loaded.diagnostics, json)?;
        return Ok(Exit::No);
    }
    let results = run_cases(&loaded.set, &interpret);
    let failed = results.iter().filter(|result| !result.passed).count();
    for result in &results {
        let more = if json {
            print_json(result)?
        } else {
            say(&result.to_string())?
        };
        if !more {
            break;
        }
    }
    if !json {
        print(&format!(
            "{} passed, {failed} failed",
            results.len() - failed
        ))?;
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::No })
}

/// Says which rules match and why the verdict is what it is. Exit 0 whatever the verdict.
pub(crate) fn explain(config: &Config, asked: &Explain) -> Result<Exit, Failure> {
    let loaded = load(config, asked.path.as_deref())?;
    if !loaded.diagnostics.is_empty() {
        show_mistakes(&loaded.diagnostics, asked.json)?;
        return Ok(Exit::No);
    }
    let policy = choose(&loaded.set, asked.policy.as_deref())?;
    let destination = Destination {
        hosts: asked.hosts.iter().map(|host| learned(host)).collect(),
        ..Destination::from_address(asked.to)
    };
    let subject = subject(asked);
    let asks = operation(asked)?;
    let case = Case {
        policy: policy.name(),
        subject: &subject,
        destination: &destination,
        operation: &Operation {
            protocol: asks.protocol,
            verb: asks.verb,
            effects: &asks.effects,
            statement: asked.statement.as_deref().unwrap_or(""),
            parameters: &[],
            attributes: &asks.attributes,
            announces: false,
            uses: &[],
            shown: None,
            shape: None,
            basis: 0,
        },
    };
    let explanation = policy.explain(&case, moment::now());
    if asked.json {
        print_json(&explanation)?;
    } else {
        for line in lines(&explanation, &Screen::of_stdout()) {
            if !print(&line)? {
                break;
            }
        }
    }
    Ok(Exit::Done)
}

fn choose<'a>(set: &'a PolicySet, name: Option<&str>) -> Result<&'a Arc<Policy>, Failure> {
    if let Some(name) = name {
        let missing = || Failure::no(format!("no policy is named {name:?}"));
        return set.policy(name).ok_or_else(missing);
    }
    let mut policies = set.policies();
    match (policies.next(), policies.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Failure::no("there is no policy")),
        _ => Err(Failure::usage(
            "explain: there are several policies; name one with --policy",
        )),
    }
}

fn subject(asked: &Explain) -> Subject {
    let process = Process {
        pid: 1,
        start: 0,
        exe: "".into(),
        argv: Vec::new(),
        uid: 0,
        cwd: None,
        cgroup: "".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    };
    let groups = asked
        .groups
        .iter()
        .map(|group| group.as_str().into())
        .collect();
    Subject {
        principal: Principal {
            id: asked.principal.as_str().into(),
            assurance: Assurance::None,
            groups,
        },
        delegates: Vec::new(),
        lineage: Lineage {
            tree: TreeId(0),
            processes: vec![process; asked.depth + 1],
        },
    }
}

/// What is to be explained.
struct Asked {
    protocol: &'static str,
    verb: Verb,
    effects: Vec<Effect>,
    attributes: Vec<(Arc<str>, Attribute)>,
}

impl Asked {
    fn opaque(verb: Verb, effect: Effect) -> Asked {
        Asked {
            protocol: protocols::OPAQUE,
            verb,
            effects: vec![effect],
            attributes: Vec::new(),
        }
    }
}

fn operation(asked: &Explain) -> Result<Asked, Failure> {
    let Some(statement) = &asked.statement else {
        let effect = Effect {
            verb: Verb::Connect,
            objects: Vec::new(),
        };
        // What will be spoken is not known when a connection is opened.
        return Ok(Asked {
            protocol: "",
            ..Asked::opaque(Verb::Connect, effect)
        });
    };
    let name = asked.protocol.as_str();
    if name == protocols::OPAQUE {
        let objects = vec![Object::Unresolved("*".into())];
        let effect = Effect {
            verb: Verb::Unknown,
            objects,
        };
        return Ok(Asked::opaque(Verb::Unknown, effect));
    }
    let protocol = protocols::by_name(name)
        .ok_or_else(|| Failure::usage(format!("explain: the protocol {name:?} is not built")))?;
    let taken = protocol.interpret(statement);
    Ok(Asked {
        protocol: protocol.name(),
        verb: taken.verb,
        effects: taken.effects,
        attributes: taken.attributes,
    })
}

/// A name in the form in which it is learned from an answer.
fn learned(host: &str) -> Arc<str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase().into()
}

/// A destination can have several by its names.
fn resources(explanation: &Explanation) -> String {
    if explanation.other_resources.is_empty() {
        return explanation.resource.to_string();
    }
    let others = explanation.other_resources.join(", ");
    format!("{}, and by other names {others}", explanation.resource)
}

fn lines(explanation: &Explanation, screen: &Screen) -> Vec<String> {
    let tone = if explanation.verdict == gateway_core::Verdict::Allow {
        Tone::Good
    } else {
        Tone::Bad
    };
    let mut lines = vec![
        format!(
            "verdict   {}",
            screen.paint(tone, explanation.verdict.name())
        ),
        format!("because   {}", escape::line(&explanation.because)),
        format!("resource  {}", escape::line(&resources(explanation))),
        format!(
            "policy    {} ({})",
            escape::line(&explanation.policy),
            explanation.mode
        ),
    ];
    for condition in &explanation.conditions {
        let text = format!(
            "{}: {} is {}",
            condition.rule, condition.when, condition.result
        );
        lines.push(format!("condition {}", escape::line(&text)));
    }
    for mask in &explanation.masks {
        let state = match (mask.covered, mask.rules.is_empty()) {
            (_, true) => "only watched".to_owned(),
            (true, false) => format!("put on by {}", mask.rules.join(", ")),
            (false, false) => format!(
                "put on by {}, and covers nothing in mode {}",
                mask.rules.join(", "),
                explanation.mode
            ),
        };
        let text = format!("{} is {state}", mask.mask);
        lines.push(format!("mask      {}", escape::line(&text)));
    }
    if let Some(answers) = &explanation.answers {
        let rules = answers.rules.join(", ");
        let text = format!("up to {} bytes, kept by {rules}", answers.bytes);
        lines.push(format!("answer    {}", escape::line(&text)));
    }
    for rule in explanation.hold.iter().flat_map(|hold| &hold.rules) {
        let text = format!("{}: {}", rule.rule, rule.approvers.join(", "));
        lines.push(format!("approvers {}", escape::line(&text)));
    }
    for effect in &explanation.effects {
        let objects = effect.objects.join(", ");
        let mut what = format!("{} {objects} by {}", effect.verb, effect.principal);
        if let Some(place) = &effect.place {
            what = format!("{what} at {place}");
        }
        lines.push(format!("effect    {}", escape::line(&what)));
        for matched in &effect.matched {
            let text = format!(
                "{}: {} {}",
                matched.verdict,
                matched.rule,
                matched.objects.join(", ")
            );
            lines.push(format!("  rule    {}", escape::line(&text)));
        }
        if effect.open {
            let uncovered = effect.uncovered.join(", ");
            lines.push(format!(
                "  open    no rule allows it {}",
                escape::line(&uncovered)
            ));
        }
    }
    lines
}
