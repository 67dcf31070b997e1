//! Operations that wait for a human.
use crate::operation;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Cluster, Daemon, Outcome, Running, Scene, Subtree, policy, wait};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

/// The account of the approver, which every host has: `daemon`.
const APPROVER: u32 = 1;
const UPDATE: &str = "update accounts set balance = 0";

/// Reading is allowed, writing needs somebody else than the job's own user.
const RULES: &str = "\
[[rule]]
name = \"read\"
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"

[[rule]]
name = \"a human for writes\"
resources = [\"db\"]
verbs = [\"write\"]
verdict = \"hold\"
approvers = [\"local:daemon\", \"local:root\"]
timeout = \"60s\"
message = \"ask the dba\"
";

fn scene(rules: &str) -> Scene {
    let scene = Scene::with_rules(rules).unwrap();
    let setup = "create table accounts (id int primary key, balance int); \
                 insert into accounts select n, 100 from generate_series(1, 3) n";
    let made = scene.direct_psql(&["-c", setup]).unwrap();
    made.success().unwrap();
    scene
}

fn start_psql(scene: &Scene, statement: &str) -> Running {
    let mut psql = scene.job("psql").unwrap().command("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-d",
        &scene.cluster.address(),
        "-c",
        statement,
    ]);
    Running::start(&mut psql).unwrap()
}

/// A `gateway` command of the approver.
fn as_approver(scene: &Scene, arguments: &[&str]) -> Outcome {
    let mut command = scene.daemon.gateway_as(APPROVER).unwrap();
    running::run(command.args(arguments)).unwrap()
}

fn pending(scene: &Scene) -> Vec<Value> {
    scene.daemon.json(&["approvals"]).unwrap()
}

fn wait_pending(scene: &Scene, count: usize) -> Vec<Value> {
    wait::until("a question", PATIENCE, || {
        let pending = pending(scene);
        (pending.len() == count).then_some(pending)
    })
    .unwrap()
}

fn balance(scene: &Scene) -> String {
    let sum = "select sum(balance) from accounts";
    let outcome = scene.direct_psql(&["-A", "-t", "-c", sum]).unwrap();
    outcome.success().unwrap().stdout.trim().to_owned()
}

#[test]
fn an_update_waits_until_another_user_approves_it() {
    let scene = scene(RULES);
    let psql = start_psql(&scene, UPDATE);
    let question = wait_pending(&scene, 1).remove(0);
    assert_eq!(question["statement"], UPDATE);
    assert_eq!(question["resource"], "db");
    assert_eq!(question["rules"][0], "a human for writes");
    assert_eq!(question["principal"]["id"], "local:root");
    assert!(
        question["lineage"]
            .as_array()
            .is_some_and(|lineage| !lineage.is_empty())
    );
    assert_eq!(scene.daemon.status().unwrap()["approvals"], 1);
    assert_eq!(balance(&scene), "300", "nothing has happened yet");
    let held = scene.daemon.log().unwrap();
    assert_eq!(operation(&held, UPDATE)["verdict"], "hold");

    let id = question["id"].as_str().unwrap();
    let listed = as_approver(&scene, &["approvals", "--json"])
        .success()
        .unwrap();
    assert!(listed.stdout.contains(id), "{listed:?}");
    let answer = ["approvals", "approve", id, "--reason", "month end"];
    as_approver(&scene, &answer).success().unwrap();
    let outcome = psql.wait(PATIENCE).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "UPDATE 3\n");
    assert!(outcome.stderr.contains("NOTICE"), "{outcome:?}");
    assert!(outcome.stderr.contains("ask the dba"), "{outcome:?}");
    assert_eq!(balance(&scene), "0");

    let log = scene.daemon.log().unwrap();
    let operation = operation(&log, UPDATE);
    assert_eq!(operation["verdict"], "approved");
    assert_eq!(operation["approver"], "local:daemon");
    assert_eq!(operation["rule"], "a human for writes");
    assert!(pending(&scene).is_empty());
    let twice = as_approver(&scene, &answer);
    assert_eq!(twice.code(), 1, "{twice:?}");
    let sessions = scene.daemon.sessions().unwrap();
    assert_eq!(sessions[0]["held"], 1, "{sessions:?}");
    let acts = scene.daemon.json(&["acts", "--target", id]).unwrap();
    assert_eq!(acts.len(), 1, "who comes too late did nothing: {acts:?}");
    assert_eq!(acts[0]["act"], "approve");
    assert_eq!(acts[0]["who"], "local:daemon");
    assert_eq!(acts[0]["reason"], "month end");
    let others = scene.daemon.json(&["acts", "--act", "kill"]).unwrap();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_denial_is_told_with_its_reason_and_the_session_lives_on() {
    let scene = scene(RULES);
    let psql = start_psql(&scene, &format!("begin; {UPDATE}"));
    let psql_lines = {
        let id = wait_pending(&scene, 1)[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let answer = ["approvals", "deny", &id, "--reason", "not on a Friday"];
        as_approver(&scene, &answer).success().unwrap();
        psql.wait(PATIENCE).unwrap()
    };
    assert_ne!(psql_lines.code(), 0);
    assert!(
        psql_lines.stderr.contains("not on a Friday"),
        "{psql_lines:?}"
    );
    assert!(psql_lines.stderr.contains("local:daemon"), "{psql_lines:?}");
    assert_eq!(balance(&scene), "300");
    let log = scene.daemon.log().unwrap();
    let denied = log
        .iter()
        .find(|operation| operation["verdict"] == "denied");
    assert!(denied.is_some(), "{log:?}");
}

#[test]
fn nobody_approves_for_a_tree_of_their_own_nor_from_inside_of_one() {
    let scene = scene(RULES);
    let psql = start_psql(&scene, UPDATE);
    let id = wait_pending(&scene, 1)[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // The job is root's, and so is this command.
    let own = scene.daemon.run(&["approvals", "approve", &id]).unwrap();
    assert_eq!(own.code(), 4, "{own:?}");
    // From inside of a governed tree, as the approver's user.
    let gateway = scene.daemon.gateway();
    let mut inside = scene
        .job("inside")
        .unwrap()
        .command_as(APPROVER, gateway.get_program());
    inside.args(["approvals", "approve", &id]);
    inside.env("GATEWAY_CONFIG", scene.daemon.config_file());
    let inside = running::run(&mut inside).unwrap();
    assert_eq!(inside.code(), 4, "{inside:?}");
    // Somebody whom no rule names.
    let mut stranger = Command::new("setpriv");
    stranger
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(gateway.get_program())
        .args(["approvals", "approve", &id])
        .env("GATEWAY_CONFIG", scene.daemon.config_file());
    let stranger = running::run(&mut stranger).unwrap();
    assert_eq!(stranger.code(), 4, "{stranger:?}");
    assert_eq!(balance(&scene), "300");
    as_approver(&scene, &["approvals", "deny", &id])
        .success()
        .unwrap();
    assert_ne!(psql.wait(PATIENCE).unwrap().code(), 0);
}

#[test]
fn nobody_answers_in_time_and_the_statement_is_refused() {
    let scene = scene(&RULES.replace("60s", "1s"));
    let psql = start_psql(&scene, UPDATE).wait(PATIENCE).unwrap();
    assert_ne!(psql.code(), 0);
    assert!(
        psql.stderr.contains("nobody approved it in time"),
        "{psql:?}"
    );
    assert_eq!(balance(&scene), "300");
    let log = scene.daemon.log().unwrap();
    assert_eq!(operation(&log, UPDATE)["verdict"], "expired");
}

#[test]
fn a_client_that_leaves_and_a_daemon_that_dies_leave_nothing_approved() {
    let mut scene = scene(RULES);
    let psql = start_psql(&scene, UPDATE);
    wait_pending(&scene, 1);
    drop(psql);
    wait_pending(&scene, 0);
    let log = scene.daemon.log().unwrap();
    assert_eq!(operation(&log, UPDATE)["verdict"], "denied");

    let psql = start_psql(&scene, UPDATE);
    wait_pending(&scene, 1);
    scene.daemon.crash().unwrap();
    assert_ne!(psql.wait(PATIENCE).unwrap().code(), 0);
    scene.daemon.restart().unwrap();
    assert!(pending(&scene).is_empty());
    assert_eq!(balance(&scene), "300");
    let log = scene.daemon.log().unwrap();
    let verdicts: Vec<&Value> = log
        .iter()
        .filter(|operation| operation["statement"] == UPDATE)
        .map(|operation| &operation["verdict"])
        .collect();
    assert_eq!(verdicts, ["denied", "denied"]);
}

#[test]
fn a_timed_grant_covers_the_tree_and_no_other() {
    let scene = scene(&RULES.replace("timeout = \"60s\"", "timeout = \"60s\"\ngrant = \"10m\""));
    let program = format!(
        "import psycopg, sys\n\
         with psycopg.connect(sys.argv[1], autocommit=True) as c:\n    \
             for n in range(3):\n        \
                 print(c.execute('{UPDATE}').rowcount, flush=True)\n"
    );
    let job = scene.job("loop").unwrap();
    let client = job.python(&program, &[&scene.cluster.address()]).unwrap();
    let id = wait_pending(&scene, 1)[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    as_approver(&scene, &["approvals", "approve", &id])
        .success()
        .unwrap();
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "3\n3\n3\n", "asked once");
    let other = start_psql(&scene, UPDATE);
    let id = wait_pending(&scene, 1)[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    as_approver(&scene, &["approvals", "deny", &id])
        .success()
        .unwrap();
    assert_ne!(
        other.wait(PATIENCE).unwrap().code(),
        0,
        "another tree is asked about"
    );
}

/// 200 sessions wait, and one that does not is as fast as ever.
#[test]
fn two_hundred_held_sessions_slow_nobody_down() {
    let scene = scene(RULES);
    let program = "import psycopg, sys, threading\n\
        def one():\n    \
            c = psycopg.connect(sys.argv[1], autocommit=True)\n    \
            try: c.execute('update accounts set balance = 0')\n    \
            except psycopg.Error as error: sys.stdout.write(error.sqlstate + chr(10))\n\
        threads = [threading.Thread(target=one) for _ in range(int(sys.argv[2]))]\n\
        [t.start() for t in threads]\n[t.join() for t in threads]\n";
    let job = scene.job("many").unwrap();
    let many = job
        .python(program, &[&scene.cluster.address(), "200"])
        .unwrap();
    wait_pending(&scene, 200);
    let more = scene.job("more").unwrap();
    let more = more
        .python(program, &[&scene.cluster.address(), "5"])
        .unwrap();
    wait_pending(&scene, 205);
    let begun = std::time::Instant::now();
    scene.psql(&["-c", "select 1"]).unwrap().success().unwrap();
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    for question in pending(&scene) {
        let id = question["id"].as_str().unwrap();
        as_approver(&scene, &["approvals", "deny", id])
            .success()
            .unwrap();
    }
    for client in [many, more] {
        let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
        assert!(
            outcome.stdout.lines().all(|line| line == "42501"),
            "{outcome:?}"
        );
    }
    assert_eq!(balance(&scene), "300");
}

#[test]
fn the_default_policy_of_a_test_asks_nobody() {
    let scene = scene(policy::READ_WRITE);
    scene.psql(&["-c", UPDATE]).unwrap().success().unwrap();
    assert!(pending(&scene).is_empty());
}

/// One POST: the head and the body.
pub(crate) fn receive(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the request broke off");
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_lowercase();
        let length = length.split("content-length:").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        if body.len() >= length {
            let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
            return (head.to_owned(), body.to_owned());
        }
    }
}

pub(crate) fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines();
    let line = lines.find(|line| line.to_lowercase().starts_with(&name.to_lowercase()));
    line.unwrap().split_once(':').unwrap().1.trim().to_owned()
}

/// What a request should be signed with, by the receiver's own reckoning.
pub(crate) fn signature(secret: &str, head: &str, body: &str) -> String {
    let mut signs = Command::new(gateway_tests::place::python().unwrap());
    signs.args([
        "-c",
        "import hmac, sys; print('v1=' + hmac.new(sys.argv[1].encode(), \
                 (sys.argv[2] + '.' + sys.argv[3]).encode(), 'sha256').hexdigest())",
    ]);
    signs.args([secret, &header(head, "X-Gateway-Timestamp"), body]);
    let outcome = running::run(&mut signs).unwrap().success().unwrap();
    outcome.stdout.trim().to_owned()
}

#[test]
fn a_webhook_is_told_and_can_prove_who_told_it() {
    let secret = "a secret of more than 16 bytes";
    let files = gateway_tests::place::temporary_directory().unwrap();
    let file = files.path().join("secret");
    std::fs::write(&file, secret).unwrap();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    // This one takes connections and never answers.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let webhook = |listener: &TcpListener| {
        let address = listener.local_addr().unwrap();
        format!("[[webhook]]\nurl = \"http://{address}/hook\"\nsecret_file = {file:?}\n\n")
    };
    let subtree = Arc::new(Subtree::create().unwrap());
    let cluster = Cluster::start().unwrap();
    let text = policy::with_rules(&subtree, cluster.port(), RULES);
    let daemon = Daemon::prepare(&subtree).unwrap().policy("test", &text);
    let configuration = format!("{}{}", webhook(&hangs), webhook(&hook));
    let daemon = daemon.unwrap().config(&configuration).start().unwrap();
    let scene = Scene {
        daemon,
        cluster,
        subtree,
    };
    let psql = start_psql(&scene, "create temp table held (a int)");
    let (head, body) = receive(&hook);
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["event"], "asked");
    assert_eq!(
        told["question"]["statement"],
        "create temp table held (a int)"
    );
    let expected = signature(secret, &head, &body);
    assert_eq!(header(&head, "X-Gateway-Signature"), expected);
    // The webhook that hangs holds nobody up, and opens nothing.
    let id = told["question"]["id"].as_str().unwrap();
    let denied = scene.daemon.run(&["approvals", "deny", id]).unwrap();
    denied.success().unwrap();
    let (_, body) = receive(&hook);
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (told["event"].as_str(), &told["question"]["id"]),
        (Some("answered"), &id.into())
    );
    assert_ne!(psql.wait(PATIENCE).unwrap().code(), 0);
}
