//! Short connections by the hundred thousand, from several network namespaces at once, while the
//! daemon dies and comes back. Each has a destination address of its own, by which it is found at
//! the server and in the journal.
use crate::running::{PATIENCE, Running};
use crate::{Daemon, Job, Namespace, Subtree, place, policy, wait};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How many namespaces there are.
const SPACES: usize = 4;
/// How many clients there can be in each: a client has a quarter of a million addresses of
/// 127.0.0.0/8 to itself.
pub const CLIENTS_MAX: usize = 16;
/// Where the servers listen, on all addresses.
const PORT: u16 = 7400;
/// How long after its start a daemon is killed.
const LIFE: Duration = Duration::from_millis(1200);

/// Writes down the address of each connection that it takes, and answers one byte.
const SERVER: &str = r#"
import os, socket, struct, sys, threading
s = socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=4096)
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def serve():
    while True:
        connection, _ = s.accept()
        os.write(out, (connection.getsockname()[0] + "\n").encode())
        connection.settimeout(5)
        try:
            if connection.recv(1):
                connection.sendall(b"k")
        except OSError:
            pass
        connection.close()
for _ in range(8):
    threading.Thread(target=serve, daemon=True).start()
print("listening", flush=True)
threading.Event().wait()
"#;

/// Connects to one address after the other until it was answered so often.
const CLIENT: &str = r#"
import socket, sys, time
port, space, number, wanted = map(int, sys.argv[1:])
answered, attempt = 0, 255  # not 127.0.0.x, where the gateway is
while answered < wanted:
    attempt += 1
    word = (space << 22) | (number << 18) | attempt
    assert attempt < 1 << 18, "no addresses are left"
    address = f"127.{word >> 16}.{word >> 8 & 0xff}.{word & 0xff}"
    try:
        with socket.create_connection((address, port), 10) as s:
            s.sendall(b"?")
            if s.recv(1) == b"k":
                answered += 1
    except OSError:
        time.sleep(0.02)
print("answered", answered, attempt - 255, flush=True)
"#;

/// What it showed.
#[derive(Debug)]
pub struct Report {
    /// Connections that a server took; every one is in the journal.
    pub reached: usize,
    /// How often a client tried.
    pub tried: u64,
    /// How often the daemon was killed.
    pub deaths: usize,
    /// How long the clients took.
    pub took: Duration,
}

/// A namespace with a server. The server ends first.
struct Space {
    file: PathBuf,
    _server: Running,
    namespace: Namespace,
}

impl Space {
    fn make(number: usize, files: &TempDir) -> Result<Space> {
        let namespace = Namespace::create()?;
        let file = files.path().join(format!("reached-{number}"));
        let mut server = namespace.command("/usr/bin/python3");
        server.args(["-c", SERVER, &PORT.to_string()]).arg(&file);
        let mut server = Running::start(&mut server)?;
        server.wait_for_output("listening", PATIENCE)?;
        Ok(Space {
            file,
            _server: server,
            namespace,
        })
    }
}

/// Runs `clients` processes in each of the namespaces until each was answered `wanted` times, and
/// kills the daemon so often meanwhile.
///
/// # Errors
/// A part fails, or it is not as it has to be: the error says what is wrong.
pub fn run(clients: usize, wanted: usize, deaths: usize) -> Result<Report> {
    ensure!(clients <= CLIENTS_MAX, "at most {CLIENTS_MAX} clients");
    let files = place::temporary_directory()?;
    let spaces: Vec<Space> = (0..SPACES)
        .map(|number| Space::make(number, &files))
        .collect::<Result<_>>()?;
    let subtree = Arc::new(Subtree::create()?);
    let text = policy::opaque_anywhere(&subtree, "");
    let prepared = Daemon::prepare(&subtree)?;
    let mut daemon = prepared.policy("test", &text)?.start()?;
    let began = Instant::now();
    let running = start(&subtree, &spaces, clients, wanted)?;
    for _ in 0..deaths {
        std::thread::sleep(LIFE);
        daemon.crash()?;
        daemon.restart()?;
    }
    let limit = Duration::from_secs(120 + (clients * SPACES * wanted) as u64 / 200);
    let mut tried = 0;
    for client in running {
        let said = client.wait(limit)?.success()?.stdout;
        let words: Vec<&str> = said.split_whitespace().collect();
        let attempts = words.get(2).context("the client's last words")?;
        tried += attempts.parse::<u64>()?;
    }
    let took = began.elapsed();
    let reached = compare(&daemon, &spaces)?;
    ensure!(
        reached >= clients * SPACES * wanted,
        "only {reached} connections"
    );
    let drops = daemon.status()?["losses"]["backstop_drops"].clone();
    ensure!(drops == 0, "the backstop dropped {drops} packets");
    check_maps(&daemon)?;
    Ok(Report {
        reached,
        tried,
        deaths,
        took,
    })
}

fn start(
    subtree: &Subtree,
    spaces: &[Space],
    clients: usize,
    wanted: usize,
) -> Result<Vec<Running>> {
    let job = Job::governed(subtree, "flood")?;
    let mut running = Vec::new();
    for (number, space) in spaces.iter().enumerate() {
        for client in 0..clients {
            let mut command = job.command("ip");
            command.args([
                "netns",
                "exec",
                space.namespace.name(),
                "/usr/bin/python3",
                "-c",
                CLIENT,
            ]);
            for word in [usize::from(PORT), number, client, wanted] {
                command.arg(word.to_string());
            }
            running.push(Running::start(&mut command)?);
        }
    }
    Ok(running)
}

/// Is every connection that a server took in the journal? Says how many there are.
fn compare(daemon: &Daemon, spaces: &[Space]) -> Result<usize> {
    let recorded = destinations(daemon)?;
    let mut reached = 0;
    let mut seen: HashMap<Ipv4Addr, usize> = HashMap::new();
    for (number, space) in spaces.iter().enumerate() {
        for line in fs::read_to_string(&space.file)?.lines() {
            let address: Ipv4Addr = line.parse()?;
            // Two connections to one address would hide each other.
            let before = seen.insert(address, number);
            ensure!(before.is_none(), "{address} was reached twice");
            ensure!(
                recorded.contains(&address),
                "{address} is not in the journal"
            );
            reached += 1;
        }
    }
    Ok(reached)
}

/// The destinations of all sessions. Read as they come: there may be a million.
fn destinations(daemon: &Daemon) -> Result<HashSet<Ipv4Addr>> {
    let mut command = daemon.gateway();
    command.args(["sessions", "--json"]).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let output = child.stdout.take().context("its output")?;
    let mut found = HashSet::new();
    for line in BufReader::new(output).lines() {
        let session: Value = serde_json::from_str(&line?)?;
        let ip = session["destination"]["ip"].as_str();
        found.insert(ip.context("an address")?.parse()?);
    }
    ensure!(child.wait()?.success(), "gateway sessions failed");
    Ok(found)
}

/// How long a handshake is kept that never ended, as one that was on its way to a daemon that died,
/// and the time to the next sweep.
const KEPT: Duration = Duration::from_secs(120 + 40);

/// When nobody is there any more, nothing of them is.
fn check_maps(daemon: &Daemon) -> Result<()> {
    let left = || {
        let maps = daemon.entries().unwrap_or_default();
        let empty = ["HANDSHAKES", "DATAGRAMS", "TAGS"];
        empty.iter().all(|name| maps.get(*name) == Some(&0)) && maps.get("LISTENERS") == Some(&1)
    };
    wait::until_true("the maps to be empty", KEPT, left)
        .with_context(|| format!("{:?}", daemon.entries()))
}
