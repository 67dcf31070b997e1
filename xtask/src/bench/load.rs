//! Clients and servers of our own, each run as a process of its own: `xtask bench load KIND …`.
//! A client has to be a process, since a governed job is one.
use super::{dns, query};
use anyhow::{Context, Result, bail, ensure};
use gateway_tests::Job;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BLOCK: usize = 256 * 1024;

/// A load in a job, or in our own cgroup.
pub(super) fn command(job: Option<&Job>, own: &Path, kind: &str, arguments: &[&str]) -> Command {
    let mut command = job.map_or_else(|| Command::new(own), |job| job.command(own));
    command.args(["bench", "load", kind]).args(arguments);
    command
}

/// Runs one kind. Clients print one number, or one for each of what they did.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // Where the two ends run says more about a connect than what is in its way.
        ["stay-on", processor, ..] => {
            stay_on(processor.parse()?)?;
            run(&arguments[2..])
        }
        ["echo-server", port] => serve(port.parse()?, echo),
        ["bulk-server", port] => serve(port.parse()?, bulk),
        ["connect", port, clients, seconds] => {
            let rate = connect(
                port.parse()?,
                clients.parse()?,
                Duration::from_secs(seconds.parse()?),
            )?;
            println!("{rate:.1}");
            Ok(())
        }
        ["connects", port] => connects(port.parse()?),
        ["download", port, mebibytes] => {
            println!("{:.1}", transfer(port.parse()?, b'd', mebibytes.parse()?)?);
            Ok(())
        }
        ["upload", port, mebibytes] => {
            println!("{:.1}", transfer(port.parse()?, b'u', mebibytes.parse()?)?);
            Ok(())
        }
        ["query", port, sql] => {
            println!("{:.6}", query::read(port.parse()?, sql)?);
            Ok(())
        }
        ["refused", port, code, sql] => {
            println!("{:.6}", query::refused(port.parse()?, code, sql)?);
            Ok(())
        }
        ["ask", server, sockets, seconds] => {
            let time = Duration::from_secs(seconds.parse()?);
            let median = dns::ask(server.parse()?, *sockets == "each", time)?;
            println!("{median:.2}");
            Ok(())
        }
        ["spawn", count] => {
            println!("{:.3}", spawn(count.parse()?)?);
            Ok(())
        }
        _ => bail!("no such load: {arguments:?}"),
    }
}

fn serve(port: u16, answer: fn(TcpStream) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that goes away early is no reason to stop serving.
        std::thread::spawn(move || drop(answer(stream)));
    }
    Ok(())
}

/// One byte in, the same byte out, then the end.
fn echo(mut stream: TcpStream) -> Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)?;
    Ok(())
}

/// `d` and a number of mebibytes: sends them. `u`: takes them, and confirms the last.
fn bulk(mut stream: TcpStream) -> Result<()> {
    let mut request = [0; 5];
    stream.read_exact(&mut request)?;
    let [direction, size @ ..] = request;
    let mut left = u64::from(u32::from_be_bytes(size)) << 20;
    let mut block = vec![b'.'; BLOCK];
    if direction == b'd' {
        while left > 0 {
            let count = left.min(BLOCK as u64) as usize;
            stream.write_all(&block[..count])?;
            left -= count as u64;
        }
        return Ok(());
    }
    while left > 0 {
        let count = stream.read(&mut block)?;
        ensure!(count > 0, "the upload ended early");
        left = left.saturating_sub(count as u64);
    }
    stream.write_all(b"!")?;
    Ok(())
}

/// Connects, exchanges a byte and closes, over and over: connections per second.
fn connect(port: u16, clients: usize, time: Duration) -> Result<f64> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let start = Instant::now();
    let client = move || -> Result<u64> {
        let mut count = 0;
        while start.elapsed() < time {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(b"x")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            ensure!(answer == b"x", "answered with {answer:?}");
            count += 1;
        }
        Ok(count)
    };
    let clients: Vec<_> = (0..clients).map(|_| std::thread::spawn(client)).collect();
    let mut total = 0;
    for client in clients {
        total += client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// Stays on one processor.
fn stay_on(processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(sched_setaffinity(Pid::this(), &set)?)
}

/// For each line of input with a number, connects so often; writes how long each took, in microseconds,
/// on one line.
fn connects(port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for line in std::io::stdin().lines() {
        let mut times = Vec::new();
        for _ in 0..line?.parse()? {
            let start = Instant::now();
            let mut stream = TcpStream::connect(address)?;
            times.push(start.elapsed());
            // The server closes first, and has: no end is left over that the next one meets.
            stream.write_all(b"x")?;
            stream.read_to_end(&mut Vec::new())?;
        }
        let microseconds = times.iter().map(|time| time.as_secs_f64() * 1e6);
        let words: Vec<String> = microseconds.map(|time| format!("{time:.3}")).collect();
        println!("{}", words.join(" "));
    }
    Ok(())
}

/// Moves this many mebibytes over one connection: mebibytes per second.
fn transfer(port: u16, direction: u8, mebibytes: u32) -> Result<f64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut request = vec![direction];
    request.extend(mebibytes.to_be_bytes());
    let start = Instant::now();
    stream.write_all(&request)?;
    let total = u64::from(mebibytes) << 20;
    let mut block = vec![b'.'; BLOCK];
    let mut moved = 0;
    if direction == b'u' {
        while moved < total {
            let count = (total - moved).min(BLOCK as u64) as usize;
            stream.write_all(&block[..count])?;
            moved += count as u64;
        }
        stream.read_exact(&mut [0]).context("the confirmation")?;
    } else {
        while moved < total {
            let count = stream.read(&mut block)?;
            ensure!(count > 0, "the download ended after {moved} bytes");
            moved += count as u64;
        }
    }
    Ok(f64::from(mebibytes) / start.elapsed().as_secs_f64())
}

/// fork, exec and wait, over and over: microseconds each.
fn spawn(count: u32) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        ensure!(
            Command::new("/bin/true").status()?.success(),
            "/bin/true failed"
        );
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}
