//! Who it was: tokens of a real OpenID provider, directories, delegates, revocation.
use crate::operation;
use gateway_tests::provider::Minting;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Cluster, Daemon, Job, Outcome, Provider, Running, Subtree, policy, wait};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who is in the directory may read; nobody else may do anything.
const RULES: &str = "\
[[rule]]
name = \"people read\"
principals = [\"user:*@acme.example\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"
";

/// A daemon that knows an issuer and a directory.
pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) cluster: Cluster,
    pub(crate) subtree: Arc<Subtree>,
    pub(crate) provider: Provider,
    pub(crate) directory: PathBuf,
    _files: tempfile::TempDir,
}

impl World {
    /// `None` where the provider cannot be had, which is said.
    fn new(rules: &str) -> Option<World> {
        let provider = Provider::start_or_skip(&["RS256"]).unwrap()?;
        Some(World::with(provider, rules, ""))
    }

    /// The same, with keys of the issuer's section and further sections of the configuration.
    pub(crate) fn with(provider: Provider, rules: &str, sections: &str) -> World {
        let files = gateway_tests::place::temporary_directory().unwrap();
        let directory = files.path().join("directory.toml");
        let active = "[[user]]\nname = \"mallory@acme.example\"\ngroups = [\"contractors\"]\n";
        std::fs::write(&directory, active).unwrap();
        let subtree = Arc::new(Subtree::create().unwrap());
        let cluster = Cluster::start().unwrap();
        let text = policy::with_rules(&subtree, cluster.port(), rules);
        let configuration = format!(
            "[directory]\nfile = {directory:?}\n\n[[issuer]]\nname = \"acme\"\nurl = {:?}\n\
             audience = \"gateway\"\nprincipal = \"user:{{email}}\"\nenvironment = \"JOB_TOKEN\"\n{sections}",
            provider.issuer()
        );
        let daemon = Daemon::prepare(&subtree)
            .unwrap()
            .policy("test", &text)
            .unwrap()
            .config(&configuration);
        World {
            daemon: daemon.start().unwrap(),
            cluster,
            subtree,
            provider,
            directory,
            _files: files,
        }
    }

    pub(crate) fn token(&self, email: &str) -> String {
        self.provider.token(&json!({ "email": email })).unwrap()
    }

    /// As the database's owner, not governed.
    pub(crate) fn sql(&self, statement: &str) {
        let mut direct = Command::new("psql");
        direct
            .args(["-X", "-p", &self.cluster.port().to_string()])
            .args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-c"])
            .arg(statement);
        running::run(&mut direct).unwrap().success().unwrap();
    }

    pub(crate) fn offboard(&self, name: &str) {
        let text = format!("[[user]]\nname = {name:?}\nstatus = \"offboarded\"\n");
        let beside = self.directory.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &self.directory).unwrap();
    }

    /// A job that has this token in its environment.
    pub(crate) fn job(
        &self,
        name: &str,
        token: &str,
        program: &str,
        arguments: &[&str],
    ) -> Running {
        let job = Job::governed(&self.subtree, name).unwrap();
        let mut command = job.command(gateway_tests::place::python().unwrap());
        command
            .args(["-u", "-c", program])
            .args(arguments)
            .env("JOB_TOKEN", token);
        Running::start(&mut command).unwrap()
    }

    /// psql as the root of a tree of `gateway run`, with a token in a file.
    fn run_psql(&self, token: &str, statement: &str) -> Outcome {
        let file = self.directory.with_file_name("token");
        std::fs::write(&file, token).unwrap();
        let mut command = self.daemon.gateway();
        command
            .args(["run", "--policy", "test", "--token-file"])
            .arg(&file)
            .args(["--", "psql", "-X", "-A", "-t", "-d"])
            .args([&self.cluster.address(), "-c", statement]);
        running::run(&mut command).unwrap()
    }

    pub(crate) fn logged(&self, statement: &str) -> Value {
        let found = || {
            let log = self.daemon.log().unwrap();
            log.into_iter()
                .find(|operation| operation["statement"] == statement)
        };
        wait::until(statement, PATIENCE, found).unwrap()
    }
}

