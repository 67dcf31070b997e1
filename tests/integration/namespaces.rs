//! Governed processes in other network namespaces than the host's.
use gateway_tests::nameserver::NameServer;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Daemon, Job, Namespace, Outcome, Running, Subtree, place, policy, wait};
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Says to whoever connects where from it sees them coming.
const MIRROR: &str = r#"
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    connection, peer = s.accept()
    connection.sendall(f"{sys.argv[1]} sees {peer[0]}".encode())
    connection.close()
"#;

/// Connects to each address and prints what is said there. Tries each one until it is answered.
const CLIENT: &str = r#"
import socket, sys, time
def ask(host, port):
    for _ in range(int(sys.argv[1])):
        try:
            with socket.create_connection((host, port), 5) as connection:
                connection.settimeout(5)
                connection.sendall(b"?")
                return connection.recv(100).decode() or "end"
        except OSError as error:
            failed = type(error).__name__
            time.sleep(0.1)
    return failed
for host in sys.argv[3:]:
    print(host, ask(host, int(sys.argv[2])), flush=True)
"#;

const PORT: &str = "7200";

/// A daemon that lets everything pass, and a namespace with something to reach in and out of it.
struct Place {
    daemon: Daemon,
    _servers: [Running; 2],
    namespace: Namespace,
    subtree: Arc<Subtree>,
}

impl Place {
    fn new() -> Place {
        Place::with(|_| String::new())
    }

    fn with(config: impl FnOnce(&Namespace) -> String) -> Place {
        let subtree = Arc::new(Subtree::create().unwrap());
        let namespace = Namespace::create().unwrap();
        let text = policy::opaque_anywhere(&subtree, "");
        let prepared = Daemon::prepare(&subtree).unwrap();
        let prepared = prepared
            .policy("test", &text)
            .unwrap()
            .config(&config(&namespace));
        let daemon = prepared.start().unwrap();
        let inside = mirror(namespace.command("/usr/bin/python3"), "127.0.0.1");
        let host = namespace.host().to_string();
        let outside = mirror(Command::new("/usr/bin/python3"), &host);
        Place {
            daemon,
            _servers: [inside, outside],
            namespace,
            subtree,
        }
    }

    fn job(&self, name: &str) -> Job {
        Job::governed(&self.subtree, name).unwrap()
    }

    /// Runs the client by these words, which stand before `python3`, in a job.
    fn client(&self, job: &Job, words: &[&str], tries: u32, hosts: &[&str]) -> Outcome {
        let mut command = job.command(words[0]);
        command.args(&words[1..]).arg("/usr/bin/python3");
        let tries = tries.to_string();
        command.args(["-c", CLIENT, &tries, PORT]).args(hosts);
        let running = Running::start(&mut command).unwrap();
        running.wait(PATIENCE).unwrap()
    }

    fn entered(&self) -> [&str; 4] {
        ["ip", "netns", "exec", self.namespace.name()]
    }

    /// The destinations of all sessions, sorted.
    fn destinations(&self, count: usize) -> Vec<String> {
        let sessions = || self.daemon.sessions().unwrap();
        wait::until_true("the sessions", PATIENCE, || sessions().len() == count)
            .unwrap_or_else(|error| panic!("{error}: {}", sessions().len()));
        let of = |session: &Value| session["destination"]["ip"].as_str().unwrap().to_owned();
        let mut all: Vec<String> = sessions().iter().map(of).collect();
        all.sort();
        all
    }

    /// How many network namespaces the daemon holds open.
    fn held(&self) -> usize {
        let pid = self.daemon.pid().unwrap();
        let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("net:["))
            .count()
    }
}

fn mirror(mut python: Command, host: &str) -> Running {
    python.args(["-u", "-c", MIRROR, host, PORT]);
    let mut running = Running::start(&mut python).unwrap();
    running.wait_for_output("listening", PATIENCE).unwrap();
    running
}

