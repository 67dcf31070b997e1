//! The control API by network: TLS, tokens of a real OpenID provider, SCIM.
use crate::identity::World;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Provider, place, wait};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

const RULES: &str = "\
[[rule]]
name = \"people read\"
principals = [\"user:*@acme.example\"]
resources = [\"db\"]
verbs = [\"connect\", \"authenticate\", \"read\"]
verdict = \"allow\"

[[rule]]
name = \"a dba for writes\"
resources = [\"db\"]
verbs = [\"write\"]
verdict = \"hold\"
approvers = [\"user:dba@acme.example\"]
";

/// Sends one request, as any client of the network does, and prints the status and the body.
const REQUEST: &str = "import json, ssl, sys, urllib.error, urllib.request\n\
    method, url, authority, token, body = sys.argv[1:]\n\
    context = ssl.create_default_context(cafile=authority)\n\
    headers = {'Content-Type': 'application/json'}\n\
    if token: headers['Authorization'] = 'Bearer ' + token\n\
    data = body.encode() if body else None\n\
    request = urllib.request.Request(url, data=data, headers=headers, method=method)\n\
    try: answer = urllib.request.urlopen(request, context=context, timeout=20)\n\
    except urllib.error.HTTPError as error: answer = error\n\
    print(answer.status)\n\
    print(answer.read().decode())\n";

/// A world whose control API is on a port.
pub(crate) struct Remote {
    pub(crate) world: World,
    pub(crate) files: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Remote {
    fn new() -> Option<Remote> {
        let provider = Provider::start_or_skip(&["RS256"]).unwrap()?;
        Some(Remote::with(provider, free_port(), "", ""))
    }

    /// The same, with a key of the issuer and further sections of the configuration.
    pub(crate) fn with(provider: Provider, port: u16, client: &str, more: &str) -> Remote {
        let files = place::temporary_directory().unwrap();
        let path = |name: &str| files.path().join(name);
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=gateway",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .arg("-keyout")
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("cert.pem"));
        running::run(&mut openssl).unwrap().success().unwrap();
        std::fs::write(path("scim"), "the-token-of-the-identity-provider\n").unwrap();
        let sections = format!(
            "{client}\n[control]\nlisten = \"127.0.0.1:{port}\"\ncertificate = {:?}\nkey = {:?}\n\
             scim_token_file = {:?}\nroles = {{ viewer = [\"user:auditor@acme.example\"], \
             responder = [\"group:security\"] }}\n\n{more}",
            path("cert.pem"),
            path("key.pem"),
            path("scim"),
        );
        Remote {
            world: World::with(provider, RULES, &sections),
            files,
            port,
        }
    }

    pub(crate) fn authority(&self) -> std::path::PathBuf {
        self.files.path().join("cert.pem")
    }

    /// The status, and the body as it came.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let mut command = Command::new(place::python().unwrap());
        let url = format!("https://127.0.0.1:{}{path}", self.port);
        command.args(["-c", REQUEST, method, &url]);
        command.arg(self.authority()).args([token, body]);
        let outcome = running::run(&mut command).unwrap().success().unwrap();
        let (status, body) = outcome.stdout.split_once('\n').unwrap();
        (status.parse().unwrap(), body.trim().to_owned())
    }

    fn scim(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = "the-token-of-the-identity-provider";
        let (status, body) = self.ask(method, &format!("/scim/v2{path}"), token, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }
}

/// Below the ports that the kernel gives to others in the meantime.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = (std::process::id() % 1000) as u16 * 8;
    let mut candidates =
        std::iter::repeat_with(|| 21_000 + of_process + NEXT.fetch_add(1, Ordering::Relaxed));
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.find(free).unwrap()
}

#[test]
fn who_may_what_by_network() {
    let Some(remote) = Remote::new() else { return };
    let auditor = remote.world.token("auditor@acme.example");
    let nobody = remote.world.token("alice@acme.example");
    let kill = "{\"target\": \"s0000000000001\"}";
    for (method, path, token, body, expected) in [
        ("GET", "/healthz", "", "", 200),
        ("GET", "/v1/status", "", "", 401),
        ("GET", "/v1/status", "not-a-token", "", 401),
        ("GET", "/v1/status", &nobody, "", 403),
        ("GET", "/v1/status", &auditor, "", 200),
        ("GET", "/v1/operations", &auditor, "", 200),
        ("POST", "/v1/kill", &auditor, kill, 403),
        ("POST", "/v1/run", &auditor, "{}", 403),
        ("GET", "/scim/v2/Users", &auditor, "", 401),
        ("GET", "/scim/v2/Users", "", "", 401),
    ] {
        let (status, said) = remote.ask(method, path, token, body);
        assert_eq!(status, expected, "{method} {path}: {said}");
        assert!(token.is_empty() || !said.contains(token), "{said}");
    }
}

#[test]
fn an_update_is_approved_by_network() {
    let Some(remote) = Remote::new() else { return };
    let world = &remote.world;
    world.sql("create table accounts as select 1 as balance");
    let program = "import psycopg, sys\n\
        with psycopg.connect(sys.argv[1], autocommit=True) as c:\n    \
            print(c.execute('update accounts set balance = 0').rowcount, flush=True)\n";
    let alice = world.token("alice@acme.example");
    let job = world.job("update", &alice, program, &[&world.cluster.address()]);
    let dba = world.token("dba@acme.example");
    let question = wait::until("the question", PATIENCE, || {
        let (_, list) = remote.ask("GET", "/v1/approvals", &dba, "");
        serde_json::from_str::<Value>(list.lines().next()?).ok()
    })
    .unwrap();
    assert_eq!(question["principal"]["id"], "user:alice@acme.example");
    let path = format!("/v1/approvals/{}", question["id"].as_str().unwrap());
    let approve = "{\"approve\": true, \"reason\": \"month end\"}";
    // The job's own token; hers, got elsewhere; somebody whom the rule does not name.
    assert_eq!(remote.ask("POST", &path, &alice, approve).0, 401);
    for who in ["alice@acme.example", "auditor@acme.example"] {
        let token = world.token(who);
        assert_eq!(remote.ask("POST", &path, &token, approve).0, 403, "{who}");
    }
    assert_eq!(remote.ask("POST", &path, &dba, approve).0, 200);
    assert_eq!(
        remote.ask("POST", &path, &dba, approve).0,
        409,
        "used twice"
    );
    let outcome = job.wait(PATIENCE).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "1\n");
    let operation = world.logged("update accounts set balance = 0");
    let log = world.daemon.log().unwrap();
    let updates = log.iter().filter(|one| one["verb"] == "write");
    assert!(
        updates
            .clone()
            .any(|one| one["approver"] == "user:dba@acme.example"),
        "{operation}"
    );
}

/// As Okta and Entra do it.
#[test]
fn the_identity_provider_offboards_somebody() {
    let Some(remote) = Remote::new() else { return };
    let world = &remote.world;
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "bob@acme.example",
        "active": true,
    });
    let (status, made) = remote.scim("POST", "/Users", &user);
    assert_eq!(status, 201, "{made}");
    let program = "import psycopg, sys, time\n\
        with psycopg.connect(sys.argv[1], autocommit=True) as c:\n    \
            while True:\n        \
                try: c.execute(\"select 'bob'\"); print('passed', flush=True)\n        \
                except psycopg.Error as e: print(e.diag.message_primary, flush=True); break\n        \
                time.sleep(0.02)\n";
    let bob = world.token("bob@acme.example");
    let job = world.job("bob", &bob, program, &[&world.cluster.address()]);
    job.wait_for_output_of("passed", PATIENCE).unwrap();
    let off = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "Replace", "path": "active", "value": "False" }],
    });
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    let (status, said) = remote.scim("PATCH", &path, &off);
    assert_eq!(status, 200, "{said}");
    job.wait_for_output_of("is offboarded", PATIENCE).unwrap();
    let state: &Path = world.daemon.state();
    assert!(state.join("scim.bin").exists());
}
