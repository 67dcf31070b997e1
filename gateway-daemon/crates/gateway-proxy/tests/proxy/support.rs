//! A proxy in front of one upstream, and two small protocols for it to recognise.
use gateway_core::{Clearance, Effect, Governor, Obstacle, Operation, Refusal, Verb};
use gateway_protocol::{
    BoxFuture, Closed, Effects, Interpretation, Link, Opening, Protocol, ProtocolError,
    Recognition, Session, Side, relay,
};
use gateway_proxy::{Counts, Flow, Ports, Proxy, ProxyLimits};
use gateway_testkit::{
    FakeApprover, FakeJudge, FixedAttribution, FixedCapture, ManualClock, MemoryRecorder, capture,
    sockets,
};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const MORNING: u64 = 1_700_000_000_000_000_000;

/// A proxy under test.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) recorder: Arc<MemoryRecorder>,
    pub(crate) approver: Arc<FakeApprover>,
    pub(crate) capture: Arc<FixedCapture>,
    pub(crate) address: SocketAddr,
}

/// Limits under which a test that waits for one of them ends soon.
pub(crate) fn limits() -> ProxyLimits {
    ProxyLimits {
        workers: 2,
        recognise: Duration::from_millis(200),
        refusal: Duration::from_millis(500),
        ..ProxyLimits::default()
    }
}

impl Bench {
    pub(crate) fn new(judge: FakeJudge, upstream: SocketAddr) -> Bench {
        Bench::with_limits(judge, upstream, limits())
    }

    pub(crate) fn with_limits(
        judge: FakeJudge,
        upstream: SocketAddr,
        limits: ProxyLimits,
    ) -> Bench {
        let recorder = Arc::new(MemoryRecorder::default());
        let approver = Arc::<FakeApprover>::default();
        let capture = Arc::new(FixedCapture::to(upstream));
        let listener = sockets::listener();
        let address = listener.local_addr().unwrap();
        let ports = Ports {
            capture: capture.clone(),
            attribution: Arc::new(FixedAttribution),
            judge: Arc::new(judge),
            recorder: recorder.clone(),
            approver: approver.clone(),
            masker: Arc::new(gateway_core::mask::Blank),
            clock: Arc::new(ManualClock::at(MORNING)),
            encryption: Arc::new(gateway_testkit::NoEncryption),
            logins: Arc::new(gateway_protocol::login::NoLogins),
            meter: Arc::new(gateway_protocol::Unmetered),
            names: Arc::new(gateway_proxy::NoNames),
            protocols: vec![Arc::new(Lines), Arc::new(Greeter)],
        };
        let proxy = Proxy::start(vec![listener], ports, limits).unwrap();
        Bench {
            proxy,
            recorder,
            approver,
            capture,
            address,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        sockets::connect(self.address)
    }

    /// From now on connections go there, from that tree.
    pub(crate) fn send_to(&self, flow: Flow) {
        self.capture.set(Ok(Some(flow)));
    }

    /// Waits until the counters satisfy `wanted`.
    pub(crate) fn wait_counts(&self, wanted: impl Fn(&Counts) -> bool) -> Counts {
        eventually(|| {
            let counts = self.proxy.counts();
            wanted(&counts).then_some(counts).ok_or(counts)
        })
    }
}

/// Asks again and again until the answer is good.
pub(crate) fn eventually<T, E: std::fmt::Debug>(ask: impl Fn() -> Result<T, E>) -> T {
    let deadline = Instant::now() + sockets::PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(answer) => assert!(Instant::now() < deadline, "it stays at {answer:?}"),
        }
        std::thread::yield_now();
    }
}

pub(crate) fn flow(destination: SocketAddr, tree: u64) -> Flow {
    capture::flow(destination, gateway_core::TreeId(tree))
}

/// Lines of text, the first of which is `LINES`. `delete` is an operation of that verb, `panic`
/// is a defect.
pub(crate) struct Lines;

