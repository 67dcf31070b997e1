//! The page behind a signed link, as a browser and as an attacker use it.
use super::*;

const LINK: &str = "e=61&s=good";
const PATH: &str = "/approve/q1?e=61&s=good";
const ORIGIN: &str = "https://gateway.test";

impl Page for FakeRemote {
    fn origin(&self) -> String {
        ORIGIN.to_owned()
    }
    fn check_link(&self, _: &str, e: &str, s: &str) -> Result<(), String> {
        match (e, s) {
            ("61", "good") => Ok(()),
            ("60", "good") => Err("the link is too old".into()),
            _ => Err("the link is forged".into()),
        }
    }
    fn question(&self, id: &str) -> Option<Shown> {
        (id != "gone").then(|| Shown {
            question: QuestionView {
                id: id.to_owned(),
                statement: self.statement.lock().unwrap().clone(),
                ..QuestionView::default()
            },
            left: Duration::from_secs(42),
        })
    }
}

impl SignIn for FakeRemote {
    fn begin(&self, attempt: &Attempt) -> Result<String, PortError> {
        self.attempts.lock().unwrap().push(attempt.clone());
        Ok(format!(
            "https://issuer.test/authorize?state={}",
            attempt.state
        ))
    }
    /// A code is the name of who signs in.
    fn finish(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
    ) -> Result<Identity, AuthenticationError> {
        let call = (code.to_owned(), verifier.to_owned(), nonce.to_owned());
        self.finished.lock().unwrap().push(call);
        match code {
            "bad" => Err(AuthenticationError::Refused("bad is forged".into())),
            name => Ok(identity(name, Role::None)),
        }
    }
}

impl Entropy for FakeRemote {
    fn random(&self) -> Result<[u8; 32], PortError> {
        let mut bytes = [0; 32];
        let number = self.randoms.fetch_add(1, Ordering::SeqCst) + 1;
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Ok(bytes)
    }
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }
}

fn cookie_of(reply: &Reply, name: &str) -> String {
    let line = reply
        .head
        .lines()
        .find(|line| {
            line.to_ascii_lowercase()
                .starts_with(&format!("set-cookie: {name}="))
        })
        .unwrap_or_else(|| panic!("no cookie {name} in {}", reply.head));
    assert!(line.contains("; Secure; HttpOnly; SameSite="), "{line}");
    let (_, pair) = line.split_once(": ").unwrap();
    pair.split(';').next().unwrap().to_owned()
}

/// The state that the provider is sent, and the cookie of the sign-in.
async fn begin(server: &RemoteServer) -> (String, String) {
    let reply = server
        .ask("GET", &format!("/login?id=q1&{LINK}"), "", "")
        .await;
    assert_eq!(reply.status, 303);
    let place = reply.header("location").unwrap();
    let state = place
        .strip_prefix("https://issuer.test/authorize?state=")
        .unwrap();
    (state.to_owned(), cookie_of(&reply, "__host-gateway-login"))
}

async fn come_back(server: &RemoteServer, query: &str, cookie: &str) -> Reply {
    let header = format!("Cookie: {cookie}\r\n");
    server
        .ask("GET", &format!("/callback?{query}"), &header, "")
        .await
}

/// Signs in, and returns the session's cookie and the token of its forms.
async fn sign_in(server: &RemoteServer, who: &str) -> (String, String) {
    let (state, cookie) = begin(server).await;
    let reply = come_back(server, &format!("code={who}&state={state}"), &cookie).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(
        reply
            .body
            .contains("content=\"0;url=approve/q1?e=61&amp;s=good\"")
    );
    let session = cookie_of(&reply, "__host-gateway-session");
    assert!(reply.head.contains("SameSite=Strict"));
    let header = format!("Cookie: {session}\r\n");
    let shown = server.ask("GET", PATH, &header, "").await;
    let (_, rest) = shown.body.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split('"').next().unwrap().to_owned();
    (session, csrf)
}

