//! Those who want to be bob: in a session, with an sshd of their own, from outside by mistake, by a
//! line that stands too late, through the gateway. Each test can fail: without the rule that nothing
//! governed says who logged in, bob is let in.
use super::{RULES, World, forged, line, mover};
use gateway_tests::running::{self, Outcome, PATIENCE, Running};
use gateway_tests::sshd::{self, Credential, SSHD, SshServer};
use gateway_tests::{Job, place, policy, wait};
use std::process::Command;

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
    let governed = Job::governed(&world.subtree, "session").unwrap();
    let late = format!("{}\n{line}", mover(&world, governed.cgroup()));
    let server = SshServer::start(&world.place, &world.subtree, &late).unwrap();
    let mut command = world.place.ssh(server.port(), Credential::Key);
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

/// Where users have a say in the environment, what they say is not taken for sshd's.
#[test]
fn a_user_who_sets_pams_variables_is_refused() {
    let Some(world) = World::new("") else {
        return;
    };
    let late = format!(
        "session required pam_env.so user_readenv=1\n{}",
        line(&world.daemon, "--policy test")
    );
    let server = SshServer::start(&world.place, &world.subtree, &late).unwrap();
    let login = || {
        let mut command = world.place.ssh(server.port(), Credential::Key);
        running::run(command.args(["alice@127.0.0.1", "echo in"])).unwrap()
    };
    assert_eq!(login().stdout, "in\n", "without anything set");
    let said = world.place.file("home/.pam_environment");
    std::fs::write(&said, "PAM_USER=bob\n").unwrap();
    let outcome = login();
    assert_eq!(outcome.code(), 254, "{outcome:?}");
    // Nor do users say who is asked; that could be one of theirs, who says yes to everybody.
    let configuration = world.daemon.config_file().display().to_string();
    std::fs::write(&said, format!("GATEWAY_CONFIG={configuration}\n")).unwrap();
    assert_eq!(login().stdout, "in\n", "the line names one");
    let unnamed = late.replace(&format!("--config {configuration} "), "");
    assert_ne!(unnamed, late);
    let server = SshServer::start(&world.place, &world.subtree, &unnamed).unwrap();
    let mut command = world.place.ssh(server.port(), Credential::Key);
    let outcome = running::run(command.args(["alice@127.0.0.1", "echo in"])).unwrap();
    assert_eq!(outcome.code(), 254, "{outcome:?}");
    world.assert_no_bob();
}
