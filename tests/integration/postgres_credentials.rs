//! Logging in with a credential that the job never has.
use crate::postgres_tls::World;
use gateway_tests::running::{self, Outcome, PATIENCE};
use gateway_tests::{Namespace, Running, place};
use std::path::Path;

/// Found nowhere but in the store.
const CANARY: &str = "canary-4c1d-of-the-service";

const TERMS: &str =
    "tls = { upstream = \"verify-full\", ca = \"$CA\" }\ncredential = \"orders-ci\"";

/// A database on which only the service may log in, and that in this way.
fn world(method: &str) -> World {
    let world = World::new(TERMS);
    let cluster = &world.scene.cluster;
    let encryption = if method == "md5" {
        "md5"
    } else {
        "scram-sha-256"
    };
    let make = format!(
        "set password_encryption = '{encryption}'; create role svc login password '{CANARY}'"
    );
    cluster.query(&make).unwrap();
    cluster
        .access(&format!("host all svc all {method}"))
        .unwrap();
    world
}

fn store(world: &World, arguments: &[&str], value: &str) {
    let mut command = world.scene.daemon.gateway();
    command.args(["credentials", "add", "orders-ci", "--replace"]);
    command.args(arguments);
    let outcome = running::run_with_input(&mut command, value.as_bytes()).unwrap();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
}

/// As somebody whom the server does not know, with no password or with a wrong one.
fn ask(world: &World, sql: &str) -> Outcome {
    world.psql("user=mallory dbname=postgres sslmode=disable", sql)
}

fn is_svc(world: &World) {
    let outcome = ask(world, "select current_user, session_user");
    assert_eq!(outcome.stdout, "svc|svc\n", "{outcome:?}");
}

/// Is this nowhere in a directory, in any file?
fn is_nowhere(directory: &Path, text: &str) {
    let found = place::files_with(directory, text).unwrap();
    assert!(found.is_empty(), "{text}: {found:?}");
}

#[test]
fn the_gateway_logs_in_by_every_method_and_the_secret_stays_where_it_is() {
    for method in ["scram-sha-256", "md5", "password"] {
        let world = world(method);
        let outcome = ask(&world, "select 1");
        let words = "nothing to log in with";
        assert!(outcome.stderr.contains(words), "{outcome:?}");
        let error = world.last_session()["error"].to_string();
        assert!(error.contains("orders-ci"), "{error}");
        store(&world, &["--user", "svc"], CANARY);
        is_svc(&world);
        // Whatever it says itself, and over TLS as well.
        let outcome = world.psql(
            "user=postgres dbname=postgres sslmode=require",
            "select current_user",
        );
        assert_eq!(outcome.stdout, "svc\n", "{method}: {outcome:?}");
        let log = world.scene.daemon.log().unwrap();
        let statement = crate::operation(&log, "select current_user, session_user");
        let login = log
            .iter()
            .find(|one| one["verb"] == "authenticate" && one["session"] == statement["session"])
            .unwrap();
        assert_eq!(login["attributes"]["sql.user"], "svc");
        assert_eq!(login["attributes"]["sql.client_user"], "mallory");
        assert_eq!(login["attributes"]["sql.credential"], "orders-ci");
        is_nowhere(world.scene.daemon.state(), CANARY);
        assert!(!world.scene.daemon.said().contains(CANARY));
    }
}

#[test]
fn a_credential_that_is_wrong_or_gone_says_for_what_and_never_what() {
    let world = world("scram-sha-256");
    store(&world, &["--user", "svc"], "canary-that-is-wrong");
    let outcome = ask(&world, "select 1");
    let words = &outcome.stderr;
    assert!(
        words.contains("logging in to db with its credential failed"),
        "{words}"
    );
    for secret in ["canary", "svc", "password"] {
        assert!(!words.contains(secret), "{words}");
    }
    let error = world.last_session()["error"].to_string();
    assert!(error.contains("does not take it"), "{error}");
    // Mended while the daemon runs.
    store(&world, &["--user", "svc"], CANARY);
    is_svc(&world);
    store(&world, &["--kind", "secret"], CANARY);
    let outcome = ask(&world, "select 1");
    assert!(
        outcome.stderr.contains("nothing to log in with"),
        "{outcome:?}"
    );
    let error = world.last_session()["error"].to_string();
    assert!(error.contains("is a secret"), "{error}");
    let removed = world
        .scene
        .daemon
        .run(&["credentials", "remove", "orders-ci"]);
    removed.unwrap().success().unwrap();
    let outcome = ask(&world, "select 1");
    assert!(
        outcome.stderr.contains("nothing to log in with"),
        "{outcome:?}"
    );
    assert!(!outcome.stderr.contains("canary"), "{outcome:?}");
    // Without one in the policy, everybody is who they say.
    world.terms("tls = { upstream = \"verify-full\", ca = \"$CA\" }");
    let outcome = ask(&world, "select 1");
    assert!(
        outcome.stderr.contains("no pg_hba.conf entry"),
        "{outcome:?}"
    );
}

