//! Resources by name: a real database that is reached by the name which a real name server tells.
use gateway_tests::certificates::Authority;
use gateway_tests::nameserver::{NameServer, ResolvConf};
use gateway_tests::running::PATIENCE;
use gateway_tests::{Cluster, Daemon, Job, Namespace, Outcome, Running, Subtree, place, running};
use serde_json::Value;
use std::sync::Arc;

/// Reading is allowed where a tree came by the name of the database.
const RULES: &str = r#"
[[rule]]
name = "orders are read"
resources = ["orders"]
verbs = ["connect", "authenticate", "read"]
verdict = "allow"

[[rule]]
name = "orders stay as they are"
resources = ["orders"]
verbs = ["define"]
verdict = "deny"
message = "Orders are not for jobs"

[[rule]]
name = "what jobs own"
resources = ["own"]
verdict = "allow"
"#;

struct World {
    daemon: Daemon,
    cluster: Cluster,
    subtree: Arc<Subtree>,
    /// With the server that is believed.
    namespace: Namespace,
    _server: NameServer,
    /// With one that may be asked, and is not believed.
    elsewhere: Namespace,
    _stranger: NameServer,
}

impl World {
    /// A database on an address that has the names `orders.db.test`, `x.own.test` and `evil.test`,
    /// and more lines for its resource.
    fn new(more: &str) -> World {
        let subtree = Arc::new(Subtree::create().unwrap());
        let (namespace, elsewhere) = (Namespace::create().unwrap(), Namespace::create().unwrap());
        let cluster = Cluster::start_on(&[namespace.host().into()]).unwrap();
        let names = ["orders.db.test", "x.own.test", "evil.test"];
        let records = names.map(|name| format!("--host-record={name},{}", namespace.host()));
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        let server = NameServer::start(&namespace, &records).unwrap();
        let stranger = NameServer::start(&elsewhere, &records).unwrap();
        let (believed, strange) = (namespace.address(), elsewhere.address());
        let policy = format!(
            "[policy]\nname = \"test\"\ncgroups = [\"{}/jobs/**\"]\n\n\
             [[resource]]\nname = \"dns\"\nprotocol = \"dns\"\n\
             hosts = [\"{believed}\", \"{strange}\"]\nports = [53]\n\n\
             [[rule]]\nname = \"names\"\nresources = [\"dns\"]\nverbs = [\"connect\", \"read\"]\n\
             verdict = \"allow\"\n\n\
             [[resource]]\nname = \"orders\"\nprotocol = \"postgres\"\n\
             hosts = [\"Orders.DB.test.\"]\nports = [{port}]\n{more}\n\n\
             [[resource]]\nname = \"own\"\nhosts = [\"*.own.test\"]\nports = [{port}]\n{RULES}",
            subtree.name(),
            port = cluster.port()
        );
        let daemon = Daemon::prepare(&subtree)
            .unwrap()
            .policy("test", &policy)
            .unwrap()
            .config(&format!("[dns]\nservers = [\"{believed}\"]\n"))
            .start()
            .unwrap();
        World {
            daemon,
            cluster,
            subtree,
            namespace,
            _server: server,
            elsewhere,
            _stranger: stranger,
        }
    }

    /// A shell script in a governed job that asks this server for names.
    fn job(&self, name: &str, server: &Namespace, script: &str) -> Outcome {
        let conf = ResolvConf::naming(&[server.address().to_string()]).unwrap();
        let job = Job::governed(&self.subtree, name).unwrap();
        let mut shell = job.command("unshare");
        shell.args(["-m", "sh", "-c", &conf.script(script)]);
        running::run(&mut shell).unwrap()
    }

    /// psql to a host.
    fn psql(&self, host: &str, sql: &str) -> String {
        let port = self.cluster.port();
        format!(
            "psql -X -A -t -d 'host={host} port={port} user=postgres dbname=postgres' -c '{sql}'"
        )
    }

    fn address(&self) -> String {
        self.namespace.host().to_string()
    }

    /// What was recorded of a statement, or of opening a connection by a job.
    fn recorded(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let log = self.daemon.log().unwrap();
        log.into_iter().filter(wanted).collect()
    }

