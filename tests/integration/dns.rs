//! Questions for name servers: dnsmasq in another network namespace, asked by real resolvers.
use gateway_tests::nameserver::{BadServer, NameServer, ResolvConf};
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Daemon, Job, Namespace, Outcome, Subtree, wait};
use serde_json::Value;
use std::sync::Arc;

/// Every name may be asked for, but those below `secret.test`.
const RULES: &str = r#"
[[rule]]
name = "names"
resources = ["dns"]
verbs = ["connect", "read"]
verdict = "allow"

[[rule]]
name = "no secrets"
resources = ["dns"]
objects = ["*.secret.test", "secret.test"]
verdict = "deny"
message = "Not for jobs"
"#;

struct Scene {
    daemon: Daemon,
    subtree: Arc<Subtree>,
    namespace: Namespace,
}

impl Scene {
    /// A daemon that governs jobs by `rules`, believes the namespace's server, and has these more
    /// lines of configuration.
    fn new(rules: &str, config: &str) -> Scene {
        let subtree = Arc::new(Subtree::create().unwrap());
        let namespace = Namespace::create().unwrap();
        let hosts = format!(
            "\"{}\", \"{}\"",
            namespace.address(),
            namespace.address_v6()
        );
        let policy = format!(
            "[policy]\nname = \"test\"\ncgroups = [\"{}/jobs/**\"]\n\n\
             [[resource]]\nname = \"dns\"\nprotocol = \"dns\"\nhosts = [{hosts}, \"127.0.0.0/8\"]\n\
             ports = [53]\n{rules}",
            subtree.name()
        );
        let config = format!("[dns]\nservers = [{hosts}]\n{config}");
        let daemon = Daemon::prepare(&subtree)
            .unwrap()
            .policy("test", &policy)
            .unwrap()
            .config(&config)
            .start()
            .unwrap();
        Scene {
            daemon,
            subtree,
            namespace,
        }
    }

    fn job(&self, name: &str) -> Job {
        Job::governed(&self.subtree, name).unwrap()
    }

    /// `dig` in a governed job.
    fn dig(&self, arguments: &[&str]) -> Outcome {
        let mut dig = self.job("dig").command("dig");
        dig.arg(format!("@{}", self.namespace.address()))
            .args(["+tries=1", "+time=8"])
            .args(arguments);
        running::run(&mut dig).unwrap()
    }

    fn python(&self, program: &str, arguments: &[&str]) -> Outcome {
        let mut command = self.job("python").command("/usr/bin/python3");
        command.args(["-u", "-c", program]).args(arguments);
        running::run(&mut command).unwrap()
    }

    /// The answered operations with this statement.
    fn operations(&self, statement: &str) -> Vec<Value> {
        let log = self.daemon.log().unwrap();
        log.into_iter()
            .filter(|operation| operation["statement"] == statement)
            .collect()
    }

    fn operation(&self, statement: &str) -> Value {
        let found = self.operations(statement);
        assert_eq!(found.len(), 1, "{statement}: {:#?}", self.daemon.log());
        found[0].clone()
    }
}

