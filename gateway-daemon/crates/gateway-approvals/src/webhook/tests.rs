//! Webhooks against receivers on the loopback: true ones, slow ones, broken ones.
use super::*;
use crate::clock::SystemClock;
use crate::links::Links;
use crate::store::{Approvals, Options};
use crate::testing::{caller, held, options, wait};
use gateway_core::Verdict;
use gateway_core::ports::Approver;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const SECRET: &[u8] = b"0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as a receiver reads it.
struct Request {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Request> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let mut headers = HashMap::new();
        reader.read_line(&mut line).ok()?;
        assert!(line.starts_with("POST /hook HTTP/1.1"), "{line}");
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length")?.parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Request { headers, body })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// As the documentation tells a receiver to.
    fn is_signed_with(&self, secret: &[u8]) -> bool {
        let hex = self.headers["x-gateway-signature"]
            .strip_prefix("v1=")
            .unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(self.headers["x-gateway-timestamp"].as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        mac.verify_slice(&hex::decode(hex).unwrap()).is_ok()
    }
}

/// What a receiver does with its n-th request, counted from 0.
enum Reply {
    Status(&'static str),
    /// Reads, and closes without a word.
    Close,
    /// Reads, and never answers.
    Hang,
}

/// A receiver; what it read comes out of the channel.
fn receiver(reply: impl Fn(usize) -> Reply + Send + 'static) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut hanging = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let Some(request) = Request::read(&stream) else {
                continue;
            };
            match reply(number) {
                Reply::Status(status) => {
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes());
                }
                Reply::Close => {}
                Reply::Hang => hanging.push(stream),
            }
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

fn webhook(url: &str, form: Form) -> Webhook {
    let url = WebhookUrl::parse(url).unwrap();
    let mut webhook = Webhook::new(url, form, Secret::new(SECRET).unwrap());
    webhook.backoff.first = Duration::from_millis(2);
    webhook.backoff.max = Duration::from_millis(10);
    webhook
}

fn with(webhooks: Vec<Webhook>, post: impl Post + 'static) -> Options {
    let mut options = options(Arc::new(SystemClock));
    options.webhooks = webhooks;
    options.post = Arc::new(post);
    options.links = Some(Arc::new(
        Links::new([3; 32], "https://gateway.acme.com").unwrap(),
    ));
    options
}

fn start(webhooks: Vec<Webhook>) -> Approvals {
    Approvals::start(with(
        webhooks,
        HttpPost::trusting(&[], Duration::from_millis(300)),
    ))
    .unwrap()
}

/// Waits until the counts of a webhook are so. There is nothing to be woken by.
fn until(approvals: &Approvals, index: usize, reached: impl Fn(&WebhookCounts) -> bool) {
    let begun = Instant::now();
    while !reached(&approvals.webhooks()[index]) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", approvals.webhooks());
        std::thread::yield_now();
    }
}

fn next(requests: &Receiver<Request>) -> Request {
    requests.recv_timeout(PATIENCE).unwrap()
}

fn approve(approvals: &Approvals, id: &str) {
    let dba = caller("user:dan", &["dba"]);
    approvals.answer(id, true, &dba, None).unwrap();
}

#[test]
fn a_question_and_its_outcome_are_delivered_and_signed() {
    let (url, requests) = receiver(|_| Reply::Status("204 No Content"));
    let approvals = start(vec![webhook(&url, Form::Json)]);
    let answering = approvals.ask(held(1).ask());
    let asked = next(&requests);
    assert_eq!(asked.headers["content-type"], "application/json");
    assert!(asked.is_signed_with(SECRET));
    assert!(!asked.is_signed_with(b"another secret!!"));
    let body = asked.json();
    assert_eq!(body["event"], "asked");
    assert_eq!(body["question"]["id"], "s0000000000001.1");
    assert!(
        body["link"]
            .as_str()
            .unwrap()
            .contains("/approve/s0000000000001.1?e=")
    );
    approve(&approvals, "s0000000000001.1");
    let ended = next(&requests);
    assert!(ended.is_signed_with(SECRET));
    assert_eq!(ended.json()["outcome"]["verdict"], "approved");
    assert_eq!(wait(answering).verdict, Verdict::Approved);
    until(&approvals, 0, |counts| counts.delivered == 2);
}

