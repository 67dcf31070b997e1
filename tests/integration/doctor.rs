//! `gateway doctor` on this host: with a daemon and without, for root and for others, and where
//! something is missing. It leaves nothing, and says the same as the daemon does.
use gateway_tests::attacks::proofs::PROOFS;
use gateway_tests::attacks::{self, Stage};
use gateway_tests::daemon::objects;
use gateway_tests::running::{self, Outcome};
use gateway_tests::{Bpffs, Daemon, Subtree, job, place, policy, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const SOMEBODY_ELSE: &str = include_str!("scripts/somebody_else.py");
/// What is looked at, in this order: scripts know it by these names. `policy` is there for each.
const CHECKS: [&str; 20] = [
    "caller",
    "kernel",
    "btf",
    "capabilities",
    "namespaces",
    "cgroup2",
    "bpffs",
    "pins",
    "programs",
    "other-programs",
    "descriptors",
    "lsm",
    "lockdown",
    "modules",
    "kexec",
    "unprivileged-bpf",
    "service",
    "daemon",
    "policies",
    "policy",
];
/// No user has this id.
const NOBODY_KNOWN: u32 = 61_234;

fn prepared(text: impl Fn(&Subtree) -> String) -> (Arc<Subtree>, gateway_tests::daemon::Prepared) {
    let subtree = Arc::new(Subtree::create().unwrap());
    let prepared = Daemon::prepare(&subtree).unwrap();
    let prepared = prepared.policy("test", &text(&subtree)).unwrap();
    (subtree, prepared)
}

fn stopped() -> (Arc<Subtree>, Daemon) {
    let (subtree, prepared) = prepared(policy::deny_all);
    let daemon = prepared.stopped().unwrap();
    (subtree, daemon)
}

/// What the doctor said, and what it ended with.
struct Said {
    code: i32,
    objects: Vec<Value>,
}

impl Said {
    fn of(outcome: &Outcome) -> Said {
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
        Said {
            code: outcome.code(),
            objects: objects(outcome).unwrap(),
        }
    }

    fn by(daemon: &Daemon) -> Said {
        Said::of(&daemon.run(&["doctor", "--all", "--json"]).unwrap())
    }

    fn checks(&self, name: &str) -> Vec<&Value> {
        let all = self.objects.iter();
        all.filter(|object| object["kind"] == "check" && object["name"] == name)
            .collect()
    }

    /// The only check of this name has this result, and this in its detail.
    fn check(&self, name: &str, result: &str, word: &str) -> &Value {
        let found = self.checks(name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0]["result"], result, "{}", found[0]);
        let detail = found[0]["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{word:?} in {}", found[0]);
        found[0]
    }

    fn rows(&self, result: &str) -> Vec<u64> {
        let all = self.objects.iter();
        all.filter(|object| object["kind"] == "row" && object["result"] == result)
            .map(|row| row["row"].as_u64().unwrap())
            .collect()
    }

    /// The last line, which counts the others.
    fn summary(&self) -> &Value {
        let summary = self.objects.last().unwrap();
        assert_eq!(summary["kind"], "summary", "{summary}");
        assert_eq!(summary["open"], self.rows("open").len(), "{summary}");
        let checks = self.objects.iter();
        let missing = checks
            .filter(|object| object["result"] == "missing")
            .count();
        assert_eq!(summary["missing"], missing, "{summary}");
        summary
    }
}

fn somebody_else(arguments: &[&str]) -> String {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", SOMEBODY_ELSE]).args(arguments);
    running::run(&mut command)
        .unwrap()
        .success()
        .unwrap()
        .stdout
}

/// The doctor of a stopped daemon under some other program.
fn under(daemon: &Daemon, subtree: &Subtree, prefix: &[&str]) -> Said {
    let mut command = job::inside(&subtree.child("doctor").unwrap(), prefix[0]);
    command.args(&prefix[1..]).arg(place::gateway().unwrap());
    command.args(["doctor", "--all", "--json"]);
    command.env("GATEWAY_CONFIG", daemon.config_file());
    Said::of(&running::run(&mut command).unwrap())
}

