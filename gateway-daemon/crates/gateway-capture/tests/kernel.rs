//! The programs on the real kernel: attached to a cgroup of the test's own, as root.
//!
//! One test function, since this process itself sits in the cgroup as the daemon would.
use aya::programs::links::{FdLink, PinnedLink};
use gateway_capture::{
    Capture, CaptureOptions, Event, Governed, Kind, Listeners, Object, TagEntry, cgroup, uninstall,
};
use gateway_core::Mode;
use std::collections::HashMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A cgroup subtree that is emptied and removed whatever happens.
struct Subtree(PathBuf);

impl Subtree {
    fn new() -> Subtree {
        let path = cgroup::mount()
            .unwrap()
            .join(format!("gateway-kernel-{}", std::process::id()));
        for name in ["daemon", "jobs"] {
            std::fs::create_dir_all(path.join(name)).unwrap();
        }
        Subtree(path)
    }

    fn enter(&self, name: &str) {
        join(&self.0.join(name));
    }
}

fn join(cgroup: &Path) {
    std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
}

impl Drop for Subtree {
    fn drop(&mut self) {
        let _ = std::fs::write(
            cgroup::mount().unwrap().join("cgroup.procs"),
            std::process::id().to_string(),
        );
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..200 {
            for name in ["daemon", "early", "jobs/one", "jobs"] {
                let _ = std::fs::remove_dir(self.0.join(name));
            }
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// A bpffs of the test's own.
struct Bpffs(tempfile::TempDir);

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = uninstall(&self.0.path().join("bpf"));
    }
}

/// Runs a shell script in a cgroup, which it enters before anything else.
fn job(cgroup: &Path, script: &str) -> std::process::Output {
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec bash -c '{script}'",
        cgroup.display()
    );
    Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn python(cgroup: &Path, program: &str) -> std::process::Output {
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec python3 -c \"$1\"",
        cgroup.display()
    );
    Command::new("sh")
        .args(["-c", &script, "sh", program])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What is known of tags that should not be there.
fn describe(left: &[TagEntry], seen: &[Event]) -> String {
    let mut text = String::new();
    for tag in left {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", tag.pid));
        let events: Vec<_> = seen.iter().filter(|event| event.tree == tag.tree).collect();
        text += &format!(
            "{tag:?}\n  command {:?}\n  cgroup {:?}\n  stat {:?}\n  events {events:#?}\n",
            read("cmdline"),
            read("cgroup"),
            read("stat"),
        );
    }
    text
}

/// One process that sleeps, and one that forks and exits for ever, faster than anybody can look.
fn end_a_tree_that_runs_away(capture: &Capture, jobs: &Path) {
    let run_away = "import os, sys, time\n\
        if os.fork() == 0: time.sleep(1000)\n\
        print(\"on its way\", flush=True)\n\
        while True:\n    \
            if os.fork(): os._exit(0)\n";
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec python3 -c '{run_away}'",
        jobs.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    child.wait().unwrap();
    let tree = capture.tags().unwrap()[0].tree;
    let other = job(jobs, "true");
    assert!(other.status.success());
    let killed = capture
        .end_tree(tree, std::time::Duration::from_secs(20))
        .unwrap();
    assert!(killed >= 1, "{killed}");
    let left = std::fs::read_to_string(jobs.join("cgroup.procs")).unwrap();
    assert_eq!(left, "", "nobody is left in the cgroup");
    // The mark is gone, and was about that tree alone.
    assert!(job(jobs, "true && true").status.success());
    assert_eq!(
        capture
            .end_tree(tree, std::time::Duration::from_secs(20))
            .unwrap(),
        0
    );
}

/// What a resolver does with two servers: one socket, not connected, both asked at once; then one
/// that is connected. It prints whom the answers come from.
const RESOLVER: &str = r#"
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(b"first", ("192.0.2.1", 53))
s.sendto(b"second", ("192.0.2.2", 53))
print(*sorted((data.decode(), *who) for data, who in (s.recvfrom(99), s.recvfrom(99))))
c = socket.socket(type=socket.SOCK_DGRAM)
c.settimeout(10)
c.connect(("192.0.2.3", 53))
c.send(b"third")
print(*c.recvfrom(99), c.getpeername())
"#;

/// Questions arrive with the server that each was meant for, and answers come from there.
fn ask_and_answer(capture: &Capture, cgroup: &Path, listeners: &Listeners) {
    let client = std::thread::scope(|scope| {
        let client = scope.spawn(|| python(cgroup, RESOLVER));
        let mut seen = Vec::new();
        while seen.len() < 3 && !client.is_finished() {
            for socket in &listeners.questions {
                let mut bytes = [0; 100];
                let Ok((length, from)) = socket.recv_from(&mut bytes) else {
                    continue;
                };
                let port = socket.local_addr().unwrap().port();
                let flow = capture
                    .question(listeners.netns, port, from)
                    .unwrap()
                    .expect("a flow");
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                seen.push((text, flow.destination.to_string()));
                socket.send_to(&bytes[..length], from).unwrap();
            }
        }
        seen.sort();
        assert_eq!(
            seen,
            [
                ("first".into(), "192.0.2.1:53".into()),
                ("second".into(), "192.0.2.2:53".into()),
                ("third".into(), "192.0.2.3:53".into()),
            ] as [(String, String); 3]
        );
        client.join().unwrap()
    });
    assert_eq!(
        String::from_utf8_lossy(&client.stdout),
        "('first', '192.0.2.1', 53) ('second', '192.0.2.2', 53)\n\
         b'third' ('192.0.2.3', 53) ('192.0.2.3', 53)\n",
        "{client:?}"
    );
    // A stranger's question is dropped before it arrives.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = listeners.questions[0].local_addr().unwrap();
    assert!(
        stranger.send_to(b"x", port).is_err()
            || listeners.questions[0].recv_from(&mut [0; 9]).is_err()
    );
}

/// The one set of links that is pinned.
fn set_of_links(bpffs: &Path) -> PathBuf {
    let all = std::fs::read_dir(bpffs)
        .unwrap()
        .map(|set| set.unwrap().path());
    let name = |set: &PathBuf| set.file_name().unwrap().to_string_lossy().into_owned();
    let mut sets = all.filter(|set| name(set).starts_with("links-"));
    let set = sets.next().unwrap();
    assert_eq!(sets.next(), None, "beside {}", set.display());
    set
}

/// The links that are pinned, by name: the id of each, and of its program.
fn links(bpffs: &Path) -> HashMap<String, (u32, u32)> {
    let set = set_of_links(bpffs);
    let pins = std::fs::read_dir(set)
        .unwrap()
        .map(|pin| pin.unwrap().path());
    pins.map(|pin| {
        let name = pin.file_name().unwrap().to_string_lossy().into_owned();
        let link = FdLink::from(PinnedLink::from_pin(&pin).unwrap());
        let link = link.info().unwrap();
        (name, (link.id(), link.program_id()))
    })
    .collect()
}

/// A daemon with other programs comes: the hooks keep their links, and refuse as before.
fn replace_all_programs(options: &CaptureOptions, jobs: &Path, connect: &str) {
    let before = links(&options.bpffs_dir);
    let other = CaptureOptions {
        object: Object::Debug,
        ..options.clone()
    };
    // One that died in the midst of it: what is there is of both, and of none.
    let set = set_of_links(&options.bpffs_dir);
    let name = set
        .file_name()
        .unwrap()
        .to_string_lossy()
        .replace("links-", "links-was-");
    std::fs::rename(&set, set.with_file_name(name)).unwrap();
    let (capture, started) = Capture::start(&other).unwrap();
    assert!(!started.taken_over);
    drop(capture);
    let after = links(&options.bpffs_dir);
    assert_eq!(before.len(), after.len());
    for (name, (link, program)) in &before {
        let (new_link, new_program) = &after[name];
        assert_ne!(program, new_program, "{name}");
        let traces = [
            "tag_new_task",
            "report_exec",
            "drop_tag",
            "judge_new_cgroup",
            "forget_cgroup",
        ];
        assert_eq!(link != new_link, traces.contains(&&**name), "{name}");
    }
    assert!(!job(jobs, connect).status.success(), "the new ones refuse");
}

#[test]
fn a_governed_connection_arrives_at_the_gateway_with_its_destination() {
    let subtree = Subtree::new();
    subtree.enter("daemon");
    let directory = Bpffs(tempfile::tempdir().unwrap());
    let options = CaptureOptions {
        cgroup_root: Some(subtree.0.clone()),
        bpffs_dir: directory.0.path().join("bpf"),
        object: Object::Plain,
        draining: false,
    };
    let (capture, started) = Capture::start(&options).unwrap();
    assert!(!started.taken_over);
    // Before any policy is in force, no cgroup is governed.
    let early = subtree.0.join("early");
    std::fs::create_dir(&early).unwrap();
    assert!(job(&early, "true").status.success());
    assert_eq!(capture.counters().unwrap().redirected, 0);
    let policy = Governed {
        name: "test".into(),
        posture: gateway_core::Posture::default(),
        mode: Mode::Enforce,
        cgroups: vec![format!("{}/jobs/**", capture.root().path)],
        unix: Vec::new(),
    };
    let slots = capture
        .govern_cgroups(std::slice::from_ref(&policy))
        .unwrap();
    assert_eq!(slots.slot("test"), Some(0));
    let mut events = capture.events().unwrap();
    assert_eq!(events.next_event(), None, "nothing was governed yet");
    // A cgroup that is made after the start is judged by its path, in the kernel.
    let jobs = subtree.0.join("jobs/one");
    std::fs::create_dir(&jobs).unwrap();

    // No listener yet: refused, and the server sees nothing.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo in >&3 && cat <&3");
    let output = job(&jobs, &connect);
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("refused"),
        "{output:?}"
    );

