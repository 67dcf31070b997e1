//! `gateway login`: people who sign in at a real OpenID provider, for the tree that they work in.
use gateway_tests::provider::Minting;
use gateway_tests::running::{PATIENCE, Running};
use gateway_tests::{Cluster, Daemon, Job, Provider, Subtree, policy, wait};
use serde_json::{Value, json};
use std::sync::Arc;

/// People may read, and local users may not.
const RULES: &str = "\
[[rule]]
name = \"people read\"
principals = [\"user:*@acme.example\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"
";

/// A daemon whose people sign in at a provider.
struct World {
    daemon: Daemon,
    cluster: Cluster,
    subtree: Arc<Subtree>,
    provider: Provider,
}

impl World {
    /// `None` where the provider cannot be had, which is said.
    fn new() -> Option<World> {
        let provider = Provider::start_or_skip(&["RS256"]).unwrap()?;
        for (name, groups) in [("alice", json!(["dba", "staff"])), ("bob", json!([]))] {
            let email = format!("{name}@acme.example");
            let claims = json!({ "email": email, "groups": groups });
            provider.set_account(name, &claims).unwrap();
        }
        let subtree = Arc::new(Subtree::create().unwrap());
        let cluster = Cluster::start().unwrap();
        let text = policy::with_rules(&subtree, cluster.port(), RULES);
        // An audience of jobs that is not the client: neither token does for the other.
        let configuration = format!(
            "[[issuer]]\nname = \"acme\"\nurl = {:?}\naudience = \"jobs\"\n\
             principal = \"user:{{email}}\"\nclient_id = \"gateway\"\n",
            provider.issuer()
        );
        let daemon = Daemon::prepare(&subtree).unwrap();
        let daemon = daemon.policy("test", &text).unwrap().config(&configuration);
        Some(World {
            daemon: daemon.start().unwrap(),
            cluster,
            subtree,
            provider,
        })
    }

    /// A shell in a governed cgroup, with `login` and `sql TEXT` at hand.
    fn session(&self, name: &str, script: &str) -> Running {
        let job = Job::governed(&self.subtree, name).unwrap();
        let mut command = job.command("/bin/sh");
        let functions = "login() { \"$GATEWAY\" login --json \"$@\"; echo \"login $?\"; }\n\
             sql() { psql -X -A -t -d \"$DATABASE\" -c \"$1\"; echo \"sql $?\"; }\n";
        command
            .args(["-c", &format!("{functions}{script}")])
            .env("GATEWAY", self.daemon.gateway().get_program())
            .env("GATEWAY_CONFIG", self.daemon.config_file())
            .env("DATABASE", self.cluster.address());
        Running::start(&mut command).unwrap()
    }

    fn logged(&self, statement: &str) -> Option<Value> {
        let log = self.daemon.log().unwrap();
        log.into_iter()
            .find(|operation| operation["statement"] == statement)
    }

    /// The principals of the trees that live.
    fn principals(&self) -> Vec<Value> {
        let trees = self.daemon.json(&["trees"]).unwrap();
        trees
            .into_iter()
            .map(|tree| tree["principal"]["id"].clone())
            .collect()
    }
}

/// The objects that were printed so far.
fn objects(running: &Running) -> Vec<Value> {
    let stdout = running.stdout();
    let lines = stdout.lines().filter(|line| line.starts_with('{'));
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// What the person types for the sign-in of this number, from 0.
fn code(running: &Running, number: usize) -> String {
    let found = || {
        let codes = objects(running);
        let mut codes = codes.iter().filter_map(|line| line["user_code"].as_str());
        codes.nth(number).map(str::to_owned)
    };
    wait::until("a code", PATIENCE, found)
        .unwrap_or_else(|error| panic!("{error}: {} {}", running.stdout(), running.stderr()))
}

#[test]
fn a_person_signs_in_for_the_tree_once() {
    let Some(world) = World::new() else {
        return;
    };
    let script = "sql \"select 'too early'\"\nlogin\nsql \"select 'mine'\"\nlogin\n\
                  sql \"select 'still mine'\"\nlogin\n";
    let session = world.session("shell", script);
    let begun = code(&session, 0);
    let first = &objects(&session)[0];
    let address = first["verification_uri"].as_str().unwrap();
    assert!(address.starts_with(world.provider.issuer()), "{first}");
    assert!(
        (1..=900).contains(&first["expires_in"].as_u64().unwrap()),
        "{first}"
    );
    assert!(
        session.stdout().contains("sql 2") || session.stdout().contains("sql 1"),
        "before the sign-in nothing passes: {}",
        session.stdout()
    );
    world.provider.approve_device(&begun, "alice").unwrap();

    // Somebody else, and then the same person again.
    world
        .provider
        .approve_device(&code(&session, 1), "bob")
        .unwrap();
    world
        .provider
        .approve_device(&code(&session, 2), "alice")
        .unwrap();
    let outcome = session.wait(PATIENCE).unwrap();
    let lines: Vec<&str> = outcome
        .stdout
        .lines()
        .filter(|line| !line.starts_with('{'))
        .collect();
    assert_eq!(
        lines.get(1..),
        Some(
            &[
                "login 0",
                "mine",
                "sql 0",
                "login 1",
                "still mine",
                "sql 0",
                "login 0"
            ][..]
        ),
        "{outcome:?}"
    );
    assert!(
        outcome.stderr.contains("another principal is bound"),
        "{outcome:?}"
    );

    for statement in ["select 'mine'", "select 'still mine'"] {
        let operation = world.logged(statement).unwrap();
        let principal = &operation["principal"];
        assert_eq!(principal["id"], "user:alice@acme.example", "{operation}");
        assert_eq!(principal["assurance"], "verified");
        assert_eq!(principal["groups"], json!(["dba", "staff"]));
        assert_eq!(operation["delegates"], json!([]), "{operation}");
    }
    let mut recorded = String::new();
    for entry in std::fs::read_dir(world.daemon.state().join("journal")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        recorded.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert_eq!(
        recorded.matches("issuer acme, subject alice").count(),
        1,
        "an act, once"
    );
    assert!(!recorded.contains("subject bob"));
}

#[test]
fn the_root_is_bound_also_when_it_has_exited() {
    let Some(world) = World::new() else {
        return;
    };
    let script = "( login; sql \"select 'orphaned'\" ) &\nexit 0\n";
    let session = world.session("orphan", script);
    world
        .provider
        .approve_device(&code(&session, 0), "alice")
        .unwrap();
    session.wait_for_output_of("sql 0", PATIENCE).unwrap();
    let operation = world.logged("select 'orphaned'").unwrap();
    assert_eq!(
        operation["principal"]["id"], "user:alice@acme.example",
        "{operation}"
    );
}

#[test]
fn a_sign_in_that_is_denied_or_lost_binds_nothing() {
    let Some(mut world) = World::new() else {
        return;
    };
    let script = "login\nsql \"select 'denied'\"\nlogin\nsleep 60\n";
    let session = world.session("denied", script);
    world.provider.deny_device(&code(&session, 0)).unwrap();
    session.wait_for_output_of("login 1", PATIENCE).unwrap();
    assert!(session.stderr().contains("denied"), "{}", session.stderr());
    // The provider forgets what it was asked: the code will never be good.
    code(&session, 1);
    world.provider.start_again().unwrap();
    let twice = || session.stdout().matches("login 1").count() == 2;
    wait::until_true("the second sign-in to fail", PATIENCE, twice).unwrap();
    let principals = world.principals();
    assert!(!principals.is_empty());
    for principal in principals {
        assert!(
            !principal.as_str().unwrap().starts_with("user:"),
            "{principal}"
        );
    }
    assert!(!session.stdout().contains("sql 0"), "{}", session.stdout());
}

#[test]
fn only_a_governed_session_can_be_bound_and_only_where_people_sign_in() {
    let Some(world) = World::new() else {
        return;
    };
    let outside = world.daemon.run(&["login"]).unwrap();
    assert_eq!(outside.code(), 1, "{outside:?}");
    assert!(
        outside.stderr.contains("only a governed login session"),
        "{outside:?}"
    );
    let session = world.session("elsewhere", "login --issuer nowhere\n");
    let outcome = session.wait(PATIENCE).unwrap();
    assert!(outcome.stdout.contains("login 2"), "{outcome:?}");
    assert!(outcome.stderr.contains("nowhere"), "{outcome:?}");
}

#[test]
fn of_each_tree_one_sign_in_waits_and_only_as_long_as_its_caller() {
    let Some(world) = World::new() else {
        return;
    };
    let pipes = gateway_tests::place::temporary_directory().unwrap();
    let pipe = pipes.path().join("go");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!(
        "\"$GATEWAY\" login --json &\nread line < {pipe:?}\nlogin\nkill $!\nwait $!\n\
         until \"$GATEWAY\" login --json; do sleep 0.1; done\necho \"login 0\"\n"
    );
    let session = world.session("leaving", &script);
    let first = code(&session, 0);
    std::fs::write(&pipe, "go\n").unwrap();
    session.wait_for_output_of("login 1", PATIENCE).unwrap();
    let said = session.stderr();
    assert!(said.contains("another sign-in of this tree"), "{said}");
    // The first one is gone, and what is approved for it now counts for nobody.
    let second = code(&session, 1);
    world.provider.approve_device(&first, "bob").unwrap();
    world.provider.approve_device(&second, "alice").unwrap();
    session.wait_for_output_of("login 0", PATIENCE).unwrap();
    let last = objects(&session).pop().unwrap();
    assert_eq!(last["principal"]["id"], "user:alice@acme.example", "{last}");
}

/// The code, as people are shown it.
fn shown_code(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let mut lines = lines
        .skip_while(|line| !line.contains("enter the code"))
        .skip(1);
    lines.find(|line| !line.is_empty()).unwrap().to_owned()
}

/// What a job presented at the root stays, whoever signs in below it; and people are shown words.
#[test]
fn a_job_of_somebody_cannot_be_signed_in_by_somebody_else() {
    let Some(world) = World::new() else {
        return;
    };
    let minting = Minting {
        audience: Some("jobs".into()),
        ..Minting::default()
    };
    let claims = json!({ "email": "robot@acme.example" });
    let token = world.provider.token_with(&claims, &minting).unwrap();
    let files = gateway_tests::place::temporary_directory().unwrap();
    let file = files.path().join("token");
    std::fs::write(&file, token).unwrap();
    let mut command = world.daemon.gateway();
    command
        .args(["run", "--policy", "test", "--token-file"])
        .arg(&file)
        .arg("--")
        .arg(world.daemon.gateway().get_program())
        .arg("login");
    let job = Running::start(&mut command).unwrap();
    job.wait_for_output_of("Waiting", PATIENCE).unwrap();
    let code = shown_code(&job.stdout());
    world.provider.approve_device(&code, "alice").unwrap();
    let outcome = job.wait(PATIENCE).unwrap();
    assert_eq!(outcome.code(), 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("another principal is bound"),
        "{outcome:?}"
    );

    let mut command = world.daemon.gateway();
    command
        .args(["run", "--policy", "test", "--"])
        .arg(world.daemon.gateway().get_program())
        .arg("login");
    let job = Running::start(&mut command).unwrap();
    job.wait_for_output_of("Waiting", PATIENCE).unwrap();
    let code = shown_code(&job.stdout());
    world.provider.approve_device(&code, "alice").unwrap();
    let outcome = job.wait(PATIENCE).unwrap().success().unwrap();
    assert!(
        outcome
            .stdout
            .contains("is user:alice@acme.example, in dba, staff"),
        "{outcome:?}"
    );
}
