//! The command line as it is meant: what [`crate::args`] wrote, validated.
pub(crate) mod credentials;

use crate::args::{
    AnswerArguments, AnswerOneArguments, Arguments, CommandArguments, ExplainArguments,
    FilterArguments, LearnArguments, LogArguments, PlaybackArguments, PolicyArguments,
    ReplayArguments, RunArguments, TrustArguments, WhenDown,
};
use crate::exit::Failure;
use crate::terminal::moment;
use crate::terminal::pace::{self, Speed};
use credentials::Credentials;
use gateway_control::{ActFilter, Filter, Target};
use gateway_core::{SessionId, Timestamp, TreeId};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Daemon,
    Run(Run),
    Login {
        issuer: Option<String>,
        /// The file of a SAML response; `-` is standard input.
        saml: Option<PathBuf>,
        json: bool,
    },
    SshSession(SshSession),
    Status {
        json: bool,
    },
    Doctor {
        /// The ways out that are closed too.
        all: bool,
        json: bool,
    },
    Trees {
        json: bool,
    },
    Lineage {
        target: Target,
        json: bool,
    },
    Sessions {
        filter: Filter,
        json: bool,
    },
    Log {
        filter: Filter,
        follow: bool,
        json: bool,
    },
    Show {
        session: SessionId,
        json: bool,
    },
    Replay(Playback),
    Acts {
        filter: ActFilter,
        json: bool,
    },
    Kill {
        target: Target,
        json: bool,
    },
    Approvals {
        watch: bool,
        json: bool,
    },
    Answer(Answer),
    Revoke(Revoke),
    Credentials(Credentials),
    PolicyCheck {
        path: Option<PathBuf>,
        json: bool,
    },
    PolicyTest {
        path: Option<PathBuf>,
        json: bool,
    },
    PolicyExplain(Explain),
    PolicyReplay(Replay),
    PolicyLearn(Learn),
    Trust(TrustArguments),
    Upgrade,
    Uninstall,
}

/// A command that is to run as the root of a tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) policy: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    /// This process is the one that becomes the command.
    pub(crate) in_place: bool,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// Somebody who logs in by SSH.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SshSession {
    pub(crate) policy: Option<String>,
    /// Let them pass when the daemon is not there.
    pub(crate) allow_when_down: bool,
}

/// An answer to a question that waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) approve: bool,
    pub(crate) reason: Option<String>,
    pub(crate) json: bool,
}

/// A principal that is to be denied everything, or no longer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Revoke {
    pub(crate) principal: String,
    pub(crate) stop: bool,
    pub(crate) undo: bool,
    pub(crate) json: bool,
}

/// A question about one statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explain {
    pub(crate) path: Option<PathBuf>,
    pub(crate) policy: Option<String>,
    pub(crate) principal: String,
    pub(crate) groups: Vec<String>,
    pub(crate) depth: usize,
    /// Where it goes.
    pub(crate) to: SocketAddr,
    /// The names that led there, what was asked for last first.
    pub(crate) hosts: Vec<String>,
    pub(crate) protocol: String,
    pub(crate) statement: Option<String>,
    pub(crate) json: bool,
}

/// A session that is to be played back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Playback {
    pub(crate) session: SessionId,
    /// `None`: as it was where somebody watches, and without waiting elsewhere.
    pub(crate) speed: Option<Speed>,
    pub(crate) idle_max: Duration,
    pub(crate) json: bool,
}

/// A draft that what was recorded is to be judged by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) path: Option<PathBuf>,
    pub(crate) policy: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) json: bool,
}

/// What a policy is to be learned from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Learn {
    pub(crate) policy: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) tree: Option<TreeId>,
    pub(crate) since: Option<Timestamp>,
}

