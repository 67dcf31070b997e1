//! What the kernel half needs, tried as the daemon does it, without leaving anything.
use super::check::{Check, Viewer};
use crate::config::Config;
use gateway_capture::beside::{self, Other, Others};
use gateway_capture::cgroup::Root;
use gateway_capture::inspect::{self, Left, Place};
use gateway_capture::probe::{self, Tried};
use gateway_capture::seal::Unsealed;
use gateway_capture::{CaptureError, host};
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;

/// How many of a kind are named.
const NAMED_MAX: usize = 8;

const PROGRAMS: &str = "programs";

/// The release that was tested.
pub(super) fn release() -> Check {
    match host::check_kernel() {
        Ok(release) => Check::ok("kernel", release),
        Err(error) => Check::missing("kernel", error.to_string(), "a kernel from 6.1 on"),
    }
}

/// Its types, with all fields and tracepoints. Also whether it was built with BPF LSM, where it says.
pub(super) fn types() -> (Check, Option<bool>) {
    match probe::kernel_types() {
        Ok(types) => {
            let detail = "all fields and tracepoints are there";
            (Check::ok("btf", detail), Some(types.has_lsm()))
        }
        Err(error) => {
            let remedy = "a kernel with CONFIG_DEBUG_INFO_BTF=y";
            (Check::missing("btf", error.to_string(), remedy), None)
        }
    }
}

/// Where the programs are attached.
pub(super) fn cgroup2(config: &Config) -> (Check, Option<Root>) {
    const NAME: &str = "cgroup2";
    match Root::open(config.cgroup_root.as_deref()) {
        Ok(root) => (root_check(&root), Some(root)),
        Err(error) => {
            let remedy = match error {
                CaptureError::NoCgroup2 => "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
                _ => "set capture.cgroup_root to a cgroup, or to \"auto\"",
            };
            (Check::missing(NAME, error.to_string(), remedy), None)
        }
    }
}

fn root_check(root: &Root) -> Check {
    let mount = root.mount.display();
    if root.path.is_empty() {
        return Check::ok("cgroup2", format!("{mount}, attached at its top"));
    }
    let detail = format!(
        "{mount}, attached at {}: who leaves that cgroup makes sockets that no program sees",
        root.directory.display()
    );
    Check::warning("cgroup2", detail, "capture.cgroup_root = \"auto\"")
}

/// Where the programs and maps are kept.
pub(super) fn bpffs(config: &Config, viewer: Viewer) -> Check {
    const NAME: &str = "bpffs";
    let directory = &config.bpffs_dir;
    let shown = directory.display();
    match inspect::place(directory) {
        Ok(Place::There) => Check::ok(NAME, shown.to_string()),
        Ok(Place::Made) => Check::ok(NAME, format!("{shown}, which the daemon makes")),
        Ok(Place::Mounted) => {
            let detail = format!("{shown}, for which the daemon mounts a bpffs");
            Check::ok(NAME, detail)
        }
        Ok(Place::ReadOnly) => {
            let detail = format!("{shown} cannot be written: it is mounted read-only");
            let remedy = "mount it writable, or set capture.bpffs_dir";
            Check::missing(NAME, detail, remedy)
        }
        Err(error) => viewer.failed(NAME, &error, "set capture.bpffs_dir"),
    }
}

/// What is attached, as far as the pins say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attached {
    Nothing,
    /// The programs, without those of BPF LSM.
    Programs,
    /// All of them.
    Sealed,
}

/// What is pinned there, by whom. Also what is attached, where that is known.
pub(super) fn pins(config: &Config, viewer: Viewer) -> (Check, Option<Attached>) {
    match inspect::left(&config.bpffs_dir) {
        Ok(left) => {
            let attached = match (left.attached, left.sealed) {
                (false, _) => Attached::Nothing,
                (true, false) => Attached::Programs,
                (true, true) => Attached::Sealed,
            };
            (pins_check(&config.bpffs_dir, &left), Some(attached))
        }
        Err(error) => {
            let remedy = "set capture.bpffs_dir";
            (viewer.failed("pins", &error, remedy), None)
        }
    }
}

