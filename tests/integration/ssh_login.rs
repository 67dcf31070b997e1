//! Logins by SSH: a real sshd with a PAM file in which `gateway ssh-session` stands, real clients,
//! and those who are inside and want to be somebody else.
use gateway_tests::running::{self, Outcome, PATIENCE, Running};
use gateway_tests::sshd::{self, Credential, KEY_ID, SSHD, SshPlace, SshServer};
use gateway_tests::{Cluster, Daemon, Job, Subtree, place, policy, wait};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// People may read, whoever they are; so that everything depends on who somebody is.
const RULES: &str = "\
[[rule]]
name = \"people read\"
principals = [\"user:*\", \"ssh-cert:*\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"
";
const DIRECTORY: &str = "\
[[user]]
name = \"alice\"
groups = [\"staff\"]
[[user]]
name = \"bob\"
groups = [\"dba\"]
";

/// A daemon, a database, and an sshd. Dropped in this order.
struct World {
    server: SshServer,
    daemon: Daemon,
    cluster: Cluster,
    place: SshPlace,
    subtree: Arc<Subtree>,
    directory: PathBuf,
}

impl World {
    /// `None` where sshd cannot be had, which is said.
    fn new(configuration: &str) -> Option<World> {
        let place = SshPlace::make_or_skip().unwrap()?;
        let subtree = Arc::new(Subtree::create().unwrap());
        let cluster = Cluster::start().unwrap();
        let directory = place.file("directory.toml");
        std::fs::write(&directory, DIRECTORY).unwrap();
        let text = policy::with_rules(&subtree, cluster.port(), RULES);
        let configuration = format!("[directory]\nfile = {directory:?}\n\n{configuration}");
        let daemon = Daemon::prepare(&subtree).unwrap();
        let daemon = daemon.policy("test", &text).unwrap().config(&configuration);
        let daemon = daemon.start().unwrap();
        let line = line(&daemon, "--policy test");
        let server = SshServer::start(&place, &subtree, &line).unwrap();
        Some(World {
            server,
            daemon,
            cluster,
            place,
            subtree,
            directory,
        })
    }

    fn ssh(&self, credential: Credential, user: &str, script: &str) -> Command {
        let mut command = self.place.ssh(self.server.port(), credential);
        command.arg(format!("{user}@127.0.0.1")).arg(script);
        command
    }

    fn run(&self, credential: Credential, user: &str, script: &str) -> Outcome {
        running::run(&mut self.ssh(credential, user, script)).unwrap()
    }

    /// A command line of psql that executes this.
    fn psql(&self, sql: &str) -> String {
        format!("psql -X -A -t -d '{}' -c \"{sql}\"", self.cluster.address())
    }

    fn logged(&self, statement: &str) -> Value {
        let log = self.daemon.log().unwrap();
        super::operation(&log, statement).clone()
    }

    /// The principals of the trees that live, and why they are trees.
    fn trees(&self) -> Vec<Value> {
        self.daemon.json(&["trees"]).unwrap()
    }

    fn journal(&self) -> String {
        let mut recorded = String::new();
        for entry in std::fs::read_dir(self.daemon.state().join("journal")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            recorded.push_str(&String::from_utf8_lossy(&bytes));
        }
        recorded
    }

    /// Nobody was ever taken for bob.
    fn assert_no_bob(&self) {
        for operation in self.daemon.log().unwrap() {
            assert_ne!(operation["principal"]["id"], "user:bob", "{operation}");
        }
        for tree in self.trees() {
            assert_ne!(tree["principal"]["id"], "user:bob", "{tree}");
        }
        assert!(!self.journal().contains("user bob"), "an act of bob's");
    }
}

fn line(daemon: &Daemon, arguments: &str) -> String {
    let binary = place::gateway().unwrap();
    sshd::pam_line(&binary, &daemon.config_file(), arguments).unwrap()
}

/// `gateway ssh-session` as sshd would call it for bob, in the words of a shell.
fn forged(daemon: &Daemon) -> String {
    format!(
        "env PAM_TYPE=open_session PAM_SERVICE=sshd PAM_USER=bob PAM_RHOST=192.0.2.1 \
         \"SSH_AUTH_INFO_0=password\n\" {:?} --config {:?} ssh-session --policy test",
        place::gateway().unwrap(),
        daemon.config_file(),
    )
}

fn fingerprint(key: &Path) -> String {
    let outcome = running::run(Command::new("ssh-keygen").arg("-lf").arg(key)).unwrap();
    let text = outcome.success().unwrap().stdout;
    text.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_login_is_its_users_whatever_they_become() {
    let Some(world) = World::new("") else {
        return;
    };
    let outcome = world.run(Credential::Key, "alice", &world.psql("select 'by key'"));
    assert_eq!(
        outcome.stdout,
        "by key\n",
        "{outcome:?} {}",
        world.daemon.said()
    );
    let operation = world.logged("select 'by key'");
    let principal = &operation["principal"];
    assert_eq!(principal["id"], "user:alice", "{operation}");
    assert_eq!(principal["assurance"], "verified");
    assert_eq!(principal["groups"], json!(["staff"]));
    assert_eq!(operation["delegates"], json!([]));
    let lineage = operation["lineage"].as_array().unwrap();
    assert_eq!(lineage[0]["exe"], SSHD, "{operation}");
    assert_eq!(
        lineage[0]["uid"], 0,
        "the process that does not belong to alice"
    );
    assert!(
        operation["process"]["exe"]
            .as_str()
            .unwrap()
            .contains("psql")
    );
    let recorded = world.journal();
    let key = fingerprint(&world.place.file("key.pub"));
    let proof = format!("user alice, publickey {key}, from 127.0.0.1");
    assert!(recorded.contains(&proof), "{proof}");
    assert!(recorded.contains("ssh-login"));

    // Root's own session, without a process of sshd for the user; and what becomes of it.
    let psql = |name: &str| world.psql(&format!("select '{name}'"));
    let script = format!(
        "su nobody -s /bin/sh -c \"{}\"; (setsid sh -c 'sleep 0.2; {}' </dev/null >/dev/null 2>&1 &); \
         unshare --mount --pid --fork {}",
        psql("su").replace('"', "\\\""),
        psql("daemonised").replace('\'', "'\\''"),
        psql("namespaces"),
    );
    let outcome = world.run(Credential::Key, "root", &script);
    assert_eq!(outcome.stdout, "su\nnamespaces\n", "{outcome:?}");
    let daemonised = || {
        let log = world.daemon.log().unwrap();
        log.iter()
            .any(|operation| operation["statement"] == "select 'daemonised'")
    };
    wait::until_true("the daemonised child", PATIENCE, daemonised).unwrap();
    for name in ["su", "daemonised", "namespaces"] {
        let operation = world.logged(&format!("select '{name}'"));
        assert_eq!(operation["principal"]["id"], "user:root", "{operation}");
        assert_eq!(operation["principal"]["assurance"], "verified");
        assert_eq!(operation["lineage"][0]["exe"], SSHD, "{operation}");
    }
}

#[test]
fn a_certificate_makes_the_principal_where_that_is_configured() {
    let configuration =
        "[ssh]\ncertificates = \"key-id\"\nprincipal = \"user:{user}@acme.example\"\n";
    let Some(world) = World::new(configuration) else {
        return;
    };
    for user in ["alice", "root"] {
        let statement = format!("select 'certificate {user}'");
        let outcome = world.run(Credential::Certificate, user, &world.psql(&statement));
        assert!(
            outcome.stdout.starts_with("certificate"),
            "{outcome:?} {}",
            world.daemon.said()
        );
        let operation = world.logged(&statement);
        assert_eq!(
            operation["principal"]["id"],
            format!("ssh-cert:{KEY_ID}"),
            "{operation}"
        );
        assert_eq!(operation["principal"]["assurance"], "verified");
    }
    let outcome = world.run(
        Credential::Key,
        "alice",
        &world.psql("select 'no certificate'"),
    );
    assert_eq!(outcome.stdout, "no certificate\n", "{outcome:?}");
    let operation = world.logged("select 'no certificate'");
    assert_eq!(operation["principal"]["id"], "user:alice@acme.example");
    let (key, authority) = ("certified.pub", "authority.pub");
    let proof = format!(
        "publickey {} certificate \"{KEY_ID}\" of authority {}",
        fingerprint(&world.place.file(key)),
        fingerprint(&world.place.file(authority)),
    );
    assert!(world.journal().contains(&proof), "{proof}");
}

#[test]
fn all_channels_of_a_connection_are_one_tree_and_a_restart_keeps_it() {
    let Some(mut world) = World::new("") else {
        return;
    };
    let socket = world.place.file("master");
    let mut master = world.place.ssh(world.server.port(), Credential::Key);
    master
        .args(["-N", "-M", "-S"])
        .arg(&socket)
        .arg("alice@127.0.0.1");
    let _master = Running::start(&mut master).unwrap();
    wait::until_true("the master", PATIENCE, || socket.exists()).unwrap();
    let channel = |sql: &str| {
        let mut command = world.place.ssh(world.server.port(), Credential::Key);
        command.args(["-o", "ControlMaster=no", "-S"]).arg(&socket);
        running::run(command.arg("alice@127.0.0.1").arg(world.psql(sql))).unwrap()
    };
    let outcome = channel("select 'first'");
    assert_eq!(outcome.stdout, "first\n", "{outcome:?}");
    let tree = world.trees().pop().unwrap();
    assert_eq!(tree["principal"]["id"], "user:alice", "{tree}");
    assert_eq!(tree["why"], "ssh");
    assert_eq!(tree["policy"], "test");
    assert_eq!(tree["root"]["exe"], SSHD);

    let mut sftp = Command::new("sftp");
    world.place.options(&mut sftp, Credential::Key);
    sftp.args([
        "-b",
        "-",
        "-P",
        &world.server.port().to_string(),
        "alice@127.0.0.1",
    ]);
    let listed = running::run(&mut sftp).unwrap();
    assert_eq!(listed.code(), 0, "{listed:?}");

    world.daemon.crash().unwrap();
    world.daemon.restart().unwrap();
    let channel = |sql: &str| {
        let mut command = world.place.ssh(world.server.port(), Credential::Key);
        command.args(["-o", "ControlMaster=no", "-S"]).arg(&socket);
        running::run(command.arg("alice@127.0.0.1").arg(world.psql(sql))).unwrap()
    };
    let outcome = channel("select 'second'");
    assert_eq!(outcome.stdout, "second\n", "{outcome:?}");
    let (first, second) = (
        world.logged("select 'first'"),
        world.logged("select 'second'"),
    );
    assert_eq!(first["tree"], second["tree"]);
    assert_eq!(second["principal"]["id"], "user:alice", "{second}");
    assert_eq!(
        world.journal().matches("ssh-login").count(),
        2,
        "one for each connection"
    );
}

/// What sshd forwards is the session's too, and for somebody who was refused it forwards nothing.
#[test]
fn what_a_login_forwards_is_its_own() {
    let Some(world) = World::new("") else {
        return;
    };
    let refusing = line(&world.daemon, "--policy nowhere");
    let refusing = SshServer::start(&world.place, &world.subtree, &refusing).unwrap();
    let forward = |server: u16| {
        let port = gateway_tests::cluster::free_port().unwrap();
        let mut command = world.place.ssh(server, Credential::Key);
        let there = format!("127.0.0.1:{port}:127.0.0.1:{}", world.cluster.port());
        command.args(["-N", "-o", "ExitOnForwardFailure=yes", "-L", &there]);
        let client = Running::start(command.arg("alice@127.0.0.1")).unwrap();
        sshd::wait_for(port).unwrap();
        (client, port)
    };
    let psql = |port: u16, sql: &str| {
        let address = world.cluster.address();
        let address = address.replace(&format!("{}", world.cluster.port()), &format!("{port}"));
        let mut command = Command::new("psql");
        running::run(command.args(["-X", "-A", "-t", "-d", &address, "-c", sql])).unwrap()
    };
    let (_client, port) = forward(world.server.port());
    let outcome = psql(port, "select 'forwarded'");
    assert_eq!(outcome.stdout, "forwarded\n", "{outcome:?}");
    let operation = world.logged("select 'forwarded'");
    assert_eq!(operation["principal"]["id"], "user:alice", "{operation}");
    assert_eq!(operation["lineage"][0]["exe"], SSHD, "{operation}");

    let (_client, port) = forward(refusing.port());
    let outcome = psql(port, "select 'refused'");
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    assert!(!world.cluster.log().unwrap().contains("select 'refused'"));
}

#[test]
fn who_is_offboarded_is_denied_from_the_next_statement_on_and_does_not_log_in() {
    let Some(world) = World::new("") else {
        return;
    };
    let flag = world.place.file("flag");
    let script = format!(
        "psql -X -A -t -d '{}' -c \"select 'still here'\" \
         -c '\\! while [ ! -e {} ]; do sleep 0.02; done' -c \"select 'not any more'\"",
        world.cluster.address(),
        flag.display(),
    );
    let session = Running::start(&mut world.ssh(Credential::Key, "alice", &script)).unwrap();
    session.wait_for_output_of("still here", PATIENCE).unwrap();
    let beside = world.place.file("directory.new");
    let gone = "[[user]]\nname = \"alice\"\nstatus = \"offboarded\"\n";
    std::fs::write(&beside, gone).unwrap();
    std::fs::rename(&beside, &world.directory).unwrap();
    let refused = || {
        let outcome = world.run(Credential::Key, "alice", "echo in");
        outcome.code() != 0 && !outcome.stdout.contains("in")
    };
    wait::until_true("logins of alice to be refused", PATIENCE, refused).unwrap();
    assert!(world.daemon.said().contains("user:alice is offboarded"));
    std::fs::write(&flag, "").unwrap();
    let outcome = session.wait(PATIENCE).unwrap();
    assert!(!outcome.stdout.contains("not any more"), "{outcome:?}");
    assert_eq!(world.logged("select 'not any more'")["verdict"], "deny");
    // Whoever is still there goes on.
    assert_eq!(world.run(Credential::Key, "bob", "echo in").stdout, "in\n");
}

#[test]
fn without_the_daemon_nobody_logs_in_unless_the_pam_file_says_so() {
    let Some(mut world) = World::new("[ssh]\npolicy = \"test\"\n") else {
        return;
    };
    let start = |arguments: &str| {
        let line = line(&world.daemon, arguments);
        SshServer::start(&world.place, &world.subtree, &line).unwrap()
    };
    let (from_configuration, nowhere) = (start(""), start("--policy nowhere"));
    let lenient = start("--policy test --when-down allow");
    let strict_and_wrong = start("--policy nowhere --when-down allow");
    let login = |world: &World, port: u16| {
        let mut command = world.place.ssh(port, Credential::Key);
        running::run(command.args(["alice@127.0.0.1", "echo in"])).unwrap()
    };
    let passes = |outcome: &Outcome| outcome.code() == 0 && outcome.stdout == "in\n";
    let refused = |outcome: &Outcome| outcome.code() != 0 && outcome.stdout.is_empty();
    let outcome = login(&world, from_configuration.port());
    assert!(passes(&outcome), "{outcome:?}");
    for port in [nowhere.port(), strict_and_wrong.port()] {
        let outcome = login(&world, port);
        assert!(
            refused(&outcome),
            "a policy that is not in force: {outcome:?}"
        );
    }
    assert!(passes(&login(&world, lenient.port())));

    world.daemon.crash().unwrap();
    for port in [world.server.port(), from_configuration.port()] {
        let outcome = login(&world, port);
        assert!(refused(&outcome), "{outcome:?}");
    }
    let outcome = login(&world, lenient.port());
    assert!(passes(&outcome), "{outcome:?}");
    world.daemon.restart().unwrap();
    let outcome = login(&world, world.server.port());
    assert!(passes(&outcome), "{outcome:?}");
}

/// Makes a child that is a child of its own parent, which is sshd, and has it execute a shell.
const SIBLING: &str = "\
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE_PARENT, SYS_clone = 0x8000, 56
parent = os.getppid()
read, write = os.pipe()
child = libc.syscall(SYS_clone, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
if child == 0:
    os.close(read)
    assert os.getppid() == parent
    assert os.readlink(f'/proc/{parent}/exe') == sys.argv[1]
    os.set_inheritable(write, True)
    os.execv('/bin/sh', ['sh', '-c', sys.argv[2] + f'; echo \"sibling $?\" >&{write}'])
os.close(write)
sys.stdout.write(os.fdopen(read).read())
";

/// Accepts a connection, and becomes sshd for it under the same process id.
const IN_PLACE: &str = "\
import os, socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
print('ready', flush=True)
connection, _ = listener.accept()
for number in (0, 1):
    os.dup2(connection.fileno(), number)
os.execv(sys.argv[2], [sys.argv[2], '-i', '-f', sys.argv[3]])
";

#[test]
fn whoever_is_inside_becomes_nobody_else() {
    let Some(world) = World::new("") else {
        return;
    };
    let forged = forged(&world.daemon);
    let files = place::temporary_directory().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let by_hand = file("by-hand", &forged);
    let sibling = file("sibling", SIBLING);
    let (orphan, copy) = (files.path().join("orphan"), files.path().join("sshd"));
    let script = format!(
        "sh {by_hand:?}; echo \"by hand $?\"\n\
         cp /bin/sh {copy:?}; {copy:?} {by_hand:?}; echo \"renamed $?\"\n\
         su alice -c 'sh {by_hand:?}'; echo \"user $?\"\n\
         (setsid sh -c 'while [ $(ps -o ppid= -p $$) != 1 ]; do sleep 0.01; done; \
         sh {by_hand:?}; echo \"orphan $?\" >{orphan:?}' </dev/null >/dev/null 2>&1 &)\n\
         while [ ! -s {orphan:?} ]; do sleep 0.01; done; cat {orphan:?}\n",
        by_hand = by_hand.display(),
        copy = copy.display(),
        orphan = orphan.display(),
    )
    .replace("\\\"", "\"");
    std::fs::set_permissions(
        files.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let outcome = world.run(Credential::Key, "root", &script);
    assert_eq!(
        outcome.stdout, "by hand 4\nrenamed 4\nuser 4\norphan 4\n",
        "{outcome:?}"
    );
    assert_eq!(
        outcome.stderr.matches("it is governed already").count(),
        3,
        "{outcome:?}"
    );

    // A child of sshd itself, made from inside: root's session has no other process in between.
    let script = format!(
        "exec python3 {} {SSHD} 'sh {}'",
        sibling.display(),
        by_hand.display()
    );
    let outcome = world.run(Credential::Key, "root", &script);
    assert_eq!(outcome.stdout, "sibling 4\n", "{outcome:?}");
    assert!(
        outcome.stderr.contains("it is governed already"),
        "{outcome:?}"
    );
    world.assert_no_bob();
}

#[test]
fn a_job_with_an_sshd_of_its_own_becomes_nobody_else() {
    let Some(world) = World::new("") else {
        return;
    };
    let line = line(&world.daemon, "--policy test");
    let configured = || {
        let port = gateway_tests::cluster::free_port().unwrap();
        (port, world.place.configure(port, &line).unwrap())
    };
    let as_bob = |port: u16| {
        let mut command = world.place.ssh(port, Credential::Key);
        running::run(command.args(["bob@127.0.0.1", "echo in"])).unwrap()
    };
    let assert_refused = |what: &str, outcome: &Outcome| {
        // sshd has let bob in, and PAM has not: nothing is executed for him.
        assert_eq!(outcome.code(), 254, "{what}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{what}: {outcome:?}");
    };

    // In somebody's session.
    let (port, configuration) = configured();
    let script = format!("exec {SSHD} -D -f {}", configuration.display());
    let session = Running::start(&mut world.ssh(Credential::Key, "root", &script)).unwrap();
    sshd::wait_for(port).unwrap();
    assert_refused("in a session", &as_bob(port));
    drop(session);

    // As the root of a tree, which executed sshd in place.
    let (port, configuration) = configured();
    let job = Job::governed(&world.subtree, "listener").unwrap();
    let mut command = job.command("unshare");
    command
        .args(world.place.inside(port))
        .args([SSHD, "-D", "-f"]);
    let listener = Running::start(command.arg(configuration)).unwrap();
    sshd::wait_for(port).unwrap();
    assert_refused("as the root of a tree", &as_bob(port));
    drop(listener);

    // As the root of a tree, and the very process that serves the connection.
    let (port, configuration) = configured();
    let job = Job::governed(&world.subtree, "in-place").unwrap();
    let mut command = job.command("unshare");
    command.args(world.place.inside(port));
    command.args(["python3", "-c", IN_PLACE, &port.to_string(), SSHD]);
    let mut in_place = Running::start(command.arg(configuration)).unwrap();
    in_place.wait_for_output("ready", PATIENCE).unwrap();
    assert_refused("in place", &as_bob(port));

    // By `gateway run`.
    let (port, configuration) = configured();
    let free = Job::free(&world.subtree, "run").unwrap();
    let mut command = free.command("unshare");
    command
        .args(world.place.inside(port))
        .arg(place::gateway().unwrap());
    command.arg("--config").arg(world.daemon.config_file());
    command.args(["run", "--policy", "test", "--", SSHD, "-D", "-f"]);
    let run = Running::start(command.arg(configuration)).unwrap();
    sshd::wait_for(port).unwrap();
    assert_refused("by gateway run", &as_bob(port));
    drop(run);
    world.assert_no_bob();
    // The real one still serves bob.
    assert_eq!(as_bob(world.server.port()).stdout, "in\n");
}

#[test]
fn root_outside_is_told_what_is_wrong() {
    let Some(world) = World::new("") else {
        return;
    };
    let forged = forged(&world.daemon);
    let mut by_hand = Command::new("/bin/sh");
    let outcome = running::run(by_hand.args(["-c", &format!("{forged}; exit $?")])).unwrap();
    assert_eq!(outcome.code(), 4, "{outcome:?}");
    assert!(
        outcome.stderr.contains("not one of [ssh] daemons"),
        "{outcome:?}"
    );
    let mut by_nobody = Command::new("setpriv");
    by_nobody.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "/bin/sh",
        "-c",
    ]);
    let outcome = running::run(by_nobody.arg(&forged)).unwrap();
    assert_ne!(outcome.code(), 0, "{outcome:?}");

    // A copy of sshd is not sshd.
    let files = place::temporary_directory().unwrap();
    let copy = files.path().join("sshd");
    std::fs::copy(SSHD, &copy).unwrap();
    let line = line(&world.daemon, "--policy test");
    let server = SshServer::start_program(&world.place, &world.subtree, &line, &copy).unwrap();
    let mut command = world.place.ssh(server.port(), Credential::Key);
    let outcome = running::run(command.args(["bob@127.0.0.1", "echo in"])).unwrap();
    assert_eq!(outcome.code(), 254, "{outcome:?}");
    assert!(world.daemon.said().contains("not one of [ssh] daemons"));

    // A line too late: the session stands in a governed cgroup already.
    let port = gateway_tests::cluster::free_port().unwrap();
    let configuration = world.place.configure(port, &line).unwrap();
    let free = Job::free(&world.subtree, "late").unwrap();
    let governed = Job::governed(&world.subtree, "session").unwrap();
    let mover = files.path().join("mover");
    let text = format!(
        "#!/bin/sh\necho $PPID >{}/cgroup.procs\n",
        governed.cgroup().display()
    );
    std::fs::write(&mover, text).unwrap();
    std::fs::set_permissions(&mover, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = std::fs::read_to_string(world.place.file(&format!("pam-{port}"))).unwrap();
    let first = format!(
        "session required pam_exec.so quiet {}\n{text}",
        mover.display()
    );
    std::fs::write(world.place.file(&format!("pam-{port}")), first).unwrap();
    let mut command = free.command("unshare");
    command
        .args(world.place.inside(port))
        .args([SSHD, "-D", "-f"]);
    let _listener = Running::start(command.arg(configuration)).unwrap();
    sshd::wait_for(port).unwrap();
    let mut command = world.place.ssh(port, Credential::Key);
    let outcome = running::run(command.args(["bob@127.0.0.1", "echo in"])).unwrap();
    assert_eq!(outcome.code(), 254, "{outcome:?}");
    world.assert_no_bob();
}

#[test]
fn a_login_that_comes_through_the_gateway_is_refused() {
    let Some(world) = World::new("") else {
        return;
    };
    let port = world.server.port();
    let text = policy::with_rules(&world.subtree, world.cluster.port(), RULES);
    let opaque = format!(
        "{text}\n[[resource]]\nname = \"sshd\"\nhosts = [\"127.0.0.1\"]\nports = [{port}]\n\n\
         [[rule]]\nname = \"ssh\"\nresources = [\"sshd\"]\n\
         verbs = [\"connect\", \"unknown\"]\nverdict = \"allow\"\n"
    );
    world.daemon.reload("test", &opaque).unwrap();
    let job = Job::governed(&world.subtree, "hop").unwrap();
    let hop = || {
        let mut command = job.command("ssh");
        world.place.options(&mut command, Credential::Key);
        command.args(["-p", &port.to_string(), "bob@127.0.0.1", "echo in"]);
        running::run(&mut command).unwrap()
    };
    // 255 is the client's own: the policy is not in force yet.
    let outcome = wait::until("the new policy", PATIENCE, || {
        let outcome = hop();
        (outcome.code() != 255).then_some(outcome)
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.code(), 254, "{outcome:?}");
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    assert!(world.daemon.said().contains("comes through the gateway"));
    world.assert_no_bob();
}
