//! Name servers: a real one (dnsmasq) in a network namespace of its own, and one that misbehaves.
use crate::running::{PATIENCE, Running};
use crate::{Namespace, place, wait};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// dnsmasq on port 53 of a namespace, by UDP and TCP, IPv4 and IPv6. It knows some names below
/// `test` and says of all others below it that there are none.
pub struct NameServer {
    running: Running,
}

/// What it knows.
const RECORDS: &[&str] = &[
    "--local=/test/",
    "--host-record=db.example.test,192.0.2.7,2001:db8::7,60",
    "--cname=www.example.test,db.example.test,60",
    "--txt-record=text.example.test,one,two",
    "--address=/wild.test/192.0.2.9",
];

impl NameServer {
    /// Starts it with these options beside its own. It keeps what it is asked.
    ///
    /// # Errors
    /// It is not installed (`cargo xtask setup`), or does not start.
    pub fn start(namespace: &Namespace, options: &[&str]) -> Result<NameServer> {
        let logging = ["--no-daemon", "--log-queries", "--log-facility=-"];
        NameServer::launch(namespace, &[&logging, options].concat())
    }

    /// Starts it for measurements: it keeps nothing.
    ///
    /// # Errors
    /// As [`NameServer::start`].
    pub fn quiet(namespace: &Namespace) -> Result<NameServer> {
        NameServer::launch(namespace, &["--keep-in-foreground"])
    }

    fn launch(namespace: &Namespace, options: &[&str]) -> Result<NameServer> {
        let mut command = namespace.command("dnsmasq");
        command
            .args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--user=root", "--pid-file=", "--cache-size=0"])
            .args(RECORDS)
            .args(options);
        let server = NameServer {
            running: Running::start(&mut command)?,
        };
        let probe = || {
            let mut dig = Command::new("dig");
            dig.args(["+tries=1", "+time=1", "+short", "db.example.test"])
                .arg(format!("@{}", namespace.address()));
            crate::running::run(&mut dig).is_ok_and(|said| said.stdout.contains("192.0.2.7"))
        };
        wait::until_true("dnsmasq to answer", PATIENCE, probe)
            .with_context(|| server.running.stderr())?;
        Ok(server)
    }

    /// How often it was asked for a name that contains this, in lower case.
    #[must_use]
    pub fn asked(&self, text: &str) -> usize {
        let said = self.running.stderr().to_lowercase();
        let queries = said.lines().filter(|line| line.contains("query["));
        queries.filter(|line| line.contains(text)).count()
    }
}

/// A server that misbehaves, by what is asked for: a mock, in Python, since no real one does.
/// `silent.*` is never answered, `garbage.*` with bytes, `number.*` under another number and then
/// rightly, `other.*` with the answer to another question, `poison.*` points to a name that it does
/// not own and gives that an address, `cut.*` with half of an answer, `strange.*` with an answer that
/// comes from another port before the true one.
pub struct BadServer {
    running: Running,
}

const BAD_SERVER: &str = r#"
import socket, struct, sys, time
host = sys.argv[1]
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind((host, 53))
other = socket.socket(type=socket.SOCK_DGRAM)
other.bind((host, 5353))
print("ready", flush=True)
def name(text): return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"
def record(owner, kind, data): return owner + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
def answer(number, question, *records):
    return struct.pack("!HHHHHH", number, 0x8180, 1, len(records), 0, 0) + question + b"".join(records)
A = socket.inet_aton
while True:
    data, who = s.recvfrom(9000)
    number = struct.unpack("!H", data[:2])[0]
    end = data.index(b"\0", 12) + 5
    question = data[12:end]
    first = data[13:13 + data[12]].decode()
    print("asked", first, len(data), flush=True)
    good = answer(number, question, record(b"\xc0\x0c", 1, A("192.0.2.1")))
    bad = record(b"\xc0\x0c", 1, A("192.0.2.66"))
    if first == "silent": continue
    if first == "garbage": s.sendto(data[:2] + b"\x81" + bytes(range(200)), who); continue
    if first == "number": s.sendto(answer(number ^ 1, question, bad), who)
    if first == "other": s.sendto(answer(number, name("db.example.test") + b"\0\1\0\1", bad), who)
    if first == "strange": other.sendto(answer(number, question, bad), who); time.sleep(0.05)
    if first == "cut": s.sendto(good[:-3], who); continue
    if first == "poison":
        good = answer(number, question, record(b"\xc0\x0c", 5, name("trusted.test")),
                      record(name("trusted.test"), 1, A(sys.argv[2])))
    s.sendto(good, who)
"#;

impl BadServer {
    /// Starts it in a namespace. What it says of `poison.*` is `address`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(namespace: &Namespace, address: &str) -> Result<BadServer> {
        let host = namespace.address().to_string();
        let mut command = namespace.command("/usr/bin/python3");
        command.args(["-u", "-c", BAD_SERVER, &host, address]);
        let mut running = Running::start(&mut command)?;
        running.wait_for_output("ready", PATIENCE)?;
        Ok(BadServer { running })
    }

    /// What it was asked.
    #[must_use]
    pub fn said(&self) -> String {
        self.running.stdout()
    }
}

/// A file like /etc/resolv.conf that names these servers, and commands that see it there.
pub struct ResolvConf {
    _directory: TempDir,
    file: PathBuf,
}

impl ResolvConf {
    /// Writes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn naming(servers: &[String]) -> Result<ResolvConf> {
        let directory = place::temporary_directory()?;
        let file = directory.path().join("resolv.conf");
        let mut text = String::from("options timeout:3 attempts:1\n");
        for server in servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        fs::write(&file, text)?;
        Ok(ResolvConf {
            _directory: directory,
            file,
        })
    }

    /// Makes a shell script see it, in a mount namespace of its own.
    #[must_use]
    pub fn script(&self, script: &str) -> String {
        let file = self.file.display();
        format!("mount --bind {file} /etc/resolv.conf && {script}")
    }
}