/// The secondary agent of the story: daemonised, under another user, with an empty environment;
/// its parents are gone. It goes on for as long as it is let.
const AGENTS: &str = r#"
import os, sys, time
SECOND = '''
import psycopg, sys, time
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    while True:
        try:
            connection.execute("select 'from the second agent'")
            print("passed", flush=True)
        except psycopg.OperationalError as error:
            print("closed", flush=True)
            break
        except psycopg.Error as error:
            print("refused", error.sqlstate, error.diag.message_primary, flush=True)
        time.sleep(0.01)
'''
# The job works for a moment. One that is gone before its environment is read is refused, with all
# that it began (docs/limitations.md).
time.sleep(1)
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
if os.fork():
    os._exit(0)
os.execve(sys.executable, [sys.executable, "-u", "-c", SECOND, sys.argv[1]], {})
"#;

#[test]
fn the_contractor_behind_a_chain_of_agents_is_known_and_can_be_stopped() {
    let Some(world) = World::new(RULES) else {
        return;
    };
    let token = world.token("mallory@acme.example");
    let job = world.job("story", &token, AGENTS, &[&world.cluster.address()]);
    job.wait_for_output_of("passed", PATIENCE).unwrap();

    let operation = world.logged("select 'from the second agent'");
    let principal = &operation["principal"];
    assert_eq!(principal["id"], "user:mallory@acme.example");
    assert_eq!(principal["assurance"], "verified");
    assert_eq!(principal["groups"], json!(["contractors"]));
    assert_eq!(operation["process"]["uid"], 65534);
    let lineage = operation["lineage"].as_array().unwrap();
    assert!(lineage.len() >= 4, "{lineage:?}");
    assert_eq!(lineage[0]["uid"], 0, "the root is not the service account");

    // The directory changes: from the next statement on nothing passes.
    let begun = Instant::now();
    world.offboard("mallory@acme.example");
    job.wait_for_output_of("is offboarded", PATIENCE).unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(job.stdout().contains("refused 42501"), "{}", job.stdout());

    // The live session is closed.
    let begun = Instant::now();
    let revoked = &world
        .daemon
        .json(&["revoke", "user:mallory@acme.example"])
        .unwrap()[0];
    assert_eq!(revoked["sessions"], 1, "{revoked}");
    job.wait_for_output_of("closed", PATIENCE).unwrap();
    let took = begun.elapsed();
    println!("live sessions were closed in {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let sessions = world.daemon.sessions().unwrap();
    assert_eq!(sessions[0]["end"], "killed", "{sessions:?}");
}

#[test]
fn a_token_that_is_not_good_starts_nothing() {
    let Some(world) = World::new(RULES) else {
        return;
    };
    let claims = json!({ "email": "alice@acme.example" });
    let bad = [
        (
            "expired",
            Minting {
                expires_in_seconds: Some(-3600),
                ..Minting::default()
            },
        ),
        (
            "audience",
            Minting {
                audience: Some("others".into()),
                ..Minting::default()
            },
        ),
        (
            "signature",
            Minting {
                foreign: true,
                ..Minting::default()
            },
        ),
        (
            "algorithm",
            Minting {
                algorithm: Some("none"),
                ..Minting::default()
            },
        ),
        (
            "key",
            Minting {
                key_id: Some("nobody".into()),
                ..Minting::default()
            },
        ),
    ];
    for (word, minting) in bad {
        let token = world.provider.token_with(&claims, &minting).unwrap();
        let outcome = world.run_psql(&token, "select 'never'");
        assert_eq!(outcome.code(), 125, "{word}: {outcome:?}");
        assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
        assert!(!outcome.stderr.contains(&token), "the token is told");
    }
    for (name, token) in [
        ("empty", ""),
        ("nonsense", "a.b.c"),
        ("huge", &"x".repeat(20_000)),
    ] {
        let outcome = world.run_psql(token, "select 'never'");
        assert_eq!(outcome.code(), 125, "{name}: {outcome:?}");
    }
    let good = world.token("alice@acme.example");
    let outcome = world.run_psql(&good, "select 'alice'");
    assert_eq!(outcome.success().unwrap().stdout, "alice\n");
    let principal = &world.logged("select 'alice'")["principal"];
    assert_eq!(principal["id"], "user:alice@acme.example");
    let log = world.daemon.log().unwrap();
    assert!(
        log.iter()
            .all(|operation| operation["statement"] != "select 'never'"),
        "nothing was started"
    );
    let journal = world.daemon.state().join("journal");
    for entry in std::fs::read_dir(journal).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&good), "the token is in the journal");
    }
}

