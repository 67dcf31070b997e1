//! TLS on both sides of a PostgreSQL session.
use gateway_tests::certificates::{Authority, Certificate};
use gateway_tests::cluster::PASSWORD;
use gateway_tests::running::{self, Outcome};
use gateway_tests::{Scene, place, policy};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A database with TLS, and a policy that says how it is spoken to.
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) authority: Authority,
    files: TempDir,
}

impl World {
    /// The server has a certificate for its address.
    pub(crate) fn new(tls: &str) -> World {
        let authority = Authority::new("the database's authority").unwrap();
        let certificate = authority.issue(&["127.0.0.1", "db.internal"]).unwrap();
        World::with(tls, authority, &certificate)
    }

    fn with(tls: &str, authority: Authority, certificate: &Certificate) -> World {
        let scene = Scene::allow_all().unwrap();
        scene.cluster.speak_tls(certificate).unwrap();
        let files = place::temporary_directory().unwrap();
        fs::write(files.path().join("ca.pem"), &authority.pem).unwrap();
        let world = World {
            scene,
            authority,
            files,
        };
        world.terms(tls);
        world
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// `$CA` in the terms is the file of the database's authority.
    pub(crate) fn terms(&self, tls: &str) {
        let (subtree, port) = (&self.scene.subtree, self.scene.cluster.port());
        let text = policy::allow_all(subtree, port);
        let ca = self.file("ca.pem").display().to_string();
        let tls = tls.replace("$CA", &ca);
        let mut text = text.replacen("\nports = ", &format!("\n{tls}\nports = "), 1);
        if tls.contains("opaque") {
            text = text.replacen("protocol = \"postgres\"\n", "", 1);
        }
        self.scene.daemon.put_in_force("test", &text).unwrap();
    }

    /// psql with more in its connection string.
    pub(crate) fn psql(&self, more: &str, sql: &str) -> Outcome {
        let mut command = self.scene.job("psql").unwrap().command("psql");
        let address = format!("{} {more}", self.scene.cluster.address());
        command.args(["-X", "-A", "-t", "-d", &address, "-c", sql]);
        command.env("PGPASSWORD", PASSWORD);
        running::run(&mut command).unwrap()
    }

    /// Is the connection of this backend encrypted, as the server sees it?
    fn works(&self, more: &str) -> String {
        let sql = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()";
        let outcome = self.psql(more, sql);
        assert_eq!(outcome.code(), 0, "{more}: {outcome:?}");
        outcome.stdout.trim().to_owned()
    }

    /// The words with which it fails.
    pub(crate) fn fails(&self, more: &str) -> String {
        let outcome = self.psql(more, "select 'must not be seen'");
        assert_ne!(outcome.code(), 0, "{more}: {outcome:?}");
        assert_eq!(outcome.stdout, "");
        outcome.stderr
    }

    /// The gateway's certificate, for clients.
    fn trust(&self) -> PathBuf {
        let exported = self.scene.daemon.run(&["trust", "export"]).unwrap();
        let file = self.file("gateway.pem");
        fs::write(&file, exported.success().unwrap().stdout).unwrap();
        file
    }

    pub(crate) fn last_session(&self) -> Value {
        let sessions = self.scene.daemon.sessions().unwrap();
        let opened = |session: &Value| session["opened"].as_str().unwrap().to_owned();
        sessions.into_iter().max_by_key(opened).unwrap()
    }

    fn saw(&self, text: &str) -> bool {
        self.scene.cluster.log().unwrap().contains(text)
    }
}

const VERIFIED: &str = "tls = { upstream = \"verify-full\", ca = \"$CA\" }";

#[test]
fn every_sslmode_works_and_the_way_to_the_server_is_always_encrypted() {
    let world = World::new(VERIFIED);
    let trusted = world.trust();
    let root = format!("sslrootcert={}", trusted.display());
    for mode in ["disable", "allow", "prefer", "require"] {
        assert_eq!(world.works(&format!("sslmode={mode}")), "t|TLSv1.3");
    }
    for mode in ["verify-ca", "verify-full"] {
        assert_eq!(world.works(&format!("sslmode={mode} {root}")), "t|TLSv1.3");
    }
    // By name: the client asks for it (SNI), and the certificate is for it.
    let named = format!("host=db.internal hostaddr=127.0.0.1 sslmode=verify-full {root}");
    assert_eq!(world.works(&named), "t|TLSv1.3");
    let versions = "ssl_max_protocol_version=TLSv1.2 sslmode=require";
    assert_eq!(world.works(versions), "t|TLSv1.3");

    let log = world.scene.daemon.log().unwrap();
    let logins: Vec<&Value> = log
        .iter()
        .filter(|operation| operation["verb"] == "authenticate")
        .collect();
    assert_eq!(logins.len(), 8);
    for (login, client) in logins.iter().zip([None, None, Some("TLSv1.3")]) {
        let attributes = &login["attributes"];
        assert_eq!(attributes["tls.upstream"], "TLSv1.3", "{login}");
        assert_eq!(attributes["tls.client"].as_str(), client, "{login}");
    }
    assert_eq!(logins[7]["attributes"]["tls.client"], "TLSv1.2");
}

#[test]
fn statements_inside_of_tls_are_judged_and_recorded() {
    let world = World::new(VERIFIED);
    let text = policy::with_rules(
        &world.scene.subtree,
        world.scene.cluster.port(),
        policy::READ_WRITE,
    );
    let ca = world.file("ca.pem").display().to_string();
    let tls = VERIFIED.replace("$CA", &ca);
    let text = text.replacen("\nports = ", &format!("\n{tls}\nports = "), 1);
    world.scene.daemon.put_in_force("test", &text).unwrap();
    world.scene.cluster.query("create table t (x int)").unwrap();
    let outcome = world.psql("sslmode=require", "drop table t");
    assert!(outcome.stderr.contains("migrations"), "{outcome:?}");
    assert!(!world.saw("drop table t"));
    let big = world.psql("sslmode=require", "select repeat('x', 3000000)");
    assert_eq!(big.stdout.trim().len(), 3_000_000);
    let log = world.scene.daemon.log().unwrap();
    let dropped = crate::operation(&log, "drop table t");
    assert_eq!(dropped["verdict"], "deny");
}

#[test]
fn an_upstream_that_is_not_to_be_believed_is_refused_and_the_reason_is_said() {
    let world = World::new("tls = { upstream = \"verify-full\" }");
    for mode in ["disable", "prefer", "require"] {
        let words = world.fails(&format!("sslmode={mode}"));
        assert!(words.contains("no authority that is believed"), "{words}");
        let error = world.last_session()["error"].to_string();
        assert!(error.contains("no authority that is believed"), "{error}");
    }
    // Without a word in the policy it is the same, where the server offers TLS.
    world.terms("");
    let words = world.fails("sslmode=disable");
    assert!(words.contains("no authority that is believed"), "{words}");
    assert!(!world.saw("must not be seen"));

    world.terms(VERIFIED);
    let expired = world.authority.issue_until(&["127.0.0.1"], 2021).unwrap();
    world.scene.cluster.speak_tls(&expired).unwrap();
    let words = world.fails("sslmode=require");
    assert!(words.contains("has expired"), "{words}");

    let other = world
        .authority
        .issue(&["10.9.9.9", "other.internal"])
        .unwrap();
    world.scene.cluster.speak_tls(&other).unwrap();
    let words = world.fails("sslmode=require");
    assert!(words.contains("not for 127.0.0.1"), "{words}");
    world.terms("tls = { upstream = \"verify-ca\", ca = \"$CA\" }");
    assert_eq!(world.works("sslmode=require"), "t|TLSv1.3");
    world.terms("tls = { upstream = \"verify-full\", ca = \"$CA\", name = \"other.internal\" }");
    assert_eq!(world.works("sslmode=disable"), "t|TLSv1.3");
    world.terms("tls = { upstream = \"require\" }");
    assert_eq!(world.works("sslmode=disable"), "t|TLSv1.3");

    // The authority changes: the next connection believes the new one, and no longer the old.
    world.terms("tls = { upstream = \"verify-ca\", ca = \"$CA\" }");
    assert_eq!(world.works("sslmode=require"), "t|TLSv1.3");
    let stranger = Authority::new("another").unwrap();
    fs::write(world.file("ca.pem"), &stranger.pem).unwrap();
    let words = world.fails("sslmode=require");
    assert!(words.contains("no authority that is believed"), "{words}");
    fs::write(world.file("ca.pem"), "nothing").unwrap();
    let words = world.fails("sslmode=require");
    assert!(
        words.contains("no authority that could be believed"),
        "{words}"
    );
    fs::remove_file(world.file("ca.pem")).unwrap();
    let words = world.fails("sslmode=require");
    assert!(words.contains("No such file"), "{words}");
    assert!(!world.saw("must not be seen"));
}

#[test]
fn a_server_that_offers_no_tls_where_the_policy_demands_it_gets_nothing() {
    let world = World::new(VERIFIED);
    world.scene.cluster.speak_no_tls().unwrap();
    let words = world.fails("sslmode=prefer");
    assert!(words.contains("does not offer any"), "{words}");
    assert!(!world.saw("must not be seen"));
    // Without a demand it is spoken to in the clear, and so is the client.
    world.terms("");
    assert_eq!(world.works("sslmode=prefer"), "f|");
    let words = world.fails("sslmode=require");
    assert!(words.contains("server does not support SSL"), "{words}");
    // Unless the policy offers TLS to clients all the same.
    world.terms("tls = { upstream = \"disable\", client = \"offer\" }");
    assert_eq!(world.works("sslmode=require"), "f|");
    world.terms("tls = { client = \"disable\" }");
    assert_eq!(world.works("sslmode=prefer"), "f|");
}

#[test]
fn a_client_that_believes_only_its_server_is_refused_or_passes_unseen() {
    let world = World::new(VERIFIED);
    let pinned = format!(
        "sslmode=verify-full sslrootcert={}",
        world.file("ca.pem").display()
    );
    let words = world.fails(&pinned);
    assert!(words.contains("certificate verify failed"), "{words}");
    let error = world.last_session()["error"].to_string();
    assert!(
        error.contains("does not believe the gateway's certificate"),
        "{error}"
    );

    world.terms("tls = { client = \"opaque\" }");
    assert_eq!(world.works(&pinned), "t|TLSv1.3");
    let session = world.last_session();
    assert_eq!(session["protocol"], "opaque", "{session}");
    // Where the rules do not allow what nobody can see, it does not pass.
    let text = policy::with_rules(
        &world.scene.subtree,
        world.scene.cluster.port(),
        policy::READ_WRITE,
    );
    let text = text.replacen(
        "protocol = \"postgres\"",
        "tls = { client = \"opaque\" }",
        1,
    );
    world.scene.daemon.reload("test", &text).unwrap();
    gateway_tests::wait::until_true("a refusal", running::PATIENCE, || {
        world.psql(&pinned, "select 1").code() != 0
    })
    .unwrap();
    let words = world.fails("sslmode=disable");
    assert!(words.contains("no authority that is believed"), "{words}");
}

#[test]
fn scram_is_passed_on_where_it_can_be_and_explained_where_not() {
    let world = World::new(VERIFIED);
    let as_role = |role: &str, more: &str| format!("user={role} {more}");
    // Over TLS up to the gateway libpq would bind the proof to the server's certificate; the
    // default, `prefer`, falls back to no TLS on this host.
    let bound = world.fails(&as_role("scram", "sslmode=require"));
    assert!(bound.contains("channel_binding=disable"), "{bound}");
    for more in [
        "sslmode=prefer",
        "sslmode=disable",
        "sslmode=require channel_binding=disable",
    ] {
        assert_eq!(world.works(&as_role("scram", more)), "t|TLSv1.3", "{more}");
    }
    assert_eq!(world.works(&as_role("md5", "sslmode=require")), "t|TLSv1.3");
    let insists = world.fails(&as_role("scram", "sslmode=require channel_binding=require"));
    assert!(insists.contains("channel binding"), "{insists}");
    world.terms("tls = { upstream = \"verify-full\", ca = \"$CA\", client = \"disable\" }");
    assert_eq!(
        world.works(&as_role("scram", "sslmode=prefer")),
        "t|TLSv1.3"
    );
    let log = format!("{:?}", world.scene.daemon.log().unwrap());
    assert!(!log.contains(PASSWORD));
}

/// What a client says to a port, byte for byte, and what it hears, in a governed job.
fn converse(world: &World, port: u16, program: &str) -> String {
    let head = format!(
        "import socket, ssl, struct\n\
         s = socket.create_connection(('127.0.0.1', {port})); s.settimeout(30)\n\
         ask = struct.pack('!ii', 8, 80877103)\n\
         start = b'user\\0postgres\\0database\\0postgres\\0\\0'\n\
         start = struct.pack('!ii', len(start) + 8, 196608) + start\n\
         def hear(s, n=65536):\n    try: return s.recv(n)\n    except OSError as e: return str(e).encode()\n"
    );
    let job = world.scene.job("client").unwrap();
    let mut client = job.python(&(head + program), &[]).unwrap();
    let _ = client.take_stdin();
    let outcome = client.wait(running::PATIENCE).unwrap();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    outcome.stdout
}

#[test]
fn a_client_may_begin_with_tls_when_it_says_what_it_speaks() {
    let world = World::new(VERIFIED);
    let port = world.scene.cluster.port();
    let direct = "c = ssl._create_unverified_context(); c.set_alpn_protocols([ALPN])\n\
                  try:\n    t = c.wrap_socket(s); t.sendall(start); print(t.selected_alpn_protocol(), hear(t, 9))\n\
                  except OSError as e: print(type(e).__name__)\n";
    let said = converse(&world, port, &direct.replace("ALPN", "'postgresql'"));
    assert_eq!(
        said,
        "postgresql b'R\\x00\\x00\\x00\\x08\\x00\\x00\\x00\\x00'\n"
    );
    // Any other TLS is not PostgreSQL, which this resource demands.
    let said = converse(&world, port, &direct.replace("ALPN", "'http/1.1'"));
    assert!(!said.contains("R\\x00"), "{said}");
}

#[test]
fn bytes_in_the_clear_around_the_handshake_are_refused() {
    let world = World::new(VERIFIED);
    let port = world.scene.cluster.port();
    // CVE-2021-23214: what somebody put behind the client's question is not the client's.
    let said = converse(&world, port, "s.sendall(ask + start); print(hear(s))\n");
    assert!(said.contains("bytes in the clear"), "{said}");
    assert!(!said.starts_with("b'S"), "{said}");
    let said = converse(
        &world,
        port,
        "s.sendall(ask); print(hear(s, 1)); s.sendall(start); print(hear(s))\n",
    );
    assert!(
        said.starts_with("b'S'") && !said.contains("R\\x00"),
        "{said}"
    );
    // Twice is once too often, also inside of TLS.
    let twice = "s.sendall(ask); s.recv(1); t = ssl._create_unverified_context().wrap_socket(s)\n\
                 t.sendall(ask); print(hear(t))\n";
    assert!(converse(&world, port, twice).contains("0A000"));
    // A question in single bytes is one all the same, and so is a hello.
    let slowly = "import time\n\
                  for b in ask: s.sendall(bytes([b])); time.sleep(0.01)\n\
                  s.recv(1); t = ssl._create_unverified_context().wrap_socket(s)\n\
                  for b in start: t.sendall(bytes([b]))\n\
                  print(hear(t, 1))\n";
    assert_eq!(converse(&world, port, slowly), "b'R'\n");
    assert_eq!(world.works("sslmode=require"), "t|TLSv1.3");
}

/// A server of this program, outside of every governed tree; it prints its port first.
fn server(program: &str) -> (running::Running, u16) {
    let text = format!(
        "import socket\n\
         l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True)\n\
         while True:\n    s, _ = l.accept()\n    ask = s.recv(8)\n    {program}\n"
    );
    let mut command = std::process::Command::new(place::python().unwrap());
    command.args(["-u", "-c", &text]);
    let mut server = running::Running::start(&mut command).unwrap();
    server.wait_for_output("\n", running::PATIENCE).unwrap();
    let port = server.stdout().lines().next().unwrap().parse().unwrap();
    (server, port)
}

#[test]
fn a_server_that_does_not_keep_to_the_handshake_gets_no_statement() {
    let world = World::new(VERIFIED);
    for (program, reason) in [
        // CVE-2021-23222: words in the clear behind its yes are not its own.
        (
            "s.sendall(b'S' + b'R\\0\\0\\0\\x08\\0\\0\\0\\0Z\\0\\0\\0\\x05I'); print(s.recv(9999))",
            "TLS with the upstream",
        ),
        (
            "s.sendall(b'R\\0\\0\\0\\x08\\0\\0\\0\\0'); print(s.recv(9999))",
            "something else",
        ),
        (
            "s.sendall(b'ESFATAL\\0'); print(s.recv(9999))",
            "with an error",
        ),
        ("s.sendall(b'N'); print(s.recv(9999))", "does not offer any"),
        ("s.close()", "TLS with the upstream"),
    ] {
        let (server, port) = server(program);
        let text = policy::allow_all(&world.scene.subtree, port);
        let tls = VERIFIED.replace("$CA", &world.file("ca.pem").display().to_string());
        let text = text.replacen("\nports = ", &format!("\n{tls}\nports = "), 1);
        world.scene.daemon.put_in_force("test", &text).unwrap();
        let mut command = world.scene.job("psql").unwrap().command("psql");
        let address = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable");
        command.args(["-X", "-d", &address, "-c", "select 1"]);
        let outcome = running::run(&mut command).unwrap();
        assert_ne!(outcome.code(), 0);
        assert!(outcome.stderr.contains(reason), "{program}: {outcome:?}");
        assert!(!server.stdout().contains("user"), "{}", server.stdout());
    }
}

/// In a mount namespace of its own: the host's list of authorities stays as it is.
#[test]
fn the_authority_is_installed_exported_and_rotated() {
    let mut world = World::new(VERIFIED);
    let gateway = world.scene.daemon.gateway();
    let script = format!(
        "set -e; mkdir {0}/ssl; cp -a /etc/ssl/certs/. {0}/ssl; mount --bind {0}/ssl /etc/ssl/certs; \
         mount -t tmpfs none /usr/local/share/ca-certificates; {1} trust install; \
         cat /etc/ssl/certs/ca-certificates.crt",
        world.files.path().display(),
        gateway.get_program().display(),
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]);
    command.env("GATEWAY_CONFIG", world.scene.daemon.config_file());
    let installed = running::run(&mut command).unwrap().success().unwrap();
    let first = fs::read_to_string(world.trust()).unwrap();
    assert_eq!(first.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(
        installed.stdout.contains(first.trim()),
        "{}",
        installed.stdout
    );

    // After a rotation clients that have the bundle believe the old one and the new one.
    let rotated = world.scene.daemon.run(&["trust", "rotate"]).unwrap();
    rotated.success().unwrap();
    let bundle = world.trust();
    let both = fs::read_to_string(&bundle).unwrap();
    assert_eq!(both.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(both.contains(first.trim()));
    let verified = format!("sslmode=verify-full sslrootcert={}", bundle.display());
    assert_eq!(world.works(&verified), "t|TLSv1.3");
    world.scene.daemon.terminate().unwrap();
    world.scene.daemon.restart().unwrap();
    assert_eq!(world.works(&verified), "t|TLSv1.3");
    fs::write(world.file("old.pem"), &first).unwrap();
    let old = format!(
        "sslmode=verify-full sslrootcert={}",
        world.file("old.pem").display()
    );
    assert!(world.fails(&old).contains("certificate verify failed"));

    // A key that others may have read is not used, nor replaced.
    let key = world.scene.daemon.state().join("tls").join("ca.key");
    let before = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = world.scene.daemon.run(&["trust", "export"]).unwrap();
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("rotate --compromised"),
        "{refused:?}"
    );
    assert_eq!(fs::read(&key).unwrap(), before);
    let daemon = &world.scene.daemon;
    let rotated = daemon.run(&["trust", "rotate", "--compromised"]).unwrap();
    rotated.success().unwrap();
    let fresh = fs::read_to_string(world.trust()).unwrap();
    assert_eq!(fresh.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(!both.contains(fresh.trim()));
}

#[test]
fn where_a_policy_only_watches_tls_is_left_to_the_peers() {
    let world = World::new(VERIFIED);
    let (subtree, port) = (&world.scene.subtree, world.scene.cluster.port());
    let text = policy::allow_all(subtree, port).replacen("\"enforce\"", "\"observe\"", 1);
    world.scene.daemon.reload("test", &text).unwrap();
    let pinned = format!(
        "sslmode=verify-full sslrootcert={}",
        world.file("ca.pem").display()
    );
    gateway_tests::wait::until_true("a session", running::PATIENCE, || {
        world.psql(&pinned, "select 1").code() == 0
    })
    .unwrap();
    assert_eq!(world.last_session()["protocol"], "opaque");
    assert_eq!(world.works("sslmode=disable"), "f|");
    assert_eq!(world.last_session()["protocol"], "postgres");
}