    fn saw(&self, text: &str) -> bool {
        self.cluster.log().unwrap().contains(text)
    }
}

#[test]
fn a_database_is_reached_by_the_name_that_the_policy_has() {
    let world = World::new("");
    for (name, host) in [("name", "orders.db.test"), ("capitals", "ORDERS.db.test")] {
        let outcome = world.job(name, &world.namespace, &world.psql(host, "select 42"));
        assert_eq!(outcome.stdout, "42\n", "{host}: {outcome:?}");
    }
    let read = world.recorded(|operation| operation["statement"] == "select 42");
    assert_eq!(read.len(), 2);
    for operation in &read {
        assert_eq!(operation["resource"], "orders");
        assert_eq!(operation["rule"], "orders are read");
        assert_eq!(operation["destination"]["host"], "orders.db.test");
        assert_eq!(operation["destination"]["ip"], world.address());
    }
    // By its address, the name is not known to this tree.
    let address = world.address();
    let outcome = world.job(
        "address",
        &world.namespace,
        &world.psql(&address, "select 43"),
    );
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    assert!(!world.saw("select 43"));
    let unnamed = format!("{address}:{}", world.cluster.port());
    let refused = world.recorded(|operation| operation["resource"] == unnamed.as_str());
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["verb"], "connect");
    assert_eq!(refused[0]["verdict"], "deny");
    // To a tree that has asked for the name, the address is known by it.
    let script = format!(
        "getent hosts orders.db.test && {}",
        world.psql(&address, "select 44")
    );
    let outcome = world.job("asked", &world.namespace, &script);
    assert!(outcome.stdout.ends_with("44\n"), "{outcome:?}");
}

#[test]
fn a_name_that_another_server_tells_does_not_count() {
    let world = World::new("");
    let psql = world.psql("orders.db.test", "select 45");
    let outcome = world.job("strange", &world.elsewhere, &psql);
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    assert!(!world.saw("select 45"));
    let asked = world.recorded(|operation| operation["statement"] == "A orders.db.test");
    assert!(!asked.is_empty(), "it was told the address: {outcome:?}");
    assert!(
        asked
            .iter()
            .all(|operation| operation["verdict"] == "allow")
    );
    let opened =
        world.recorded(|operation| operation["statement"] == "" && operation["protocol"] == "");
    assert!(
        opened
            .iter()
            .all(|operation| operation["verdict"] == "deny"),
        "{opened:#?}"
    );
    assert!(!opened.is_empty());
    // And the same question to the server that is believed.
    let outcome = world.job("believed", &world.namespace, &psql);
    assert_eq!(outcome.stdout, "45\n", "{outcome:?}");
}

#[test]
fn a_name_of_a_jobs_own_leads_past_nothing_that_is_said_about_another() {
    let world = World::new("");
    let asked = "getent hosts orders.db.test; getent hosts evil.test; getent hosts x.own.test";
    // What it asked for last allows all, and what it asked for first denies.
    let own = world.psql("x.own.test", "create table stolen ()");
    let outcome = world.job("later", &world.namespace, &format!("{asked}; {own}"));
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    assert!(
        outcome.stderr.contains("Orders are not for jobs"),
        "{outcome:?}"
    );
    let written = world.recorded(|operation| operation["statement"] == "create table stolen ()");
    assert_eq!(written[0]["rule"], "orders stay as they are");
    assert_eq!(written[0]["resource"], "own");
    let others = &written[0]["destination"]["other_hosts"];
    assert_eq!(*others, serde_json::json!(["evil.test", "orders.db.test"]));
    // What only one of them allows is not allowed, and it is said why.
    let insert = world.psql("x.own.test", "insert into t values (1)");
    let outcome = world.job("both", &world.namespace, &format!("{asked}; {insert}"));
    assert!(
        outcome
            .stderr
            .contains("belongs to own, orders, each of which has to allow it"),
        "{outcome:?}"
    );
    // A name that no resource has takes the name of the database away from nobody.
    let script = format!(
        "{}; {}",
        "getent hosts orders.db.test",
        world.psql("evil.test", "select 46")
    );
    let outcome = world.job("unknown", &world.namespace, &script);
    assert!(outcome.stdout.ends_with("46\n"), "{outcome:?}");
    let read = world.recorded(|operation| operation["statement"] == "select 46");
    assert_eq!(read[0]["resource"], "orders");
    assert!(!world.saw("stolen") && !world.saw("insert into"));
    // The journal has all names, so the same policy judges the same of it.
    let replay = world.daemon.run(&["policy", "replay"]).unwrap();
    assert_eq!(replay.code(), 0, "{replay:?}");
    // What is learned are addresses: a name of the job's own is none to allow by.
    let learned = world.daemon.run(&["policy", "learn"]).unwrap();
    let learned = learned.success().unwrap().stdout;
    let hosts: Vec<&str> = learned
        .lines()
        .filter(|line| line.starts_with("hosts"))
        .collect();
    let expected = [world.namespace.address(), world.namespace.host()];
    assert_eq!(
        hosts,
        expected.map(|address| format!("hosts = [\"{address}\"]"))
    );
}