#[test]
fn a_changed_body_or_time_is_noticed() {
    let (url, requests) = receiver(|_| Reply::Status("200 OK"));
    let approvals = start(vec![webhook(&url, Form::Slack)]);
    let _answering = approvals.ask(held(1).ask());
    let mut request = next(&requests);
    assert!(request.is_signed_with(SECRET));
    request.body[5] ^= 1;
    assert!(!request.is_signed_with(SECRET));
    request.body[5] ^= 1;
    let time = request.headers.get_mut("x-gateway-timestamp").unwrap();
    time.push('0');
    assert!(!request.is_signed_with(SECRET));
}

/// The key is asked for at each attempt; without one nothing is sent, and the gate stays shut.
#[test]
fn a_secret_that_is_changed_counts_from_the_next_attempt_on() {
    let (url, requests) = receiver(|_| Reply::Status("200 OK"));
    let current = Arc::new(Mutex::new(Err("no such credential".to_owned())));
    let kept = Arc::clone(&current);
    let url = WebhookUrl::parse(&url).unwrap();
    let mut webhook = Webhook::asking(url, Form::Json, Arc::new(move || kept.lock().clone()));
    webhook.backoff.first = Duration::from_millis(2);
    webhook.backoff.attempts_max = 2;
    let approvals = start(vec![webhook]);
    let mut waiting = vec![approvals.ask(held(1).ask())];
    until(&approvals, 0, |counts| counts.failed == 1);
    assert!(requests.try_recv().is_err(), "nothing unsigned is sent");
    assert_eq!(approvals.pending(), 1);
    for (seq, secret) in [(2, SECRET), (3, b"another secret!!")] {
        *current.lock() = Secret::new(secret).map_err(|error| error.to_string());
        waiting.push(approvals.ask(held(seq).ask()));
        assert!(next(&requests).is_signed_with(secret));
    }
}

#[test]
fn what_fails_is_tried_again() {
    let (url, requests) = receiver(|number| match number {
        0 => Reply::Status("500 Internal Server Error"),
        1 => Reply::Close,
        2 => Reply::Hang,
        3 => Reply::Status("429 Too Many Requests"),
        _ => Reply::Status("200 OK"),
    });
    let approvals = start(vec![webhook(&url, Form::Json)]);
    let _answering = approvals.ask(held(1).ask());
    let bodies: Vec<_> = (0..5).map(|_| next(&requests).body).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    until(&approvals, 0, |counts| counts.delivered == 1);
    assert_eq!(approvals.webhooks()[0].failed, 0);
}

#[test]
fn after_eight_attempts_it_is_given_up_and_the_gate_stays_shut() {
    let (url, requests) = receiver(|_| Reply::Status("503 Service Unavailable"));
    let approvals = start(vec![webhook(&url, Form::Json)]);
    let answering = approvals.ask(held(1).timeout(Duration::from_secs(3600)).ask());
    until(&approvals, 0, |counts| counts.failed == 1);
    assert_eq!(requests.try_iter().count(), 8);
    assert_eq!(approvals.pending(), 1, "it waits on");
    drop(approvals);
    assert_eq!(wait(answering).verdict, Verdict::Denied);
}

#[test]
fn a_receiver_that_is_down_opens_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    drop(listener);
    let approvals = start(vec![webhook(&url, Form::Json)]);
    let _answering = approvals.ask(held(1).ask());
    until(&approvals, 0, |counts| counts.failed == 1);
    assert_eq!(approvals.webhooks()[0].delivered, 0);
    assert_eq!(approvals.pending(), 1);
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("Location: http://{}/hook", elsewhere.local_addr().unwrap());
    let statuses = ["302 Found", "303 See Other", "307 Temporary Redirect"]
        .map(|status| &*format!("{status}\r\n{location}").leak());
    let (url, _requests) = receiver(move |number| Reply::Status(statuses[number % 3]));
    let approvals = start(vec![webhook(&url, Form::Json)]);
    let _answering = approvals.ask(held(1).ask());
    until(&approvals, 0, |counts| counts.failed == 1);
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "nobody has come");
}