async fn post(server: &RemoteServer, headers: &str, form: &str) -> Reply {
    let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
    server.ask("POST", "/approve/q1", &headers, form).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_a_link_shows_the_question_safely_and_answers_nothing() {
    let server = serve_remote_with(RemoteLimits::default());
    *server.remote.statement.lock().unwrap() = "</pre><script>alert(1)</script>\u{202e}".into();
    let (session, _) = sign_in(&server, "dan").await;
    for headers in [String::new(), format!("Cookie: {session}\r\n")] {
        let reply = server.ask("GET", PATH, &headers, "").await;
        assert_eq!(reply.status, 200);
        assert!(!reply.body.contains("<script"), "{}", reply.body);
        assert!(
            reply
                .body
                .contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{202E}")
        );
        assert!(reply.body.contains("42 s"));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(reply.header(name), Some(value));
        }
    }
    // A scanner follows every link of the page, with whatever it finds.
    for query in ["&answer=approve", "&answer=approve&csrf=x", "&approve=true"] {
        let header = format!("Cookie: {session}\r\n");
        server
            .ask("GET", &format!("{PATH}{query}"), &header, "")
            .await;
        server
            .ask("HEAD", &format!("{PATH}{query}"), &header, "")
            .await;
    }
    assert!(server.remote.answered.lock().unwrap().is_empty());
    assert!(server.remote.callers.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_not_good_shows_nothing_and_begins_nothing() {
    let server = serve_remote_with(RemoteLimits::default());
    for (query, status) in [
        ("e=61&s=forged", 403),
        ("e=60&s=good", 403),
        ("e=61", 400),
        ("", 400),
        ("e=61&s=good&s=good", 400),
        ("e=61&s=%22%3E%3Cscript%3E", 400),
    ] {
        let shown = server
            .ask("GET", &format!("/approve/q1?{query}"), "", "")
            .await;
        assert_eq!(shown.status, status, "{query}");
        assert!(!shown.body.contains("DELETE FROM") && !shown.body.contains("<script"));
        let login = server
            .ask("GET", &format!("/login?id=q1&{query}"), "", "")
            .await;
        assert_eq!(login.status, status, "{query}");
        assert!(login.header("location").is_none());
    }
    let gone = server
        .ask("GET", &format!("/approve/gone?{LINK}"), "", "")
        .await;
    assert_eq!(gone.status, 404);
    let elsewhere = format!("/login?id=q1&{LINK}&next=https://evil.test/");
    let reply = server.ask("GET", &elsewhere, "", "").await;
    assert!(!reply.head.contains("evil"), "{}", reply.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signed_in_answers_once() {
    let server = serve_remote_with(RemoteLimits::default());
    let (session, csrf) = sign_in(&server, "dan").await;
    let form = format!("{LINK}&csrf={csrf}&answer=approve&reason=looks+fine");
    let headers = format!("Cookie: {session}\r\nOrigin: {ORIGIN}\r\n");
    let first = post(&server, &headers, &form).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(first.body.contains("q1 was approved by user:dan."));
    assert_eq!(
        post(&server, &headers, &form).await.status,
        409,
        "used twice"
    );
    let callers = server.remote.callers.lock().unwrap().clone();
    let [told] = callers.as_slice() else {
        panic!("{callers:?}");
    };
    assert!(told.starts_with("user:dan from 127.0.0.1:"));
    assert!(told.ends_with(" true Some(\"looks fine\")"));
    // The provider got the challenge, the token endpoint the verifier of it, and the nonce.
    let attempt = server.remote.attempts.lock().unwrap()[0].clone();
    let (code, verifier, nonce) = server.remote.finished.lock().unwrap()[0].clone();
    use base64::Engine;
    let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(<sha2::Sha256 as sha2::Digest>::digest(verifier));
    assert_eq!((code.as_str(), attempt.challenge), ("dan", challenge));
    assert_eq!(attempt.nonce, nonce);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_without_all_of_its_proofs_answers_nothing() {
    let server = serve_remote_with(RemoteLimits::default());
    let (session, csrf) = sign_in(&server, "dan").await;
    let (_, other) = sign_in(&server, "eve").await;
    let good = format!("{LINK}&csrf={csrf}&answer=approve");
    let cookie = format!("Cookie: {session}\r\n");
    let forged = format!("Cookie: {}x\r\n", session);
    for (headers, form, status) in [
        ("", good.as_str(), 401),
        (&forged, &good, 401),
        ("Authorization: Bearer admin\r\n", &good, 401),
        (
            &format!("{cookie}Origin: https://evil.test\r\n"),
            &good,
            403,
        ),
        (&format!("{cookie}Origin: null\r\n"), &good, 403),
        (
            &format!("{cookie}Origin: http://gateway.test\r\n"),
            &good,
            403,
        ),
        (
            &format!("{cookie}Origin: {ORIGIN}.evil.test\r\n"),
            &good,
            403,
        ),
        (&cookie, &format!("{LINK}&answer=approve"), 400),
        (&cookie, &format!("{LINK}&csrf=&answer=approve"), 403),
        (&cookie, &format!("{LINK}&csrf={other}&answer=approve"), 403),
        (
            &cookie,
            &format!("e=61&s=bad&csrf={csrf}&answer=approve"),
            403,
        ),
        (
            &cookie,
            &format!("e=60&s=good&csrf={csrf}&answer=approve"),
            403,
        ),
        (&cookie, &format!("{LINK}&csrf={csrf}&answer=maybe"), 400),
        (&cookie, &format!("{LINK}&csrf={csrf}"), 400),
        (&cookie, &format!("{good}&answer=approve"), 400),
        (
            &cookie,
            &format!("{good}&reason={}", "x".repeat(20_000)),
            413,
        ),
        (&cookie, "\u{fffd}", 400),
    ] {
        let reply = post(&server, headers, form).await;
        assert_eq!(reply.status, status, "{headers:?} {form:.60}");
    }
    let json = format!("{cookie}Content-Type: text/plain\r\n");
    let reply = server.ask("POST", "/approve/q1", &json, &good).await;
    assert_eq!(reply.status, 415);
    assert!(server.remote.answered.lock().unwrap().is_empty());
    // And with all of them it does; a session ends by itself.
    *server.remote.now.lock().unwrap() = Duration::from_secs(600);
    assert_eq!(post(&server, &cookie, &good).await.status, 401);
    *server.remote.now.lock().unwrap() = Duration::from_secs(599);
    assert_eq!(post(&server, &cookie, &good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_counts_for_the_browser_that_began_it_once() {
    let server = serve_remote_with(RemoteLimits::default());
    let (state, cookie) = begin(&server).await;
    let query = format!("code=dan&state={state}");
    // Another browser, led here with the state of this one.
    assert_eq!(come_back(&server, &query, "x=y").await.status, 403);
    assert_eq!(come_back(&server, &query, &cookie).await.status, 200);
    assert_eq!(
        come_back(&server, &query, &cookie).await.status,
        403,
        "spent"
    );
    for query in ["code=dan&state=wrong", "code=dan", "state=&code=dan"] {
        let (state, cookie) = begin(&server).await;
        assert_eq!(come_back(&server, query, &cookie).await.status, 403);
        let right = format!("code=dan&state={state}");
        assert_eq!(
            come_back(&server, &right, &cookie).await.status,
            403,
            "one try"
        );
    }
    for query in ["error=access_denied", "code=", "code=bad"] {
        let (state, cookie) = begin(&server).await;
        let reply = come_back(&server, &format!("{query}&state={state}"), &cookie).await;
        assert_eq!(reply.status, 403, "{query}");
        assert!(!reply.head.to_ascii_lowercase().contains("set-cookie"));
        assert!(!reply.body.contains("forged"), "the reason is for the log");
    }
    let (state, cookie) = begin(&server).await;
    *server.remote.now.lock().unwrap() = Duration::from_secs(601);
    let late = come_back(&server, &format!("code=dan&state={state}"), &cookie).await;
    assert_eq!(late.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_approver_is_told_so() {
    let server = serve_remote_with(RemoteLimits::default());
    let (session, csrf) = sign_in(&server, "mallory").await;
    let form = format!("{LINK}&csrf={csrf}&answer=approve");
    let reply = post(&server, &format!("Cookie: {session}\r\n"), &form).await;
    assert_eq!(reply.status, 403);
    assert!(reply.body.contains("not among the approvers"));
    assert!(server.remote.answered.lock().unwrap().is_empty());
}
