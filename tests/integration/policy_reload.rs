//! Policies change while sessions live, and a bad file never replaces a good one.
use crate::operation;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Daemon, Job, Scene, Subtree, job, policy, wait};
use std::fs;
use std::sync::Arc;

/// Runs one statement, waits for a file, runs another, and tells how each ended.
const TWO_STATEMENTS: &str = r#"
import os, psycopg, sys, time
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    def attempt(text):
        try:
            connection.execute(text)
            print("passed", flush=True)
        except psycopg.Error as error:
            print("refused", error.sqlstate, error.diag.message_primary, flush=True)
    attempt(sys.argv[3])
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    attempt(sys.argv[3])
    attempt("select 'the session lives on'")
"#;

fn loaded(scene: &Scene) -> String {
    scene.daemon.status().unwrap()["policies_loaded"].to_string()
}

#[test]
fn an_open_session_is_judged_by_the_new_policy_from_its_next_statement_on() {
    let scene = Scene::allow_all().unwrap();
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let go = directory.path().join("go");
    let job = scene.job("open").unwrap();
    let arguments = [
        &scene.cluster.address(),
        &go.display().to_string(),
        "drop table if exists nothing",
    ];
    let mut client = job.python(TWO_STATEMENTS, &arguments).unwrap();
    client.wait_for_output("passed", PATIENCE).unwrap();
    let before = loaded(&scene);
    let text = policy::with_rules(&scene.subtree, scene.cluster.port(), policy::READ_WRITE);
    scene.daemon.reload("test", &text).unwrap();
    wait::until_true("the new policy", PATIENCE, || loaded(&scene) != before).unwrap();
    fs::write(&go, "").unwrap();
    let said = client.wait(PATIENCE).unwrap().success().unwrap().stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "passed");
    assert!(lines[1].starts_with("refused 42501"), "{said}");
    assert_eq!(lines[2], "passed", "{said}");
}

#[test]
fn a_bad_file_keeps_the_good_policy_and_is_reported() {
    let scene = Scene::with_rules(policy::READ_WRITE).unwrap();
    let good = fs::read_to_string(scene.daemon.policies().join("test.toml")).unwrap();
    assert_eq!(scene.daemon.run(&["status"]).unwrap().code(), 0);
    let bad = good.replace("verdict = \"deny\"", "verdict = \"denied\"");
    assert_ne!(bad, good);
    scene.daemon.reload("test", &bad).unwrap();
    wait::until_true("the rejection", PATIENCE, || {
        scene
            .daemon
            .run(&["status"])
            .is_ok_and(|status| status.code() == 1)
    })
    .unwrap();
    let rejected = &scene.daemon.status().unwrap()["rejected"][0];
    assert!(
        rejected["file"].as_str().unwrap().ends_with("test.toml"),
        "{rejected}"
    );
    let line = 1 + bad
        .lines()
        .position(|line| line.contains("denied"))
        .unwrap() as u64;
    assert_eq!(rejected["line"], line, "{rejected}");
    assert!(
        rejected["column"].as_u64().is_some_and(|column| column > 0),
        "{rejected}"
    );
    scene.cluster.query("create table t (x int)").unwrap();
    let outcome = scene
        .psql(&["-c", "select * from t", "-c", "drop table t"])
        .unwrap();
    assert!(
        outcome.stdout.contains("(0 rows)"),
        "reading is still allowed: {outcome:?}"
    );
    assert_eq!(
        scene.cluster.query("select to_regclass('t')").unwrap(),
        "t",
        "dropping is not"
    );
    scene.daemon.reload("test", &good).unwrap();
    wait::until_true("all to be well again", PATIENCE, || {
        scene
            .daemon
            .run(&["status"])
            .is_ok_and(|status| status.code() == 0)
    })
    .unwrap();
}