#[test]
fn explain_judges_by_the_names_that_it_is_given() {
    let world = World::new("");
    let to = format!("{}:{}", world.address(), world.cluster.port());
    let explain = |hosts: &[&str], statement: &str| -> Value {
        let mut arguments = vec!["policy", "explain", "--to", &to];
        arguments.extend(hosts.iter().flat_map(|host| ["--host", host]));
        arguments.push(statement);
        world.daemon.json(&arguments).unwrap().remove(0)
    };
    let said = explain(&["Orders.db.test."], "select 1");
    assert_eq!(said["verdict"], "allow");
    assert_eq!(said["resource"], "orders");
    assert!(said.get("other_resources").is_none(), "{said}");
    let said = explain(
        &["x.own.test", "orders.db.test"],
        "insert into t values (1)",
    );
    assert_eq!(said["verdict"], "deny");
    assert_eq!(said["other_resources"], serde_json::json!(["orders"]));
    assert_eq!(explain(&[], "select 1")["resource"], to.as_str());
}

#[test]
fn a_session_keeps_the_resource_that_it_was_opened_with() {
    let world = World::new("");
    let script = format!(
        "{} -c '\\! getent hosts x.own.test' -c 'select 48' -c 'create table late ()'",
        world.psql("orders.db.test", "select 47")
    );
    let outcome = world.job("session", &world.namespace, &script);
    assert!(outcome.stdout.contains("x.own.test"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("48\n"), "{outcome:?}");
    assert!(
        outcome.stderr.contains("Orders are not for jobs"),
        "{outcome:?}"
    );
    let of = world.recorded(|operation| operation["protocol"] == "postgres");
    assert!(of.len() >= 4, "{of:#?}");
    assert!(
        of.iter().all(|operation| operation["resource"] == "orders"),
        "{of:#?}"
    );
}

#[test]
fn the_servers_certificate_is_for_the_name_that_the_policy_has() {
    let authority = Authority::new("the database's authority").unwrap();
    let files = place::temporary_directory().unwrap();
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let tls = format!(
        "tls = {{ upstream = \"verify-full\", ca = \"{}\" }}",
        ca.display()
    );
    let world = World::new(&tls);
    let select = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let right = authority.issue(&["orders.db.test"]).unwrap();
    world.cluster.speak_tls(&right).unwrap();
    let psql = world.psql("orders.db.test", select);
    let outcome = world.job("right", &world.namespace, &psql);
    assert_eq!(outcome.stdout, "t\n", "{outcome:?}");
    // The client asks for another name, which leads there too and which the certificate is for.
    let wrong = authority.issue(&["evil.test", &world.address()]).unwrap();
    world.cluster.speak_tls(&wrong).unwrap();
    for host in ["orders.db.test", "evil.test"] {
        let script = format!("getent hosts orders.db.test; {}", world.psql(host, select));
        let outcome = world.job("wrong", &world.namespace, &script);
        assert_ne!(outcome.code(), 0, "{outcome:?}");
        assert!(
            outcome
                .stderr
                .contains("its certificate is not for orders.db.test"),
            "{host}: {outcome:?}"
        );
    }
}

/// No other server is on the address.
const SHARED_PORT: u16 = 8443;

/// A server of TLS on the same address, with two names, and a policy that allows one of them.
struct Shared {
    world: World,
    _server: Running,
    _files: tempfile::TempDir,
}

impl Shared {
    fn new() -> Shared {
        let resource = format!(
            "\n[[resource]]\nname = \"shared\"\nhosts = [\"orders.db.test\"]\nports = [{SHARED_PORT}]\n\n\
             [[rule]]\nname = \"shared\"\nresources = [\"shared\"]\n\
             verbs = [\"connect\", \"unknown\"]\nverdict = \"allow\"\n\n\
             [[rule]]\nname = \"reached\"\nverbs = [\"connect\"]\nverdict = \"allow\"\n"
        );
        let world = World::new(&resource);
        let files = place::temporary_directory().unwrap();
        let certificate = Authority::new("somebody").unwrap();
        let certificate = certificate.issue(&["orders.db.test", "evil.test"]).unwrap();
        let (pem, key) = (files.path().join("pem"), files.path().join("key"));
        std::fs::write(&pem, &certificate.pem).unwrap();
        std::fs::write(&key, &certificate.key).unwrap();
        let mut server = std::process::Command::new("openssl");
        server.args([
            "s_server",
            "-accept",
            &format!("{}:{SHARED_PORT}", world.address()),
        ]);
        server
            .args(["-www", "-cert"])
            .arg(&pem)
            .arg("-key")
            .arg(&key);
        let mut server = Running::start(&mut server).unwrap();
        server.wait_for_output("ACCEPT", PATIENCE).unwrap();
        Shared {
            world,
            _server: server,
            _files: files,
        }
    }

    /// What a client in a job is told that has asked for the allowed name.
    fn asks(&self, job: &str, client: &str) -> Outcome {
        let script = format!("getent hosts orders.db.test; {client}");
        self.world.job(job, &self.world.namespace, &script)
    }

    /// What a request gets that comes by this name in the URL.
    fn curl(&self, host: &str) -> String {
        let address = self.world.address();
        let to = format!("--resolve '*:{SHARED_PORT}:{address}' https://{host}:{SHARED_PORT}/");
        format!("curl -sk -m 10 {to}")
    }

    fn opaque(&self) -> Vec<Value> {
        self.world
            .recorded(|operation| operation["protocol"] == "opaque")
    }
}

#[test]
fn a_client_that_asks_for_another_server_is_judged_by_the_address() {
    let shared = Shared::new();
    let outcome = shared.asks("right", &shared.curl("orders.db.test"));
    assert!(outcome.stdout.contains("s_server"), "{outcome:?}");
    let outcome = shared.asks("wrong", &shared.curl("evil.test"));
    assert!(!outcome.stdout.contains("s_server"), "{outcome:?}");
    // Also where that one has been looked up, since nothing allows it.
    let both = format!("getent hosts evil.test; {}", shared.curl("evil.test"));
    let outcome = shared.asks("both", &both);
    assert!(!outcome.stdout.contains("s_server"), "{outcome:?}");
    // One that says no name claims none.
    let outcome = shared.asks("silent", &shared.curl(&shared.world.address()));
    assert!(outcome.stdout.contains("s_server"), "{outcome:?}");

    let seen = shared.opaque();
    let told = |number: usize| {
        let one = &seen[number];
        (
            one["verdict"].as_str().unwrap().to_owned(),
            one["attributes"]["tls.server_name"]
                .as_str()
                .unwrap_or("")
                .to_owned(),
        )
    };
    let told: Vec<_> = (0..seen.len()).map(told).collect();
    let expected = [
        ("allow", "orders.db.test"),
        ("deny", "evil.test"),
        ("deny", "evil.test"),
        ("allow", ""),
    ];
    assert_eq!(
        told,
        expected.map(|(verdict, name)| (verdict.to_owned(), name.to_owned()))
    );
    let message = seen[1]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("names that lead there do not count"),
        "{message}"
    );
}