fn pins_check(directory: &Path, left: &Left) -> Check {
    const NAME: &str = "pins";
    const OWN: &str = "set capture.bpffs_dir to a directory that only this gateway uses";
    if let Some(conflict) = &left.conflict {
        let remedy = match conflict {
            CaptureError::OtherVersion { .. } => "gateway uninstall, which frees what is governed",
            _ => OWN,
        };
        return Check::missing(NAME, conflict.to_string(), remedy);
    }
    if !left.foreign.is_empty() {
        let detail = format!("not a gateway's: {}", some(&left.foreign));
        return Check::warning(NAME, detail, OWN);
    }
    if !left.other_builds.is_empty() {
        let detail = format!(
            "{}: programs of another build of the gateway",
            directory.display()
        );
        return Check::warning(NAME, detail, "restart the daemon, which replaces them");
    }
    Check::ok(
        NAME,
        if left.attached {
            "the programs are attached"
        } else {
            "none: nothing is attached"
        },
    )
}

/// A program that the kernel took, and how much of it the verifier looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) instructions: u32,
}

/// Does the kernel take the programs? Also each that it took, and whether those of BPF LSM are among
/// them and would be called: else why not.
pub(super) fn programs(
    config: &Config,
    viewer: Viewer,
) -> (Check, Vec<Program>, Result<(), Unsealed>) {
    match probe::load_programs(config.object()) {
        Ok(Tried { programs, seal }) => {
            let count = programs.len();
            let detail = format!("the kernel verified all {count}, and they were dropped again");
            let programs = programs.into_iter().map(|one| Program {
                name: one.name,
                instructions: one.instructions,
            });
            let seal = seal.map_err(|reason| refusal(&reason));
            (Check::ok(PROGRAMS, detail), programs.collect(), seal)
        }
        Err(error) => {
            let seal = Err("the programs could not be loaded".to_owned());
            (not_taken(&error, viewer), Vec::new(), seal)
        }
    }
}

fn not_taken(error: &CaptureError, viewer: Viewer) -> Check {
    match error {
        CaptureError::NotPermitted { .. } => {
            viewer.failed(PROGRAMS, error, "see the check capabilities")
        }
        _ => {
            let remedy = "where all other checks are ok: another kernel; please report it";
            Check::missing(PROGRAMS, refusal(&error.to_string()), remedy)
        }
    }
}

/// The verifier tells its whole way through a program, and at the end why it went no further, and
/// what that took (kernel/bpf/verifier.c, print_verification_stats). The why is kept.
fn refusal(text: &str) -> String {
    const LOG: &str = "Verifier output: ";
    const STATISTICS: [&str; 3] = ["verification time ", "stack depth ", "processed "];
    let Some((what, log)) = text.split_once(LOG) else {
        return text.to_owned();
    };
    let is_statistics = |line: &&str| STATISTICS.iter().any(|start| line.starts_with(start));
    let told = log.lines().take_while(|line| !is_statistics(line));
    let what = what.trim_end().trim_end_matches('.');
    match told.filter(|line| !line.trim().is_empty()).last() {
        Some(why) => format!("{what}: the verifier says: {why}"),
        None => what.to_owned(),
    }
}

/// Who else has programs where ours are?
pub(super) fn others(config: &Config, root: Option<&Root>, viewer: Viewer) -> Check {
    const NAME: &str = "other-programs";
    let Some(root) = root else {
        let detail = "no cgroup to look at";
        return Check::unknown(NAME, detail, "see the check cgroup2");
    };
    match beside::others(root, &config.bpffs_dir) {
        Ok(others) => others_check(&others),
        Err(error) => viewer.failed(NAME, &error, "see the check capabilities"),
    }
}

fn others_check(others: &Others) -> Check {
    const NAME: &str = "other-programs";
    let which = |which: fn(&Other) -> bool| {
        let of = others.programs.iter();
        of.filter(|other| which(other)).collect::<Vec<_>>()
    };
    let alone = which(|other| other.alone);
    if !alone.is_empty() {
        let detail = format!("nothing can be attached beside {}", some(&alone));
        let remedy = "have their owner attach them with BPF_F_ALLOW_MULTI";
        return Check::missing(NAME, detail, remedy);
    }
    let changing = which(|other| other.changes);
    if !changing.is_empty() {
        let detail = format!(
            "what runs before ours can change what ours see: {}",
            some(&changing)
        );
        let remedy = "be sure of their owner; the daemon judges the address that they leave";
        return Check::warning(NAME, detail, remedy);
    }
    if others.cut {
        let most = beside::CGROUPS_MAX;
        let detail = format!("none in the first {most} cgroups; the rest was not looked at");
        return Check::warning(NAME, detail, "bpftool cgroup tree shows the rest");
    }
    Check::ok(
        NAME,
        match others.programs.len() {
            0 => "none".to_owned(),
            count => format!("{count}, which can refuse and not change"),
        },
    )
}