    let listeners = capture.listen(Vec::new()).unwrap().listeners;
    let listener = &listeners.streams[0];
    listener.set_nonblocking(false).unwrap();
    let acceptor = std::thread::scope(|scope| {
        let client = scope.spawn(|| job(&jobs, &connect));
        let (mut accepted, _) = listener.accept().unwrap();
        let flow = capture.flow(accepted.as_fd()).unwrap().expect("a flow");
        assert_eq!(flow.destination.port(), port);
        assert!(flow.destination.ip().is_loopback());
        assert_eq!(flow.slot, 0);
        let mut byte = [0; 3];
        accepted.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"in\n");
        drop(accepted);
        assert!(client.join().unwrap().status.success());
        flow
    });
    // A stranger on our listener has no flow.
    let stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    assert_eq!(capture.flow(accepted.as_fd()).unwrap(), None);
    drop(stranger);
    ask_and_answer(&capture, &jobs, &listeners);
    // An ungoverned process goes straight to the server.
    let direct = TcpStream::connect(("127.0.0.1", port)).unwrap();
    server.accept().unwrap();
    assert_eq!(direct.peer_addr().unwrap().port(), port);

    // What cannot be inspected is refused.
    let udp = job(&jobs, "echo x > /dev/udp/127.0.0.1/9");
    assert!(!udp.status.success(), "{udp:?}");
    let ping = job(&jobs, "python3 -c \"import socket; socket.socket(2,3,1)\"");
    assert!(!ping.status.success(), "a raw socket: {ping:?}");
    let mptcp = job(
        &jobs,
        "python3 -c \"import socket; socket.socket(2,1,262)\"",
    );
    assert!(
        String::from_utf8_lossy(&mptcp.stderr).contains("not supported"),
        "{mptcp:?}"
    );

    let mut seen = Vec::new();
    while let Some(event) = events.next_event() {
        seen.push(event);
    }
    let of_client: Vec<_> = seen
        .iter()
        .filter(|event| event.tree == acceptor.tree)
        .collect();
    assert!(
        of_client
            .iter()
            .any(|event| matches!(event.kind, Kind::Rooted(_))),
        "rooted: {of_client:?}"
    );
    assert!(
        of_client
            .iter()
            .any(|event| matches!(&event.kind, Kind::Executed { argv, .. }
            if argv.starts_with(b"bash\0-c\0"))),
        "executed: {of_client:?}"
    );
    assert!(
        of_client.iter().any(|event| event.kind == Kind::Exited),
        "{of_client:?}"
    );
    assert_eq!(capture.counters().unwrap().events_lost, 0);
    assert_eq!(capture.counters().unwrap().backstop_drops, 0);
    assert_eq!(capture.watch().unwrap(), 0, "nothing was missed");
    capture.sweep().unwrap();
    let left = capture.tags().unwrap();
    assert!(left.is_empty(), "{}", describe(&left, &seen));

    end_a_tree_that_runs_away(&capture, &jobs);

    // The daemon dies: the programs stay, and refuse.
    drop(listeners);
    drop(events);
    drop(capture);
    let output = job(&jobs, &connect);
    assert!(!output.status.success(), "the pinned programs refuse");

    let (capture, started) = Capture::start(&options).unwrap();
    assert!(started.taken_over);
    assert_eq!(
        capture.govern_cgroups(&[policy]).unwrap().slot("test"),
        Some(0)
    );
    drop(capture);
    replace_all_programs(&options, &jobs, &connect);
    assert!(uninstall(&options.bpffs_dir).unwrap());
    assert!(!uninstall(&options.bpffs_dir).unwrap());
    let output = job(&jobs, &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"));
    assert!(output.status.success(), "free again: {output:?}");
}