#[test]
fn a_receiver_that_hangs_keeps_nobody_else() {
    let (hangs, _kept) = receiver(|_| Reply::Hang);
    let (works, requests) = receiver(|_| Reply::Status("200 OK"));
    let slow = HttpPost::trusting(&[], Duration::from_secs(3600));
    let webhooks = vec![webhook(&hangs, Form::Json), webhook(&works, Form::Json)];
    let approvals = Approvals::start(with(webhooks, slow)).unwrap();
    let waiting: Vec<_> = (1..=20).map(|seq| approvals.ask(held(seq).ask())).collect();
    for _ in 0..20 {
        next(&requests);
    }
    approve(&approvals, "s0000000000001.7");
    assert_eq!(next(&requests).json()["outcome"]["verdict"], "approved");
    assert_eq!(approvals.webhooks()[0].delivered, 0);
    // Nor the end of the gateway.
    let begun = Instant::now();
    drop(approvals);
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(waiting.len(), 20);
}

#[test]
fn attempts_take_no_longer_than_they_may() {
    let (url, _requests) = receiver(|_| Reply::Hang);
    let url = WebhookUrl::parse(&url).unwrap();
    let post = HttpPost::trusting(&[], Duration::from_millis(50));
    assert_eq!(post.post(&url, &[], b"{}"), Err(PostError::Timeout));
}

#[test]
fn the_last_word_is_delivered_when_the_gateway_ends() {
    let (url, requests) = receiver(|_| Reply::Status("200 OK"));
    let approvals = start(vec![webhook(&url, Form::Json)]);
    let _answering = approvals.ask(held(1).ask());
    next(&requests);
    drop(approvals);
    let last = next(&requests).json();
    assert_eq!(last["outcome"]["verdict"], "denied");
    assert_eq!(last["outcome"]["reason"], "the gateway restarts");
}

