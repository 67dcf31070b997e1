//! The whole API over a real socket, with ports that are made up: answers and permissions.
mod hostile;
mod remote;

use super::*;
use crate::view::{
    AnswerView, KillView, LineageView, LoginBegunView, LoginView, RevokeView, RunView,
    SshSessionView, StatusView, TreeView,
};
use gateway_core::{Principal, SessionId, TreeId};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const OWN: TreeId = TreeId(1);
const OTHER: TreeId = TreeId(2);
const KNOWN: SessionId = SessionId(10);

struct Fake {
    tree: Mutex<Result<Option<TreeId>, PortError>>,
    role: Mutex<Role>,
    archive_fails: AtomicBool,
    fails_after: AtomicU64,
    panics: AtomicBool,
    /// Followers whose thread still runs.
    following: AtomicU64,
    killed: Mutex<Vec<Target>>,
    ran: Mutex<Vec<(u32, Standing, Option<String>)>>,
    /// Whoever was to sign in has left.
    left: Arc<AtomicBool>,
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            tree: Mutex::new(Ok(None)),
            role: Mutex::new(Role::Admin),
            archive_fails: AtomicBool::new(false),
            fails_after: AtomicU64::new(u64::MAX),
            panics: AtomicBool::new(false),
            following: AtomicU64::new(0),
            killed: Mutex::default(),
            ran: Mutex::default(),
            left: Arc::default(),
        }
    }
}

impl Fake {
    fn is(&self, tree: Option<TreeId>, role: Role) {
        *self.tree.lock().unwrap() = Ok(tree);
        *self.role.lock().unwrap() = role;
    }
}

impl Callers for Fake {
    fn tree_of(&self, peer: &Peer) -> Result<Option<TreeId>, PortError> {
        assert_eq!(peer.pid, std::process::id());
        self.tree.lock().unwrap().clone()
    }
    fn role_of(&self, _: &Peer) -> Role {
        *self.role.lock().unwrap()
    }
}

impl Overview for Fake {
    fn status(&self) -> StatusView {
        assert!(!self.panics.load(Ordering::Relaxed), "as asked");
        StatusView {
            pid: 42,
            ..StatusView::default()
        }
    }
    fn metrics(&self) -> Metrics {
        Metrics {
            sessions_active: 5,
            ..Metrics::default()
        }
    }
    fn ready(&self) -> bool {
        !self.panics.load(Ordering::Relaxed)
    }
}

fn tree_view(tree: TreeId) -> TreeView {
    TreeView {
        tree,
        policy: "p".into(),
        mode: None,
        principal: Principal::unknown(),
        opened: None,
        why: "run".into(),
        root: None,
        cgroup: "/a".into(),
        processes: 1,
        sessions: 0,
    }
}

impl Trees for Fake {
    fn trees(&self, only: Option<TreeId>) -> Vec<TreeView> {
        [OWN, OTHER]
            .into_iter()
            .filter(|t| only.is_none_or(|o| o == *t))
            .map(tree_view)
            .collect()
    }
    fn lineage(&self, of: Target) -> Result<Option<LineageView>, PortError> {
        let Target::Tree(tree) = of else {
            return Ok(None);
        };
        Ok((tree == OWN || tree == OTHER).then(|| LineageView {
            tree,
            policy: "p".into(),
            principal: Principal::unknown(),
            delegates: vec![],
            why: "run".into(),
            session: None,
            pid: None,
            processes: vec![],
        }))
    }
}