#[test]
fn connections_go_through_the_gateway_and_on_in_the_same_namespace() {
    let place = Place::new();
    let host = place.namespace.host().to_string();
    let inside = place.namespace.address();
    let job = place.job("one");
    let said = place.client(&job, &place.entered(), 1, &["127.0.0.1", &host]);
    let expected = format!("127.0.0.1 127.0.0.1 sees 127.0.0.1\n{host} {host} sees {inside}\n");
    assert_eq!(said.stdout, expected, "{}", place.daemon.said());
    assert_eq!(
        place.destinations(2),
        ["127.0.0.1".to_owned(), host.clone()]
    );
    // It is left with its last process, and entered again.
    assert_eq!(place.held(), 1);
    let left = || place.held() == 0;
    wait::until_true("the namespace to be left", Duration::from_secs(30), left).unwrap();
    let said = place.client(&job, &place.entered(), 1, &["127.0.0.1"]);
    assert_eq!(said.stdout, "127.0.0.1 127.0.0.1 sees 127.0.0.1\n");
    assert_eq!(place.destinations(3).len(), 3);
}

#[test]
fn a_policy_that_denies_does_so_everywhere() {
    let place = Place::new();
    let text = policy::deny_all(&place.subtree);
    place.daemon.put_in_force("test", &text).unwrap();
    let host = place.namespace.host().to_string();
    let job = place.job("denied");
    let said = place.client(&job, &place.entered(), 1, &["127.0.0.1", &host]);
    assert!(!said.stdout.contains("sees"), "{}", said.stdout);
    let log = place.daemon.log().unwrap();
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log.iter().all(|operation| operation["verdict"] == "deny"));
}

/// Made by somebody without privileges, with loopback down at first: what the tree itself listens
/// on is reached directly, and other addresses are there for the gateway only.
#[test]
fn a_namespace_that_a_job_makes_itself_is_captured() {
    let place = Place::new();
    let job = place.job("maker");
    let program = format!(
        "ip link set lo up && (/usr/bin/python3 -u -c '{MIRROR}' 127.0.0.1 {PORT} & \
         sleep 1; exec /usr/bin/python3 -c '{CLIENT}' 30 {PORT} 127.0.0.1 192.0.2.1); kill %1"
    )
    .replace("f\"{sys.argv[1]} sees", "f\"mine sees");
    for user in [0, gateway_tests::job::NOBODY] {
        let mut command = match user {
            0 => job.command("unshare"),
            user => job.command_as(user, "unshare"),
        };
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", &program]);
        let said = running::run(&mut command).unwrap();
        assert!(
            said.stdout.contains("127.0.0.1 mine sees 127.0.0.1"),
            "{user}: {said:?}\n{}",
            place.daemon.said()
        );
    }
    // 192.0.2.1 cannot be reached from there; the gateway tried, and said so.
    let sessions = place.daemon.sessions().unwrap();
    let tried = |session: &&Value| session["destination"]["ip"] == "192.0.2.1";
    let tried: Vec<&Value> = sessions.iter().filter(tried).collect();
    assert!(tried.len() >= 2, "{sessions:#?}");
    for session in tried {
        let error = session["error"].as_str().unwrap_or_default();
        assert!(error.contains("unreachable"), "{session:#?}");
    }
}

/// Nothing tells that a process has entered a namespace: its first connection is refused, and is
/// what makes the gateway come.
#[test]
fn who_enters_without_a_word_is_refused_until_the_gateway_is_there() {
    let place = Place::new();
    let job = place.job("quiet");
    let enter = format!(
        "import ctypes, os\nfile = os.open('/run/netns/{}', os.O_RDONLY)\n\
         assert ctypes.CDLL(None).setns(file, 0x40000000) == 0\n{CLIENT}",
        place.namespace.name()
    );
    let mut command = job.command("/usr/bin/python3");
    command.args(["-c", &enter, "50", PORT, "127.0.0.1"]);
    let said = Running::start(&mut command)
        .unwrap()
        .wait(PATIENCE)
        .unwrap();
    assert_eq!(said.stdout, "127.0.0.1 127.0.0.1 sees 127.0.0.1\n");
    assert_eq!(place.destinations(1), ["127.0.0.1"]);
}