#[test]
fn a_policy_that_is_taken_away_does_not_free_a_governed_tree() {
    let scene = Scene::allow_all().unwrap();
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let go = directory.path().join("go");
    // Governed with its first connection, and alive when the policy goes.
    let program = "import os, subprocess, sys, time\n\
        first = subprocess.run(['psql', '-X', '-d', sys.argv[1], '-c', 'select 1']).returncode\n\
        print('first', first, flush=True)\n\
        while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n\
        second = subprocess.run(['psql', '-X', '-d', sys.argv[1], '-c', 'select 2']).returncode\n\
        print('second', second == 0)\n";
    let job = scene.job("held").unwrap();
    let (address, go_path) = (scene.cluster.address(), go.display().to_string());
    let mut client = job.python(program, &[&address, &go_path]).unwrap();
    client.wait_for_output("first 0", PATIENCE).unwrap();
    let before = loaded(&scene);
    fs::remove_file(scene.daemon.policies().join("test.toml")).unwrap();
    let other = policy::deny_all(&scene.subtree)
        .replace("name = \"test\"", "name = \"other\"")
        .replace("/jobs/**", "/elsewhere/**");
    scene.daemon.reload("other", &other).unwrap();
    wait::until_true("the new policies", PATIENCE, || loaded(&scene) != before).unwrap();
    fs::write(&go, "").unwrap();
    let said = client.wait(PATIENCE).unwrap().success().unwrap().stdout;
    assert!(
        said.contains("second False"),
        "no policy for a governed tree is a denial: {said}"
    );
}

#[test]
fn shadow_and_observe_record_and_refuse_nothing() {
    for (mode, verdict) in [("shadow", "deny"), ("observe", "allow")] {
        let subtree = Arc::new(Subtree::create().unwrap());
        let cluster = gateway_tests::Cluster::start().unwrap();
        let text = policy::with_rules(&subtree, cluster.port(), policy::READ_WRITE)
            .replace("mode = \"enforce\"", &format!("mode = \"{mode}\""));
        let daemon = Daemon::prepare(&subtree)
            .unwrap()
            .policy("test", &text)
            .unwrap()
            .start()
            .unwrap();
        let scene = Scene {
            daemon,
            cluster,
            subtree,
        };
        scene.cluster.query("create table t (x int)").unwrap();
        scene
            .psql(&["-c", "drop table t"])
            .unwrap()
            .success()
            .unwrap();
        assert_eq!(
            scene.cluster.query("select to_regclass('t')").unwrap(),
            "",
            "{mode}: it passed"
        );
        let log = scene.daemon.log().unwrap();
        assert_eq!(
            operation(&log, "drop table t")["verdict"],
            verdict,
            "{mode}"
        );
        assert_eq!(
            scene.daemon.run(&["status"]).unwrap().code(),
            1,
            "{mode}: nothing is enforced"
        );
    }
}

/// Each mistake with a word that the explanation must have.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("mode = \"enforce\"", "mode = \"enforced\"", "enforced"),
    ("mode = \"enforce\"", "mode = 7", "mode"),
    ("default = \"deny\"", "defualt = \"deny\"", "defualt"),
    ("[policy]", "[polciy]", "polciy"),
    ("name = \"test\"", "", "name"),
    ("[policy]\nname", "[policy\nname", ""),
    (
        "verdict = \"deny\"",
        "verdict = \"hold\"",
        "has no `approvers`",
    ),
    (
        "verdict = \"deny\"",
        "verdict = \"deny\"\nwhen = 'principal.nam == \"x\"'",
        "nam",
    ),
    ("verdict = \"deny\"", "", "verdict"),
    (
        "verdict = \"deny\"",
        "verdict = \"deny\"\nwhen = \"1\"",
        "when",
    ),
    (
        "verdict = \"allow\"",
        "verdict = \"allow\"\nmasks = [\"m\"]",
        "mask",
    ),
    (
        "verbs = [\"define\", \"delete\"]",
        "verbs = [\"define\", \"remove\"]",
        "remove",
    ),
    ("hosts = [\"127.0.0.1\"]", "hosts = [\"db.*\"]", "db.*"),
    (
        "hosts = [\"127.0.0.1\"]",
        "hosts = [\"127.0.0.1/33\"]",
        "127.0.0.1/33",
    ),
    (
        "hosts = [\"127.0.0.1\"]",
        "hosts = [\"127.0.0.1\"]\ncredential = \"No Name\"",
        "credential",
    ),
    ("ports = [", "ports = [70000, ", "70000"),
    (
        "protocol = \"postgres\"",
        "protocol = \"postgers\"",
        "postgers",
    ),
    ("resources = [\"db\"]", "resources = \"db\"", "resources"),
];