/// Stolen: the same token from the environment of another job.
#[test]
fn a_token_belongs_to_the_first_tree_that_presents_it() {
    let Some(world) = World::new(RULES) else {
        return;
    };
    let token = world.token("alice@acme.example");
    let program = "import psycopg, sys, time\n\
        try:\n    \
            with psycopg.connect(sys.argv[1], autocommit=True) as c:\n        \
                c.execute(sys.argv[2])\n    \
            print('passed', flush=True)\n\
        except psycopg.Error as error: print('refused', flush=True)\n\
        time.sleep(float(sys.argv[3]))\n";
    let address = world.cluster.address();
    let owner = world.job(
        "owner",
        &token,
        program,
        &[&address, "select 'owner'", "60"],
    );
    owner.wait_for_output_of("passed", PATIENCE).unwrap();
    let thief = world.job("thief", &token, program, &[&address, "select 'thief'", "0"]);
    let outcome = thief.wait(PATIENCE).unwrap();
    assert_eq!(outcome.stdout, "refused\n", "{outcome:?}");
    let again = world.run_psql(&token, "select 'again'");
    assert_eq!(again.code(), 125, "{again:?}");
    assert!(again.stderr.contains("belongs to tree"), "{again:?}");
}

/// A deeper token is added, and can only take away.
#[test]
fn a_child_with_another_token_becomes_a_delegate() {
    let rules = format!(
        "{RULES}\n[[rule]]\nname = \"not for robots\"\nprincipals = [\"user:robot@acme.example\"]\n\
         verbs = [\"read\"]\nobjects = [\"pg_catalog.pg_authid\"]\nverdict = \"deny\"\n"
    );
    let Some(world) = World::new(&rules) else {
        return;
    };
    let program = "import os, sys, subprocess\n\
        env = dict(os.environ, JOB_TOKEN=sys.argv[2])\n\
        for statement in sys.argv[3:]:\n    \
            done = subprocess.run(['psql', '-X', '-d', sys.argv[1], '-c', statement], env=env,\n        \
                capture_output=True, text=True)\n    \
            print(done.returncode, done.stderr, flush=True)\n";
    let (alice, robot) = (
        world.token("alice@acme.example"),
        world.token("robot@acme.example"),
    );
    let stranger = world.token("eve@elsewhere.example");
    let address = world.cluster.address();
    let shared = ["select 'shared'", "select rolname from pg_authid"];
    let arguments = [&[address.as_str(), &robot], &shared[..]].concat();
    let outcome = world
        .job("robots", &alice, program, &arguments)
        .wait(PATIENCE)
        .unwrap();
    let lines: Vec<&str> = outcome
        .stdout
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    assert!(lines[0].starts_with('0'), "{outcome:?}");
    assert!(outcome.stdout.contains("not for robots"), "{outcome:?}");
    let operation = world.logged("select 'shared'");
    assert_eq!(operation["principal"]["id"], "user:alice@acme.example");
    assert_eq!(operation["delegates"][0]["id"], "user:robot@acme.example");

    // Whoever is not allowed takes the permission of the principal away.
    let arguments = [address.as_str(), &stranger, "select 'strange'"];
    let alice = world.token("alice@acme.example");
    let outcome = world
        .job("strangers", &alice, program, &arguments)
        .wait(PATIENCE)
        .unwrap();
    assert!(!outcome.stdout.starts_with('0'), "{outcome:?}");
    let log = world.daemon.log().unwrap();
    let denied = log
        .iter()
        .rev()
        .find(|operation| operation["verdict"] == "deny");
    assert_eq!(
        denied.unwrap()["delegates"][0]["id"],
        "user:eve@elsewhere.example"
    );
}

