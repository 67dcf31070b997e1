//! The command line, as its users meet it.
use crate::operation;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Daemon, Running, Scene, Subtree, wait};
use nix::sys::signal::Signal;
use std::sync::Arc;

#[test]
fn run_governs_a_command_and_passes_its_exit_code_on() {
    let scene = Scene::allow_all().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = scene.daemon.gateway();
        command
            .args(["run", "--policy", "test", "--"])
            .args(arguments);
        running::run(&mut command).unwrap()
    };
    assert_eq!(run(&["true"]).code(), 0);
    assert_eq!(run(&["sh", "-c", "exit 7"]).code(), 7);
    assert_eq!(run(&["/no/such/program"]).code(), 127);
    assert_eq!(run(&["/etc/passwd"]).code(), 126);
    assert_eq!(run(&["sh", "-c", "kill -TERM $$"]).code(), 128 + 15);
    let psql = run(&[
        "psql",
        "-X",
        "-d",
        &scene.cluster.address(),
        "-c",
        "select 'by run'",
    ]);
    psql.success().unwrap();
    let log = scene.daemon.log().unwrap();
    let by_run = operation(&log, "select 'by run'");
    assert_eq!(
        by_run["lineage"].as_array().unwrap().len(),
        1,
        "the command is the root: {by_run}"
    );

    let mut unknown = scene.daemon.gateway();
    unknown.args(["run", "--policy", "no-such-policy", "--", "true"]);
    assert_eq!(running::run(&mut unknown).unwrap().code(), 125);
    let mut ungoverned = scene.daemon.gateway();
    ungoverned.args(["run", "--", "true"]);
    assert_eq!(
        running::run(&mut ungoverned).unwrap().code(),
        125,
        "no policy at all"
    );
}

