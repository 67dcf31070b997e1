//! Runners: what a service that a policy names as a boundary starts is a tree of its own.
use crate::identity::World;
use gateway_tests::running::{PATIENCE, Running};
use gateway_tests::{Job, Provider, place, policy, wait};
use serde_json::Value;
use std::io::Write;
use std::process::ChildStdin;
use tempfile::TempDir;

const RULES: &str = "\
[[rule]]
name = \"people read\"
principals = [\"user:*@acme.example\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"
";

/// A world with a runner: a shell of its own file, which runs each line that it reads as a job.
struct Scene {
    world: World,
    program: String,
    runner: Running,
    lines: ChildStdin,
    _files: TempDir,
}

impl Scene {
    fn new() -> Option<Scene> {
        Scene::under("exec \"$0\" -c \"$1\"")
    }

    /// The runner is started by this line of a shell: `$0` is its program, `$1` its script.
    fn under(line: &str) -> Option<Scene> {
        let provider = Provider::start_or_skip(&["RS256"]).unwrap()?;
        let world = World::with(provider, RULES, "");
        let files = place::temporary_directory().unwrap();
        let program = files.path().join("runner");
        std::fs::copy("/bin/bash", &program).unwrap();
        let program = program.to_str().unwrap().to_owned();
        let rules = policy::with_rules(&world.subtree, world.cluster.port(), RULES);
        let head = format!("[policy]\nboundaries = [{program:?}]\n");
        world
            .daemon
            .reload("test", &rules.replacen("[policy]\n", &head, 1))
            .unwrap();
        let (runner, lines) = start(&world, line, &program);
        wait::until_true("the boundary", PATIENCE, || {
            world.daemon.said().contains("a boundary: what it starts")
        })
        .unwrap();
        Some(Scene {
            world,
            program,
            runner,
            lines,
            _files: files,
        })
    }

    /// A job of this runner, with a token in its environment, asks the database.
    fn job(&mut self, token: &str, statement: &str) {
        let psql = psql(&self.world, statement);
        writeln!(self.lines, "env JOB_TOKEN={token} {psql}").unwrap();
    }

    /// How often this was said by jobs.
    fn count(&self, text: &str) -> usize {
        self.runner.stdout().matches(text).count()
    }

    fn wait_for(&self, text: &str) {
        self.runner.wait_for_output_of(text, PATIENCE).unwrap();
    }
}

/// Runs each line that it reads.
const RUNNER: &str = "while read -r line; do sh -c \"$line\" 2>&1 & done; wait";

fn start(world: &World, line: &str, program: &str) -> (Running, ChildStdin) {
    let job = Job::governed(&world.subtree, "runner").unwrap();
    let mut command = job.command("sh");
    command.args(["-c", line, program, RUNNER]);
    command.stdin(std::process::Stdio::piped());
    let mut runner = Running::start_with_input(&mut command).unwrap();
    let lines = runner.take_stdin().unwrap();
    (runner, lines)
}

fn psql(world: &World, statement: &str) -> String {
    let address = world.cluster.address();
    format!("psql -X -A -t -d '{address}' -c \"{statement}\"")
}

/// Who asked this, in which tree, with which delegates.
fn who(world: &World, statement: &str) -> (Value, Value, Value) {
    let operation = world.logged(statement);
    let principal = operation["principal"]["id"].clone();
    (
        principal,
        operation["tree"].clone(),
        operation["delegates"].clone(),
    )
}

#[test]
fn two_jobs_of_one_runner_are_two_trees_with_two_principals() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let alice = scene.world.token("alice@acme.example");
    let bob = scene.world.token("bob@acme.example");
    scene.job(&alice, "select 'of alice'");
    scene.job(&bob, "select 'of bob'");
    scene.wait_for("of alice");
    scene.wait_for("of bob");
    let first = who(&scene.world, "select 'of alice'");
    let second = who(&scene.world, "select 'of bob'");
    assert_eq!(first.0, "user:alice@acme.example");
    assert_eq!(second.0, "user:bob@acme.example");
    assert_ne!(first.1, second.1, "one tree each");
    assert_eq!(
        (first.2, second.2),
        (Value::Array(vec![]), Value::Array(vec![]))
    );
    let operation = scene.world.logged("select 'of bob'");
    let root = operation["lineage"][0]["exe"].as_str().unwrap().to_owned();
    assert_ne!(root, scene.program, "the runner is not of the job's tree");

    // A neighbour's token is of no use to a third job.
    scene.job(&alice, "select 'stolen'");
    wait::until_true("the refusal", PATIENCE, || {
        scene.count("server closed") + scene.count("reset") > 0
    })
    .unwrap_or_else(|error| panic!("{error}: {}", scene.runner.stdout()));
    assert_eq!(scene.count("stolen"), 0);

    // A daemon that starts again takes it over.
    scene.world.daemon.terminate().unwrap();
    scene.world.daemon.restart().unwrap();
    let carol = scene.world.token("carol@acme.example");
    scene.job(&carol, "select 'of carol'");
    scene.wait_for("of carol");
    let third = who(&scene.world, "select 'of carol'");
    assert_eq!(third.0, "user:carol@acme.example");
    assert!(third.1 != first.1 && third.1 != second.1);
    assert_eq!(third.2, Value::Array(vec![]));
}

