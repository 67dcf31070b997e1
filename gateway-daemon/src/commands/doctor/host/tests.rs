//! Hosts made of files.
use super::super::check::Finding;
use super::*;
use std::fs;
use tempfile::TempDir;

const ROOT: Viewer = Viewer { uid: 0 };
const NOBODY: Viewer = Viewer { uid: 65534 };

/// Paths and what is in them.
type Files<'a> = &'a [(&'a str, &'a str)];

/// A host with these files.
fn host(files: Files<'_>) -> (TempDir, Host) {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let host = Host::at(directory.path());
    (directory, host)
}

fn check(check: &Check, result: Finding, word: &str) {
    assert_eq!(check.result, result, "{check:?}");
    assert!(check.detail.contains(word), "{word:?} in {check:?}");
    assert_eq!(check.remedy.is_none(), result == Finding::Ok, "{check:?}");
}

#[test]
fn capabilities_are_read_from_the_status() {
    for (mask, viewer, result, word) in [
        ("000001ffffffffff", ROOT, Finding::Ok, "all"),
        (
            "000001fffeffffff",
            ROOT,
            Finding::Warning,
            "CAP_SYS_RESOURCE",
        ),
        ("0000007fffffffff", ROOT, Finding::Missing, "CAP_BPF"),
        ("0000000000000000", ROOT, Finding::Missing, "CAP_NET_ADMIN"),
        ("0000000000000000", NOBODY, Finding::Unknown, "CAP_BPF"),
    ] {
        let status = format!("Name:\tgateway\nCapPrm:\t0\nCapEff:\t{mask}\nCapBnd:\t0\n");
        let (_directory, host) = host(&[("proc/self/status", &status)]);
        check(&host.capabilities(viewer), result, word);
    }
    for status in ["", "CapEff:\tnonsense\n"] {
        let (_directory, host) = host(&[("proc/self/status", status)]);
        check(&host.capabilities(ROOT), Finding::Unknown, "status");
    }
}

#[test]
fn a_container_is_known_by_its_namespaces() {
    for (pid, cgroup, result, word) in [
        ("4026531836", "4026531835", Finding::Ok, "the host's"),
        ("4026532100", "4026531835", Finding::Missing, "pid"),
        ("4026532100", "4026532101", Finding::Missing, "pid, cgroup"),
    ] {
        let (directory, host) = host(&[("proc/self/ns/keep", "")]);
        let links = [("pid", pid), ("cgroup", cgroup), ("user", "4026531837")];
        for (name, number) in links {
            let link = directory.path().join("proc/self/ns").join(name);
            std::os::unix::fs::symlink(format!("{name}:[{number}]"), link).unwrap();
        }
        check(&host.namespaces(), result, word);
    }
    let (_directory, host) = host(&[]);
    check(&host.namespaces(), Finding::Unknown, "pid");
}

#[test]
fn bpf_lsm_is_one_of_the_list() {
    const FILE: &str = "sys/kernel/security/lsm";
    for (list, built, result, word) in [
        ("lockdown,yama,bpf\n", None, Finding::Ok, "active"),
        ("lockdown,bpfoo", Some(true), Finding::Warning, "not active"),
        ("lockdown", Some(false), Finding::Warning, "without"),
    ] {
        let (_directory, host) = host(&[(FILE, list)]);
        check(&host.lsm(built, None), result, word);
    }
    let (_directory, host) = host(&[(FILE, "yama,bpf\n")]);
    let refused = host.lsm(Some(true), Some("the program judge_bpf was refused"));
    check(&refused, Finding::Warning, "judge_bpf");
    let (_directory, host) = self::host(&[]);
    check(&host.lsm(None, None), Finding::Unknown, "securityfs");
    check(&host.lsm(Some(true), None), Finding::Unknown, "securityfs");
    check(&host.lsm(Some(false), None), Finding::Warning, "without");
}

