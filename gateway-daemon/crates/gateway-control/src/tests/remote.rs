//! The control port over real TLS on loopback: who gets in, what is passed on, who is turned away.
mod hostile;
mod page;

use super::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// The token of the identity provider.
const SCIM_TOKEN: &str = "scim-7f3a9d";

#[derive(Default)]
struct FakeRemote {
    scim: Mutex<Vec<ScimRequest>>,
    /// Who was in each call that names a caller.
    callers: Mutex<Vec<String>>,
    answered: Mutex<HashSet<String>>,
    statement: Mutex<String>,
    now: Mutex<Duration>,
    randoms: AtomicU64,
    finished: Mutex<Vec<(String, String, String)>>,
    attempts: Mutex<Vec<Attempt>>,
    /// The authenticator waits as long as this is so.
    waits: AtomicBool,
    /// Threads in the authenticator.
    waiting: AtomicU64,
}

fn identity(name: &str, role: Role) -> Identity {
    Identity {
        principal: Principal {
            id: format!("user:{name}").into(),
            assurance: gateway_core::Assurance::Verified,
            groups: vec![],
        },
        role,
    }
}

impl Authenticator for FakeRemote {
    /// A token is the name of a role. A port that quotes the token in its reason does not leak it.
    fn authenticate(&self, bearer: &str) -> Result<Identity, AuthenticationError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while self.waits.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(bearer, "panic", "as asked");
        if bearer == "unavailable" {
            return Err(AuthenticationError::Unavailable(format!("{bearer} down")));
        }
        let role = Role::ALL.into_iter().find(|role| role.name() == bearer);
        role.map(|role| identity(bearer, role))
            .ok_or_else(|| AuthenticationError::Refused(format!("{bearer} is forged")))
    }
}

impl ScimPort for FakeRemote {
    fn admits(&self, bearer: &str) -> bool {
        bearer == SCIM_TOKEN
    }
    fn handle(&self, request: ScimRequest) -> ScimResponse {
        let location = (request.method == "POST").then(|| "https://g/scim/v2/Users/u1".to_owned());
        let empty = request.method == "DELETE";
        self.scim.lock().unwrap().push(request);
        ScimResponse {
            status: if empty { 204 } else { 201 },
            body: if empty {
                vec![]
            } else {
                b"{\"id\":\"u1\"}".to_vec()
            },
            location,
        }
    }
}

impl Switch for FakeRemote {
    fn kill(&self, caller: &Caller, _: Target) -> Option<u64> {
        self.callers.lock().unwrap().push(caller.to_string());
        Some(1)
    }
}

impl Revoker for FakeRemote {
    fn revoke(
        &self,
        caller: &Caller,
        principal: &str,
        _: bool,
        undo: bool,
    ) -> Result<RevokeView, PortError> {
        self.callers.lock().unwrap().push(caller.to_string());
        Ok(RevokeView {
            principal: principal.to_owned(),
            revoked: !undo,
            trees: 0,
            sessions: 0,
            questions: 0,
            processes: 0,
        })
    }
}