#[test]
fn a_credential_is_not_given_to_who_cannot_prove_to_be_the_upstream() {
    let world = world("scram-sha-256");
    store(&world, &["--user", "svc"], CANARY);
    let named =
        "host=evil.internal hostaddr=127.0.0.1 user=mallory dbname=postgres sslmode=require";
    // The name that a client claims is not what counts here.
    assert_eq!(world.psql(named, "select current_user").stdout, "svc\n");
    world.terms("credential = \"orders-ci\"");
    let words = world.fails("sslmode=disable");
    assert!(words.contains("no authority that is believed"), "{words}");
    world.terms(TERMS);
    let cluster = &world.scene.cluster;
    cluster.speak_no_tls().unwrap();
    let words = world.fails("sslmode=disable");
    assert!(words.contains("does not offer any"), "{words}");
    // In the clear only where the policy says so, and never the password itself.
    world.terms("tls = { upstream = \"disable\" }\ncredential = \"orders-ci\"");
    is_svc(&world);
    cluster.access("host all svc all password").unwrap();
    gateway_tests::wait::until_true("a refusal", running::PATIENCE, || {
        ask(&world, "select 1").stderr.contains("is not verified")
    })
    .unwrap();
}

#[test]
fn a_certificate_of_the_gateways_own_logs_in() {
    let world = World::new(TERMS);
    let cluster = &world.scene.cluster;
    cluster.query("create role svc login").unwrap();
    cluster.believe(&world.authority).unwrap();
    cluster.access("hostssl all all all cert").unwrap();
    let certificate = world.authority.issue_client("svc").unwrap();
    let pem = format!("{}{}", certificate.pem, certificate.key);
    store(&world, &["--kind", "certificate", "--user", "svc"], &pem);
    is_svc(&world);
    let key: Vec<&str> = certificate.key.lines().collect();
    is_nowhere(world.scene.daemon.state(), key[1]);
    // One of somebody else is not taken, and nobody hears more than that.
    let other = gateway_tests::certificates::Authority::new("other").unwrap();
    let other = other.issue_client("svc").unwrap();
    let pem = format!("{}{}", other.pem, other.key);
    store(&world, &["--kind", "certificate", "--user", "svc"], &pem);
    let outcome = ask(&world, "select 1");
    assert_ne!(outcome.code(), 0);
    assert!(!outcome.stderr.contains("svc"), "{outcome:?}");
}

/// In a namespace of its own a job can stand at the database's address itself, and would see what
/// the gateway proves who it is with.
#[test]
fn a_credential_is_not_used_where_the_job_decides_who_is_at_an_address() {
    let world = world("scram-sha-256");
    store(&world, &["--user", "svc"], CANARY);
    let namespace = Namespace::create().unwrap();
    let port = world.scene.cluster.port().to_string();
    let listener = "import socket, sys\n\
        s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
        print('listening', flush=True)\n\
        while True:\n    \
            connection, _ = s.accept()\n    \
            asked = connection.recv(1000)\n    \
            print(asked[8:], flush=True)\n    \
            connection.sendall(b'N')\n    \
            print(connection.recv(1000), flush=True)\n    \
            connection.close()\n";
    let mut impostor = namespace.command("/usr/bin/python3");
    impostor.args(["-c", listener, &port]);
    let mut impostor = Running::start(&mut impostor).unwrap();
    impostor.wait_for_output("listening", PATIENCE).unwrap();
    let ask = || {
        let mut psql = world.scene.job("abroad").unwrap().command("ip");
        psql.args(["netns", "exec", namespace.name(), "psql", "-X", "-d"]);
        psql.arg(format!("{} sslmode=disable", world.scene.cluster.address()));
        running::run(psql.args(["-c", "select 1"])).unwrap()
    };
    // By default, and where the policy says so, it is used with an upstream that proves who it is.
    for terms in ["credential = \"orders-ci\"", TERMS] {
        world.terms(terms);
        assert_ne!(ask().code(), 0);
        let error = world.last_session()["error"].to_string();
        assert!(error.contains("verify-full"), "{terms}: {error}");
    }
    for word in ["disable", "require", "verify-ca"] {
        world.terms(&format!(
            "credential = \"orders-ci\"\ntls = {{ upstream = \"{word}\" }}"
        ));
        assert_ne!(ask().code(), 0);
        let error = world.last_session()["error"].to_string();
        assert!(
            error.contains("another network namespace"),
            "{word}: {error}"
        );
    }
    assert!(!impostor.stdout().contains("svc"), "{}", impostor.stdout());
}