/// A receiver that takes nothing until it is let.
struct Gate {
    entered: Mutex<Sender<()>>,
    opened: Mutex<Receiver<()>>,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Post for Gate {
    fn post(
        &self,
        _: &WebhookUrl,
        _: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<(), PostError> {
        let _ = self.entered.lock().send(());
        let _ = self.opened.lock().recv();
        self.bodies
            .lock()
            .push(serde_json::from_slice(body).unwrap());
        Ok(())
    }
}

#[test]
fn what_the_queue_does_not_hold_is_counted() {
    let (entered, entries) = channel();
    let (open, opened) = channel();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate {
        entered: Mutex::new(entered),
        opened: Mutex::new(opened),
        bodies: Arc::clone(&bodies),
    };
    let mut options = with(vec![webhook("https://chat.internal/x", Form::Json)], gate);
    options.limits.queue_max = 3;
    let approvals = Approvals::start(options).unwrap();
    let first = approvals.ask(held(1).ask());
    entries.recv_timeout(PATIENCE).unwrap();
    // One is being sent, two wait, the others have no place.
    let waiting: Vec<_> = (2..=6).map(|seq| approvals.ask(held(seq).ask())).collect();
    assert_eq!(approvals.webhooks()[0].dropped, 3);
    assert_eq!(approvals.pending(), 6, "the questions wait all the same");
    // A question that has ended is not told any more: it counts as failed, and its outcome takes
    // its place. For three outcomes there is none.
    drop(waiting);
    let counts = approvals.webhooks().remove(0);
    assert_eq!((counts.delivered, counts.failed, counts.dropped), (0, 2, 6));
    drop(open);
    until(&approvals, 0, |counts| counts.delivered == 3);
    drop(first);
    until(&approvals, 0, |counts| counts.delivered == 4);
    let events: Vec<_> = bodies.lock().iter().map(|b| b["event"].clone()).collect();
    assert_eq!(events, ["asked", "answered", "answered", "answered"]);
    assert_eq!(approvals.webhooks()[0].host, "chat.internal");
}

#[test]
fn retries_end_with_the_question() {
    let (entered, entries) = channel();
    struct Broken(Mutex<Sender<()>>);
    impl Post for Broken {
        fn post(
            &self,
            _: &WebhookUrl,
            _: &[(&'static str, &str)],
            body: &[u8],
        ) -> Result<(), PostError> {
            let body: Value = serde_json::from_slice(body).unwrap();
            if body["event"] == "answered" {
                return Ok(());
            }
            let _ = self.0.lock().send(());
            Err(PostError::Status(500))
        }
    }
    let mut webhook = webhook("https://chat.internal/x", Form::Json);
    webhook.backoff = Backoff {
        first: Duration::from_millis(1),
        max: Duration::from_millis(1),
        attempts_max: u32::MAX,
    };
    let broken = Broken(Mutex::new(entered));
    let approvals = Approvals::start(with(vec![webhook], broken)).unwrap();
    let answering = approvals.ask(held(1).ask());
    for _ in 0..20 {
        entries.recv_timeout(PATIENCE).unwrap();
    }
    drop(answering);
    until(&approvals, 0, |counts| {
        (counts.failed, counts.delivered) == (1, 1)
    });
}

#[test]
fn the_wait_doubles_to_its_limit_and_is_spread() {
    let backoff = Backoff::default();
    let longest: Vec<_> = (1..8)
        .map(|failures| backoff.after(failures, 0).unwrap() * 2)
        .map(|wait| wait.as_millis())
        .collect();
    assert_eq!(longest, [500, 1000, 2000, 4000, 8000, 16000, 30000]);
    assert_eq!(backoff.after(8, 0), None);
    assert_eq!(backoff.after(u32::MAX, 0), None);
    for jitter in [0, 1, 12345, u64::MAX / 2, u64::MAX] {
        let wait = backoff.after(1, jitter).unwrap();
        assert!(Duration::from_millis(250) <= wait && wait <= Duration::from_millis(500));
    }
    assert_ne!(backoff.after(1, 0), backoff.after(1, 100_000_000));
}

#[test]
fn a_weak_secret_is_refused_and_no_secret_is_shown() {
    let url = "https://chat.internal/services/T0/PATH";
    assert_eq!(Secret::new(b"short"), Err(WebhookError::Secret(5)));
    let (url, secret) = (
        WebhookUrl::parse(url).unwrap(),
        Secret::new(SECRET).unwrap(),
    );
    let shown = format!(
        "{secret:?} {:?}",
        Webhook::new(url, Form::Json, secret.clone())
    );
    assert!(
        !shown.contains("PATH") && !shown.contains("0123") && !shown.contains("48, 49"),
        "{shown}"
    );
}

/// One TLS connection with this certificate; what was read of the request.
fn tls_receiver(certificate: rcgen::CertifiedKey<rcgen::KeyPair>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = channel();
    let key =
        rustls::pki_types::PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut read = [0; 4096];
            let length = stream.read(&mut read).unwrap_or(0);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            let text = String::from_utf8_lossy(&read[..length]).into_owned();
            let _ = sender.send(text);
        }
    });
    (url, received)
}

#[test]
fn only_a_receiver_with_a_trusted_certificate_of_its_name_is_told() {
    let certificate = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (good, other) = (certificate("127.0.0.1"), certificate("chat.internal"));
    let authorities = [good.cert.der().to_vec(), other.cert.der().to_vec()];
    let authorities: Vec<&[u8]> = authorities.iter().map(Vec::as_slice).collect();
    let post = HttpPost::trusting(&authorities, PATIENCE);
    let send = |post: &HttpPost, url: &str| {
        let url = WebhookUrl::parse(url).unwrap();
        post.post(&url, &[("X-Gateway-Timestamp", "1")], b"{}")
    };

    let (url, received) = tls_receiver(good);
    assert_eq!(send(&post, &url), Ok(()));
    let text = received.recv_timeout(PATIENCE).unwrap();
    assert!(text.starts_with("POST /hook HTTP/1.1"), "{text}");

    // Trusted by nobody: by no authority, and by none of this host's.
    for stranger in [HttpPost::trusting(&[], PATIENCE), HttpPost::new()] {
        assert!(matches!(send(&stranger, &url), Err(PostError::Failed(_))));
        assert_eq!(received.recv_timeout(PATIENCE).unwrap(), "");
    }

    // Trusted, but for another name.
    let (url, received) = tls_receiver(other);
    assert!(matches!(send(&post, &url), Err(PostError::Failed(_))));
    assert_eq!(received.recv_timeout(PATIENCE).unwrap(), "");
}