#[test]
fn a_command_that_is_started_in_a_namespace_connects_at_once() {
    let place = Place::new();
    for number in 0..10 {
        let gateway = place.daemon.gateway();
        let mut command = place.namespace.command(gateway.get_program());
        command.args(gateway.get_args());
        for (name, value) in gateway.get_envs() {
            command.env(name, value.unwrap());
        }
        let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}; printf '?' >&3; cat <&3");
        command.args(["run", "--policy", "test", "--", "bash", "-c", &connect]);
        let said = Running::start(&mut command)
            .unwrap()
            .wait(PATIENCE)
            .unwrap();
        assert_eq!(
            said.stdout, "127.0.0.1 sees 127.0.0.1",
            "{number}: {said:?}"
        );
    }
    assert_eq!(place.destinations(10).len(), 10);
}

#[test]
fn a_daemon_that_comes_back_listens_in_them_again() {
    let mut place = Place::new();
    let files = place::temporary_directory().unwrap();
    let back = files.path().join("back");
    let job = place.job("stays");
    let mut command = job.command("ip");
    let words = place.entered();
    command.args(&words[1..]).arg("/usr/bin/python3");
    let again = format!(
        "{CLIENT}\nimport os\nprint('ready', flush=True)\n\
         while not os.path.exists({back:?}):\n    time.sleep(0.05)\n\
         print(ask('127.0.0.1', int(sys.argv[2])), flush=True)\n"
    );
    command.args(["-u", "-c", &again, "100", PORT, "127.0.0.1"]);
    let mut client = Running::start(&mut command).unwrap();
    client.wait_for_output("ready", PATIENCE).unwrap();
    place.daemon.crash().unwrap();
    place.daemon.restart().unwrap();
    fs::write(&back, "").unwrap();
    let said = client.wait(PATIENCE).unwrap();
    assert_eq!(said.stdout.matches("sees").count(), 2, "{}", said.stdout);
    assert_eq!(place.destinations(2), ["127.0.0.1", "127.0.0.1"]);
}

/// Anybody may stand at an address in a namespace of their own: what is answered there names no
/// destination.
#[test]
fn questions_are_asked_in_the_namespace_and_name_nothing() {
    let believed =
        |namespace: &Namespace| format!("[dns]\nservers = [\"{}\"]\n", namespace.address());
    let place = Place::with(believed);
    let server = NameServer::start(&place.namespace, &[]).unwrap();
    let address = place.namespace.address();
    let mirror = mirror(Command::new("/usr/bin/python3"), "127.0.0.99");
    let at = format!("@{}", address);
    let dig = |words: &[&str]| {
        let mut dig = place.job("dig").command(words[0]);
        dig.args(&words[1..])
            .args(["dig", &at, "+tries=1", "db.example.test"]);
        running::run(&mut dig).unwrap().stdout
    };
    // Somebody stays there, so the gateway does: who enters without a word is refused at first.
    let stays = place.job("stays");
    let mut stays = stays.command("ip");
    stays.args(&place.entered()[1..]).args([
        "/usr/bin/python3",
        "-uc",
        &format!("{CLIENT}\ntime.sleep(60)"),
        "100",
        PORT,
        "127.0.0.1",
    ]);
    let mut stays = Running::start(&mut stays).unwrap();
    stays.wait_for_output("sees", PATIENCE).unwrap();
    let said = dig(&place.entered());
    assert!(
        said.contains("192.0.2.7"),
        "{said}\n{}",
        place.daemon.said()
    );
    assert!(said.contains(&format!("SERVER: {}#53", address)), "{said}");
    assert_eq!(server.asked("db.example.test"), 2, "once by the probe");
    let log = place.daemon.log().unwrap();
    let asked = |operation: &&Value| operation["statement"] == "A db.example.test";
    assert_eq!(log.iter().filter(asked).count(), 1, "{log:#?}");
    // A process that asks in the host's namespace has the name, in a tree of its own.
    let ask = format!(
        "dig {at} +tries=1 db.example.test >/dev/null; \
         exec 3<>/dev/tcp/192.0.2.7/9; cat <&3"
    );
    for (words, expected) in [
        (vec!["env"], Value::from("db.example.test")),
        (place.entered().to_vec(), Value::Null),
    ] {
        let mut both = place.job("both").command(words[0]);
        both.args(&words[1..]).args(["bash", "-c", &ask]);
        running::run(&mut both).unwrap();
        let sessions = place.daemon.sessions().unwrap();
        let there = |session: &&Value| session["destination"]["ip"] == "192.0.2.7";
        let session = sessions.iter().rfind(there).unwrap();
        assert_eq!(session["destination"]["host"], expected, "{session:#?}");
    }
    drop(mirror);
}