fn some<T: Display>(all: &[T]) -> String {
    let mut words: Vec<String> = all.iter().take(NAMED_MAX).map(T::to_string).collect();
    if all.len() > NAMED_MAX {
        words.push(format!("and {} more", all.len() - NAMED_MAX));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::check::Finding;
    use super::*;

    fn other(changes: bool, alone: bool) -> Other {
        Other {
            name: "cil_sock4".into(),
            cgroup: "/sys/fs/cgroup".into(),
            hook: "connect4",
            changes,
            alone,
        }
    }

    const fn these(programs: Vec<Other>) -> Others {
        Others {
            programs,
            cut: false,
        }
    }

    #[test]
    fn programs_of_others_count_by_what_they_can_do() {
        for (others, expected) in [
            (vec![], Finding::Ok),
            (vec![other(false, false)], Finding::Ok),
            (
                vec![other(false, false), other(true, false)],
                Finding::Warning,
            ),
            (
                vec![other(true, false), other(true, true)],
                Finding::Missing,
            ),
        ] {
            let check = others_check(&these(others));
            assert_eq!(check.result, expected, "{check:?}");
            if expected != Finding::Ok {
                assert!(
                    check.detail.contains("\"cil_sock4\" on connect4"),
                    "{check:?}"
                );
            }
        }
        let many = vec![other(true, false); 10];
        assert!(others_check(&these(many)).detail.ends_with("and 2 more"));
        let cut = Others {
            cut: true,
            ..Others::default()
        };
        assert_eq!(others_check(&cut).result, Finding::Warning);
    }

    #[test]
    fn pins_count_by_whose_they_are() {
        let directory = Path::new("/sys/fs/bpf/gateway");
        let version = CaptureError::OtherVersion {
            path: directory.into(),
            found: 7,
            expected: 1,
        };
        let foreign = vec!["the map \"cilium_lxc\" at /x of uid 0".to_owned()];
        for (left, result, word) in [
            (Left::default(), Finding::Ok, "none"),
            (
                Left {
                    attached: true,
                    ..Left::default()
                },
                Finding::Ok,
                "attached",
            ),
            (
                Left {
                    foreign: foreign.clone(),
                    ..Left::default()
                },
                Finding::Warning,
                "cilium_lxc",
            ),
            (
                Left {
                    other_builds: vec![directory.join("links-0123")],
                    ..Left::default()
                },
                Finding::Warning,
                "another build",
            ),
            (
                Left {
                    conflict: Some(version),
                    foreign,
                    ..Left::default()
                },
                Finding::Missing,
                "version 7",
            ),
        ] {
            let check = pins_check(directory, &left);
            assert_eq!(check.result, result, "{check:?}");
            assert!(check.detail.contains(word), "{check:?}");
        }
    }

    /// As Debian's 6.1 says it.
    #[test]
    fn of_the_verifiers_log_the_why_is_kept() {
        const LOG: &str = include_str!("kernel/verifier.txt");
        assert_eq!(
            refusal(LOG),
            "cannot load the program redirect4: the BPF_PROG_LOAD syscall returned Invalid \
             argument (os error 22): the verifier says: unknown func bpf_send_signal#109"
        );
        let plain = "cannot load the eBPF object: no such file";
        assert_eq!(refusal(plain), plain);
        let empty = "refused (os error 1). Verifier output: ";
        assert_eq!(refusal(empty), "refused (os error 1)");
        let cut = "refused. Verifier output: 0: R1=ctx()\nR1 invalid mem access 'scalar'";
        assert!(refusal(cut).ends_with("says: R1 invalid mem access 'scalar'"));
    }

    #[test]
    fn a_subtree_is_worth_a_warning() {
        let root = |path: &str| Root {
            directory: Path::new("/sys/fs/cgroup").join(path),
            path: path.to_owned(),
            mount: "/sys/fs/cgroup".into(),
        };
        assert_eq!(root_check(&root("")).result, Finding::Ok);
        assert_eq!(root_check(&root("ci.slice")).result, Finding::Warning);
    }
}