/// A job that runs the runner's program itself would leave its principal behind.
#[test]
fn a_job_does_not_become_a_boundary() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let alice = scene.world.token("alice@acme.example");
    let bob = scene.world.token("bob@acme.example");
    // Its own connection comes first: with it the exec of the program is known.
    let mine = psql(&scene.world, "select 'mine'");
    let inner = psql(&scene.world, "select 'of whom'");
    let script = scene.world.directory.with_file_name("job.sh");
    let text = format!("{mine}; env JOB_TOKEN={bob} {inner}; true\n");
    std::fs::write(&script, text).unwrap();
    let (program, script) = (&scene.program, script.display());
    writeln!(scene.lines, "env JOB_TOKEN={alice} {program} {script}").unwrap();
    wait::until_true("the answer", PATIENCE, || {
        scene
            .world
            .daemon
            .log()
            .is_ok_and(|log| log.iter().any(|one| one["statement"] == "select 'of whom'"))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", scene.runner.stdout()));
    let (principal, _, delegates) = who(&scene.world, "select 'of whom'");
    assert_eq!(principal, "user:alice@acme.example");
    assert_eq!(delegates[0]["id"], "user:bob@acme.example");
}

/// Nor does one that nobody is bound to: it would leave its lineage behind.
#[test]
fn a_tree_that_a_boundary_began_has_no_boundaries() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let denied = psql(&scene.world, "select 1");
    let script = scene.world.directory.with_file_name("job.sh");
    std::fs::write(
        &script,
        format!("for _ in 1 2 3 4 5; do {denied}; done; echo ended\n"),
    )
    .unwrap();
    let line = format!("{} {}; true", scene.program, script.display());
    writeln!(scene.lines, "{line}").unwrap();
    scene.wait_for("ended");
    assert_eq!(scene.world.daemon.sessions().unwrap().len(), 5);
    assert_eq!(trees(&scene.world).len(), 1);
}

/// A policy that does not name it any more makes it one of many processes.
#[test]
fn without_a_boundary_there_is_one_tree() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let rules = policy::with_rules(&scene.world.subtree, scene.world.cluster.port(), RULES);
    scene.world.daemon.reload("test", &rules).unwrap();
    wait::until_true("the policy", PATIENCE, || {
        scene
            .world
            .daemon
            .said()
            .matches("a policy is in force")
            .count()
            >= 3
    })
    .unwrap_or_else(|error| panic!("{error}: {}", scene.world.daemon.said()));
    for _ in 0..2 {
        let denied = psql(&scene.world, "select 1");
        writeln!(scene.lines, "{denied}; echo ended").unwrap();
    }
    wait::until_true("both", PATIENCE, || scene.count("ended") == 2).unwrap();
    assert_eq!(scene.world.daemon.sessions().unwrap().len(), 2);
    assert_eq!(trees(&scene.world).len(), 1);
}

/// The trees of all sessions.
fn trees(world: &World) -> std::collections::HashSet<String> {
    let sessions = world.daemon.sessions().unwrap();
    sessions.iter().map(|one| one["tree"].to_string()).collect()
}

/// A boundary's mark is the program's, not the process's: what runs there next has one tree.
#[test]
fn a_boundary_that_executes_something_else_is_none() {
    let Some(mut scene) = Scene::under("exec \"$0\" -c 'read -r line; exec sh -c \"$line\"'")
    else {
        return;
    };
    let denied = psql(&scene.world, "select 1");
    writeln!(scene.lines, "{denied}; {denied}; {denied}; echo ended").unwrap();
    scene.wait_for("ended");
    assert_eq!(scene.world.daemon.sessions().unwrap().len(), 3);
    assert_eq!(trees(&scene.world).len(), 1);
}

/// Whoever presents a token above the runner is answerable for all that it runs from then on.
#[test]
fn where_somebody_presents_a_token_later_there_is_no_boundary_any_more() {
    let line = "exec 3<&0; \"$0\" -c \"$1\" <&3 & read -r token <$HOME/token; \
                exec env JOB_TOKEN=$token sleep 600";
    let home = place::temporary_directory().unwrap();
    let fifo = home.path().join("token");
    nix::unistd::mkfifo(
        &fifo,
        nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR,
    )
    .unwrap();
    let line = line.replace("$HOME", home.path().to_str().unwrap());
    let Some(mut scene) = Scene::under(&line) else {
        return;
    };
    let alice = scene.world.token("alice@acme.example");
    let bob = scene.world.token("bob@acme.example");
    std::fs::write(&fifo, format!("{alice}\n")).unwrap();
    wait::until_true("the end of the boundary", PATIENCE, || {
        scene.world.daemon.said().contains("a boundary no more")
    })
    .unwrap_or_else(|error| panic!("{error}: {}", scene.world.daemon.said()));
    scene.job(&bob, "select 'of bob'");
    scene.wait_for("of bob");
    let (principal, _, delegates) = who(&scene.world, "select 'of bob'");
    assert_eq!(principal, "user:alice@acme.example");
    assert_eq!(delegates[0]["id"], "user:bob@acme.example");
}
