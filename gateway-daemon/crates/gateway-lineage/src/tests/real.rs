//! The real /proc with real children.
use super::*;
use crate::proc::SystemProc;
use procfs::process::Process;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A shell with a child of its own, both of which end with the test.
struct Family {
    shell: Child,
    sleep_pid: u32,
}

impl Family {
    fn new() -> Family {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .current_dir("/usr")
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("pid");
        let family = Family {
            shell,
            sleep_pid: line.trim().parse().expect("number"),
        };
        let patience = std::time::Instant::now();
        // The pid is printed before the exec is done; the arguments come last.
        while !cmdline_of(family.sleep_pid).starts_with(&["sleep".to_owned()]) {
            assert!(patience.elapsed().as_secs() < 10, "no sleep");
            std::thread::yield_now();
        }
        family
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        Command::new("kill")
            .arg(self.sleep_pid.to_string())
            .status()
            .expect("kill");
        self.shell.wait().expect("wait");
    }
}

fn cmdline_of(pid: u32) -> Vec<String> {
    Process::new(pid.cast_signed())
        .and_then(|process| process.cmdline())
        .expect("process")
}

fn exe_of(pid: u32) -> String {
    let process = Process::new(pid.cast_signed()).expect("process");
    process
        .exe()
        .map(|exe| exe.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn real_key(pid: u32) -> ProcessKey {
    let stat = Process::new(pid.cast_signed())
        .and_then(|process| process.stat())
        .expect("stat");
    ProcessKey::new(pid, stat.starttime * (SECOND / procfs::ticks_per_second()))
}

fn forest() -> Forest {
    Forest::new(
        Limits::default(),
        Box::new(SystemProc::new()),
        Arc::new(FakeCgroups),
    )
}

#[test]
fn a_restarted_daemon_finds_its_trees_in_the_tags_and_in_proc() {
    let family = Family::new();
    let (shell, mut sleep) = (real_key(family.shell.id()), real_key(family.sleep_pid));
    // Both may have started within one tick; the kernel's own numbers are finer.
    sleep.start = sleep.start.max(shell.start + 1);
    let forest = forest();
    let tag = |key, parent| Tag {
        key,
        tree: TreeId(4),
        policy_slot: 1,
        parent,
    };
    let gone = ProcessKey::new(family.sleep_pid, sleep.start + SECOND);
    let tags = [
        tag(sleep, Some(shell)),
        tag(shell, None),
        tag(gone, Some(shell)),
    ];
    let repaired = forest.repair(tags, sleep.start + 2 * SECOND);
    forest.check();
    assert_eq!(
        (repaired.added, repaired.vanished),
        (2, 0),
        "a stale tag is not a process"
    );

    let lineage = forest.lineage_of(sleep).expect("sleep");
    assert_eq!((lineage.tree, lineage.processes.len()), (TreeId(4), 2));
    let (root, acting) = (&lineage.processes[0], &lineage.processes[1]);
    assert_eq!(root.provenance, gateway_core::Provenance::Cgroup);
    assert_eq!(acting.provenance, gateway_core::Provenance::Proc);
    assert_eq!(
        acting.argv.iter().map(|a| &**a).collect::<Vec<_>>(),
        ["sleep", "1000"]
    );
    assert!(acting.exe.ends_with("/sleep"), "{}", acting.exe);
    assert_eq!(acting.cwd.as_deref(), Some("/usr"));
    assert_eq!(forest.lineage_of(gone), None);

    // The whole family ends while nobody listens.
    drop(family);
    let repaired = forest.repair([], sleep.start + 3 * SECOND);
    assert_eq!((repaired.added, repaired.vanished), (0, 2));
    assert!(
        forest
            .lineage_of(sleep)
            .expect("kept for a while")
            .processes[1]
            .exited
    );
    forest.sweep(u64::MAX);
    assert_eq!(forest.stats().processes, 0);
}

#[test]
fn an_exec_report_is_completed_while_the_process_lives() {
    let family = Family::new();
    let key = real_key(family.sleep_pid);
    let forest = forest();
    let executed = |key, file: &'static [u8]| Event::Executed {
        time: key_time(key),
        key,
        tree: TreeId(4),
        uid: 0,
        cgroup_id: 5,
        file,
        argv: b"sleep\x001000\0",
        argv_cut: false,
    };
    forest.observe(&executed(key, b"/some/link/to/sleep"));
    let process = forest
        .lineage_of(key)
        .expect("known")
        .processes
        .pop()
        .expect("sleep");
    assert_eq!(
        &*process.exe,
        exe_of(family.sleep_pid),
        "the link's target, free of links"
    );
    assert_eq!(process.cwd.as_deref(), Some("/usr"));

    let reused = ProcessKey::new(key.pid, key.start - SECOND);
    forest.observe(&executed(reused, b"/some/link/to/sleep"));
    let process = forest
        .lineage_of(reused)
        .expect("known")
        .processes
        .pop()
        .expect("other");
    assert_eq!(
        (&*process.exe, process.cwd),
        ("/some/link/to/sleep", None),
        "not this one's"
    );
}

fn key_time(key: ProcessKey) -> u64 {
    key.start + 1
}