#[test]
fn the_mode_of_lockdown_is_in_brackets() {
    for (modes, result, word) in [
        (
            "none [integrity] confidentiality\n",
            Finding::Ok,
            "integrity",
        ),
        (
            "none integrity [confidentiality]",
            Finding::Warning,
            "refuse",
        ),
        ("[none] integrity confidentiality", Finding::Warning, "none"),
    ] {
        let (_directory, host) = host(&[("sys/kernel/security/lockdown", modes)]);
        check(&host.lockdown(), result, word);
        let takes_none = host.no_kernel_code().is_some();
        assert_eq!(takes_none, !modes.contains("[none]"), "{modes}");
    }
    let (_directory, host) = host(&[]);
    check(&host.lockdown(), Finding::Unknown, "not known");
    assert_eq!(
        host.no_kernel_code(),
        None,
        "what is not known closes nothing"
    );
}

#[test]
fn a_kernel_takes_code_as_modules_or_by_kexec() {
    const MODULES: &str = "proc/sys/kernel/modules_disabled";
    const KEXEC: &str = "proc/sys/kernel/kexec_load_disabled";
    const LIST: (&str, &str) = ("proc/modules", "");
    let cases: [(Files<'_>, Finding, Finding); 5] = [
        (
            &[(MODULES, "0\n"), (KEXEC, "0\n"), LIST],
            Finding::Warning,
            Finding::Warning,
        ),
        (
            &[(MODULES, "1\n"), (KEXEC, "1\n"), LIST],
            Finding::Ok,
            Finding::Ok,
        ),
        (
            &[(MODULES, "1\n"), (KEXEC, "0\n"), LIST],
            Finding::Ok,
            Finding::Warning,
        ),
        (
            &[("proc/sys/kernel/ostype", "Linux")],
            Finding::Ok,
            Finding::Ok,
        ),
        (&[], Finding::Unknown, Finding::Unknown),
    ];
    for (files, modules, kexec) in cases {
        let (_directory, host) = host(files);
        assert_eq!(host.modules().result, modules, "{files:?}");
        assert_eq!(host.kexec().result, kexec, "{files:?}");
        let none = modules == Finding::Ok && kexec == Finding::Ok;
        assert_eq!(host.no_kernel_code().is_some(), none, "{files:?}");
    }
}

#[test]
fn who_may_load_programs_is_a_number() {
    const FILE: &str = "proc/sys/kernel/unprivileged_bpf_disabled";
    for (number, result) in [
        ("0\n", Finding::Warning),
        ("1\n", Finding::Ok),
        ("2\n", Finding::Ok),
    ] {
        let (_directory, host) = host(&[(FILE, number)]);
        assert_eq!(host.unprivileged_bpf().result, result, "{number}");
    }
    let (_directory, host) = host(&[]);
    assert_eq!(host.unprivileged_bpf().result, Finding::Unknown);
}

#[test]
fn descriptors_are_counted_against_what_may_be_had() {
    const MAY_RAISE: &str = "CapEff:\t000001ffffffffff\n";
    const MAY_NOT: &str = "CapEff:\t000001fffeffffff\n";
    for (status, hard, result) in [
        (MAY_RAISE, 1024, Finding::Ok),
        (MAY_NOT, 1024, Finding::Warning),
        (MAY_NOT, 70_000, Finding::Ok),
    ] {
        let files = [
            ("proc/self/status", status),
            ("proc/sys/fs/nr_open", "1048576\n"),
        ];
        let (_directory, host) = host(&files);
        assert_eq!(host.descriptors(64_096, hard).result, result, "{status}");
    }
    let files = [
        ("proc/self/status", MAY_RAISE),
        ("proc/sys/fs/nr_open", "5000\n"),
    ];
    let (_directory, host) = host(&files);
    let few = host.descriptors(64_096, 5000);
    check(&few, Finding::Warning, "64096");
    assert!(few.remedy.unwrap().contains("nr_open"));
}

#[test]
fn the_unit_is_found_where_systemd_looks() {
    const SYSTEMD: (&str, &str) = ("run/systemd/system/keep", "");
    for unit in ["etc/systemd/system", "usr/lib/systemd/system"] {
        let unit = format!("{unit}/gateway.service");
        let (_directory, host) = host(&[SYSTEMD, (&unit, "")]);
        check(&host.service(), Finding::Ok, &unit);
    }
    let (_directory, without) = host(&[SYSTEMD]);
    check(&without.service(), Finding::Warning, "no gateway.service");
    let (_directory, other) = host(&[("etc/systemd/system/gateway.service", "")]);
    check(&other.service(), Finding::Warning, "does not run");
}
