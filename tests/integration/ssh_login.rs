//! Logins by SSH: a real sshd with a PAM file in which `gateway ssh-session` stands, and real
//! clients; and those who are inside and want to be somebody else.
mod attackers;

use gateway_tests::running::{self, Outcome, PATIENCE, Running};
use gateway_tests::sshd::{self, Credential, KEY_ID, SSHD, SshPlace, SshServer};
use gateway_tests::{Cluster, Daemon, Job, Subtree, place, policy, wait};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
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
        // Some listen themselves, and are to be reached.
        let text = text.replacen("[policy]\n", "[policy]\ninbound = \"any\"\n", 1);
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

/// A line of the PAM file that moves the process of sshd into a cgroup, as pam_systemd has it done.
fn mover(world: &World, cgroup: &Path) -> String {
    let program = world.place.file("mover");
    let text = format!("#!/bin/sh\necho $PPID >{}/cgroup.procs\n", cgroup.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    format!("session required pam_exec.so quiet {}", program.display())
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

/// systemd moves a session into a cgroup of its own, which a policy may name, behind our line.
#[test]
fn a_session_that_is_moved_into_another_governed_cgroup_stays_what_it_is() {
    let Some(world) = World::new("") else {
        return;
    };
    let scope = Job::governed(&world.subtree, "session-1.scope").unwrap();
    let other = policy::deny_all(&world.subtree)
        .replace("\"test\"", "\"scopes\"")
        .replace("/jobs/**", "/jobs/session-1.scope");
    std::fs::write(world.daemon.policies().join("scopes.toml"), &other).unwrap();
    world.daemon.reload("scopes", &other).unwrap();
    let in_force = || {
        let status = world.daemon.status().unwrap();
        status["policies"]
            .as_array()
            .is_some_and(|policies| policies.len() == 2)
    };
    wait::until_true("the second policy", PATIENCE, in_force).unwrap();
    let lines = format!(
        "{}\n{}",
        line(&world.daemon, "--policy test"),
        mover(&world, scope.cgroup())
    );
    let server = SshServer::start(&world.place, &world.subtree, &lines).unwrap();
    let mut command = world.place.ssh(server.port(), Credential::Key);
    let script = format!("cat /proc/self/cgroup; {}", world.psql("select 'moved'"));
    let outcome = running::run(command.arg("alice@127.0.0.1").arg(script)).unwrap();
    assert!(outcome.stdout.contains("/session-1.scope\n"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("moved\n"), "{outcome:?}");
    let operation = world.logged("select 'moved'");
    assert_eq!(operation["principal"]["id"], "user:alice", "{operation}");
    assert_eq!(operation["policy"], "test", "{operation}");
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
    // Whoever is still there goes on, and whom the directory knows by the local name alone does not.
    assert_eq!(world.run(Credential::Key, "bob", "echo in").stdout, "in\n");
    let gone = "[[user]]\nname = \"bob@acme.example\"\nlocal = \"bob\"\nstatus = \"offboarded\"\n";
    std::fs::write(&beside, gone).unwrap();
    std::fs::rename(&beside, &world.directory).unwrap();
    let refused = || world.run(Credential::Key, "bob", "echo in").code() != 0;
    wait::until_true("logins of bob to be refused", PATIENCE, refused).unwrap();
    assert!(world.daemon.said().contains("local:bob is offboarded"));
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
