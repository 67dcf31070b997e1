//! The harness itself: a test that stands on something broken proves nothing.
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::sniffer::Sniffer;
use gateway_tests::{Cluster, Job, Namespace, Running, Subtree, wait};
use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

#[test]
fn a_cluster_answers_and_logs_what_it_was_given() {
    let cluster = Cluster::start().unwrap();
    assert_eq!(cluster.query("select 1 + 1").unwrap(), "2");
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-d",
        &cluster.address(),
        "-c",
        "select 'over the network'",
    ]);
    running::run(&mut psql).unwrap().success().unwrap();
    let statements = cluster.statements().unwrap();
    assert_eq!(
        statements,
        ["select 'over the network'"],
        "the unix socket does not count"
    );
}

#[test]
fn a_job_runs_in_its_cgroup_and_dies_with_the_subtree() {
    let subtree = Subtree::create().unwrap();
    let job = Job::governed(&subtree, "a").unwrap();
    let outcome = running::run(job.command("cat").arg("/proc/self/cgroup")).unwrap();
    let own = format!("0::/{}/jobs/a", subtree.name());
    assert!(
        outcome.stdout.lines().any(|line| line == own),
        "{}",
        outcome.stdout
    );

    // A daemonised grandchild does not survive.
    let mut command = job.command("sh");
    command.args(["-c", "setsid sh -c 'sleep 1000 & echo $! ' & wait"]);
    let outcome = running::run(&mut command).unwrap().success().unwrap();
    let orphan = PathBuf::from("/proc").join(outcome.stdout.trim());
    assert!(orphan.exists());
    let path = subtree.path().to_owned();
    drop(subtree);
    assert!(!path.exists());
    let gone = || fs::read_to_string(orphan.join("stat")).is_ok_and(|stat| stat.contains(") Z "));
    assert!(!orphan.exists() || gone());
}

#[test]
fn an_unprivileged_job_has_no_capabilities() {
    let subtree = Subtree::create().unwrap();
    let job = Job::governed(&subtree, "a").unwrap();
    let mut command = job.command_as(gateway_tests::job::NOBODY, "cat");
    let status = running::run(command.arg("/proc/self/status"))
        .unwrap()
        .stdout;
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert!(line("Uid:").starts_with("65534"));
    assert_eq!(line("CapEff:"), "0000000000000000");
}

#[test]
fn the_sniffer_sees_what_arrives_in_its_namespace() {
    let namespace = Namespace::create().unwrap();
    let sniffer = Sniffer::start(&namespace, 7000).unwrap();
    let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
    udp.send_to(
        Sniffer::token("udp").as_bytes(),
        (namespace.address(), 7001),
    )
    .unwrap();
    let mut tcp = TcpStream::connect((namespace.address(), 7000)).unwrap();
    std::io::Write::write_all(&mut tcp, Sniffer::token("tcp").as_bytes()).unwrap();
    let v6 = TcpStream::connect((namespace.address_v6(), 7000)).unwrap();
    std::io::Write::write_all(&mut &v6, Sniffer::token("v6").as_bytes()).unwrap();
    wait::until_true("three tokens", PATIENCE, || {
        let tokens = sniffer.tokens();
        ["gwtok-udp", "gwtok-tcp", "gwtok-v6"]
            .iter()
            .all(|token| tokens.contains(*token))
    })
    .unwrap();
    wait::until_true("two connections", PATIENCE, || {
        sniffer.accepted().len() == 2
    })
    .unwrap();
}

#[test]
fn output_of_a_program_is_kept_whole_and_an_orphan_does_not_hold_us() {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "(sleep 30; echo late) & head -c 3000000 /dev/zero | tr '\\0' x",
    ]);
    let outcome = Running::start(&mut command)
        .unwrap()
        .wait(PATIENCE)
        .unwrap();
    assert_eq!(outcome.stdout.len(), 3_000_000);
}

#[test]
fn a_program_that_does_not_end_is_an_error_and_is_killed() {
    let running = Running::start(Command::new("sleep").arg("1000")).unwrap();
    let pid = running.pid();
    assert!(running.wait(std::time::Duration::from_millis(50)).is_err());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
}
