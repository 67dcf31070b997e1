//! Forks and execs by the thousand, with connects from random descendants.
use crate::running::PATIENCE;
use crate::{Job, Scene, wait};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// Each worker forks chains of a few generations; some of them exec, and about one in ten connects
/// and tells which process it was. The destination is one that the policy denies.
const PROGRAM: &str = r#"
import os, random, socket, sys
port, total = int(sys.argv[1]), int(sys.argv[2])
if sys.argv[3] == "idle":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
if len(sys.argv) > 4:
    with open(sys.argv[4] + "/cgroup.procs", "w") as procs:
        procs.write("0")
random.seed(os.getpid())
def connect():
    s = socket.socket()
    s.settimeout(5)
    try:
        s.connect(("127.0.0.1", port))
        s.sendall(b"out")
        s.recv(1)
    except OSError:
        pass
    os.write(1, b"connected %d\n" % os.getpid())
def generation(left):
    if random.random() < 0.1:
        connect()
    if left == 0:
        if random.random() < 0.3:
            os.execv("/bin/true", ["true"])
        return
    child = os.fork()
    if child == 0:
        random.seed(os.getpid() * 31 + left)
        if random.random() < 0.2:
            os.setsid()
        generation(left - 1)
        os._exit(0)
    # Some parents do not wait: their children are orphans.
    if random.random() < 0.8:
        os.waitpid(child, 0)
made = 0
while made < total:
    depth = random.randrange(1, 6)
    child = os.fork()
    if child == 0:
        random.seed(os.getpid())
        generation(depth)
        os._exit(0)
    os.waitpid(child, 0)
    made += depth + 1
"#;

/// Which of the workers run only when nobody else wants to (SCHED_IDLE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// None.
    Nobody,
    /// Every second one, with all that descends from it. Where the kernel preempts itself, it is
    /// stopped in the middle of a program that tags, and whoever forks on that processor meanwhile
    /// has that program skipped. All of them leave the cgroup that they are governed by: nothing
    /// but their tags holds them.
    Half,
}

/// What a storm showed.
#[derive(Debug)]
pub struct Report {
    /// How many connects were tried.
    pub connects: usize,
    /// Processes that connected, and that no session knows.
    pub unknown: Vec<u64>,
    /// Connections that reached the destination, around the gateway.
    pub escaped: usize,
    /// Trees that were still governed one sweep after everything had ended.
    pub trees_left: u64,
    /// Which processes there were then.
    pub left: String,
    /// Tags that the kernel still had then.
    pub tags_left: u64,
    /// Tags that could not be written: each stands for a task that was refused.
    pub tag_overflows: u64,
}

impl Report {
    /// Is it what it has to be?
    ///
    /// # Errors
    /// It is not; the error says what is wrong.
    pub fn check(&self) -> Result<()> {
        ensure!(self.escaped == 0, "{} connections escaped", self.escaped);
        ensure!(
            self.unknown.is_empty(),
            "no session knows these processes: {:?}",
            self.unknown
        );
        ensure!(
            self.trees_left == 0,
            "{} trees are left: {}",
            self.trees_left,
            self.left
        );
        ensure!(self.tags_left == 0, "{} tags are left", self.tags_left);
        ensure!(
            self.tag_overflows == 0,
            "{} tags found no room",
            self.tag_overflows
        );
        Ok(())
    }
}

/// Runs a storm of about this many processes, by this many workers at a time.
///
/// # Errors
/// A part fails, or the storm does not end.
pub fn run(scene: &Scene, processes: usize, workers: usize, idle: Idle) -> Result<Report> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port().to_string();
    let share = (processes / workers).to_string();
    let job = scene.job("storm")?;
    let outside = Job::free(&scene.subtree, "storm")?;
    let outside = outside.cgroup().display().to_string();
    let mut running = Vec::new();
    for worker in 0..workers {
        let class = match idle {
            Idle::Half if worker % 2 == 0 => "idle",
            _ => "normal",
        };
        let mut arguments = vec![port.as_str(), share.as_str(), class];
        if idle == Idle::Half {
            arguments.push(&outside);
        }
        running.push(job.python(PROGRAM, &arguments)?);
    }
    let limit = Duration::from_secs(120 + processes as u64 / 100);
    let mut connected = BTreeSet::new();
    let mut connects = 0;
    for worker in running {
        let outcome = worker.wait(limit)?.success()?;
        for line in outcome.stdout.lines() {
            let pid = line
                .strip_prefix("connected ")
                .context("the storm's output")?
                .parse::<u64>()?;
            connected.insert(pid);
            connects += 1;
        }
    }
    scene.subtree.kill("jobs/storm")?;
    scene.subtree.kill("free/storm")?;
    let sessions = scene.daemon.sessions()?;
    let known: BTreeSet<u64> = sessions
        .iter()
        .filter_map(|session| session["process"]["pid"].as_u64())
        .collect();
    let unknown = connected.difference(&known).copied().collect();
    let mut escaped = 0;
    while listener.accept().is_ok() {
        escaped += 1;
    }
    let (mut trees_left, mut tags_left) = (u64::MAX, u64::MAX);
    // Whether it came to nothing is the report's to say.
    let _ = wait::until_true("the sweep of the tags", PATIENCE, || {
        let status = scene.daemon.status().unwrap_or_default();
        trees_left = status["trees"].as_u64().unwrap_or(u64::MAX);
        tags_left = status["processes"].as_u64().unwrap_or(u64::MAX);
        trees_left == 0 && tags_left == 0
    });
    let losses = &scene.daemon.status()?["losses"];
    let tag_overflows = losses["tag_overflows"]
        .as_u64()
        .context("status: losses.tag_overflows")?;
    let left = match trees_left {
        0 => String::new(),
        _ => {
            let mut ps = std::process::Command::new("ps");
            ps.args(["-e", "-o", "pid,ppid,stat,class,cgroup,comm"]);
            let processes = crate::running::run(&mut ps)?.stdout;
            let lines = processes.lines().filter(|line| !line.contains(" ["));
            lines.collect::<Vec<_>>().join("; ")
        }
    };
    Ok(Report {
        connects,
        unknown,
        escaped,
        trees_left,
        left,
        tags_left,
        tag_overflows,
    })
}