fn reconfigure(daemon: &Daemon, from: &str, to: &str) {
    let config = fs::read_to_string(daemon.config_file()).unwrap();
    assert!(config.contains(from), "{from:?} in {config}");
    fs::write(daemon.config_file(), config.replace(from, to)).unwrap();
}

fn paths_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[test]
fn without_a_daemon_the_doctor_says_what_the_host_can_and_leaves_nothing() {
    let (subtree, daemon) = stopped();
    let directory = daemon.config_file().parent().unwrap().to_owned();
    let before = (paths_in(&directory), paths_in(subtree.path()));
    let said = Said::by(&daemon);
    assert_eq!(said.code, 0, "{:?}", said.objects);
    assert_eq!(said.summary()["tier"], "attest");
    assert_eq!(said.summary()["missing"], 0);
    said.check("caller", "ok", "root");
    said.check("kernel", "ok", "");
    said.check("btf", "ok", "");
    said.check("programs", "ok", "verified");
    said.check("pins", "ok", "none");
    said.check("bpffs", "ok", "makes");
    said.check("cgroup2", "warning", subtree.name());
    said.check("daemon", "warning", "nothing is governed");
    said.check("policy", "ok", "test (enforce)");
    let checks = || said.objects.iter().filter(|one| one["kind"] == "check");
    let names: Vec<&str> = checks()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, CHECKS);
    for check in checks() {
        let fine = check["result"] == "ok";
        assert_eq!(check["remedy"].is_null(), fine, "{check}");
    }
    let programs = said.objects.iter().filter(|one| one["kind"] == "program");
    let counted = |program: &Value| program["instructions"].as_u64() > Some(0);
    let programs: Vec<_> = programs.collect();
    assert!(!programs.is_empty() && programs.iter().all(|one| counted(one)));
    assert!(said.rows("closed").contains(&3), "a raw IP socket");
    assert!(said.rows("open").contains(&5), "AF_PACKET");
    assert!(said.rows("open").contains(&1), "it is only a subtree");
    // Without --all the same, but for what is closed.
    let open = Said::of(&daemon.run(&["doctor", "--json"]).unwrap());
    assert_eq!(open.rows("open"), said.rows("open"));
    assert_eq!(open.rows("closed"), [0_u64; 0]);
    let table = daemon.run(&["doctor"]).unwrap().success().unwrap().stdout;
    for line in [
        "CHECK ",
        "ROW ",
        "  5  contain  open    AF_PACKET",
        "tier attest; ",
    ] {
        let found = table.lines().any(|found| found.starts_with(line));
        assert!(found, "{line:?} in {table}");
    }
    let after = (paths_in(&directory), paths_in(subtree.path()));
    assert_eq!(before, after, "nothing is left");
}

/// Each program in the kernel says who loaded it: the doctor is the only one of this user.
#[test]
fn what_the_doctor_loads_is_gone_with_it() {
    let (_subtree, daemon) = stopped();
    let mut plain = daemon.gateway_as(NOBODY_KNOWN).unwrap();
    let mut command = Command::new("setpriv");
    let capabilities = "+bpf,+perfmon,+net_admin,+sys_admin";
    command
        .arg(format!("--inh-caps={capabilities}"))
        .arg(format!("--ambient-caps={capabilities}"))
        .args(plain.get_args())
        .args(["doctor", "--json"])
        .env("GATEWAY_CONFIG", daemon.config_file());
    let said = Said::of(&running::run(&mut command).unwrap());
    said.check("programs", "ok", "verified");
    said.check("caller", "unknown", "61234");
    assert_eq!(said.code, 4, "it is not root all the same");
    let gone = || somebody_else(&["loaded", &NOBODY_KNOWN.to_string()]).is_empty();
    wait::until_true("the programs to be gone", Duration::from_secs(10), gone).unwrap();
    assert!(!daemon.pins().exists());
    // The same user without capabilities.
    let said = Said::of(&running::run(plain.args(["doctor", "--json"])).unwrap());
    said.check("programs", "unknown", "not permitted");
}