impl Approvals for FakeRemote {
    fn pending(
        &self,
        caller: &Caller,
        answerable: bool,
        _: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError> {
        self.callers.lock().unwrap().push(caller.to_string());
        let _ = out.line(format!("{{\"answerable\":{answerable}}}").into_bytes());
        Ok(())
    }

    fn answer(
        &self,
        caller: &Caller,
        id: &str,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<AnswerView, AnswerError> {
        let Caller::Remote(remote) = caller else {
            return Err(AnswerError::Failed("a local caller on the port".into()));
        };
        if &*remote.principal.id == "user:mallory" {
            return Err(AnswerError::NotAllowed("not among the approvers".into()));
        }
        if !self.answered.lock().unwrap().insert(id.to_owned()) {
            return Err(AnswerError::Over("somebody was first".into()));
        }
        self.callers
            .lock()
            .unwrap()
            .push(format!("{caller} {approve} {reason:?}"));
        Ok(AnswerView {
            id: id.to_owned(),
            verdict: if approve { "approved" } else { "denied" }.to_owned(),
            approver: remote.principal.id.to_string(),
        })
    }
}

struct RemoteServer {
    fake: Arc<Fake>,
    remote: Arc<FakeRemote>,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    _stop: oneshot::Sender<()>,
}

fn certificates() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn serve_remote_with(limits: RemoteLimits) -> RemoteServer {
    let (tls, client) = certificates();
    let fake = Arc::new(Fake::default());
    let remote = Arc::new(FakeRemote::default());
    *remote.statement.lock().unwrap() = "DELETE FROM users".to_owned();
    let ports = Ports {
        callers: fake.clone(),
        overview: fake.clone(),
        trees: fake.clone(),
        archive: fake.clone(),
        switch: remote.clone(),
        approvals: remote.clone(),
        revoker: remote.clone(),
        launcher: fake.clone(),
        logins: fake.clone(),
        ssh_sessions: fake.clone(),
    };
    let remote_ports = RemotePorts {
        authenticator: remote.clone(),
        scim: Some(remote.clone()),
        page: Some(PagePorts {
            page: remote.clone(),
            sign_in: remote.clone(),
            entropy: remote.clone(),
        }),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve_remote(
        listener,
        tls,
        ports,
        remote_ports,
        limits,
        async {
            let _ = stopped.await;
        },
    ));
    RemoteServer {
        fake,
        remote,
        address,
        tls: client,
        _stop: stop,
    }
}

/// What comes back for raw bytes over TLS, until the daemon closes.
fn exchange(address: SocketAddr, tls: Arc<ClientConfig>, request: &[u8]) -> String {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let name = ServerName::try_from("gateway.test").unwrap();
    let connection = ClientConnection::new(tls, name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn of(text: &str) -> Reply {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Reply {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl RemoteServer {
    async fn raw(&self, request: impl Into<Vec<u8>>) -> String {
        let (address, tls, request) = (self.address, Arc::clone(&self.tls), request.into());
        tokio::task::spawn_blocking(move || exchange(address, tls, &request))
            .await
            .unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n{headers}\
             Content-Length: {length}\r\n\r\n{body}"
        );
        Reply::of(&self.raw(request).await)
    }

    async fn with(&self, token: &str, method: &str, path: &str, body: &str) -> Reply {
        let header = format!("Authorization: Bearer {token}\r\n");
        self.ask(method, path, &header, body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_gets_what_the_table_says_and_nobody_runs() {
    let server = serve_remote_with(RemoteLimits::default());
    let kill = "{\"target\":\"s000000000000a\"}";
    let revoke = "{\"principal\":\"user:x\"}";
    let answer = "{\"approve\":true}";
    let asked = [
        ("GET", "/healthz", ""),
        ("GET", "/readyz", ""),
        ("GET", "/metrics", ""),
        ("GET", "/v1/status", ""),
        ("GET", "/v1/trees", ""),
        ("GET", "/v1/lineage/t0000000000002", ""),
        ("GET", "/v1/sessions", ""),
        ("GET", "/v1/sessions/s000000000000b", ""),
        ("GET", "/v1/operations", ""),
        ("GET", "/v1/acts", ""),
        ("GET", "/v1/approvals", ""),
        ("POST", "/v1/kill", kill),
        ("POST", "/v1/revoke", revoke),
        ("POST", "/v1/run", "{}"),
        ("GET", "/v1/nope", ""),
        ("GET", "/v1/kill", ""),
    ];
    let everything = [
        200, 200, 200, 200, 200, 200, 200, 404, 200, 200, 200, 200, 200, 403, 404, 405,
    ];
    let looks = [
        200, 200, 200, 200, 200, 200, 200, 404, 200, 200, 200, 403, 403, 403, 404, 405,
    ];
    let waits = [
        200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 200, 403, 403, 403, 404, 405,
    ];
    for (role, expected) in [
        ("admin", everything),
        ("responder", everything),
        ("viewer", looks),
        ("approver", waits),
        ("none", waits),
    ] {
        for ((method, path, body), status) in asked.iter().zip(expected) {
            let reply = server.with(role, method, path, body).await;
            assert_eq!(reply.status, status, "{role} {method} {path}");
        }
        // Whether one may answer, the question's rules say: also who has no role may be named.
        let path = format!("/v1/approvals/{role}");
        let reply = server.with(role, "POST", &path, answer).await;
        assert_eq!(reply.status, 200, "{role}");
        let again = server.with(role, "POST", &path, answer).await;
        assert_eq!(again.status, 409, "{role}");
    }
    let stranger = server.with("none", "GET", "/v1/approvals", "").await;
    assert!(stranger.body.contains("\"answerable\":true"));
    let approver = server.with("approver", "GET", "/v1/approvals", "").await;
    assert!(approver.body.contains("\"answerable\":false"));
    assert!(
        server.fake.ran.lock().unwrap().is_empty(),
        "no run reached the port"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_act_is_told_with_who_did_it_and_from_where() {
    let server = serve_remote_with(RemoteLimits::default());
    let kill = "{\"target\":\"s000000000000a\"}";
    let revoke = "{\"principal\":\"user:x\"}";
    server.with("responder", "POST", "/v1/kill", kill).await;
    server.with("admin", "POST", "/v1/revoke", revoke).await;
    let answer = "{\"approve\":false,\"reason\":\"no\"}";
    server
        .with("none", "POST", "/v1/approvals/q1", answer)
        .await;
    let callers = server.remote.callers.lock().unwrap();
    let expected = [
        ("user:responder from 127.0.0.1:", ""),
        ("user:admin from 127.0.0.1:", ""),
        ("user:none from 127.0.0.1:", " false Some(\"no\")"),
    ];
    assert_eq!(callers.len(), expected.len());
    for (caller, (start, end)) in callers.iter().zip(expected) {
        assert!(
            caller.starts_with(start) && caller.ends_with(end),
            "{caller}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_gets_nothing_and_no_token_comes_back() {
    let server = serve_remote_with(RemoteLimits::default());
    assert_eq!(server.ask("GET", "/healthz", "", "").await.status, 200);
    let junk = "eyJhbGciOiJub25lIn0.SECRET-part.x";
    for path in ["/readyz", "/metrics", "/v1/status", "/v1/run", "/nope", "/"] {
        let reply = server.ask("GET", path, "", "").await;
        assert_eq!(reply.status, 401, "{path}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert_eq!(challenge, "Bearer realm=\"gateway\"");
    }
    for (headers, status) in [
        (format!("Authorization: Bearer {junk}\r\n"), 401),
        (format!("Authorization: Bearer {SCIM_TOKEN}\r\n"), 401),
        (format!("Authorization: Basic {junk}\r\n"), 401),
        (format!("Authorization: {junk}\r\n"), 401),
        (format!("Authorization: Bearer {junk} {junk}\r\n"), 401),
        (format!("Authorization: Bearer {junk}\u{e9}\r\n"), 401),
        ("Authorization: Bearer admin\r\n".repeat(2), 401),
        (
            format!("Authorization: Bearer {}\r\n", "S".repeat(16 * 1024 + 1)),
            401,
        ),
        ("Authorization: Bearer unavailable\r\n".to_owned(), 503),
        ("Authorization: Bearer panic\r\n".to_owned(), 500),
        ("Cookie: token=admin\r\n".to_owned(), 401),
    ] {
        let reply = server.ask("GET", "/v1/status", &headers, "").await;
        let told = format!("{}\n{}", reply.head, reply.body);
        assert_eq!(
            reply.status,
            status,
            "{}",
            &headers[..headers.len().min(60)]
        );
        for secret in ["SECRET", SCIM_TOKEN, "SSSS", "unavailable down"] {
            assert!(!told.contains(secret), "{told}");
        }
        assert!(!reply.body.contains("\"pid\""));
    }
    let refused = server.with(junk, "GET", "/v1/status", "").await;
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
    let in_query = server
        .ask("GET", "/v1/status?access_token=admin", "", "")
        .await;
    assert_eq!(
        in_query.status, 401,
        "a token in an address is in every log"
    );
    let longest = "S".repeat(16 * 1024);
    let reply = server.with(&longest, "GET", "/v1/status", "").await;
    assert_eq!(reply.status, 401);
    assert!(
        reply
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_has_a_token_of_its_own_and_is_passed_everything() {
    let server = serve_remote_with(RemoteLimits::default());
    for token in ["admin", "scim-7f3a9", "scim-7f3a9dd"] {
        let reply = server.with(token, "GET", "/scim/v2/Users", "").await;
        assert_eq!(reply.status, 401, "{token}");
    }
    assert_eq!(
        server.ask("GET", "/scim/v2/Users", "", "").await.status,
        401
    );
    assert!(server.remote.scim.lock().unwrap().is_empty());
    let path = "/scim/v2/Users?filter=userName%20eq%20%22a%22&count=1";
    let made = server
        .with(SCIM_TOKEN, "POST", path, "{\"userName\":\"a\"}")
        .await;
    assert_eq!(made.status, 201);
    assert_eq!(made.body, "{\"id\":\"u1\"}");
    assert_eq!(made.header("content-type"), Some("application/scim+json"));
    assert_eq!(made.header("location"), Some("https://g/scim/v2/Users/u1"));
    let gone = server
        .with(SCIM_TOKEN, "DELETE", "/scim/v2/Users/u1", "")
        .await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(1024 * 1024 - 8));
    assert_eq!(large.len(), 1024 * 1024);
    assert_eq!(
        server
            .with(SCIM_TOKEN, "PUT", "/scim/v2/Users/u1", &large)
            .await
            .status,
        201
    );
    let larger = format!("{large} ");
    let refused = server
        .with(SCIM_TOKEN, "PUT", "/scim/v2/Users/u1", &larger)
        .await;
    assert_eq!(refused.status, 413);
    assert!(
        refused
            .body
            .contains("urn:ietf:params:scim:api:messages:2.0:Error")
    );
    assert_eq!(
        server
            .with(SCIM_TOKEN, "TRACE", "/scim/v2/Users", "")
            .await
            .status,
        405
    );
    let seen = server.remote.scim.lock().unwrap();
    assert_eq!(seen.len(), 3);
    let first = seen.first().unwrap();
    assert_eq!(
        (
            first.method.as_str(),
            first.path.as_str(),
            first.query.as_str(),
            &*first.body
        ),
        (
            "POST",
            "/Users",
            "filter=userName%20eq%20%22a%22&count=1",
            &b"{\"userName\":\"a\"}"[..]
        )
    );
    assert!(first.address.ip().is_loopback());
}