#[test]
fn a_question_is_asked_answered_and_recorded() {
    let scene = Scene::new(RULES, "");
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    let said = scene.dig(&["A", "Db.Example.TEST"]).stdout;
    assert!(said.contains("192.0.2.7"), "{said}");
    assert!(
        said.contains("Db.Example.TEST."),
        "the case is kept: {said}"
    );
    let from = format!("SERVER: {}#53", scene.namespace.address());
    assert!(said.contains(&from), "{said}");
    let operation = scene.operation("A db.example.test");
    assert_eq!(operation["protocol"], "dns");
    assert_eq!(operation["verb"], "read");
    assert_eq!(operation["resource"], "dns");
    assert_eq!(operation["objects"], serde_json::json!(["db.example.test"]));
    assert_eq!(operation["verdict"], "allow");
    assert_eq!(operation["rule"], "names");
    assert_eq!(operation["rows"], 1);
    assert_eq!(operation["attributes"]["dns.transport"], "udp");
    let exe = operation["process"]["exe"].as_str().unwrap();
    assert!(exe.ends_with("/dig"), "{operation}");
    assert_eq!(server.asked("example.test"), 2, "the probe and this");

    let said = scene.dig(&["+tcp", "AAAA", "www.example.test"]).stdout;
    assert!(said.contains("2001:db8::7"), "{said}");
    let operation = scene.operation("AAAA www.example.test");
    assert_eq!(operation["attributes"]["dns.transport"], "tcp");
    assert_eq!(operation["rows"], 2, "the alias and the address");

    let said = scene.dig(&["nothing.example.test"]).stdout;
    assert!(said.contains("NXDOMAIN"), "{said}");
    assert_eq!(
        scene.operation("A nothing.example.test")["error"],
        "NXDOMAIN"
    );

    let v6 = format!("@{}", scene.namespace.address_v6());
    let mut dig = scene.job("dig").command("dig");
    dig.args([&v6, "+tries=1", "TXT", "text.example.test"]);
    let said = running::run(&mut dig).unwrap().stdout;
    assert!(said.contains("\"one\" \"two\""), "{said}");
    assert_eq!(scene.operation("TXT text.example.test")["rows"], 1);
}

#[test]
fn a_name_that_the_policy_denies_does_not_reach_the_server() {
    let scene = Scene::new(RULES, "");
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    for transport in ["+notcp", "+tcp"] {
        let said = scene.dig(&[transport, "key.SECRET.test"]).stdout;
        assert!(said.contains("REFUSED"), "{said}");
        assert!(said.contains("Prohibited"), "{said}");
        assert!(said.contains("Not for jobs"), "the reason is told: {said}");
    }
    assert_eq!(server.asked("secret"), 0);
    let operations = scene.operations("A key.secret.test");
    assert_eq!(operations.len(), 2);
    for operation in operations {
        assert_eq!(operation["verdict"], "deny");
        assert_eq!(operation["rule"], "no secrets");
    }
    // A server that no rule allows is not asked either.
    let mut dig = scene.job("dig").command("dig");
    dig.args(["@192.0.2.53", "+tries=1", "+time=5", "db.example.test"]);
    let said = running::run(&mut dig).unwrap().stdout;
    assert!(said.contains("REFUSED"), "{said}");
}

/// What musl does: one socket, all servers at once, and only these are believed.
const ALL_AT_ONCE: &str = r#"
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(8)
q = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\2db\7example\4test\0\0\1\0\1"
servers = sys.argv[1:]
for server in servers: s.sendto(q, (server, 53))
seen = set()
while len(seen) < len(servers):
    data, who = s.recvfrom(4096)
    assert who[1] == 53 and data[:2] == q[:2], who
    seen.add(who[0])
print(seen == set(servers))
"#;

/// A static program with musl's resolver.
struct Musl {
    _directory: tempfile::TempDir,
    program: String,
}

impl Musl {
    fn compile() -> Musl {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("resolve").display().to_string();
        let source = directory.path().join("resolve.c");
        let text = r#"
            #include <arpa/inet.h>
            #include <netdb.h>
            #include <stdio.h>
            int main(void) {
                struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
                int error = getaddrinfo("db.example.test", "80", &hints, &found);
                if (error) { puts(gai_strerror(error)); return 1; }
                puts(inet_ntoa(((struct sockaddr_in *)found->ai_addr)->sin_addr));
            }
        "#;
        std::fs::write(&source, text).unwrap();
        let mut compiler = std::process::Command::new("musl-gcc");
        compiler.args(["-static", "-o", &program]).arg(&source);
        running::run(&mut compiler).unwrap().success().unwrap();
        Musl {
            _directory: directory,
            program,
        }
    }
}