#[test]
fn the_doctor_and_the_daemon_say_the_same() {
    let (_subtree, prepared) = prepared(policy::deny_all);
    let mut daemon = prepared.start().unwrap();
    let status = daemon.status().unwrap();
    let said = Said::by(&daemon);
    assert_eq!(said.code, 0, "{:?}", said.objects);
    assert_eq!(said.summary()["tier"], status["tier"]);
    assert_eq!(status["attached"], true);
    said.check("pins", "ok", "the programs are attached");
    said.check("other-programs", "ok", "none");
    let running = said.checks("daemon")[0];
    let detail = running["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("pid {}", status["pid"])),
        "{detail}"
    );
    for warning in status["warnings"].as_array().unwrap() {
        assert!(detail.contains(warning.as_str().unwrap()), "{detail}");
    }
    let policies = status["policies"].as_array().unwrap();
    assert_eq!(policies.len(), said.checks("policy").len());
    for policy in policies {
        let name = format!(
            "{} ({})",
            policy["name"].as_str().unwrap(),
            policy["mode"].as_str().unwrap()
        );
        said.check("policy", "ok", &name);
    }
    // Not the least is changed by it.
    assert_eq!(daemon.status().unwrap()["attached"], true);
    // Others learn that a daemon is there, and no more.
    let mut other = daemon.gateway_as(job::NOBODY).unwrap();
    let other = Said::of(&running::run(other.args(["doctor", "--json"])).unwrap());
    other.check("daemon", "unknown", "");
    assert_eq!(other.code, 4);

    daemon.reload("bad", "[policy]\nname = 7\n").unwrap();
    let rejected = || {
        !daemon.status().unwrap()["rejected"]
            .as_array()
            .unwrap()
            .is_empty()
    };
    wait::until_true("the file to be rejected", running::PATIENCE, rejected).unwrap();
    assert_eq!(daemon.run(&["status"]).unwrap().code(), 1);
    let said = Said::by(&daemon);
    assert_eq!(said.code, 1);
    assert!(
        said.checks("policy")
            .iter()
            .any(|check| check["result"] == "missing")
    );
    fs::remove_file(daemon.policies().join("bad.toml")).unwrap();

    daemon.crash().unwrap();
    let said = Said::by(&daemon);
    assert_eq!(daemon.run(&["status"]).unwrap().code(), 3);
    assert_eq!(said.code, 0, "a daemon is not needed");
    said.check("pins", "ok", "the programs are attached");
    said.check("daemon", "warning", "cut off");
}

/// Rows whose attempts are closed, while something else about them is not: the doctor says what.
const CLOSED_IN_PART: [u64; 3] = [26, 27, 45];

/// What `cargo xtask ways-out` proves closed is not called open, and what is called closed is proved.
#[test]
fn what_is_called_closed_is_what_is_proved_closed() {
    let rows = attacks::doctor_rows().unwrap();
    let tests = PROOFS.iter().map(|proof| (proof.row, proof.hardened));
    let attempts = attacks::ways().map(|way| (way.row, way.stage == Stage::Hardened));
    let proved: BTreeSet<(u64, bool)> = tests
        .chain(attempts)
        .map(|(row, hardened)| (row.into(), hardened))
        .collect();
    for row in &rows {
        let number = row["row"].as_u64().unwrap();
        let is_proved = |hardened| proved.contains(&(number, hardened));
        let closed = row["result"] == "closed";
        match row["tier"].as_str().unwrap() {
            "attest" => {
                let in_part = CLOSED_IN_PART.contains(&number);
                assert_eq!(is_proved(false), closed || in_part, "{row}");
                assert!(!(closed && in_part), "{row}");
            }
            // Each row that `harden` closes is tried with it.
            "contain" => assert!(is_proved(true) && !is_proved(false), "{row}"),
            _ => assert!(!closed && !is_proved(true) && !is_proved(false), "{row}"),
        }
    }
    // 0 is a way that the design's table does not have.
    let listed = |number: u64| rows.iter().any(|row| row["row"] == number);
    for (number, _) in proved {
        assert!(number == 0 || listed(number), "row {number}");
    }
}

/// At the top of the hierarchy no row is open for the sake of a subtree.
#[test]
fn the_top_of_the_hierarchy_is_found() {
    let (subtree, daemon) = stopped();
    let given = format!("cgroup_root = {:?}", subtree.path());
    reconfigure(&daemon, &given, "cgroup_root = \"auto\"");
    Said::by(&daemon).check("cgroup2", "ok", "at its top");
}