/// Validates. `now` is what `--since` counts back from.
pub(crate) fn validate(written: Arguments, now: Timestamp) -> Result<Command, Failure> {
    Ok(match written.command {
        CommandArguments::Daemon => Command::Daemon,
        CommandArguments::Run(run) => Command::Run(validate_run(run)?),
        CommandArguments::Login(login) => Command::Login {
            issuer: login.issuer,
            saml: login.saml,
            json: login.json,
        },
        CommandArguments::SshSession(session) => {
            if session.policy.as_deref().is_some_and(str::is_empty) {
                let expected = "--policy: expected the name of a policy";
                return Err(usage("ssh-session", expected));
            }
            Command::SshSession(SshSession {
                policy: session.policy,
                allow_when_down: session.when_down == WhenDown::Allow,
            })
        }
        CommandArguments::Status(status) => Command::Status { json: status.json },
        CommandArguments::Doctor(doctor) => Command::Doctor {
            all: doctor.all,
            json: doctor.json,
        },
        CommandArguments::Trees(trees) => Command::Trees { json: trees.json },
        CommandArguments::Lineage(lineage) => {
            let target = lineage
                .target
                .parse()
                .map_err(|error| usage("lineage", error))?;
            Command::Lineage {
                target,
                json: lineage.json,
            }
        }
        CommandArguments::Acts(acts) => Command::Acts {
            filter: ActFilter {
                principal: acts.principal,
                act: acts.act,
                target: acts.target,
                since: validate_since(acts.since, now)?,
            },
            json: acts.json,
        },
        CommandArguments::Sessions(sessions) => Command::Sessions {
            filter: validate_filter(sessions.filter, now)?,
            json: sessions.json,
        },
        CommandArguments::Log(log) => validate_log(log, now)?,
        CommandArguments::Show(show) => {
            let session = show.session.parse().map_err(|error| usage("show", error))?;
            Command::Show {
                session,
                json: show.json,
            }
        }
        CommandArguments::Replay(playback) => Command::Replay(validate_playback(playback)?),
        CommandArguments::Kill(kill) => match kill.target.parse() {
            Ok(Target::Process(_)) => {
                return Err(usage("kill", "expected a session (s…) or a tree (t…)"));
            }
            Ok(target) => Command::Kill {
                target,
                json: kill.json,
            },
            Err(error) => return Err(usage("kill", error)),
        },
        CommandArguments::Approvals(approvals) => match approvals.answer {
            None => Command::Approvals {
                watch: approvals.watch,
                json: approvals.json,
            },
            Some(AnswerArguments::Approve(answer)) => {
                Command::Answer(validate_answer(answer, true))
            }
            Some(AnswerArguments::Deny(answer)) => Command::Answer(validate_answer(answer, false)),
        },
        CommandArguments::Revoke(revoke) => {
            if revoke.principal.is_empty() || revoke.principal == "unknown" {
                return Err(usage("revoke", "expected the name of a principal"));
            }
            Command::Revoke(Revoke {
                principal: revoke.principal,
                stop: revoke.stop,
                undo: revoke.undo,
                json: revoke.json,
            })
        }
        CommandArguments::Credentials(credentials) => credentials::validate(credentials)?,
        CommandArguments::Policy(PolicyArguments::Check(check)) => Command::PolicyCheck {
            path: check.path,
            json: check.json,
        },
        CommandArguments::Policy(PolicyArguments::Test(test)) => Command::PolicyTest {
            path: test.path,
            json: test.json,
        },
        CommandArguments::Policy(PolicyArguments::Explain(explain)) => {
            Command::PolicyExplain(validate_explain(explain))
        }
        CommandArguments::Policy(PolicyArguments::Replay(replay)) => {
            Command::PolicyReplay(validate_replay(replay, now)?)
        }
        CommandArguments::Policy(PolicyArguments::Learn(learn)) => {
            Command::PolicyLearn(validate_learn(learn, now)?)
        }
        CommandArguments::Trust(trust) => Command::Trust(trust),
        CommandArguments::Upgrade => Command::Upgrade,
        CommandArguments::Uninstall => Command::Uninstall,
    })
}

fn usage(what: &str, reason: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("{what}: {reason}"))
}

fn validate_run(run: RunArguments) -> Result<Run, Failure> {
    if run.policy.as_deref().is_some_and(str::is_empty) {
        return Err(usage("run", "--policy: expected the name of a policy"));
    }
    let mut command = run.command.into_iter();
    let program = command
        .next()
        .ok_or_else(|| usage("run", "expected a command"))?;
    Ok(Run {
        policy: run.policy,
        token_file: run.token_file,
        in_place: run.in_place,
        program,
        arguments: command.collect(),
    })
}

