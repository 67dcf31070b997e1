//! `gateway login --saml`: people whom a real SAML identity provider has signed in, for the tree
//! that they work in.
use crate::operation;
use gateway_tests::running::{PATIENCE, Running};
use gateway_tests::saml::{AUDIENCE, ENTITY_ID, RECIPIENT};
use gateway_tests::{Cluster, Daemon, Job, Outcome, SamlProvider, Subtree, place, policy};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// People may read, and local users may not.
const RULES: &str = "\
[[rule]]
name = \"people read\"
principals = [\"user:*@acme.example\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"
";

fn saml(certificate: &Path) -> String {
    format!(
        "[[saml]]\nname = \"acme\"\nentity_id = {ENTITY_ID:?}\ncertificate = {certificate:?}\n\
         audience = {AUDIENCE:?}\nrecipient = {RECIPIENT:?}\nprincipal = \"user:{{name_id}}\"\n"
    )
}

/// A daemon that knows a provider.
struct World {
    daemon: Daemon,
    cluster: Cluster,
    subtree: Arc<Subtree>,
    provider: SamlProvider,
    files: TempDir,
}

impl World {
    /// `None` where the provider cannot be had, which is said.
    fn new() -> Option<World> {
        let provider = SamlProvider::new_or_skip().unwrap()?;
        let subtree = Arc::new(Subtree::create().unwrap());
        let cluster = Cluster::start().unwrap();
        let text = policy::with_rules(&subtree, cluster.port(), RULES);
        let daemon = Daemon::prepare(&subtree).unwrap();
        let daemon = daemon.policy("test", &text).unwrap();
        let daemon = daemon.config(&saml(&provider.certificate()));
        Some(World {
            daemon: daemon.start().unwrap(),
            cluster,
            subtree,
            provider,
            files: place::temporary_directory().unwrap(),
        })
    }

    /// A file with something in it.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A file with an honest response for a person.
    fn response(&self, file: &str, name: &str, options: &Value) -> PathBuf {
        let groups = ["dba", "staff"];
        let response = self.provider.response(name, &groups, options).unwrap();
        self.file(file, &response)
    }

    /// A shell in a governed cgroup, with `login FILE` and `sql TEXT` at hand. What it printed,
    /// without JSON.
    fn session(&self, name: &str, script: &str) -> (Vec<String>, Outcome) {
        let job = Job::governed(&self.subtree, name).unwrap();
        let mut command = job.command("/bin/sh");
        let functions = "login() { \"$GATEWAY\" login --json --saml \"$@\"; echo \"login $?\"; }\n\
             sql() { psql -X -A -t -d \"$DATABASE\" -c \"$1\"; echo \"sql $?\"; }\n";
        command
            .args(["-c", &format!("{functions}{script}")])
            .env("GATEWAY", self.daemon.gateway().get_program())
            .env("GATEWAY_CONFIG", self.daemon.config_file())
            .env("DATABASE", self.cluster.address());
        let outcome = Running::start(&mut command)
            .unwrap()
            .wait(PATIENCE)
            .unwrap();
        let lines = outcome.stdout.lines().filter(|line| !line.starts_with('{'));
        (lines.map(str::to_owned).collect(), outcome)
    }

    /// What is in the journal, as far as it is text.
    fn recorded(&self) -> String {
        let mut recorded = String::new();
        for entry in fs::read_dir(self.daemon.state().join("journal")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            recorded.push_str(&String::from_utf8_lossy(&bytes));
        }
        recorded
    }
}

#[test]
fn who_is_signed_in_stands_at_the_root_and_an_assertion_is_good_once() {
    let Some(mut world) = World::new() else {
        return;
    };
    let alice = world.response("alice", "alice", &json!({}));
    let again = world.response("again", "alice", &json!({ "signResponse": true }));
    let bob = world.response("bob", "bob", &json!({}));
    let script = format!(
        "sql \"select 'too early'\"\nlogin {alice:?}\nsql \"select 'mine'\"\nlogin {alice:?}\n\
         login {bob:?}\nlogin - < {again:?}\n( sql \"select 'of a child'\" )\n"
    );
    let (lines, outcome) = world.session("shell", &script);
    let expected = [
        "login 0",
        "mine",
        "sql 0",
        "login 0",
        "login 1",
        "login 0",
        "of a child",
        "sql 0",
    ];
    assert!(matches!(&*lines[0], "sql 1" | "sql 2"), "{outcome:?}");
    assert_eq!(lines[1..], expected, "{outcome:?}");
    assert!(
        outcome.stderr.contains("another principal is bound"),
        "{outcome:?}"
    );
    let said = outcome
        .stdout
        .lines()
        .find(|line| line.starts_with('{'))
        .unwrap();
    let view: Value = serde_json::from_str(said).unwrap();
    assert_eq!(view["principal"]["id"], "user:alice@acme.example", "{view}");

    let log = world.daemon.log().unwrap();
    for statement in ["select 'mine'", "select 'of a child'"] {
        let principal = &operation(&log, statement)["principal"];
        assert_eq!(principal["id"], "user:alice@acme.example", "{principal}");
        assert_eq!(principal["assurance"], "verified", "{principal}");
        assert_eq!(principal["groups"], json!(["dba", "staff"]), "{principal}");
        assert_eq!(operation(&log, statement)["delegates"], json!([]));
    }
    let recorded = world.recorded();
    let act = format!("issuer {ENTITY_ID}, subject alice@acme.example, token _");
    assert_eq!(recorded.matches(&act).count(), 1, "an act, once");
    assert!(!recorded.contains("subject bob"));
    assert!(
        !recorded.contains("SignatureValue"),
        "the assertion is not recorded"
    );

    // What that tree used, no other does: not what bound it, nor what it presented besides. What
    // was refused there is still bob's; and the daemon remembers after it was killed.
    world.daemon.crash().unwrap();
    world.daemon.restart().unwrap();
    let script = format!(
        "login {alice:?}\nlogin {again:?}\nsql \"select 'stolen'\"\nlogin {bob:?}\n\
         sql \"select 'of bob'\"\n"
    );
    let (lines, outcome) = world.session("thief", &script);
    assert_eq!(lines[..2], ["login 1", "login 1"], "{outcome:?}");
    assert_eq!(lines[3..], ["login 0", "of bob", "sql 0"], "{outcome:?}");
    let refused = outcome
        .stderr
        .matches("the assertion was used before, by tree")
        .count();
    assert_eq!(refused, 2, "{outcome:?}");
    let log = world.daemon.log().unwrap();
    let principal = &operation(&log, "select 'of bob'")["principal"];
    assert_eq!(principal["id"], "user:bob@acme.example", "{principal}");
}

#[test]
fn what_does_not_prove_who_it_is_binds_nobody() {
    let Some(world) = World::new() else {
        return;
    };
    let honest = world
        .provider
        .response("alice", &["dba"], &json!({}))
        .unwrap();
    let tampered = world.file("tampered", &honest.replace("alice@", "mallory@"));
    let expired = world.response("expired", "alice", &json!({ "lifetimeInSeconds": -120 }));
    let elsewhere = world.response("elsewhere", "alice", &json!({ "audience": "https://x" }));
    let stranger = SamlProvider::new_or_skip().unwrap().unwrap();
    let forged = stranger.response("alice", &[], &json!({})).unwrap();
    let forged = world.file("forged", &forged);
    let unsigned = world.response("unsigned", "alice", &json!({ "signAssertion": false }));
    let sha1 = json!({ "signatureAlgorithm": "rsa-sha1", "digestAlgorithm": "sha1" });
    let sha1 = world.response("sha1", "alice", &sha1);
    let large = world.file("large", &" ".repeat((256 << 10) + 1));
    let script = format!(
        "for file in {tampered:?} {expired:?} {elsewhere:?} {forged:?} {unsigned:?} {sha1:?} \
         {large:?} /nowhere; do login \"$file\"; done\nsql \"select 'nobody'\"\n"
    );
    let (lines, outcome) = world.session("hostile", &script);
    assert_eq!(lines[..8], ["login 1"; 8], "{outcome:?}");
    assert!(matches!(&*lines[8], "sql 1" | "sql 2"), "{outcome:?}");
    for said in [
        "the digest of the signed assertion is wrong",
        "the assertion has expired, by the NotOnOrAfter of its Conditions",
        "not made out to the audience \"https://gateway.acme.example/saml\" but to \"https://x\"",
        "not of any certificate that is configured",
        "neither the assertion nor the response is signed",
        "rsa-sha1",
        "at most 262144 bytes",
        "--saml /nowhere",
    ] {
        assert!(outcome.stderr.contains(said), "{said}: {outcome:?}");
    }
    assert!(!outcome.stderr.contains("mallory"), "{outcome:?}");
    assert!(!world.recorded().contains("subject "), "no act");

    let outside = world
        .daemon
        .run(&["login", "--saml", expired.to_str().unwrap()]);
    let outside = outside.unwrap();
    assert_eq!(outside.code(), 1, "{outside:?}");
    assert!(
        outside.stderr.contains("only a governed login session"),
        "{outside:?}"
    );
}

#[test]
fn without_a_provider_or_its_certificate_nobody_is_signed_in() {
    let Some(provider) = SamlProvider::new_or_skip().unwrap() else {
        return;
    };
    let subtree = Arc::new(Subtree::create().unwrap());
    let prepared = Daemon::prepare(&subtree).unwrap();
    let failed = prepared
        .config(&saml(Path::new("/nowhere/idp.pem")))
        .start_and_fail();
    let failed = failed.unwrap();
    assert_eq!(failed.code(), 2, "{failed:?}");
    assert!(failed.stderr.contains("/nowhere/idp.pem"), "{failed:?}");

    let text = policy::with_rules(&subtree, 1, RULES);
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &text)
        .unwrap();
    let daemon = daemon.start().unwrap();
    let files = place::temporary_directory().unwrap();
    let file = files.path().join("response");
    fs::write(&file, provider.response("alice", &[], &json!({})).unwrap()).unwrap();
    let mut command = daemon.gateway();
    command
        .args(["run", "--policy", "test", "--"])
        .arg(daemon.gateway().get_program())
        .args(["login", "--saml"])
        .arg(&file);
    let outcome = Running::start(&mut command)
        .unwrap()
        .wait(PATIENCE)
        .unwrap();
    assert_eq!(outcome.code(), 2, "{outcome:?}");
    assert!(
        outcome.stderr.contains("no [[saml]] is configured"),
        "{outcome:?}"
    );
}
