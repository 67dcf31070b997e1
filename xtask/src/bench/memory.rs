//! The memory of an idle daemon, and of an idle PostgreSQL session of thousands.
use super::{Effort, arena, table};
use anyhow::{Context, Result};
use gateway_tests::responder::{GREETING, Responder};
use gateway_tests::{Daemon, Job, Subtree, place, policy};
use std::sync::Arc;
use std::time::Duration;

const SESSIONS: u64 = 5_000;
const DAEMON_KIB_MAX: u64 = 40 * 1024;
const SESSION_KIB_MAX: f64 = 64.0;

/// Opens sessions, each up to ReadyForQuery, and holds them until its input ends.
const CLIENT: &str = r#"
import resource, socket, struct, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
startup = struct.pack("!i", len(body) + 4) + body
held = []
for number in range(int(sys.argv[2])):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    s.sendall(startup)
    answer = b""
    while not answer.endswith(b"Z\0\0\0\x05I"):
        more = s.recv(1000)
        if not more:
            sys.exit(f"session {number} was closed")
        answer += more
    held.append(s)
print("held", len(held), flush=True)
time.sleep(3600)
"#;

pub(super) fn run(_effort: Effort) -> Result<()> {
    let subtree = Arc::new(Subtree::create()?);
    let responder = Responder::start(GREETING)?;
    let port = responder.address().port();
    let text = policy::allow_all(&subtree, port);
    let daemon = Daemon::prepare(&subtree)?.policy("bench", &text)?.start()?;
    let pid = daemon.pid()?;
    let idle = arena::memory_kib(pid, "VmRSS")?;
    let own = arena::memory_kib(pid, "RssAnon")?;
    let job = Job::governed(&subtree, "many")?;
    let mut command = job.command("prlimit");
    command
        .args(["--nofile=20000:20000", "--"])
        .arg(place::python()?);
    command.args(["-u", "-c", CLIENT, &port.to_string(), &SESSIONS.to_string()]);
    let mut client = gateway_tests::Running::start(&mut command)?;
    client
        .wait_for_output("held", Duration::from_secs(180))
        .context("the sessions")?;
    let full = arena::memory_kib(pid, "VmRSS")?;
    let each = full.saturating_sub(idle) as f64 / SESSIONS as f64;
    let held = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
    table::print(
        &format!("resident memory, KiB; {SESSIONS} idle PostgreSQL sessions held"),
        &["", "measured", "at most", "held"],
        &[
            vec![
                "idle daemon".to_owned(),
                idle.to_string(),
                DAEMON_KIB_MAX.to_string(),
                held(idle <= DAEMON_KIB_MAX),
            ],
            vec![
                "  of it, not of a file".to_owned(),
                own.to_string(),
                String::new(),
                String::new(),
            ],
            vec![
                "an idle session".to_owned(),
                format!("{each:.1}"),
                format!("{SESSION_KIB_MAX:.0}"),
                held(each <= SESSION_KIB_MAX),
            ],
        ],
    );
    Ok(())
}