fn validate_playback(written: PlaybackArguments) -> Result<Playback, Failure> {
    let session = written.session.parse();
    let speed = written.speed.as_deref().map(str::parse).transpose();
    Ok(Playback {
        session: session.map_err(|error| usage("replay", error))?,
        speed: speed.map_err(|error: String| usage("--speed", error))?,
        idle_max: pace::idle(&written.max_idle).map_err(|error| usage("--max-idle", error))?,
        json: written.json,
    })
}

fn validate_answer(answer: AnswerOneArguments, approve: bool) -> Answer {
    Answer {
        id: answer.id,
        approve,
        reason: answer.reason,
        json: answer.json,
    }
}

fn validate_tree(written: Option<String>) -> Result<Option<TreeId>, Failure> {
    let parse = |tree: String| tree.parse().map_err(|error| usage("--tree", error));
    written.map(parse).transpose()
}

fn validate_since(written: Option<String>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let parse = |text: String| moment::since(&text, now).map_err(|why| usage("--since", why));
    written.map(parse).transpose()
}

fn validate_replay(written: ReplayArguments, now: Timestamp) -> Result<Replay, Failure> {
    Ok(Replay {
        path: written.path,
        policy: written.policy,
        since: validate_since(written.since, now)?,
        json: written.json,
    })
}

fn validate_learn(written: LearnArguments, now: Timestamp) -> Result<Learn, Failure> {
    Ok(Learn {
        policy: written.policy,
        principal: written.principal,
        tree: validate_tree(written.tree)?,
        since: validate_since(written.since, now)?,
    })
}

fn validate_filter(written: FilterArguments, now: Timestamp) -> Result<Filter, Failure> {
    Ok(Filter {
        principal: written.principal,
        tree: validate_tree(written.tree)?,
        session: None,
        resource: written.resource,
        protocol: written.protocol,
        since: validate_since(written.since, now)?,
        live: written.live,
        ..Filter::default()
    })
}

fn validate_log(log: LogArguments, now: Timestamp) -> Result<Command, Failure> {
    let mut filter = validate_filter(log.filter, now)?;
    let parse_verb = |verb: String| verb.parse().map_err(|error| usage("--verb", error));
    filter.verb = log.verb.map(parse_verb).transpose()?;
    if let Some(verdict) = &log.verdict
        && !gateway_control::filter::VERDICTS.contains(&verdict.as_str())
    {
        let expected = gateway_control::filter::VERDICTS.join(", ");
        let reason = format!("no such verdict: {verdict:?} (expected one of {expected})");
        return Err(usage("--verdict", reason));
    }
    filter.verdict = log.verdict;
    filter.grep = log.grep;
    filter.disclosed = log.disclosed;
    filter.masked = log.masked;
    Ok(Command::Log {
        filter,
        follow: log.follow,
        json: log.json,
    })
}