#[test]
fn every_kind_of_mistake_is_explained_with_its_place() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let good = policy::with_rules(&subtree, 5432, policy::READ_WRITE);
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &good)
        .unwrap()
        .stopped()
        .unwrap();
    let file = daemon.policies().join("test.toml");
    let check = || {
        daemon
            .run(&["policy", "check", &file.display().to_string()])
            .unwrap()
    };
    assert_eq!(check().code(), 0, "{:?}", check());
    for (right, wrong, word) in MISTAKES {
        let bad = good.replacen(right, wrong, 1);
        assert_ne!(bad, good, "{right}");
        fs::write(&file, &bad).unwrap();
        let outcome = check();
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code(), 1, "{wrong}: {said}");
        assert!(
            said.contains("test.toml:"),
            "{wrong}: file and line: {said}"
        );
        assert!(said.contains(word), "{wrong}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_daemon_with_only_bad_policies_does_not_start_and_with_a_last_good_one_it_does() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let outcome = Daemon::prepare(&subtree)
        .unwrap()
        .policy("bad", "[policy]\nname = 1\n")
        .unwrap()
        .start_and_fail()
        .unwrap();
    assert_eq!(outcome.code(), 2, "{outcome:?}");
    assert!(
        outcome.stderr.contains("bad.toml") || outcome.stdout.contains("bad.toml"),
        "{outcome:?}"
    );

    let mut scene = Scene::with_rules(policy::READ_WRITE).unwrap();
    scene.daemon.terminate().unwrap();
    fs::write(
        scene.daemon.policies().join("test.toml"),
        "[policy]\nname = 1\n",
    )
    .unwrap();
    scene.daemon.restart().unwrap();
    assert_eq!(
        scene.daemon.run(&["status"]).unwrap().code(),
        1,
        "a file is rejected"
    );
    scene
        .psql(&["-c", "select 'by the last good policy'"])
        .unwrap()
        .success()
        .unwrap();
}

#[test]
fn cases_are_proven_and_a_wrong_one_fails() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let case = "\n[[case]]\nwho = { principal = \"local:ci\", depth = 2 }\n\
        operation = { resource = \"db\", protocol = \"postgres\", statement = \"DROP TABLE users\" }\n\
        verdict = \"deny\"\nrule = \"nobody drops\"\n";
    let good = policy::with_rules(&subtree, 5432, policy::READ_WRITE) + case;
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &good)
        .unwrap()
        .stopped()
        .unwrap();
    let file = daemon.policies().join("test.toml");
    let path = file.display().to_string();
    daemon
        .run(&["policy", "test", &path])
        .unwrap()
        .success()
        .unwrap();
    let wrong = good.replace("DROP TABLE users", "SELECT 1");
    fs::write(&file, wrong).unwrap();
    assert_eq!(daemon.run(&["policy", "test", &path]).unwrap().code(), 1);
}

/// Waits for a file, moves into a cgroup without an exec, and asks a question from the first processor.
const MOVED: &str = r#"
import os, psycopg, sys, time
os.sched_setaffinity(0, {0})
_, address, go, cgroup = sys.argv
print("ready", flush=True)
while not os.path.exists(go):
    time.sleep(0.01)
with open(cgroup + "/cgroup.procs", "w") as procs:
    procs.write("0")
with psycopg.connect(address) as connection:
    connection.execute("select 'moved'")
print("asked", flush=True)
"#;

#[test]
fn a_cgroup_that_was_free_a_moment_ago_is_governed_whoever_comes_into_it() {
    let scene = Scene::allow_all().unwrap();
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let late = Job::free(&scene.subtree, "late").unwrap();
    let cgroup = late.cgroup().display().to_string();
    let address = scene.cluster.address();
    let client = |name: &str| {
        let outside = Job::free(&scene.subtree, name).unwrap();
        let arguments = [&address[..], &file(name), &cgroup];
        let mut client = outside.python(MOVED, &arguments).unwrap();
        client.wait_for_output("ready", PATIENCE).unwrap();
        client
    };
    let (first, second) = (client("first"), client("second"));
    fs::write(file("first"), "").unwrap();
    first.wait(PATIENCE).unwrap().success().unwrap();
    assert_eq!(scene.daemon.sessions().unwrap().len(), 0);

    let before = loaded(&scene);
    let text = policy::allow_all(&scene.subtree, scene.cluster.port());
    let named = text.replace("/jobs/**", "/free/late");
    assert_ne!(named, text);
    scene.daemon.reload("test", &named).unwrap();
    wait::until_true("the new policy", PATIENCE, || loaded(&scene) != before).unwrap();
    fs::write(file("second"), "").unwrap();
    let pid = second.pid();
    second.wait(PATIENCE).unwrap().success().unwrap();
    let sessions = scene.daemon.sessions().unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["lineage"][0]["pid"], pid, "{sessions:?}");
}

