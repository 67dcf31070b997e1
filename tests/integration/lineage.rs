//! Who did it: the chain from the root of the tree to the process that acted.
use crate::operation;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Scene, wait};
use serde_json::Value;

/// The last path component of each process's file, root first.
fn chain(operation: &Value) -> Vec<String> {
    let name = |process: &Value| {
        let exe = process["exe"].as_str().unwrap_or_default();
        exe.rsplit('/').next().unwrap_or_default().to_owned()
    };
    operation["lineage"]
        .as_array()
        .into_iter()
        .flatten()
        .map(name)
        .collect()
}

/// A job that daemonises an agent (double fork, setsid), which changes its uid and starts another
/// agent, which runs psql. All parents are gone when psql speaks.
const NESTED: &str = r#"
import os, sys, time
def agent_two():
    os.execvp("sh", ["sh", "-c", "psql -X -d \"$0\" -c \"select 'nested'\"; :", sys.argv[1]])
def agent_one():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    time.sleep(0.2)
    if os.fork() == 0:
        agent_two()
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        agent_one()
    os._exit(0)
os._exit(0)
"#;

#[test]
fn the_lineage_reaches_the_root_although_the_parents_are_gone() {
    let scene = Scene::allow_all().unwrap();
    let job = scene.job("nested").unwrap();
    let script = "\"$0\" -c \"$1\" \"$2\"; exit 0";
    let mut command = job.command("bash");
    command.args(["-c", script]);
    command
        .arg(gateway_tests::place::python().unwrap())
        .args([NESTED, &scene.cluster.address()]);
    running::run(&mut command).unwrap().success().unwrap();
    let found = || {
        let log = scene.daemon.log().unwrap();
        log.into_iter()
            .find(|operation| operation["statement"] == "select 'nested'")
    };
    let nested = wait::until("the nested statement", PATIENCE, found).unwrap();
    let chain = chain(&nested);
    assert_eq!(chain.first().map(String::as_str), Some("bash"), "{chain:?}");
    assert_eq!(chain.last().map(String::as_str), Some("psql"), "{chain:?}");
    assert!(
        chain.len() >= 6,
        "bash, python, its child, agent one, agent two, psql: {chain:?}"
    );
    assert!(
        chain.iter().any(|name| name.starts_with("python")),
        "{chain:?}"
    );
    assert_eq!(nested["process"]["uid"], 65534, "{nested}");
    let root = &nested["lineage"][0];
    assert_eq!(root["uid"], 0, "{nested}");
    assert_eq!(
        nested["principal"]["id"], "local:root",
        "the tree is root's, whoever acts"
    );
    let argv = nested["process"]["argv"].as_array().unwrap();
    assert!(
        argv.iter().any(|word| word == "select 'nested'"),
        "{argv:?}"
    );
    assert!(
        nested["cgroup"].as_str().unwrap().ends_with("jobs/nested"),
        "{nested}"
    );

    let session = nested["session"].as_str().unwrap();
    let drawn = scene
        .daemon
        .run(&["lineage", session])
        .unwrap()
        .success()
        .unwrap();
    for name in ["bash", "psql", "local:root"] {
        assert!(drawn.stdout.contains(name), "{}", drawn.stdout);
    }
}

#[test]
fn arguments_are_those_of_the_exec_and_not_what_the_process_wrote_over_them() {
    let scene = Scene::allow_all().unwrap();
    // prctl(PR_SET_NAME), and the memory of the arguments itself overwritten.
    let program = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(15, b"innocent", 0, 0, 0)
start = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[45])
end = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[46])
ctypes.memmove(start, b"innocent".ljust(end - start, b"\0"), end - start)
import psycopg
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute("select 'disguised'")
"#;
    let job = scene.job("disguised").unwrap();
    job.python(program, &[&scene.cluster.address()])
        .unwrap()
        .wait(PATIENCE)
        .unwrap()
        .success()
        .unwrap();
    let log = scene.daemon.log().unwrap();
    let argv = operation(&log, "select 'disguised'")["process"]["argv"].to_string();
    assert!(
        argv.contains("PR_SET_NAME") || argv.contains("prctl"),
        "{argv}"
    );
}

#[test]
fn a_short_lived_child_is_known_although_it_is_gone() {
    let scene = Scene::allow_all().unwrap();
    let mut command = scene.job("short").unwrap().command("sh");
    command.args([
        "-c",
        "sh -c 'sh -c \"psql -X -d \\\"$0\\\" -c \\\"select 1 as short\\\"; :\" \"$0\"; :' \"$0\"; :",
        &scene.cluster.address(),
    ]);
    running::run(&mut command).unwrap().success().unwrap();
    let log = scene.daemon.log().unwrap();
    let short = operation(&log, "select 1 as short");
    assert_eq!(chain(short), ["sh", "sh", "sh", "psql"], "{short}");
    for process in short["lineage"].as_array().unwrap() {
        assert!(
            process["argv"]
                .as_array()
                .is_some_and(|argv| !argv.is_empty()),
            "{process}"
        );
        assert!(
            process["start"].as_u64().is_some_and(|start| start > 0),
            "{process}"
        );
    }
}

#[test]
fn trees_are_apart_and_stay_the_same_for_all_their_processes() {
    let scene = Scene::allow_all().unwrap();
    for name in ["one", "two"] {
        let mut command = scene.job(name).unwrap().command("sh");
        command.args([
            "-c",
            "psql -X -d \"$0\" -c \"select '$1', 1\"; psql -X -d \"$0\" -c \"select '$1', 2\"; :",
            &scene.cluster.address(),
            name,
        ]);
        running::run(&mut command).unwrap().success().unwrap();
    }
    let log = scene.daemon.log().unwrap();
    let tree = |statement: &str| operation(&log, statement)["tree"].clone();
    assert_eq!(tree("select 'one', 1"), tree("select 'one', 2"));
    assert_eq!(tree("select 'two', 1"), tree("select 'two', 2"));
    assert_ne!(tree("select 'one', 1"), tree("select 'two', 1"));
    let id = tree("select 'one', 1");
    let only = scene
        .daemon
        .json(&["log", "--tree", id.as_str().unwrap()])
        .unwrap();
    assert_eq!(only.len(), log.len() / 2, "{only:?}");
}