impl Archive for Fake {
    fn sessions(&self, filter: &Filter, out: &mut dyn LineSink) -> Result<(), PortError> {
        let line = format!("{{\"grep\":{}}}", serde_json::json!(filter.grep));
        let _ = out.line(line.into_bytes());
        Ok(())
    }
    fn operations(
        &self,
        _: &Filter,
        follow: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError> {
        if self.archive_fails.load(Ordering::Relaxed) {
            return Err(PortError("the journal is gone".into()));
        }
        self.following.fetch_add(1, Ordering::SeqCst);
        let mut number = 0;
        loop {
            if number >= self.fails_after.load(Ordering::Relaxed) {
                self.following.fetch_sub(1, Ordering::SeqCst);
                return Err(PortError("broken".into()));
            }
            let line = format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(200));
            number += 1;
            let gone = out.line(line.into_bytes()).is_err()
                || (follow && number % 10 == 0 && out.pause(Duration::from_millis(5)).is_err());
            if gone || (!follow && number == 1000) {
                break;
            }
        }
        self.following.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
    fn acts(&self, filter: &ActFilter, out: &mut dyn LineSink) -> Result<(), PortError> {
        let _ = out.line(format!("{{\"act\":{}}}", serde_json::json!(filter.act)).into_bytes());
        Ok(())
    }
    fn session(&self, session: SessionId, out: &mut dyn LineSink) -> Result<bool, PortError> {
        if session != KNOWN {
            return Ok(false);
        }
        let _ = out.line(b"{\"session\":1}".to_vec());
        Ok(true)
    }
    fn replay(
        &self,
        session: SessionId,
        after: Option<u64>,
        out: &mut dyn LineSink,
    ) -> Result<bool, PortError> {
        if session != KNOWN {
            return Ok(false);
        }
        let _ = out.line(format!("{{\"after\":{}}}", serde_json::json!(after)).into_bytes());
        Ok(true)
    }
}

impl Switch for Fake {
    fn kill(&self, _: &Caller, target: Target) -> Option<u64> {
        self.killed.lock().unwrap().push(target);
        (target == Target::Session(KNOWN)).then_some(1)
    }
}

impl Approvals for Fake {
    fn pending(
        &self,
        _: &Caller,
        answerable: bool,
        watch: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError> {
        let line = format!("{{\"answerable\":{answerable},\"watch\":{watch}}}");
        let _ = out.line(line.into_bytes());
        Ok(())
    }

    fn answer(
        &self,
        _: &Caller,
        id: &str,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<AnswerView, AnswerError> {
        match id {
            "q1" => Ok(AnswerView {
                id: id.to_owned(),
                verdict: if approve { "approved" } else { "denied" }.to_owned(),
                approver: reason.unwrap_or_default().to_owned(),
            }),
            "q2" => Err(AnswerError::Over("bob was first".into())),
            "q3" => Err(AnswerError::NotAllowed("it is your own".into())),
            "q4" => Err(AnswerError::Failed("the disk is full".into())),
            _ => Err(AnswerError::Unknown("no such question".into())),
        }
    }
}

impl Revoker for Fake {
    fn revoke(
        &self,
        _: &Caller,
        principal: &str,
        stop: bool,
        undo: bool,
    ) -> Result<RevokeView, PortError> {
        Ok(RevokeView {
            principal: principal.to_owned(),
            revoked: !undo,
            trees: 1,
            sessions: 2,
            questions: 0,
            processes: u64::from(stop),
        })
    }
}

impl Launcher for Fake {
    fn run(
        &self,
        peer: &Peer,
        standing: Standing,
        policy: Option<&str>,
        _: Option<&str>,
    ) -> Result<RunView, RunError> {
        self.ran
            .lock()
            .unwrap()
            .push((peer.pid, standing, policy.map(str::to_owned)));
        match policy {
            Some("missing") => Err(RunError::NoPolicy("no policy named missing".into())),
            Some("broken") => Err(RunError::Failed("no room".into())),
            _ => Ok(RunView {
                tree: OWN,
                policy: "p".into(),
                stayed: false,
                harden: vec![],
            }),
        }
    }
}

impl SshSessions for Fake {
    fn open(
        &self,
        peer: &Arc<Peer>,
        login: &SshSession,
    ) -> Result<SshSessionView, SshSessionError> {
        assert_eq!(peer.pid, std::process::id());
        match login.user.as_str() {
            "outside" => return Err(SshSessionError::NotSshd("not behind sshd".into())),
            "nobody" => return Err(SshSessionError::Refused("no such policy".into())),
            "broken" => return Err(SshSessionError::Failed("no room".into())),
            _ => {}
        }
        Ok(SshSessionView {
            principal: Principal {
                id: format!("{login:?}").into(),
                ..Principal::unknown()
            },
            tree: OWN,
            policy: "p".into(),
        })
    }
}

impl Logins for Fake {
    fn begin(
        &self,
        _: &Arc<Peer>,
        tree: TreeId,
        issuer: Option<&str>,
    ) -> Result<(LoginBegunView, Box<dyn PendingLogin>), LoginError> {
        match issuer {
            Some("missing") => return Err(LoginError::Issuer("there is no such issuer".into())),
            Some("bound") => return Err(LoginError::Refused("somebody else is bound".into())),
            Some("busy") => return Err(LoginError::Busy("later".into())),
            Some("broken") => return Err(LoginError::Failed("no keys".into())),
            _ => {}
        }
        let begun = LoginBegunView {
            verification_uri: "https://issuer.test/device".into(),
            verification_uri_complete: None,
            user_code: "ABCD".into(),
            expires_in: 600,
        };
        let pending = FakeLogin {
            tree,
            issuer: issuer.map(str::to_owned),
            left: Arc::clone(&self.left),
        };
        Ok((begun, Box::new(pending)))
    }

    fn present(
        &self,
        _: &Arc<Peer>,
        tree: TreeId,
        response: &str,
    ) -> Result<LoginView, LoginError> {
        match response {
            "none" => Err(LoginError::Issuer("no [[saml]] is configured".into())),
            "forged" => Err(LoginError::Refused("it is forged".into())),
            "busy" => Err(LoginError::Busy("later".into())),
            _ => Ok(LoginView {
                principal: gateway_core::Principal::unknown(),
                tree,
            }),
        }
    }
}

struct FakeLogin {
    tree: TreeId,
    issuer: Option<String>,
    left: Arc<AtomicBool>,
}

impl Drop for FakeLogin {
    fn drop(&mut self) {
        let slow = self.issuer.as_deref() == Some("slow");
        self.left.fetch_or(slow, Ordering::Relaxed);
    }
}

impl PendingLogin for FakeLogin {
    fn wait(self: Box<Self>, out: &mut dyn LineSink) -> Result<Option<LoginView>, LoginError> {
        match self.issuer.as_deref() {
            Some("denied") => return Err(LoginError::Refused("the sign-in was denied".into())),
            Some("slow") => {
                while out.pause(Duration::from_secs(30)).is_ok() {}
                return Ok(None);
            }
            _ => {}
        }
        Ok(Some(LoginView {
            principal: gateway_core::Principal::unknown(),
            tree: self.tree,
        }))
    }
}

struct Server {
    fake: Arc<Fake>,
    client: Client,
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

fn serve_with(limits: Limits) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let fake = Arc::new(Fake::default());
    let ports = Ports {
        callers: fake.clone(),
        overview: fake.clone(),
        trees: fake.clone(),
        archive: fake.clone(),
        switch: fake.clone(),
        approvals: fake.clone(),
        revoker: fake.clone(),
        launcher: fake.clone(),
        logins: fake.clone(),
        ssh_sessions: fake.clone(),
    };
    let socket = ControlSocket::bind(&path).unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(socket, ports, limits, async {
        let _ = stopped.await;
    }));
    let client = Client::new(&path);
    Server {
        fake,
        client,
        path,
        stop: Some(stop),
        served,
        _directory: directory,
    }
}

/// What comes back for raw bytes, until the daemon closes.
async fn raw(path: &std::path::Path, request: &[u8]) -> String {
    let (path, request) = (path.to_owned(), request.to_owned());
    let exchange = move || {
        let mut stream = StdStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

async fn get(server: &Server, path: &str) -> (u16, String) {
    let answer = raw(
        &server.path,
        format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n").as_bytes(),
    )
    .await;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    (status, answer)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_gets_every_answer() {
    let server = serve_with(Limits::default());
    assert_eq!(server.client.status().await.unwrap().pid, 42);
    assert_eq!(
        server.client.trees().await.unwrap(),
        [tree_view(OWN), tree_view(OTHER)]
    );
    assert_eq!(
        server
            .client
            .lineage(Target::Tree(OTHER))
            .await
            .unwrap()
            .tree,
        OTHER
    );
    let mut lines = 0;
    let mut count = |line: &[u8]| {
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        lines += 1;
        ControlFlow::Continue(())
    };
    server
        .client
        .operations(&Filter::default(), false, &mut count)
        .await
        .unwrap();
    assert_eq!(lines, 1000);
    let filter = Filter {
        grep: Some("a&b=c ü".into()),
        ..Filter::default()
    };
    let mut seen = String::new();
    let mut keep = |line: &[u8]| {
        seen = String::from_utf8_lossy(line).into_owned();
        ControlFlow::Continue(())
    };
    server.client.sessions(&filter, &mut keep).await.unwrap();
    assert_eq!(seen, "{\"grep\":\"a&b=c ü\"}");
    let mut keep = |line: &[u8]| {
        seen = String::from_utf8_lossy(line).into_owned();
        ControlFlow::Continue(())
    };
    server.client.session(KNOWN, &mut keep).await.unwrap();
    assert_eq!(seen, "{\"session\":1}");
    for (after, expected) in [(None, "{\"after\":null}"), (Some(7), "{\"after\":7}")] {
        let mut keep = |line: &[u8]| {
            seen = String::from_utf8_lossy(line).into_owned();
            ControlFlow::Continue(())
        };
        server.client.replay(KNOWN, after, &mut keep).await.unwrap();
        assert_eq!(seen, expected);
    }
    let killed = server.client.kill(Target::Session(KNOWN)).await.unwrap();
    assert_eq!(killed, KillView { killed: 1 });
    assert_eq!(server.client.run(Some("p"), None).await.unwrap().tree, OWN);
    assert_eq!(
        *server.fake.ran.lock().unwrap(),
        [(std::process::id(), Standing::Admin, Some("p".to_owned()))]
    );
    assert_eq!(get(&server, "/healthz").await.0, 200);
    assert_eq!(get(&server, "/readyz").await.0, 200);
    assert!(
        get(&server, "/metrics")
            .await
            .1
            .contains("gateway_sessions_active 5")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_caller_gets_what_it_may() {
    let server = serve_with(Limits::default());
    let paths = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/status",
        "/v1/trees",
        "/v1/lineage/t0000000000002",
        "/v1/lineage/t0000000000001",
        "/v1/lineage/t0000000000009",
        "/v1/sessions",
        "/v1/sessions/s000000000000a",
        "/v1/sessions/s000000000000b",
        "/v1/operations",
        "/v1/replay/s000000000000a?after=1",
        "/v1/replay/s000000000000b",
        "/v1/replay/s000000000000a?after=x",
    ];
    let expected = [
        (
            Some(OWN),
            Role::Admin,
            [
                403, 403, 403, 403, 200, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403,
            ],
        ),
        (
            None,
            Role::Admin,
            [
                200, 200, 200, 200, 200, 200, 200, 404, 200, 200, 404, 200, 200, 404, 400,
            ],
        ),
        (
            None,
            Role::Reader,
            [
                200, 200, 200, 200, 200, 200, 200, 404, 200, 200, 404, 200, 200, 404, 400,
            ],
        ),
        (
            None,
            Role::None,
            [
                200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403,
            ],
        ),
        (
            None,
            Role::Responder,
            [
                200, 200, 200, 200, 200, 200, 200, 404, 200, 200, 404, 200, 200, 404, 400,
            ],
        ),
        (
            None,
            Role::Approver,
            [
                200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403,
            ],
        ),
    ];
    for (tree, role, statuses) in expected {
        server.fake.is(tree, role);
        for (path, status) in paths.iter().zip(statuses) {
            assert_eq!(
                get(&server, path).await.0,
                status,
                "{tree:?} {role:?} {path}"
            );
        }
        let kill = server.client.kill(Target::Session(KNOWN)).await;
        match (tree, role) {
            (None, Role::Admin | Role::Responder) => assert!(kill.is_ok()),
            _ => assert!(
                matches!(kill, Err(ClientError::NotPermitted(_))),
                "{tree:?} {role:?}"
            ),
        }
        assert!(
            server.client.run(None, None).await.is_ok(),
            "run gives nobody more than it had"
        );
    }
    assert_eq!(
        server.fake.killed.lock().unwrap().len(),
        2,
        "only those of the admin and of the responder reached the port"
    );
    server.fake.is(Some(OWN), Role::Admin);
    assert_eq!(
        server.client.trees().await.unwrap(),
        [tree_view(OWN)],
        "its own tree only"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_cannot_be_told_is_refused() {
    let server = serve_with(Limits::default());
    *server.fake.tree.lock().unwrap() = Err(PortError("the map is gone".into()));
    for path in ["/healthz", "/v1/status"] {
        assert_ne!(get(&server, path).await.0, 200, "{path}");
    }
    assert!(server.client.run(None, None).await.is_err());
    assert!(server.fake.ran.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_told_apart() {
    let server = serve_with(Limits::default());
    let Server { fake, client, .. } = &server;
    let mut ignore = |_: &[u8]| ControlFlow::Continue(());
    let missing = client.session(SessionId(99), &mut ignore).await;
    assert!(matches!(missing, Err(ClientError::NotFound(_))));
    let missing = client.kill(Target::Tree(TreeId(99))).await;
    assert!(matches!(missing, Err(ClientError::NotFound(_))));
    let process = client.kill(Target::Process(1)).await;
    assert!(matches!(process, Err(ClientError::BadRequest(_))));
    for policy in ["missing", "broken"] {
        let refused = client.run(Some(policy), None).await;
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{policy}");
    }
    fake.archive_fails.store(true, Ordering::Relaxed);
    let failed = client
        .operations(&Filter::default(), false, &mut ignore)
        .await;
    assert!(matches!(failed, Err(ClientError::Refused(reason)) if reason == "the journal is gone"));
    fake.archive_fails.store(false, Ordering::Relaxed);
    fake.fails_after.store(500, Ordering::Relaxed);
    let cut = client
        .operations(&Filter::default(), false, &mut ignore)
        .await;
    assert!(
        matches!(cut, Err(ClientError::Answer(_))),
        "a part is never taken for the whole"
    );
    fake.panics.store(true, Ordering::Relaxed);
    assert!(matches!(
        client.status().await,
        Err(ClientError::Refused(_))
    ));
    assert_eq!(get(&server, "/readyz").await.0, 503);
    let nobody = Client::new(&server.path.with_file_name("nobody.sock"));
    assert!(matches!(
        nobody.status().await,
        Err(ClientError::Unreachable { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_daemon_ends_followers_and_removes_the_socket() {
    let mut server = serve_with(Limits::default());
    let client = server.client.clone();
    let following = tokio::spawn(async move {
        let mut ignore = |_: &[u8]| ControlFlow::Continue(());
        client
            .operations(&Filter::default(), true, &mut ignore)
            .await
    });
    let fake = Arc::clone(&server.fake);
    until("it follows", || fake.following.load(Ordering::SeqCst) == 1).await;
    server.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.served)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(
        following.await.unwrap(),
        Err(ClientError::Answer(_))
    ));
    until("its thread ended", || {
        fake.following.load(Ordering::SeqCst) == 0
    })
    .await;
    assert!(!server.path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_are_seen_and_answered_by_who_may() {
    let server = serve_with(Limits::default());
    for (tree, role, expected) in [
        (None, Role::Admin, Some(false)),
        (None, Role::Responder, Some(false)),
        (None, Role::Reader, Some(false)),
        (None, Role::Approver, Some(false)),
        (None, Role::None, Some(true)),
        (Some(OWN), Role::Admin, None),
    ] {
        server.fake.is(tree, role);
        for watch in [false, true] {
            let mut seen = String::new();
            let asked = server
                .client
                .approvals(watch, &mut |line| {
                    seen = String::from_utf8_lossy(line).into_owned();
                    ControlFlow::Continue(())
                })
                .await;
            match expected {
                Some(answerable) => assert_eq!(
                    seen,
                    format!("{{\"answerable\":{answerable},\"watch\":{watch}}}")
                ),
                None => assert!(matches!(asked, Err(ClientError::NotPermitted(_)))),
            }
        }
        let answered = server.client.answer("q1", true, Some("fine")).await;
        match expected {
            Some(_) => assert_eq!(answered.unwrap().verdict, "approved"),
            // Also as root: a process inside a governed tree never approves.
            None => assert!(matches!(answered, Err(ClientError::NotPermitted(_)))),
        }
        let revoked = server.client.revoke("user:mallory", true, false).await;
        match role {
            Role::Admin | Role::Responder if tree.is_none() => assert!(revoked.unwrap().revoked),
            _ => assert!(matches!(revoked, Err(ClientError::NotPermitted(_)))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_taken_say_why() {
    let server = serve_with(Limits::default());
    let answer = async |id: &str| server.client.answer(id, false, None).await.unwrap_err();
    assert!(matches!(answer("q2").await, ClientError::Refused(_)));
    assert!(matches!(answer("q3").await, ClientError::NotPermitted(_)));
    assert!(matches!(answer("q4").await, ClientError::Refused(_)));
    for unknown in ["q9", "", "../kill", "a/b", "q1?x"] {
        assert!(
            matches!(answer(unknown).await, ClientError::NotFound(_)),
            "{unknown:?}"
        );
    }
    let body = "{\"principal\":\"x\",\"stop\":true,\"undo\":true}";
    for (path, body, expected) in [
        ("/v1/revoke", body, " 400 "),
        ("/v1/revoke", "{}", " 400 "),
        ("/v1/approvals/q1", "{\"approve\":1}", " 400 "),
        ("/v1/approvals/q1", "{\"approve\":true,\"x\":1}", " 400 "),
    ] {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let answer = raw(&server.path, request.as_bytes()).await;
        assert!(answer.contains(expected), "{path} {body}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_signed_in_by_who_is_in_it() {
    let server = serve_with(Limits::default());
    let Server { fake, client, .. } = &server;
    let login = async |issuer: Option<&str>| {
        let mut lines: Vec<serde_json::Value> = Vec::new();
        let mut each = |line: &[u8]| {
            lines.push(serde_json::from_slice(line).unwrap());
            ControlFlow::Continue(())
        };
        let answer = client.login(issuer, &mut each).await;
        (answer, lines)
    };
    for role in Role::ALL {
        fake.is(None, role);
        let (answer, lines) = login(None).await;
        assert!(
            matches!(&answer, Err(ClientError::Refused(reason)) if reason.contains("only a governed")),
            "{role:?} {answer:?}"
        );
        assert!(lines.is_empty());
    }
    fake.is(Some(OWN), Role::Admin);
    let (answer, lines) = login(None).await;
    assert!(answer.is_ok());
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["user_code"], "ABCD");
    assert_eq!(lines[1]["tree"], OWN.to_string());
    let (answer, lines) = login(Some("denied")).await;
    assert!(answer.is_ok());
    assert_eq!(
        lines[1],
        serde_json::json!({ "error": "the sign-in was denied" })
    );
    let missing = login(Some("missing")).await.0;
    assert!(
        matches!(missing, Err(ClientError::BadRequest(_))),
        "{missing:?}"
    );
    for issuer in ["bound", "busy", "broken"] {
        let refused = login(Some(issuer)).await.0;
        assert!(
            matches!(refused, Err(ClientError::Refused(_))),
            "{refused:?}"
        );
    }
    // The code is there while the person is waited for; and the wait ends with the caller.
    let mut leaving = StdStream::connect(&server.path).unwrap();
    leaving
        .write_all(b"POST /v1/login HTTP/1.1\r\nHost: g\r\nContent-Length: 17\r\n\r\n{\"issuer\":\"slow\"}")
        .unwrap();
    let mut answer = String::new();
    while !answer.contains("ABCD") {
        let mut bytes = [0; 4096];
        let read = leaving.read(&mut bytes).unwrap();
        assert_ne!(read, 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    drop(leaving);
    until("the wait to end", || fake.left.load(Ordering::Relaxed)).await;
}

#[tokio::test]
async fn only_ungoverned_root_speaks_for_sshd() {
    let server = serve_with(Limits::default());
    let (fake, client) = (&server.fake, &server.client);
    let login = |user: &str| SshSession {
        user: user.to_owned(),
        auth_info: "password\n".to_owned(),
        host: Some("192.0.2.1".to_owned()),
        policy: None,
    };
    for role in Role::ALL {
        // Inside a tree nobody does, whatever the user.
        fake.is(Some(OWN), role);
        let refused = client.ssh_session(&login("alice")).await;
        assert!(
            matches!(&refused, Err(ClientError::NotPermitted(reason)) if reason.contains("pam_systemd")),
            "{role:?} {refused:?}"
        );
        fake.is(None, role);
        let answer = client.ssh_session(&login("alice")).await;
        match role {
            Role::Admin => {
                let view = answer.unwrap();
                assert_eq!(&*view.principal.id, format!("{:?}", login("alice")));
                assert_eq!(view.tree, OWN);
            }
            _ => assert!(
                matches!(answer, Err(ClientError::NotPermitted(_))),
                "{role:?} {answer:?}"
            ),
        }
    }
    fake.is(None, Role::Admin);
    let answer = client.ssh_session(&login("outside")).await;
    assert!(
        matches!(answer, Err(ClientError::NotPermitted(_))),
        "{answer:?}"
    );
    for user in ["nobody", "broken"] {
        let answer = client.ssh_session(&login(user)).await;
        assert!(matches!(answer, Err(ClientError::Refused(_))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_signed_in_by_what_is_presented_in_it() {
    let server = serve_with(Limits::default());
    let Server { fake, client, .. } = &server;
    for role in Role::ALL {
        fake.is(None, role);
        let answer = client.login_saml("good").await;
        assert!(
            matches!(&answer, Err(ClientError::Refused(reason)) if reason.contains("only a governed")),
            "{role:?} {answer:?}"
        );
    }
    fake.is(Some(OWN), Role::None);
    assert_eq!(client.login_saml("good").await.unwrap().tree, OWN);
    let none = client.login_saml("none").await;
    assert!(matches!(none, Err(ClientError::BadRequest(_))), "{none:?}");
    for response in ["forged", "busy"] {
        let refused = client.login_saml(response).await;
        assert!(
            matches!(refused, Err(ClientError::Refused(_))),
            "{refused:?}"
        );
    }
    // The longest response, of characters that JSON writes as two; and one that is longer.
    let long = client.login_saml(&"\"".repeat(255 << 10)).await;
    assert!(long.is_ok(), "{long:?}");
    assert!(client.login_saml(&"x".repeat(512 << 10)).await.is_err());
    // What is not for assertions stays as short as it was.
    let mut each = |_: &[u8]| ControlFlow::Continue(());
    assert!(
        client
            .login(Some(&"x".repeat(65 << 10)), &mut each)
            .await
            .is_err()
    );
}
