//! `gateway lineage`: one lineage drawn as a tree, with who and why.
use super::ask;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::screen::{Screen, Tone, print, print_json};
use crate::terminal::table::cut;
use gateway_control::view::{LineageProcess, LineageView};
use gateway_control::{Client, Target};
use gateway_core::{Principal, Provenance};

/// Deeper than this, processes are drawn at the same indentation.
const INDENT_MAX: usize = 40;

/// Shows it.
pub(crate) fn lineage(config: &Config, target: Target, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&config.control_socket);
    let view = ask(async { client.lineage(target).await.map_err(Failure::from) })?;
    if json {
        print_json(&view)?;
        return Ok(Exit::Done);
    }
    for line in lines(&view, &Screen::of_stdout()) {
        if !print(&line)? {
            break;
        }
    }
    Ok(Exit::Done)
}

fn who(principal: &Principal) -> String {
    format!("{} ({})", principal.id, principal.assurance)
}

fn lines(view: &LineageView, screen: &Screen) -> Vec<String> {
    let mut lines = vec![
        format!("tree       {}", view.tree),
        format!("principal  {}", escape::line(&who(&view.principal))),
    ];
    for delegate in &view.delegates {
        lines.push(format!("delegate   {}", escape::line(&who(delegate))));
    }
    lines.push(format!("policy     {}", escape::line(&view.policy)));
    lines.push(format!("why        {}", escape::line(&view.why)));
    if let Some(session) = view.session {
        lines.push(format!("session    {session}"));
    }
    lines.push(String::new());
    let children = children(&view.processes);
    // A stack instead of recursion: a job decides how deep its tree is.
    let mut stack: Vec<(usize, String, bool)> = Vec::new();
    let roots = children.first().map(Vec::as_slice).unwrap_or_default();
    stack.extend(roots.iter().rev().map(|root| (*root, String::new(), true)));
    while let Some((index, indent, last)) = stack.pop() {
        let Some(process) = view.processes.get(index) else {
            continue;
        };
        let at_root = process.parent.is_none();
        let branch = match (at_root, last) {
            (true, _) => "",
            (false, true) => "└─ ",
            (false, false) => "├─ ",
        };
        let text = describe(process);
        let asked = view.pid == Some(process.process.pid);
        let tone = match (asked, process.process.exited) {
            (true, _) => Tone::Strong,
            (_, true) => Tone::Faint,
            _ => Tone::Plain,
        };
        let used = indent.chars().count() + branch.chars().count();
        let room = screen
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(used).max(20));
        let text = cut(&escape::line(&text), room);
        lines.push(format!("{indent}{branch}{}", screen.paint(tone, &text)));
        let below = match (at_root, last) {
            _ if indent.chars().count() >= INDENT_MAX => indent,
            (true, _) => indent,
            (false, true) => indent + "   ",
            (false, false) => indent + "│  ",
        };
        let own = children
            .get(index + 1)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (position, child) in own.iter().enumerate().rev() {
            stack.push((*child, below.clone(), position + 1 == own.len()));
        }
    }
    lines
}

/// The children of each process: those without a parent first, then by the parent's index.
fn children(processes: &[LineageProcess]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); processes.len() + 1];
    for (index, process) in processes.iter().enumerate() {
        // A parent stands before its child: whatever says otherwise would draw a circle.
        let slot = process
            .parent
            .filter(|parent| *parent < index)
            .map_or(0, |parent| parent + 1);
        if let Some(own) = children.get_mut(slot) {
            own.push(index);
        }
    }
    children
}

fn describe(view: &LineageProcess) -> String {
    let process = &view.process;
    let mut text = format!("{} {}", process.pid, process.exe);
    let arguments = process.argv.get(1..).unwrap_or_default();
    if !arguments.is_empty() {
        text.push(' ');
        text.push_str(&arguments.join(" "));
    }
    let mut notes = vec![format!("uid {}", process.uid)];
    if process.argv_cut {
        notes.push("arguments cut".to_owned());
    }
    if process.exited {
        notes.push("exited".to_owned());
    }
    match process.provenance {
        Provenance::Kernel => {}
        Provenance::Proc => notes.push("from /proc".to_owned()),
        Provenance::Cgroup => notes.push("placed by its cgroup".to_owned()),
        Provenance::Gap => notes.push("events lost here".to_owned()),
    }
    format!("{text}  [{}]", notes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::{Process, TreeId};

    fn process(pid: u32, parent: Option<usize>, argv: &[&str]) -> LineageProcess {
        LineageProcess {
            process: Process {
                pid,
                start: 1,
                exe: "/bin/sh".into(),
                argv: argv.iter().map(|word| (*word).into()).collect(),
                uid: 0,
                cwd: None,
                cgroup: "/a".into(),
                container: None,
                provenance: Provenance::Kernel,
                argv_cut: false,
                exited: pid == 2,
            },
            parent,
        }
    }

    fn view(processes: Vec<LineageProcess>) -> LineageView {
        LineageView {
            tree: TreeId(1),
            policy: "p".into(),
            principal: Principal::unknown(),
            delegates: vec![],
            why: "gateway run".into(),
            session: None,
            pid: None,
            processes,
        }
    }

    const SCREEN: Screen = Screen {
        width: Some(80),
        colours: false,
    };

    #[test]
    fn a_tree_is_drawn() {
        let drawn = lines(
            &view(vec![
                process(1, None, &["sh", "job.sh"]),
                process(2, Some(0), &["agent"]),
                process(3, Some(1), &["psql", "\u{1b}[2J\n"]),
                process(4, Some(0), &["sleep"]),
            ]),
            &SCREEN,
        );
        assert_eq!(
            drawn[5..],
            [
                "1 /bin/sh job.sh  [uid 0]",
                "├─ 2 /bin/sh  [uid 0, exited]",
                "│  └─ 3 /bin/sh \\e[2J\\n  [uid 0]",
                "└─ 4 /bin/sh  [uid 0]",
            ]
        );
    }

    #[test]
    fn depth_width_and_circles_are_survived() {
        let mut deep = vec![process(1, None, &["sh"])];
        deep.extend((1..20_000).map(|index| process(index + 1, Some(index as usize - 1), &["sh"])));
        let drawn = lines(&view(deep), &SCREEN);
        assert_eq!(drawn.len(), 5 + 20_000);
        assert!(drawn.iter().all(|line| line.chars().count() <= 80));
        let circle = vec![process(1, Some(1), &["a"]), process(2, Some(0), &["b"])];
        assert_eq!(lines(&view(circle), &SCREEN).len(), 5 + 2);
        let myself = vec![process(1, Some(0), &["a"]), process(2, Some(99), &["b"])];
        assert_eq!(lines(&view(myself), &SCREEN).len(), 5 + 2);
    }
}