#[test]
fn the_keys_of_an_issuer_that_is_down_serve_while_they_are_known() {
    let Some(mut world) = World::new(RULES) else {
        return;
    };
    let token = world.token("alice@acme.example");
    let first = world.run_psql(&token, "select 'first'");
    first.success().unwrap();
    // Its keys are known by now.
    let cached = world.token("bob@acme.example");
    world.provider.stop();
    world
        .run_psql(&cached, "select 'cached'")
        .success()
        .unwrap();
    world.daemon.crash().unwrap();
    world.daemon.restart().unwrap();
    // After a restart nothing is known of its keys, and no token is taken.
    let again = world.run_psql(&cached, "select 'unknown keys'");
    assert_eq!(again.code(), 125, "{again:?}");
    assert!(again.stderr.contains("no keys of issuer"), "{again:?}");
}

#[test]
fn a_revocation_stops_the_processes_and_stays_over_a_restart() {
    let Some(mut world) = World::new(RULES) else {
        return;
    };
    let run_away = "import os, time\n\
        for _ in range(20):\n    \
            if os.fork() == 0:\n        \
                while True: time.sleep(1)\n\
        print('spread', flush=True)\n\
        while True: time.sleep(1)\n";
    let token = world.token("mallory@acme.example");
    let job = world.job("many", &token, run_away, &[]);
    job.wait_for_output_of("spread", PATIENCE).unwrap();
    let revoked = wait::until("the tree of the token", PATIENCE, || {
        let principal = "user:mallory@acme.example";
        let view = world
            .daemon
            .json(&["revoke", principal, "--stop"])
            .unwrap()
            .remove(0);
        (view["trees"] == 1).then_some(view)
    })
    .unwrap();
    assert!(revoked["processes"].as_u64().unwrap() >= 21, "{revoked}");
    let procs = world.subtree.path().join("jobs/many/cgroup.procs");
    assert_eq!(std::fs::read_to_string(procs).unwrap(), "");
    let token = world.token("mallory@acme.example");
    let refused = world.run_psql(&token, "select 'revoked'");
    assert_ne!(refused.code(), 0);
    assert!(refused.stderr.contains("is revoked"), "{refused:?}");
    world.daemon.crash().unwrap();
    world.daemon.restart().unwrap();
    let token = world.token("mallory@acme.example");
    let refused = world.run_psql(&token, "select 'still revoked'");
    assert!(refused.stderr.contains("is revoked"), "{refused:?}");
    world
        .daemon
        .json(&["revoke", "user:mallory@acme.example", "--undo"])
        .unwrap();
    let token = world.token("mallory@acme.example");
    world.run_psql(&token, "select 'back'").success().unwrap();
    let log = world.daemon.log().unwrap();
    assert_eq!(operation(&log, "select 'back'")["verdict"], "allow");
}

#[test]
fn a_directory_that_is_bad_keeps_the_daemon_from_starting() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let files = gateway_tests::place::temporary_directory().unwrap();
    let directory = files.path().join("directory.toml");
    std::fs::write(&directory, "[[user]]\nname = \"a\"\nstatus = \"gone\"\n").unwrap();
    let outcome = Daemon::prepare(&subtree)
        .unwrap()
        .config(&format!("[directory]\nfile = {directory:?}\n"))
        .start_and_fail()
        .unwrap();
    assert_eq!(outcome.code(), 2, "{outcome:?}");
    assert!(outcome.stderr.contains("directory.toml:3:"), "{outcome:?}");
}