#[test]
fn a_policy_that_relies_on_what_is_not_there_is_exit_1() {
    let open = |subtree: &Subtree| {
        policy::deny_all(subtree) + "[[mask]]\nname = \"m\"\nfields = [\"$.card\"]\n"
    };
    let (_subtree, prepared) = prepared(open);
    let daemon = prepared.stopped().unwrap();
    let said = Said::by(&daemon);
    assert_eq!(said.code, 1);
    let check = said.check("policy", "missing", "JSON path");
    assert!(
        check["detail"].as_str().unwrap().contains("test.toml:8:"),
        "{check}"
    );
    assert_eq!(
        said.summary()["tier"],
        "attest",
        "the host is good all the same"
    );

    let elsewhere =
        |_: &Subtree| "[policy]\nname = \"a\"\ncgroups = [\"elsewhere/**\"]\n".to_owned();
    let (_subtree, prepared) = self::prepared(elsewhere);
    let said = Said::by(&prepared.stopped().unwrap());
    assert_eq!(said.code, 1);
    let outside = said.checks("policy")[1];
    assert_eq!(outside["result"], "missing", "{outside}");

    let stored = |subtree: &Subtree| {
        policy::with_rules(subtree, 5432, policy::ALLOW_ALL).replace(
            "ports = [5432]\n",
            "ports = [5432]\ncredential = \"db-ci\"\ntls = { upstream = \"disable\" }\n",
        )
    };
    let (_subtree, prepared) = self::prepared(stored);
    let daemon = prepared.stopped().unwrap();
    let said = Said::by(&daemon);
    assert_eq!(said.code, 1, "{:?}", said.objects);
    let mut add = daemon.gateway();
    add.args(["credentials", "add", "db-ci"]);
    running::run_with_input(&mut add, b"secret")
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(Said::by(&daemon).code, 0);
}

#[test]
fn the_programs_for_debugging_are_tried_where_they_are_asked_for() {
    let (_subtree, prepared) = prepared(policy::deny_all);
    let daemon = prepared.config("debug_log = true\n").stopped().unwrap();
    Said::by(&daemon).check("programs", "ok", "verified");
}

#[test]
fn others_are_told_what_could_not_be_looked_at() {
    let (_subtree, daemon) = stopped();
    let mut command = daemon.gateway_as(job::NOBODY).unwrap();
    let said = Said::of(&running::run(command.args(["doctor", "--all", "--json"])).unwrap());
    assert_eq!(said.code, 4, "{:?}", said.objects);
    assert_eq!(said.summary()["tier"], "unknown");
    for (name, word) in [
        ("caller", "65534"),
        ("capabilities", "CAP_BPF"),
        ("programs", "not permitted"),
        ("other-programs", "not permitted"),
    ] {
        let check = said.check(name, "unknown", word);
        assert!(
            check["remedy"].as_str().unwrap().contains("root"),
            "{check}"
        );
    }
    said.check("btf", "ok", "");
    // A host that takes no modules closes that row by itself.
    let closed = said.rows("closed");
    assert!(closed.iter().all(|row| *row == 38), "{closed:?}");
}

#[test]
fn pins_are_told_by_whose_they_are() {
    let (_subtree, daemon) = stopped();
    let pins = daemon.pins();
    let pin = |name: &str, map: &str, bytes: &str, word: &str| {
        let path = pins.join(name);
        somebody_else(&["pin", path.to_str().unwrap(), map, bytes, word]);
    };
    pin("cilium", "their_map", "8", "0");
    fs::create_dir(pins.join("globals")).unwrap();
    let said = Said::by(&daemon);
    assert_eq!(said.code, 0, "they do no harm: {:?}", said.objects);
    said.check("pins", "warning", "the map \"their_map\"");
    said.check("pins", "warning", "a directory at");

    // Another version may have more in it, or less.
    pin("maps/CONFIG", "CONFIG", "48", "77");
    let said = Said::by(&daemon);
    assert_eq!(said.code, 1);
    let check = said.check("pins", "missing", "ABI version 77");
    assert!(
        check["remedy"].as_str().unwrap().contains("uninstall"),
        "{check}"
    );
    assert_eq!(
        said.rows("closed").iter().filter(|row| **row != 38).count(),
        0
    );

    fs::remove_file(pins.join("maps/CONFIG")).unwrap();
    pin("maps/CONFIG", "their_map", "8", "0");
    let said = Said::by(&daemon);
    said.check("pins", "missing", "their_map");
    assert!(pins.join("cilium").exists(), "what is others' stays");
}