impl Protocol for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn recognise(&self, opening: Opening<'_>) -> Recognition {
        let magic = b"LINES\n";
        let seen = opening.client.len().min(magic.len());
        if opening.client[..seen] != magic[..seen] || !opening.upstream.is_empty() {
            Recognition::No
        } else if seen == magic.len() {
            Recognition::Yes
        } else {
            Recognition::NeedMore
        }
    }

    /// A client that asks `tls?` first is told `no` and waits for that.
    fn refuse(&self, opening: Opening<'_>, refusal: &Refusal) -> Vec<u8> {
        let text = String::from_utf8_lossy(opening.client);
        match text.strip_prefix("LINES\ntls?\n") {
            None => format!("refused: {refusal}\n").into_bytes(),
            Some("") => b"no\n".to_vec(),
            Some(_) => format!("no\nrefused: {refusal}\n").into_bytes(),
        }
    }

    fn interpret(&self, _: &str) -> Interpretation {
        Interpretation {
            verb: Verb::Read,
            effects: Vec::new(),
            attributes: Vec::new(),
        }
    }

    fn serve(&self, link: Link, governor: Governor) -> BoxFuture<'_, Closed> {
        Box::pin(relay::run(
            link,
            governor,
            Box::new(LineSession { clearance: None }),
        ))
    }
}

/// A protocol whose server speaks first: `220 …`.
pub(crate) struct Greeter;

impl Protocol for Greeter {
    fn name(&self) -> &'static str {
        "greeter"
    }

    fn recognise(&self, opening: Opening<'_>) -> Recognition {
        match (opening.client, opening.upstream) {
            (_, upstream) if upstream.starts_with(b"220 ") => Recognition::Yes,
            ([], upstream) if b"220 ".starts_with(upstream) => Recognition::NeedMore,
            _ => Recognition::No,
        }
    }

    fn refuse(&self, _: Opening<'_>, _: &Refusal) -> Vec<u8> {
        Vec::new()
    }

    fn interpret(&self, _: &str) -> Interpretation {
        Interpretation {
            verb: Verb::Read,
            effects: Vec::new(),
            attributes: Vec::new(),
        }
    }

    fn serve(&self, link: Link, governor: Governor) -> BoxFuture<'_, Closed> {
        Box::pin(relay::run(
            link,
            governor,
            Box::new(LineSession { clearance: None }),
        ))
    }
}

struct LineSession {
    clearance: Option<Clearance>,
}

impl LineSession {
    /// False: it is held, and stays where it is.
    fn line(&mut self, line: &[u8], at: usize, out: &mut dyn Effects) -> bool {
        let text = String::from_utf8_lossy(line);
        let verb = if text.starts_with("delete") {
            Verb::Delete
        } else {
            Verb::Read
        };
        assert!(!text.starts_with("panic"), "a defect, as the test wants");
        let effects = [Effect {
            verb,
            objects: Vec::new(),
        }];
        let operation = Operation {
            protocol: "lines",
            verb,
            effects: &effects,
            statement: text.trim_end(),
            parameters: &[],
            attributes: &[],
            announces: false,
            uses: &[],
            shown: None,
            shape: None,
            basis: 0,
        };
        match out.submit(&operation) {
            Ok(clearance) => {
                out.pass_upstream(&clearance, at..at + line.len());
                self.clearance = Some(clearance);
            }
            Err(Obstacle::Refused(refusal)) => out.send_client(format!("{refusal}\n").as_bytes()),
            Err(Obstacle::Held(_)) => return false,
        }
        true
    }
}

impl Session for LineSession {
    fn receive(
        &mut self,
        from: Side,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        if from == Side::Upstream {
            out.pass_client(0..bytes.len());
            return Ok(bytes.len());
        }
        let mut at = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line.last() == Some(&b'\n') {
                if !self.line(line, at, out) {
                    break;
                }
                at += line.len();
            }
        }
        Ok(at)
    }

    fn finish(&mut self, _: Side, _: usize, _: &mut dyn Effects) -> Result<(), ProtocolError> {
        Ok(())
    }
}
