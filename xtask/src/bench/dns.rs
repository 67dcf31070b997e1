//! One question by UDP and its answer, of dnsmasq in another network namespace: asked directly, and
//! through the gateway, which judges and records it.
use super::Effort;
use super::arena;
use super::table::{self, median};
use anyhow::{Context, Result, ensure};
use gateway_tests::nameserver::NameServer;
use gateway_tests::{Daemon, Job, Namespace, Subtree};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the gateway may add at the median, in microseconds.
const ADDED_MAX: f64 = 100.0;
/// Longer than any answer takes.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// `A db.example.test`, without its number.
const QUESTION: &[u8] = b"\x01\0\0\x01\0\0\0\0\0\0\x02db\x07example\x04test\0\0\x01\0\x01";

pub(super) fn run(effort: Effort) -> Result<()> {
    let namespace = Namespace::create()?;
    let _server = NameServer::quiet(&namespace)?;
    let subtree = Arc::new(Subtree::create()?);
    let address = namespace.address().to_string();
    let policy = format!(
        "[policy]\nname = \"bench\"\ncgroups = [\"{}/jobs/**\"]\n\n\
         [[resource]]\nname = \"dns\"\nprotocol = \"dns\"\nhosts = [\"{address}\"]\nports = [53]\n\n\
         [[rule]]\nname = \"names\"\nresources = [\"dns\"]\nverbs = [\"connect\", \"read\"]\n\
         objects = [\"*.example.test\"]\nverdict = \"allow\"\n",
        subtree.name()
    );
    let config = format!("[dns]\nservers = [\"{address}\"]\n[limits]\ndns_rate = 1000000\n");
    let _daemon = Daemon::prepare(&subtree)?
        .policy("bench", &policy)?
        .config(&config)
        .start()?;
    let job = Job::governed(&subtree, "dns")?;
    let seconds = effort.seconds.to_string();
    let mut rows = Vec::new();
    for (name, sockets) in [("one socket for all", "one"), ("a socket for each", "each")] {
        let arguments = [address.as_str(), sockets, &seconds];
        let measured = effort.in_turn(2, |way| {
            let job = (way == 1).then_some(&job);
            arena::measure(job, "ask", &arguments)
        })?;
        let added: Vec<f64> = measured[1]
            .iter()
            .zip(&measured[0])
            .map(|(through, direct)| through - direct)
            .collect();
        let held = if median(&added) <= ADDED_MAX {
            "yes"
        } else {
            "no"
        };
        let mut row = vec![name.to_owned()];
        row.extend(measured.iter().map(|times| format!("{:.1}", median(times))));
        row.extend([format!("{:.1}", median(&added)), held.to_owned()]);
        rows.push(row);
    }
    table::print(
        &format!(
            "a question by UDP and its answer, median in µs; medians of {} rounds",
            effort.rounds
        ),
        &["", "direct", "gateway", "added", "at most 100"],
        &rows,
    );
    Ok(())
}

/// Asks over and over, one question after the other, each from a socket of its own or all from one:
/// the median in microseconds.
pub(super) fn ask(server: Ipv4Addr, own_socket: bool, time: Duration) -> Result<f64> {
    let open = || -> Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((IpAddr::from(server), 53))?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(socket)
    };
    let mut socket = open()?;
    let mut answer = [0; 512];
    let mut taken = Vec::new();
    let end = Instant::now() + time;
    let mut number: u16 = 0;
    while Instant::now() < end {
        number = number.wrapping_add(1);
        let question = [&number.to_be_bytes(), QUESTION].concat();
        let start = Instant::now();
        if own_socket {
            socket = open()?;
        }
        socket.send(&question)?;
        let length = socket.recv(&mut answer).context("no answer")?;
        taken.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(
            length > QUESTION.len() + 2 && answer[..2] == question[..2] && answer[3] & 15 == 0,
            "no answer to the question: {:?}",
            &answer[..length]
        );
    }
    Ok(median(&taken))
}