#[test]
fn every_resolver_is_answered_by_the_server_that_it_asked() {
    let scene = Scene::new(RULES, "");
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    let address = scene.namespace.address().to_string();
    let conf = ResolvConf::naming(std::slice::from_ref(&address)).unwrap();
    for (name, command) in [
        ("glibc", "getent ahosts db.example.test"),
        ("busybox", "busybox nslookup db.example.test"),
        // It says where it went in vain: what the policy denies is refused after the look-up.
        (
            "Go's own",
            "GODEBUG=netdns=go podman --remote --url tcp://db.example.test:1 version 2>&1",
        ),
        (
            "python",
            "python3 -c 'import socket; print(socket.gethostbyname(\"db.example.test\"))'",
        ),
    ] {
        let mut shell = scene.job(name).command("unshare");
        shell.args(["-m", "sh", "-c", &conf.script(command)]);
        let outcome = running::run(&mut shell).unwrap();
        let addresses = ["192.0.2.7", "2001:db8::7"];
        let is_told = addresses.iter().any(|one| outcome.stdout.contains(one));
        assert!(is_told, "{name}: {outcome:?}");
    }
    let v6 = scene.namespace.address_v6().to_string();
    let musl = Musl::compile();
    let conf = ResolvConf::naming(&[address.clone(), v6]).unwrap();
    let mut shell = scene.job("musl").command("unshare");
    shell.args(["-m", "sh", "-c", &conf.script(&musl.program)]);
    let outcome = running::run(&mut shell).unwrap();
    assert_eq!(
        outcome.stdout, "192.0.2.7\n",
        "musl, with both families at once"
    );
    let outcome = scene.python(ALL_AT_ONCE, &[&address]);
    assert_eq!(outcome.stdout, "True\n", "{outcome:?}");
    assert!(server.asked("db.example.test") >= 6);
}

/// Sends what is no question, and says what comes back.
const MALFORMED: &str = r#"
import socket, sys
def ask(data, connected=False):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.settimeout(2)
    try:
        if connected:
            s.connect((sys.argv[1], 53)); s.send(data); data = s.recv(999)
        else:
            s.sendto(data, (sys.argv[1], 53)); data = s.recvfrom(999)[0]
        return data[3] & 15
    except OSError as error:
        return type(error).__name__
head = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0"
name = b"\2db\7example\4test\0"
print("empty", ask(b""))
print("short", ask(b"\x12\x34"))
print("token", ask(b"gwtok-this-is-no-question-at-all"))
print("cut", ask(head + name[:-3]))
print("loop", ask(head + b"\xc0\x0c\0\1\0\1"))
print("two", ask(b"\x12\x34\x01\0\0\2\0\0\0\0\0\0" + (name + b"\0\1\0\1") * 2))
print("update", ask(b"\x12\x34\x28\0\0\1\0\0\0\0\0\0" + name + b"\0\6\0\1"))
print("chaos", ask(head + name + b"\0\x10\0\3"))
print("transfer", ask(head + name + b"\0\xfc\0\1", True))
print("answer", ask(b"\x12\x34\x81\x80\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1"))
print("records", ask(b"\x12\x34\x01\0\0\1\0\0\0\0\0\1" + name + b"\0\1\0\1" + name + b"\0\x10\0\1\0\0\0\0\0\6\5gwtok"))
print("good", ask(head + name + b"\0\1\0\1"))
"#;

#[test]
fn what_is_no_question_is_refused_and_goes_nowhere() {
    // Also where the policy lets the unknown pass: it is not to be forwarded unread.
    let rules = RULES.replace("\"read\"]", "\"read\", \"unknown\"]");
    let scene = Scene::new(&rules, "");
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    let before = server.asked("");
    let address = scene.namespace.address().to_string();
    let outcome = scene.python(MALFORMED, &[&address]);
    assert_eq!(
        outcome.stdout,
        "empty TimeoutError\nshort TimeoutError\ntoken 1\ncut 1\nloop 1\ntwo 1\nupdate 4\nchaos 5\n\
         transfer 4\nanswer TimeoutError\nrecords 1\ngood 0\n",
        "{outcome:?}"
    );
    assert_eq!(server.asked(""), before + 1, "only the good one arrives");
    let log = scene.daemon.log().unwrap();
    let unread = log
        .iter()
        .filter(|operation| operation["verb"] == "unknown");
    assert_eq!(unread.count(), 11, "{log:#?}");
}

