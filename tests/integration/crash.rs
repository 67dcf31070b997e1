//! The daemon dies: governed trees are cut off, not free, and nothing that happened is forgotten.
//! `cargo xtask soak crash` is the long form.
use gateway_tests::crash::Crash;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Job, Scene, wait};
use std::time::Duration;

#[test]
fn three_deaths_under_load_lose_nothing_and_free_nobody() {
    let mut scene = Scene::allow_all().unwrap();
    let mut crash = Crash::prepare(&mut scene).unwrap();
    for delay_ms in [3, 170, 420] {
        crash.round(Duration::from_millis(delay_ms)).unwrap();
    }
    let report = crash.finish().unwrap();
    assert!(report.seen > 100, "{report:?}");
}

#[test]
fn a_dead_daemon_leaves_everyone_else_alone() {
    let mut scene = Scene::allow_all().unwrap();
    scene.daemon.crash().unwrap();
    let mut psql = Job::free(&scene.subtree, "free").unwrap().command("psql");
    psql.args(["-X", "-d", &scene.cluster.address(), "-c", "select 1"]);
    running::run(&mut psql).unwrap().success().unwrap();
    let direct = scene.direct_psql(&["-c", "select 1"]).unwrap();
    assert_eq!(direct.code(), 0, "{direct:?}");
    let governed = scene.psql(&["-c", "select 1"]).unwrap();
    assert_ne!(governed.code(), 0);
    // A job that begins only now is no freer than one that was there before.
    let mut late = scene.job("late").unwrap().command("psql");
    late.args(["-X", "-d", &scene.cluster.address(), "-c", "select 1"]);
    assert_ne!(running::run(&mut late).unwrap().code(), 0);
}

#[test]
fn a_stranger_on_the_dead_daemons_port_gets_nothing() {
    let mut scene = Scene::allow_all().unwrap();
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    let ports = gateway_tests::attacks::listening_ports(scene.daemon.pid().unwrap()).unwrap();
    assert!(!ports.is_empty());
    scene.daemon.crash().unwrap();
    let program = "import socket, sys, threading\n\
        def serve(s):\n    \
            while True:\n        \
                c, peer = s.accept()\n        \
                print('caught', peer, c.recv(100), flush=True)\n\
        for port in sys.argv[1:]:\n    \
            for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):\n        \
                s = socket.socket(family)\n        \
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n        \
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n        \
                s.bind((address, int(port)))\n        \
                s.listen()\n        \
                threading.Thread(target=serve, args=(s,), daemon=True).start()\n\
        print('waiting', flush=True)\n\
        threading.Event().wait()\n";
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let strangers = Job::free(&scene.subtree, "stranger").unwrap();
    let mut stranger = strangers.python(program, &ports).unwrap();
    stranger.wait_for_output("waiting", PATIENCE).unwrap();
    for _ in 0..20 {
        assert_ne!(scene.psql(&["-c", "select 1"]).unwrap().code(), 0);
    }
    assert!(
        !stranger.stdout().contains("caught"),
        "{}",
        stranger.stdout()
    );
    // The daemon comes back although its port is taken: its ports are ephemeral.
    scene.daemon.restart().unwrap();
    wait::until_true("service again", PATIENCE, || {
        scene.psql(&["-c", "select 'again'"]).unwrap().code() == 0
    })
    .unwrap();
    assert!(
        !stranger.stdout().contains("caught"),
        "{}",
        stranger.stdout()
    );
}

#[test]
fn sigterm_drains_and_keeps_the_trees_cut_off() {
    let mut scene = Scene::allow_all().unwrap();
    let job = scene.job("draining").unwrap();
    let program = "import psycopg, sys, time\n\
        with psycopg.connect(sys.argv[1], autocommit=True) as c:\n    \
            print('asking', flush=True)\n    \
            print(c.execute(\"select 'drained', pg_sleep(1)\").fetchone()[0])\n";
    let mut client = job.python(program, &[&scene.cluster.address()]).unwrap();
    client.wait_for_output("asking", PATIENCE).unwrap();
    wait::until_true("the statement to run", PATIENCE, || {
        let running = "select count(*) from pg_stat_activity where query like '%drained%' \
                       and state = 'active' and pid <> pg_backend_pid()";
        scene.cluster.query(running).unwrap() == "1"
    })
    .unwrap();
    let outcome = scene.daemon.terminate().unwrap();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    let client = client.wait(PATIENCE).unwrap();
    assert!(
        client.stdout.contains("drained"),
        "what ran was finished: {client:?}"
    );
    assert_ne!(
        scene.psql(&["-c", "select 1"]).unwrap().code(),
        0,
        "nothing passes any more"
    );
}