#[test]
fn run_leaves_no_cgroup_behind() {
    let scene = Scene::allow_all().unwrap();
    let cgroups = || {
        let mut names: Vec<String> = std::fs::read_dir(scene.subtree.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    let run = || {
        let mut command = scene.daemon.gateway();
        command.args(["run", "--policy", "test", "--", "true"]);
        running::run(&mut command).unwrap().success().unwrap();
    };
    run();
    let before = cgroups();
    for _ in 0..5 {
        run();
    }
    wait::until_true("the cgroups to be removed", PATIENCE, || {
        cgroups() == before
    })
    .unwrap();
}

#[test]
fn a_live_session_can_be_found_followed_and_killed() {
    let scene = Scene::allow_all().unwrap();
    let program = "import psycopg, sys\n\
        c = psycopg.connect(sys.argv[1], autocommit=True)\n\
        c.execute(\"select 'first'\")\n\
        print('connected', flush=True)\n\
        try:\n    c.execute('select pg_sleep(60)')\n    print('slept')\n\
        except psycopg.Error as error:\n    print('ended', type(error).__name__)\n";
    let mut follow = scene.daemon.gateway();
    let mut follow = Running::start(follow.args(["log", "--follow", "--json"])).unwrap();
    let job = scene.job("victim").unwrap();
    let mut client = job.python(program, &[&scene.cluster.address()]).unwrap();
    client.wait_for_output("connected", PATIENCE).unwrap();
    follow.wait_for_output("select 'first'", PATIENCE).unwrap();
    let live = scene.daemon.json(&["sessions", "--live"]).unwrap();
    assert_eq!(live.len(), 1, "{live:?}");
    let session = live[0]["session"].as_str().unwrap();
    assert!(live[0]["closed"].is_null(), "{live:?}");
    let trees = scene.daemon.json(&["trees"]).unwrap();
    assert_eq!(trees.len(), 1, "{trees:?}");
    assert_eq!(trees[0]["tree"], live[0]["tree"]);
    scene
        .daemon
        .run(&["kill", session])
        .unwrap()
        .success()
        .unwrap();
    let said = client.wait(PATIENCE).unwrap().stdout;
    assert!(said.contains("ended"), "{said}");
    let ended = || {
        let shown = scene.daemon.json(&["show", session]).unwrap();
        (shown[0]["end"] == "killed").then_some(shown)
    };
    wait::until("the session's end", PATIENCE, ended).unwrap();
    follow.signal(Signal::SIGINT).unwrap();
    let shown = scene
        .daemon
        .run(&["show", session])
        .unwrap()
        .success()
        .unwrap();
    assert!(shown.stdout.contains("select 'first'"), "{}", shown.stdout);
}

#[test]
fn exit_codes_tell_what_kind_of_answer_it_is() {
    let scene = Scene::allow_all().unwrap();
    let code = |arguments: &[&str]| scene.daemon.run(arguments).unwrap().code();
    assert_eq!(code(&["status"]), 0);
    assert_eq!(code(&["show", "s0000000000000"]), 1, "nothing has this id");
    assert_eq!(code(&["lineage", "t0000000000000"]), 1);
    assert_eq!(code(&["kill", "s0000000000000"]), 1);
    assert_eq!(code(&["show", "not an id"]), 2);
    assert_eq!(code(&["no-such-command"]), 2);
    assert_eq!(code(&["log", "--since", "never"]), 2);
    assert_eq!(
        code(&["log"]),
        0,
        "nothing found where nothing was asked for by id"
    );

    let subtree = Arc::new(Subtree::create().unwrap());
    let stopped = Daemon::prepare(&subtree).unwrap().stopped().unwrap();
    assert_eq!(stopped.run(&["status"]).unwrap().code(), 3);
    assert_eq!(stopped.run(&["trees"]).unwrap().code(), 3);
}

#[test]
fn filters_narrow_the_log() {
    let scene = Scene::with_rules(gateway_tests::policy::READ_WRITE).unwrap();
    scene
        .psql(&[
            "-c",
            "select 'Needle'",
            "-c",
            "create table x (i int)",
            "-c",
            "notify a",
        ])
        .unwrap();
    let found = |arguments: &[&str]| {
        let log = scene.daemon.json(&[&["log"], arguments].concat()).unwrap();
        log.iter()
            .map(|operation| operation["statement"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&["--grep", "needle"]), ["select 'Needle'"]);
    assert_eq!(found(&["--verdict", "deny"]), ["create table x (i int)"]);
    assert_eq!(found(&["--verb", "write"]), ["notify a"]);
    assert_eq!(found(&["--resource", "nothing"]), [""; 0]);
    assert_eq!(found(&["--protocol", "opaque"]), [""; 0]);
    assert!(
        found(&[
            "--resource",
            "d*",
            "--principal",
            "local:*",
            "--since",
            "1h"
        ])
        .len()
            >= 3
    );
}

#[test]
fn a_governed_caller_may_not_administer() {
    let scene = Scene::allow_all().unwrap();
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    let job = scene.job("inside").unwrap();
    let inside = |arguments: &[&str]| {
        let mut command = job.command(gateway_tests::place::gateway().unwrap());
        command
            .env("GATEWAY_CONFIG", scene.daemon.config_file())
            .args(arguments);
        running::run(&mut command).unwrap()
    };
    let session = scene.daemon.sessions().unwrap()[0]["session"]
        .as_str()
        .unwrap()
        .to_owned();
    for arguments in [&["kill", &session][..], &["status"], &["sessions"]] {
        let outcome = inside(arguments);
        assert_eq!(outcome.code(), 4, "{arguments:?}: {outcome:?}");
    }
    let uninstall = inside(&["uninstall"]);
    assert_ne!(uninstall.code(), 0, "{uninstall:?}");
    scene
        .psql(&["-c", "select 'still governed'"])
        .unwrap()
        .success()
        .unwrap();
    let log = scene.daemon.log().unwrap();
    assert_eq!(
        operation(&log, "select 'still governed'")["verdict"],
        "allow"
    );
}