#[test]
fn there_is_a_limit_and_what_is_beyond_is_refused() {
    let place = Place::with(|_| "[limits]\nnamespaces = 1\n".to_owned());
    let job = place.job("many");
    let mut first = job.command("unshare");
    first.args([
        "--net",
        "sh",
        "-c",
        "ip link set lo up; echo up; exec sleep 60",
    ]);
    let mut first = Running::start(&mut first).unwrap();
    first.wait_for_output("up", PATIENCE).unwrap();
    wait::until_true("the first to be entered", PATIENCE, || place.held() == 1).unwrap();
    let said = place.client(&job, &place.entered(), 3, &["127.0.0.1"]);
    assert_eq!(said.stdout, "127.0.0.1 ConnectionRefusedError\n");
    let said = place.daemon.said();
    assert!(said.contains("limits.namespaces is reached"), "{said}");
    assert_eq!(place.destinations(0).len(), 0);
}

/// A namespace that vanishes with everything in it costs nothing but what was in it.
#[test]
fn namespaces_that_vanish_leave_nothing() {
    let place = Place::new();
    let job = place.job("short");
    let program = "ip link set lo up; exec 3<>/dev/tcp/192.0.2.1/9";
    for _ in 0..40 {
        let mut command = job.command("unshare");
        command.args(["--net", "bash", "-c", program]);
        running::run(&mut command).unwrap();
    }
    let left = || place.held() == 0;
    wait::until_true("all to be left", Duration::from_secs(40), left).unwrap();
    let said = place.client(&job, &place.entered(), 1, &["127.0.0.1"]);
    assert_eq!(said.stdout, "127.0.0.1 127.0.0.1 sees 127.0.0.1\n");
    let host: IpAddr = place.namespace.host().into();
    let said = place.client(&job, &["env"], 1, &[&host.to_string()]);
    assert!(said.stdout.contains("sees"), "{}", said.stdout);
}

/// podman, with all that it keeps in a directory of the test.
struct Podman {
    files: TempDir,
    /// Below which it makes cgroups, of both versions.
    cgroup: String,
}

impl Podman {
    /// With a root file system that has a shell and little else.
    fn new(job: &Job) -> Podman {
        let files = place::temporary_directory().unwrap();
        let programs = files.path().join("rootfs/bin");
        fs::create_dir_all(&programs).unwrap();
        for directory in ["proc", "sys", "dev", "etc", "run", "tmp"] {
            fs::create_dir(files.path().join("rootfs").join(directory)).unwrap();
        }
        fs::copy("/usr/bin/busybox", programs.join("busybox")).unwrap();
        for name in ["sh", "nc", "sleep"] {
            symlink("busybox", programs.join(name)).unwrap();
        }
        let (_, cgroup) = job
            .cgroup()
            .to_str()
            .unwrap()
            .split_once("/unified/")
            .unwrap_or_else(|| {
                let path = job.cgroup().to_str().unwrap();
                path.split_once("/sys/fs/cgroup/").unwrap()
            });
        Podman {
            cgroup: cgroup.to_owned(),
            files,
        }
    }