/// Moves itself into a cgroup, and connects there without having executed anything.
const ENTERING: &str = r#"
import os, psycopg, sys, urllib.parse
os.chdir(sys.argv[2])
for part in urllib.parse.unquote_to_bytes(sys.argv[3]).split(b"/"):
    if not os.path.isdir(part):
        os.mkdir(part)
    os.chdir(part)
open("cgroup.procs", "w").write("0")
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute("select 'inside'")
"#;

/// Neither bytes that are no text in its name, nor how far down it is, frees a cgroup.
#[test]
fn a_cgroup_is_governed_whatever_it_is_called_and_however_deep_it_is() {
    let scene = Scene::allow_all().unwrap();
    let text = policy::allow_all(&scene.subtree, scene.cluster.port());
    let top = scene.job("top").unwrap();
    let deep = format!("{}/leaf", vec!["deep"; 30].join("/"));
    // Only these themselves are named, and nothing above them.
    let glob = text
        .split('"')
        .find(|word| word.ends_with("/jobs/**"))
        .unwrap();
    let above = glob.trim_end_matches("**");
    let named = text.replace(
        glob,
        &format!("{above}top/job*\", \"{above}top/deep/**/leaf"),
    );
    let before = loaded(&scene);
    scene.daemon.reload("test", &named).unwrap();
    wait::until_true("the new policy", PATIENCE, || loaded(&scene) != before).unwrap();
    let enter = |place: &str| {
        let outside = Job::free(&scene.subtree, "enters").unwrap();
        let cgroup = top.cgroup().display().to_string();
        let arguments = [&scene.cluster.address()[..], &cgroup, place];
        let entering = outside.python(ENTERING, &arguments).unwrap();
        entering.wait(PATIENCE).unwrap().success().unwrap();
        scene.daemon.sessions().unwrap().len()
    };
    assert_eq!([enter("job-%ff"), enter(&deep)], [1, 2]);
    let before = loaded(&scene);
    let again = format!("{named}\n# The same once more.\n");
    scene.daemon.reload("test", &again).unwrap();
    wait::until_true("the same policy", PATIENCE, || loaded(&scene) != before).unwrap();
    assert_eq!([enter("job-%ff"), enter(&deep)], [3, 4], "after a reload");
}

/// Makes sockets in processes that are as new as can be, while a cgroup comes and goes.
const FORKING: &str = r#"
import os, socket, sys
for _ in range(200):
    os.mkdir(sys.argv[1])
    if os.fork() == 0:
        try:
            socket.socket().close()
        except OSError as error:
            print(error)
            os._exit(1)
        os._exit(0)
    os.rmdir(sys.argv[1])
    if os.wait()[1] != 0:
        sys.exit("a new process was refused")
"#;

/// A path that is too long for the kernel half is judged by the daemon, and until then nobody else waits.
#[test]
fn a_cgroup_that_cannot_be_judged_concerns_only_who_is_in_it() {
    let scene = Scene::allow_all().unwrap();
    let deep = |job: &Job| {
        let mut path = job.cgroup().to_path_buf();
        (0..5).for_each(|_| path.push("x".repeat(250)));
        path
    };
    let (governed, free) = (
        scene.job("deep").unwrap(),
        Job::free(&scene.subtree, "deep").unwrap(),
    );
    for job in [&governed, &free] {
        fs::create_dir_all(deep(job)).unwrap();
    }
    // The other processes of the host go on, new ones too.
    let outside = Job::free(&scene.subtree, "outside").unwrap();
    let passing = deep(&free).join("passing").display().to_string();
    let forking = outside.python(FORKING, &[&passing]).unwrap();
    forking.wait(PATIENCE).unwrap().success().unwrap();
    let asks = |cgroup: &std::path::Path, text: &str| {
        let mut psql = job::inside(cgroup, "psql");
        psql.args(["-X", "-d", &scene.cluster.address(), "-c", text]);
        running::run(&mut psql).unwrap()
    };
    asks(&deep(&free), "select 'deep and free'")
        .success()
        .unwrap();
    asks(&deep(&governed), "select 'deep'").success().unwrap();
    let log = scene.daemon.log().unwrap();
    let is = |text: &str| log.iter().any(|operation| operation["statement"] == text);
    assert!(is("select 'deep'") && !is("select 'deep and free'") && !is("select 'free'"));
    for job in [&governed, &free] {
        let mut path = deep(job);
        while path != job.cgroup() {
            fs::remove_dir(&path).unwrap();
            path.pop();
        }
    }
}