#[test]
fn a_server_that_misbehaves_gives_a_clear_result() {
    let scene = Scene::new(RULES, "[limits]\ndns_answer = \"400ms\"\n");
    let server = BadServer::start(&scene.namespace, "192.0.2.99").unwrap();
    for (name, expected, error) in [
        ("silent.test", "SERVFAIL", "no answer within 0.4 s"),
        (
            "garbage.test",
            "SERVFAIL",
            "the server's answer cannot be read",
        ),
        ("cut.test", "SERVFAIL", "the server's answer cannot be read"),
        ("number.test", "192.0.2.1", ""),
        ("other.test", "192.0.2.1", ""),
        ("strange.test", "192.0.2.1", ""),
    ] {
        let said = scene.dig(&["+noedns", name]).stdout;
        assert!(said.contains(expected), "{name}: {said}\n{}", server.said());
        assert!(!said.contains("192.0.2.66"), "{name}: {said}");
        let operation = scene.operation(&format!("A {name}"));
        assert_eq!(
            operation["error"].as_str().unwrap_or_default(),
            error,
            "{operation}"
        );
    }
    // Nobody there at all.
    let mut dig = scene.job("dig").command("dig");
    dig.args(["@127.0.0.53", "+tries=1", "+time=5", "nobody.test"]);
    let said = running::run(&mut dig).unwrap().stdout;
    assert!(said.contains("SERVFAIL"), "{said}");
}

#[test]
fn a_tunnel_runs_dry() {
    let scene = Scene::new(RULES, "[limits]\ndns_zone_names = 20\ndns_rate = 100000\n");
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    let program = r#"
import collections, socket, sys
codes = collections.Counter()
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(8)
for number in range(100):
    label = b"data-%03d" % number
    q = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + bytes([len(label)]) + label + b"\4wild\4test\0\0\1\0\1"
    s.sendto(q, (sys.argv[1], 53))
    codes[s.recvfrom(999)[0][3] & 15] += 1
label = b"x" * 60
q = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + (bytes([60]) + label) * 3 + b"\4long\4test\0\0\1\0\1"
s.sendto(q, (sys.argv[1], 53))
codes["long", s.recvfrom(999)[0][3] & 15] += 1
print(dict(codes))
"#;
    let address = scene.namespace.address().to_string();
    let outcome = scene.python(program, &[&address]);
    assert_eq!(
        outcome.stdout, "{0: 20, 5: 80, ('long', 5): 1}\n",
        "{outcome:?}"
    );
    assert_eq!(server.asked("data-"), 20);
    assert_eq!(server.asked("xxxx"), 0);
    let log = scene.daemon.log().unwrap();
    let over = |limit: &str| {
        let error = |operation: &&Value| {
            operation["error"]
                .as_str()
                .unwrap_or_default()
                .contains(limit)
        };
        log.iter().filter(error).count()
    };
    assert_eq!(over("limits.dns_zone_names"), 80);
    assert_eq!(over("limits.dns_name_bytes"), 1);
}