fn validate_explain(explain: ExplainArguments) -> Explain {
    Explain {
        path: explain.path,
        policy: explain.policy,
        principal: explain.principal,
        groups: explain.groups,
        depth: usize::from(explain.depth),
        to: explain.to,
        hosts: explain.hosts,
        protocol: explain.protocol,
        statement: explain.statement,
        json: explain.json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use clap::{CommandFactory, Parser};
    use credentials::AddCredential;
    use gateway_core::Verb;
    use gateway_credentials::Kind;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

    fn parsed(line: &str) -> Result<Command, Exit> {
        let words = std::iter::once("gateway").chain(line.split_whitespace());
        let written = Arguments::try_parse_from(words).map_err(|error| {
            assert_eq!(error.exit_code(), 2, "{line}");
            Exit::Usage
        })?;
        validate(written, NOW).map_err(|failure| failure.exit)
    }

    fn add_credential(user: Option<&str>, kind: Kind, replace: bool) -> Command {
        Command::Credentials(Credentials::Add(AddCredential {
            name: "orders-ci".parse().unwrap(),
            user: user.map(str::to_owned),
            kind,
            replace,
        }))
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let filter = Filter {
            principal: Some("ci:*".into()),
            tree: Some(TreeId(1)),
            resource: Some("orders".into()),
            protocol: Some("postgres".into()),
            since: Some(Timestamp(NOW.0 - 7_200_000_000_000)),
            live: true,
            ..Filter::default()
        };
        let same = "--principal ci:* --tree t0000000000001 --resource orders --protocol postgres \
                    --since 2h --live";
        let log = Filter {
            verb: Some(Verb::Delete),
            verdict: Some("deny".into()),
            grep: Some("users".into()),
            disclosed: Some("public.*".into()),
            masked: Some("*.email".into()),
            ..filter.clone()
        };
        let run = |policy: Option<&str>, words: &[&str]| {
            Command::Run(Run {
                policy: policy.map(str::to_owned),
                token_file: None,
                in_place: false,
                program: words[0].into(),
                arguments: words[1..].iter().map(Into::into).collect(),
            })
        };
        let cases = [
            ("daemon".to_owned(), Command::Daemon),
            ("daemon --config /x".to_owned(), Command::Daemon),
            (
                "--config /x status --json".to_owned(),
                Command::Status { json: true },
            ),
            (
                "doctor --all --json".to_owned(),
                Command::Doctor {
                    all: true,
                    json: true,
                },
            ),
            (
                "login --issuer acme --json".to_owned(),
                Command::Login {
                    issuer: Some("acme".into()),
                    saml: None,
                    json: true,
                },
            ),
            (
                "ssh-session --policy p --when-down allow".to_owned(),
                Command::SshSession(SshSession {
                    policy: Some("p".into()),
                    allow_when_down: true,
                }),
            ),
            (
                "ssh-session".to_owned(),
                Command::SshSession(SshSession {
                    policy: None,
                    allow_when_down: false,
                }),
            ),
            (
                "login --saml -".to_owned(),
                Command::Login {
                    issuer: None,
                    saml: Some("-".into()),
                    json: false,
                },
            ),
            ("trees".to_owned(), Command::Trees { json: false }),
            (
                "lineage 42".to_owned(),
                Command::Lineage {
                    target: Target::Process(42),
                    json: false,
                },
            ),
            (
                format!("sessions {same}"),
                Command::Sessions {
                    filter: filter.clone(),
                    json: false,
                },
            ),
            (
                format!(
                    "log {same} --verb delete --verdict deny --grep users --disclosed public.* \
                         --masked *.email --follow --json"
                ),
                Command::Log {
                    filter: log,
                    follow: true,
                    json: true,
                },
            ),
            (
                "acts --principal user:* --act kill --target s* --since 2h --json".to_owned(),
                Command::Acts {
                    filter: ActFilter {
                        principal: Some("user:*".into()),
                        act: Some("kill".into()),
                        target: Some("s*".into()),
                        since: Some(Timestamp(NOW.0 - 7_200_000_000_000)),
                    },
                    json: true,
                },
            ),
            (
                "show s0000000000002".to_owned(),
                Command::Show {
                    session: SessionId(2),
                    json: false,
                },
            ),
            (
                "replay s0000000000002".to_owned(),
                Command::Replay(Playback {
                    session: SessionId(2),
                    speed: None,
                    idle_max: Duration::from_secs(2),
                    json: false,
                }),
            ),
            (
                "replay s0000000000002 --speed 1 --max-idle 0.5 --json".to_owned(),
                Command::Replay(Playback {
                    session: SessionId(2),
                    speed: Some(Speed::ORIGINAL),
                    idle_max: Duration::from_millis(500),
                    json: true,
                }),
            ),
            (
                "kill t0000000000002".to_owned(),
                Command::Kill {
                    target: Target::Tree(TreeId(2)),
                    json: false,
                },
            ),
            (
                "run -- ls -l --json".to_owned(),
                run(None, &["ls", "-l", "--json"]),
            ),
            (
                "run --policy p -- ls -- x".to_owned(),
                run(Some("p"), &["ls", "--", "x"]),
            ),
            (
                "policy check a.toml".to_owned(),
                Command::PolicyCheck {
                    path: Some("a.toml".into()),
                    json: false,
                },
            ),
            (
                "policy test --json".to_owned(),
                Command::PolicyTest {
                    path: None,
                    json: true,
                },
            ),
            (
                "policy replay --since 2h --policy p --json draft".to_owned(),
                Command::PolicyReplay(Replay {
                    path: Some("draft".into()),
                    policy: Some("p".into()),
                    since: filter.since,
                    json: true,
                }),
            ),
            (
                "policy learn --since 2h --policy p --principal ci:* --tree t0000000000001".into(),
                Command::PolicyLearn(Learn {
                    policy: Some("p".into()),
                    principal: filter.principal.clone(),
                    tree: filter.tree,
                    since: filter.since,
                }),
            ),
            ("upgrade".to_owned(), Command::Upgrade),
            ("uninstall".to_owned(), Command::Uninstall),
            (
                "trust export".to_owned(),
                Command::Trust(TrustArguments::Export),
            ),
            (
                "approvals --watch --json".to_owned(),
                Command::Approvals {
                    watch: true,
                    json: true,
                },
            ),
            (
                "approvals deny q1 --reason later".to_owned(),
                Command::Answer(Answer {
                    id: "q1".into(),
                    approve: false,
                    reason: Some("later".into()),
                    json: false,
                }),
            ),
            (
                "revoke user:mallory@acme.com --stop".to_owned(),
                Command::Revoke(Revoke {
                    principal: "user:mallory@acme.com".into(),
                    stop: true,
                    undo: false,
                    json: false,
                }),
            ),
            (
                "credentials add orders-ci".to_owned(),
                add_credential(None, Kind::Password, false),
            ),
            (
                "credentials add orders-ci --user ci --kind certificate --replace".to_owned(),
                add_credential(Some("ci"), Kind::Certificate, true),
            ),
            (
                "credentials list --json".to_owned(),
                Command::Credentials(Credentials::List { json: true }),
            ),
            (
                "credentials remove orders-ci".to_owned(),
                Command::Credentials(Credentials::Remove {
                    name: "orders-ci".parse().unwrap(),
                }),
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(&line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_exit_2() {
        for line in [
            "",
            "nope",
            "status extra",
            "status --jso",
            "doctor extra",
            "doctor --tier",
            "login acme",
            "login --saml",
            "login --saml x --issuer acme",
            "run",
            "run ls",
            "run --",
            "run --policy",
            "lineage",
            "lineage x",
            "lineage 0",
            "lineage -1",
            "show",
            "show t0000000000001",
            "show s1",
            "replay",
            "replay t0000000000001",
            "replay s0000000000001 --speed 0",
            "replay s0000000000001 --max-idle soon",
            "kill 42",
            "kill",
            "log --verb drop",
            "log --verdict perhaps",
            "log --since yesterday",
            "log --tree x",
            "sessions --verb read",
            "sessions --follow",
            "policy",
            "policy learn x",
            "policy learn --json",
            "policy learn --tree x",
            "policy replay a b",
            "policy replay --since yesterday",
            "uninstall --force",
            "trust",
            "trust export --json",
            "daemon extra",
            "approvals approve",
            "approvals approve q1 q2",
            "approvals --watch deny q1",
            "revoke",
            "revoke unknown",
            "revoke x --stop --undo",
            "credentials",
            "credentials add",
            "credentials add Orders",
            "credentials add a hunter2",
            "credentials add a --password hunter2",
            "credentials add a --kind token",
            "credentials add a --kind secret --user u",
            "credentials list a",
            "credentials remove",
            "credentials remove a/b",
        ] {
            assert_eq!(parsed(line), Err(Exit::Usage), "{line:?}");
        }
    }

    #[test]
    fn what_is_not_built_does_not_exist() {
        for command in ["export", "verify", "help"] {
            assert_eq!(parsed(command), Err(Exit::Usage), "{command}");
        }
    }
}