    /// Runs a shell script in a container of this name, in the namespace.
    fn run(&self, job: &Job, name: &str, namespace: &Namespace, script: &str) -> Outcome {
        let mut podman = job.command("podman");
        for (option, directory) in [
            ("--root", "storage"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            podman.arg(option).arg(self.files.path().join(directory));
        }
        podman.args(["--cgroup-manager=cgroupfs", "--runtime=runc"]);
        podman.args([
            "--events-backend=none",
            "--storage-driver=vfs",
            "run",
            "--rm",
        ]);
        // Ours may be lower than its defaults.
        podman.args([
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1000:1000",
        ]);
        podman.args(["--name", name, "--cgroup-parent", &self.cgroup]);
        podman.arg(format!("--network=ns:/run/netns/{}", namespace.name()));
        podman.arg("--rootfs").arg(self.files.path().join("rootfs"));
        podman.args(["/bin/sh", "-c", script]);
        running::run(&mut podman).unwrap()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What it leaves of cgroups of version 1; those of version 2 are in the test's subtree.
        let first = self.cgroup.split('/').next().unwrap_or_default();
        let mut find = Command::new("find");
        find.args(["/sys/fs/cgroup", "-mindepth", "2", "-depth", "-type", "d"]);
        find.arg("-path").arg(format!("*/{first}*"));
        find.args(["-not", "-path", "/sys/fs/cgroup/unified/*"]);
        find.args(["-exec", "rmdir", "--ignore-fail-on-non-empty", "{}", ";"]);
        let _ = running::run(&mut find);
    }
}

#[test]
fn a_container_is_captured_and_its_name_recorded() {
    let place = Place::new();
    let job = place.job("engine");
    let podman = Podman::new(&job);
    let host = place.namespace.host();
    let script = format!("sleep 1; nc 127.0.0.1 {PORT} </dev/null; nc {host} {PORT} </dev/null");
    let said = podman.run(&job, "nightly-build", &place.namespace, &script);
    let inside = place.namespace.address();
    let expected = format!("127.0.0.1 sees 127.0.0.1{host} sees {inside}");
    assert_eq!(said.stdout, expected, "{said:?}\n{}", place.daemon.said());
    assert_eq!(place.destinations(2).len(), 2);
    for session in place.daemon.sessions().unwrap() {
        assert_eq!(
            session["process"]["container"], "nightly-build",
            "{session:#?}"
        );
        assert_eq!(session["process"]["argv"][0], "nc", "{session:#?}");
        let lineage = session["lineage"].as_array().unwrap();
        let engine = |process: &&Value| process["exe"] == "/usr/bin/podman";
        let engine = lineage.iter().find(engine).unwrap();
        assert_eq!(engine["container"], Value::Null);
    }
}

/// A stack of its own in user space: what it sends leaves by sockets of its own process, which are
/// governed as all others.
#[test]
fn a_network_in_user_space_is_captured_on_both_sides() {
    let place = Place::new();
    let host = place.namespace.host().to_string();
    let files = place::temporary_directory().unwrap();
    let ready = files.path().join("ready");
    let program = format!(
        "unshare --user --map-root-user --net sh -c 'echo $$ >{ready:?}; \
           while ! ip route show default | grep -q tap0; do sleep 0.1; done; \
           exec /usr/bin/python3 -c \"$0\" 20 {PORT} {host}' \"$0\" & \
         while ! [ -s {ready:?} ]; do sleep 0.1; done; \
         slirp4netns --configure --mtu=65520 $(cat {ready:?}) tap0 2>/dev/null & \
         wait %1; kill %2"
    );
    let mut command = place.job("slirp").command("bash");
    command.args(["-c", &program, CLIENT]);
    let said = running::run(&mut command).unwrap();
    assert!(
        said.stdout.contains(&format!("{host} sees {host}")),
        "{said:?}\n{}",
        place.daemon.said()
    );
    // One by the client, in its namespace; one by the process that is its network.
    let sessions = place.daemon.sessions().unwrap();
    for exe in ["python3", "slirp4netns"] {
        let by = |session: &&Value| session["process"]["exe"].as_str().unwrap().ends_with(exe);
        let by = sessions.iter().find(by);
        assert!(
            by.is_some_and(|session| session["destination"]["ip"] == *host),
            "{exe}: {sessions:#?}"
        );
    }
}