#[test]
fn answers_of_a_trusted_server_name_destinations() {
    let rules = r#"
[[rule]]
name = "names"
resources = ["dns"]
verbs = ["connect", "read"]
verdict = "allow"

[[rule]]
name = "by name"
verbs = ["connect", "unknown"]
when = 'resource.host == "sink.example.test"'
verdict = "allow"
"#;
    let scene = Scene::new(rules, "");
    let sink = scene.namespace.address();
    let record = format!("--host-record=sink.example.test,{sink}");
    let _server = NameServer::start(&scene.namespace, &[&record]).unwrap();
    let mut listener = scene.namespace.command("/usr/bin/python3");
    listener.args(["-u", "-c", "import socket\ns = socket.create_server(('', 7000))\nprint('up')\nwhile True: s.accept()[0].sendall(b'hello')"]);
    let mut listener = gateway_tests::Running::start(&mut listener).unwrap();
    listener.wait_for_output("up", PATIENCE).unwrap();
    let program = r#"
import socket, subprocess, sys
def connect():
    try:
        s = socket.create_connection((sys.argv[1], 7000), 5)
        s.sendall(b"x" * 100)
        return s.recv(5)
    except OSError as error:
        return type(error).__name__
print(connect())
print(subprocess.run(["dig", "+short", "@" + sys.argv[1], "sink.example.test"], capture_output=True).stdout)
print(connect())
"#;
    let outcome = scene.python(program, &[&sink.to_string()]);
    assert_eq!(
        outcome.stdout,
        format!("ConnectionResetError\nb'{sink}\\n'\nb'hello'\n"),
        "{outcome:?}"
    );
    // Another tree has not asked, so it knows no name.
    let other = scene.job("other");
    let mut command = other.command("/usr/bin/python3");
    command.args([
        "-u",
        "-c",
        program.split("print(subprocess").next().unwrap(),
        &sink.to_string(),
    ]);
    let said = running::run(&mut command).unwrap().stdout;
    assert_eq!(said, "ConnectionResetError\n");
    let log = scene.daemon.log().unwrap();
    let named = log
        .iter()
        .filter(|operation| operation["destination"]["host"] == "sink.example.test");
    assert!(named.count() >= 1, "{log:#?}");
}

#[test]
fn a_dead_daemon_lets_no_question_out() {
    let mut scene = Scene::new(RULES, "");
    scene.daemon.expect_backstop_drops();
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    let address = scene.namespace.address().to_string();
    let program = r#"
import socket, sys, time
q = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4dead\7example\4test\0\0\1\0\1"
c = socket.socket(type=socket.SOCK_DGRAM); c.connect((sys.argv[1], 53))
u = socket.socket(type=socket.SOCK_DGRAM); u.sendto(q.replace(b"dead", b"live"), (sys.argv[1], 53))
print("connected", u.recvfrom(999)[1], flush=True)
while sys.stdin.read(1): pass
for name, action in (("send", lambda: c.send(q)), ("sendto", lambda: u.sendto(q, (sys.argv[1], 53))),
                     ("connect", lambda: socket.socket(type=socket.SOCK_DGRAM).connect((sys.argv[1], 53)))):
    try: action(); print(name, "sent")
    except OSError as error: print(name, type(error).__name__)
"#;
    let mut command = scene.job("dead").command("/usr/bin/python3");
    command
        .args(["-u", "-c", program, &address])
        .stdin(std::process::Stdio::piped());
    let mut client = gateway_tests::Running::start_with_input(&mut command).unwrap();
    client.wait_for_output("connected", PATIENCE).unwrap();
    scene.daemon.crash().unwrap();
    drop(client.take_stdin());
    let outcome = client.wait(PATIENCE).unwrap();
    let said = outcome.stdout.split_once('\n').unwrap().1;
    assert!(
        said.contains("sendto ConnectionRefusedError"),
        "{outcome:?}"
    );
    assert!(
        said.contains("connect ConnectionRefusedError"),
        "{outcome:?}"
    );
    assert!(!said.contains("send sent"), "{outcome:?}");
    assert_eq!(server.asked("dead"), 0);
    // It comes back, and so do names.
    scene.daemon.restart().unwrap();
    wait::until_true("names", PATIENCE, || {
        scene.dig(&["db.example.test"]).stdout.contains("192.0.2.7")
    })
    .unwrap();
}

