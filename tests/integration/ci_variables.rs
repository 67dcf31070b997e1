//! What a CI system says in the environment names a job, and gives it nothing.
use gateway_tests::running::{PATIENCE, Running};
use gateway_tests::{Cluster, Daemon, Job, Outcome, Subtree, policy};
use serde_json::{Value, json};
use std::sync::Arc;

/// The rule for releases is what a job would forge a name for.
const RULES: &str = "\
[[rule]]
name = \"jobs read\"
principals = [\"ci:gitlab:acme/*\", \"local:root\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"

[[rule]]
name = \"releases write\"
principals = [\"ci:gitlab:acme/release\"]
resources = [\"db\"]
verbs = [\"write\"]
verdict = \"allow\"

[[rule]]
name = \"a condition looks at nothing that a job chose\"
resources = [\"db\"]
verbs = [\"write\"]
when = 'principal.id == \"ci:gitlab:acme/release\"'
verdict = \"allow\"
";

struct Scene {
    daemon: Daemon,
    cluster: Cluster,
    subtree: Arc<Subtree>,
}

impl Scene {
    fn new() -> Scene {
        let subtree = Arc::new(Subtree::create().unwrap());
        let cluster = Cluster::start().unwrap();
        let text = policy::with_rules(&subtree, cluster.port(), RULES);
        let daemon = Daemon::prepare(&subtree).unwrap();
        let daemon = daemon.policy("test", &text).unwrap();
        let daemon = daemon.config("[identity]\nci_variables = [\"gitlab\"]\n");
        Scene {
            daemon: daemon.start().unwrap(),
            cluster,
            subtree,
        }
    }

    /// A job with this project in its environment.
    fn job(&self, project: &str, script: &str) -> Outcome {
        let job = Job::governed(&self.subtree, "job").unwrap();
        let mut command = job.command("/bin/sh");
        let sql = format!(
            "sql() {{ psql -X -A -t -d '{}' -c \"$1\" 2>&1; }}\n",
            self.cluster.address()
        );
        command
            .args(["-c", &format!("{sql}{script}")])
            .env("GITLAB_CI", "true")
            .env("CI_PROJECT_PATH", project);
        let running = Running::start(&mut command).unwrap();
        running.wait(PATIENCE).unwrap()
    }

    fn logged(&self, statement: &str) -> Value {
        let log = self.daemon.log().unwrap();
        let mut found = log.into_iter().filter(|one| one["statement"] == statement);
        found
            .next()
            .unwrap_or_else(|| panic!("{statement} was not recorded"))
    }
}

#[test]
fn a_job_is_named_by_its_variables_beside_who_the_kernel_says_it_is() {
    let mut scene = Scene::new();
    let script = "sql \"select 'named'\"; CI_PROJECT_PATH=acme/other sql \"select 'a child'\"; \
                  env -i /bin/sh -c \"psql -X -d '$0' -c \\\"select 'emptied'\\\"\"";
    let script = script.replace("$0", &scene.cluster.address());
    let outcome = scene.job("acme/api", &script);
    assert!(outcome.stdout.contains("named"), "{outcome:?}");
    for statement in ["select 'named'", "select 'a child'", "select 'emptied'"] {
        let operation = scene.logged(statement);
        assert_eq!(operation["principal"]["id"], "local:root", "{statement}");
        assert_eq!(operation["principal"]["assurance"], "kernel");
        let said = json!([{"id": "ci:gitlab:acme/api", "assurance": "asserted", "groups": []}]);
        assert_eq!(operation["delegates"], said, "{statement}");
    }
    scene.daemon.terminate().unwrap();
    scene.daemon.restart().unwrap();
    let outcome = scene.job("acme/web", "sql \"select 'later'\"");
    assert!(outcome.stdout.contains("later"), "{outcome:?}");
    let later = scene.logged("select 'later'");
    assert_eq!(later["delegates"][0]["id"], "ci:gitlab:acme/web");
}

#[test]
fn a_forged_name_opens_nothing() {
    let scene = Scene::new();
    let script = "sql \"create temp table forged (a int)\"; sql \"select 'still allowed'\"";
    let outcome = scene.job("acme/release", script);
    assert!(outcome.stdout.contains("still allowed"), "{outcome:?}");
    assert!(outcome.stdout.contains("gateway: "), "{outcome:?}");
    let operation = scene.logged("create temp table forged (a int)");
    assert_eq!(operation["verdict"], "deny", "{operation}");
    assert_eq!(operation["delegates"][0]["id"], "ci:gitlab:acme/release");
    // A name that no rule knows closes what would be open without one.
    let outcome = scene.job("evil/project", "sql \"select 'as evil'\"");
    assert!(!outcome.stdout.contains("as evil\n"), "{outcome:?}");
}
