//! `gateway status`: what is in force, what lives, what was lost.
use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::screen::{Screen, Tone, print, print_json};
use gateway_control::Client;
use gateway_control::view::{BeforeView, LossesView, StatusView};

/// Exit 0 only when the programs are attached, a policy enforces, and no policy file was rejected.
pub(crate) fn status(config: &Config, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let view = ask(async { client.status().await.map_err(Failure::from) })?;
    if json {
        print_json(&view)?;
    } else {
        for line in lines(&view, &Screen::of_stdout()) {
            if !print(&line)? {
                break;
            }
        }
    }
    Ok(if view.enforcing { Exit::Done } else { Exit::No })
}

fn lines(view: &StatusView, screen: &Screen) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |name: &str, tone: Tone, text: String| {
        let text = screen.paint(tone, &escape::line(&text));
        lines.push(format!("{name:<10}{text}"));
    };
    let started = format!(
        "{} (pid {}, since {})",
        view.version, view.pid, view.started
    );
    say("gateway", Tone::Plain, started);
    let (tone, programs) = if view.attached {
        (Tone::Good, "attached")
    } else {
        (Tone::Bad, "not attached")
    };
    say("programs", tone, programs.to_owned());
    say("tier", Tone::Plain, view.tier.clone());
    let tone = if view.mode == "enforce" {
        Tone::Good
    } else {
        Tone::Bad
    };
    say("mode", tone, view.mode.clone());
    if view.policies.is_empty() {
        say(
            "policies",
            Tone::Bad,
            "none: nothing is governed".to_owned(),
        );
    }
    for policy in &view.policies {
        let cgroups = policy.cgroups.join(" ");
        let text = format!(
            "{} ({}, {}) {} · {}",
            policy.name,
            policy.mode,
            count(policy.trees, "tree"),
            policy.file,
            cgroups
        );
        say("policy", Tone::Plain, text);
    }
    for rejected in &view.rejected {
        let place = match (rejected.line, rejected.column) {
            (0, _) => rejected.file.clone(),
            (line, column) => format!("{}:{line}:{column}", rejected.file),
        };
        say(
            "rejected",
            Tone::Bad,
            format!("{place}: {}", rejected.message),
        );
    }
    let trees = format!("{} ({})", view.trees, count(view.processes, "process"));
    say("trees", Tone::Plain, trees);
    say("sessions", Tone::Plain, view.sessions.to_string());
    say(
        "approvals",
        Tone::Plain,
        format!("{} pending", view.approvals),
    );
    let tone = if view.losses == LossesView::default() {
        Tone::Good
    } else {
        Tone::Bad
    };
    say("losses", tone, losses(&view.losses));
    if view.before != BeforeView::default() {
        say("before", Tone::Plain, before(&view.before));
    }
    for warning in &view.warnings {
        say("warning", Tone::Bad, warning.clone());
    }
    lines
}

/// Sockets from before their processes were governed.
fn before(before: &BeforeView) -> String {
    listed(&[
        (before.ended, "connection ended"),
        (before.shared, "connection that others share"),
        (before.observed, "connection that no policy ends"),
        (before.gaps, "socket that could not be judged"),
    ])
}

fn losses(losses: &LossesView) -> String {
    listed(&[
        (losses.events, "event"),
        (losses.orphans, "connection without an entry"),
        (
            losses.backstop_drops,
            "packet stopped by the backstop alone",
        ),
        (
            losses.recording_failures,
            "record that could not be written",
        ),
        (losses.tag_overflows, "tag that could not be written"),
        (
            losses.cgroups_unjudged,
            "cgroup that only the daemon could judge",
        ),
    ])
}

fn listed(named: &[(u64, &str)]) -> String {
    let some: Vec<String> = named
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} × {what}"))
        .collect();
    if some.is_empty() {
        "none".to_owned()
    } else {
        some.join(", ")
    }
}

fn count(number: u64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else if what.ends_with('s') {
        format!("{number} {what}es")
    } else {
        format!("{number} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_control::view::{PolicyView, RejectedView};
    use gateway_core::Mode;

    #[test]
    fn everything_is_said_and_nothing_is_obeyed() {
        let view = StatusView {
            mode: "enforce".into(),
            attached: true,
            policies: vec![PolicyView {
                name: "ci\u{1b}[2J".into(),
                mode: Mode::Enforce,
                file: "/p/ci.toml".into(),
                cgroups: vec!["ci/**".into()],
                trees: 1,
            }],
            rejected: vec![RejectedView {
                file: "/p/bad.toml".into(),
                line: 3,
                column: 7,
                message: "unknown key".into(),
            }],
            losses: LossesView {
                events: 2,
                ..LossesView::default()
            },
            before: BeforeView {
                shared: 3,
                ..BeforeView::default()
            },
            warnings: vec!["no BPF LSM".into()],
            ..StatusView::default()
        };
        let text = lines(
            &view,
            &Screen {
                width: Some(80),
                colours: false,
            },
        )
        .join("\n");
        for part in [
            "programs  attached",
            "policy    ci\\e[2J (enforce, 1 tree) /p/ci.toml · ci/**",
            "rejected  /p/bad.toml:3:7: unknown key",
            "losses    2 × event",
            "before    3 × connection that others share",
            "warning   no BPF LSM",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