#[test]
fn a_question_can_wait_for_a_human() {
    let rules = r#"
[[rule]]
name = "the server may be asked"
resources = ["dns"]
verbs = ["connect"]
verdict = "allow"

[[rule]]
name = "a human for names"
resources = ["dns"]
verbs = ["read"]
objects = ["db.example.test"]
verdict = "hold"
approvers = ["local:daemon"]
"#;
    let scene = Scene::new(rules, "");
    let server = NameServer::start(&scene.namespace, &[]).unwrap();
    let before = server.asked("db.example.test");
    let mut dig = scene.job("dig").command("dig");
    dig.arg(format!("@{}", scene.namespace.address())).args([
        "+tries=1",
        "+time=50",
        "+short",
        "db.example.test",
    ]);
    let dig = gateway_tests::Running::start(&mut dig).unwrap();
    let question = wait::until("a question", PATIENCE, || {
        scene.daemon.json(&["approvals"]).unwrap().pop()
    })
    .unwrap();
    assert_eq!(question["statement"], "A db.example.test");
    assert_eq!(server.asked("db.example.test"), before, "not asked yet");
    let id = question["id"].as_str().unwrap();
    let mut approve = scene.daemon.gateway_as(1).unwrap();
    approve.args(["approvals", "approve", id]);
    running::run(&mut approve).unwrap().success().unwrap();
    let outcome = dig.wait(PATIENCE).unwrap();
    assert_eq!(outcome.stdout, "192.0.2.7\n", "{outcome:?}");
    assert_eq!(scene.operation("A db.example.test")["verdict"], "approved");
}

#[test]
fn a_session_is_of_one_process_and_what_it_executes() {
    let scene = Scene::new(RULES, "[limits]\ndns_idle = \"1h\"\n");
    let _server = NameServer::start(&scene.namespace, &[]).unwrap();
    let program = r#"
import os, socket, sys
def ask():
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.settimeout(8)
    s.sendto(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\2db\7example\4test\0\0\1\0\1", (sys.argv[1], 53))
    print(s.recvfrom(999)[0][3] & 15, flush=True)
ask()
ask()
if not os.fork():
    ask()
    os._exit(0)
os.wait()
os.execvp("dig", ["dig", "@" + sys.argv[1], "+short", "db.example.test"])
"#;
    let address = scene.namespace.address().to_string();
    let outcome = scene.python(program, &[&address]);
    assert_eq!(outcome.stdout, "0\n0\n0\n192.0.2.7\n", "{outcome:?}");
    let operations = scene.operations("A db.example.test");
    let facts: Vec<(&str, &str)> = operations
        .iter()
        .map(|operation| {
            let exe = operation["process"]["exe"].as_str().unwrap();
            let session = operation["session"].as_str().unwrap();
            (session, exe.rsplit('/').next().unwrap())
        })
        .collect();
    assert_eq!(facts.len(), 4, "{facts:?}");
    assert_eq!(facts[0], facts[1], "one session for both questions");
    assert_ne!(facts[1].0, facts[2].0, "the child has its own: {facts:?}");
    assert!(facts[2].1.starts_with("python"), "{facts:?}");
    assert_ne!(facts[0].0, facts[3].0);
    assert_eq!(facts[3].1, "dig");
    // They can be looked at, and ended.
    let live = scene.daemon.json(&["sessions", "--live"]).unwrap();
    assert!(
        live.iter().any(|session| session["session"] == facts[3].0),
        "{live:#?}"
    );
    let killed = scene.daemon.run(&["kill", facts[3].0]).unwrap();
    killed.success().unwrap();
    wait::until_true("its end", PATIENCE, || {
        let sessions = scene.daemon.sessions().unwrap();
        let ended =
            |session: &&Value| session["session"] == facts[3].0 && session["end"] == "killed";
        sessions.iter().filter(ended).count() == 1
    })
    .unwrap();
}