#[test]
fn the_place_of_the_pins_is_looked_at_and_not_made() {
    let (_subtree, daemon) = stopped();
    let given = format!("bpffs_dir = {:?}", daemon.pins());
    let place = place::temporary_directory().unwrap();
    let other = place.path().join("not/there");
    reconfigure(&daemon, &given, &format!("bpffs_dir = {other:?}"));
    let said = Said::by(&daemon);
    said.check("bpffs", "ok", "mounts");
    assert_eq!(said.code, 0);
    assert!(paths_in(place.path()).is_empty(), "it was not made");

    let mount = Bpffs::mount(&place.path().join("bpf")).unwrap();
    let mut read_only = Command::new("mount");
    read_only.args(["-o", "remount,ro"]).arg(mount.path());
    running::run(&mut read_only).unwrap().success().unwrap();
    let given = format!("bpffs_dir = {other:?}");
    let other = mount.path().join("gateway");
    reconfigure(&daemon, &given, &format!("bpffs_dir = {other:?}"));
    let said = Said::by(&daemon);
    said.check("bpffs", "missing", "read-only");
    assert_eq!(said.code, 1);
}

#[test]
fn programs_of_others_are_told_by_what_they_can_do() {
    const MULTI: &str = "2";
    let (subtree, daemon) = stopped();
    let below = subtree.child("jobs/theirs").unwrap();
    somebody_else(&["attach", below.to_str().unwrap(), MULTI]);
    let said = Said::by(&daemon);
    let check = said.check("other-programs", "warning", "\"somebody\" on connect4");
    assert!(
        check["detail"].as_str().unwrap().contains("jobs/theirs"),
        "{check}"
    );
    assert_eq!(said.code, 0);

    let (subtree, daemon) = stopped();
    somebody_else(&["attach", subtree.path().to_str().unwrap(), "0"]);
    let said = Said::by(&daemon);
    said.check("other-programs", "missing", "beside \"somebody\"");
    assert_eq!(said.code, 1);
    assert_ne!(daemon.run(&["daemon"]).unwrap().code(), 0, "and so it is");
}

#[test]
fn a_host_that_lacks_something_has_every_way_open() {
    let hide = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let drop = "--bounding-set=-bpf,-sys_admin,-perfmon";
    for (prefix, name, word) in [
        (
            vec!["unshare", "--mount", "sh", "-c", hide, "sh"],
            "btf",
            "BTF",
        ),
        (
            vec!["setpriv", drop, "--inh-caps=-bpf,-sys_admin,-perfmon", "--"],
            "capabilities",
            "CAP_BPF",
        ),
        (
            vec!["unshare", "--pid", "--fork", "--mount-proc"],
            "namespaces",
            "pid",
        ),
    ] {
        let (subtree, daemon) = stopped();
        let said = under(&daemon, &subtree, &prefix);
        said.check(name, "missing", word);
        assert_eq!(said.code, 1, "{name}");
        assert_eq!(said.summary()["tier"], "none", "{name}");
        let closed = said.rows("closed");
        assert!(closed.iter().all(|row| *row == 38), "{name}: {closed:?}");
    }
}

#[test]
fn a_wrong_configuration_is_exit_2() {
    let (_subtree, daemon) = stopped();
    reconfigure(&daemon, "state_dir", "stat_dir");
    let outcome = daemon.run(&["doctor"]).unwrap();
    assert_eq!(outcome.code(), 2, "{outcome:?}");
    assert!(outcome.stderr.contains("gateway.toml:1:1: "), "{outcome:?}");
    assert!(outcome.stderr.contains("stat_dir"), "{outcome:?}");
    assert_eq!(outcome.stdout, "");
    let outcome = daemon.run(&["doctor", "--tier"]).unwrap();
    assert_eq!(outcome.code(), 2, "{outcome:?}");
}
