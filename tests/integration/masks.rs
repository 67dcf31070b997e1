//! A masked column never reaches the client.
use gateway_tests::running::{Outcome, Running};
use gateway_tests::{Scene, place};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(240);
const SCHEMA: &str = include_str!("scripts/masks/schema.sql");

/// Everything sensitive in the schema.
const FIELDS: &str = r#"fields = ["public.users.email", "*.ssn", "public.users.salary",
  "public.users.born", "public.users.secret_id", "public.users.profile", "public.users.notes",
  "public.users.mails", "public.users.home", "public.users.reach", "public.users.raw",
  "public.users.short", "public.users.score", "public.users.seen", "public.events.email",
  "public.people.email", "hr.people_private.E-mail"]"#;

/// A database with masks before it.
struct Masked {
    scene: Scene,
}

impl Masked {
    fn new(mask: &str) -> Masked {
        let rules = format!(
            r#"
[[rule]]
name = "all, masked"
verbs = ["*"]
verdict = "allow"
masks = ["personal"]

[[mask]]
name = "personal"
{FIELDS}
{mask}
"#
        );
        let scene = Scene::with_rules(&rules).unwrap();
        scene
            .cluster
            .access("host all all 127.0.0.1/32 trust")
            .unwrap();
        scene.cluster.query(SCHEMA).unwrap();
        Masked { scene }
    }

    fn script(&self, name: &str) -> PathBuf {
        place::repository()
            .join("tests/integration/scripts/masks")
            .join(name)
    }

    /// Runs the statements of a file in every form of the protocol, in a job.
    fn attack(&self, file: &str) -> Outcome {
        let python = place::python().unwrap();
        let mut command = self.scene.job("attacker").unwrap().command(&python);
        let port = self.scene.cluster.port().to_string();
        command.arg(self.script("wire.py"));
        command.args(["127.0.0.1", &port, "postgres", "postgres"]);
        command.arg(self.script(file));
        Running::start(&mut command).unwrap().wait(LONG).unwrap()
    }
}

#[test]
fn nothing_of_a_masked_column_is_on_the_wire() {
    for predicates in ["allow", "deny"] {
        let masked = Masked::new(&format!("predicates = \"{predicates}\""));
        let outcome = masked.attack("attacks.sql").success().unwrap();
        fs::write(format!("/tmp/masks-{predicates}.txt"), &outcome.stdout).unwrap();
        assert!(
            outcome.stdout.ends_with(", 0 found\n"),
            "{}",
            outcome.stdout
        );
    }
}
