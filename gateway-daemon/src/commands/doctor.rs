//! `gateway doctor`: what this kernel and host can enforce, what is missing for it, and every way
//! out that is open. Needs no daemon, attaches nothing, leaves nothing.
mod check;
mod daemon;
mod host;
mod kernel;
mod policies;
mod shown;
mod ways;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::{Screen, print, print_json};
use check::{Check, Finding, Viewer};
use gateway_capture::seal::Unsealed;
use host::Host;
use kernel::{Attached, Program};
use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;
use ways::{Facts, Footing, Row, State};

/// All that was found.
struct Report {
    checks: Vec<Check>,
    /// What the kernel took, for scripts only.
    programs: Vec<Program>,
    rows: Vec<Row>,
    summary: Summary,
}

/// The last line.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Summary {
    /// `none`: nothing can be enforced; `unknown`: not everything could be looked at.
    tier: &'static str,
    /// How many ways out are open.
    open: usize,
    /// How many checks say that something is missing.
    missing: usize,
}

/// Exit 1 when something is missing; 4 when the caller could not look at everything.
pub(crate) fn doctor(config: &Config, all: bool, json: bool) -> Result<Exit, Failure> {
    let (mut report, exit) = examine(config)?;
    if !all {
        report.rows.retain(|row| row.result == State::Open);
    }
    if json {
        for object in shown::objects(&report) {
            if !print_json(&object)? {
                break;
            }
        }
    } else {
        for line in shown::lines(&report, &Screen::of_stdout()) {
            if !print(&line)? {
                break;
            }
        }
    }
    Ok(exit)
}

fn examine(config: &Config) -> Result<(Report, Exit), Failure> {
    let viewer = Viewer::of_process();
    let host = Host::this();
    let Ground {
        root,
        mut checks,
        programs,
        built_with_lsm,
        attached,
        seal,
    } = ground(config, &host, viewer);
    let footing = footing(&checks);
    checks.extend(notes(config, &host, built_with_lsm, &seal));
    let is_attached = attached.map(|attached| attached != Attached::Nothing);
    checks.push(daemon::daemon(config, is_attached, viewer)?);
    let policies = policies::policies(config, root.as_ref(), viewer);
    let exit = exit(&checks, footing, &policies);
    checks.extend(policies);
    // What is attached counts, not what could be.
    let sealed = footing == Footing::Firm && seal.is_ok() && attached != Some(Attached::Programs);
    let facts = Facts {
        no_kernel_code: host.no_kernel_code(),
        subtree: root.as_ref().is_some_and(|root| !root.path.is_empty()),
        sealed,
    };
    let rows = ways::rows(footing, &facts);
    let summary = Summary {
        tier: tier(footing, sealed),
        open: count(&rows, |row| row.result == State::Open),
        missing: count(&checks, |check| check.result == Finding::Missing),
    };
    let report = Report {
        checks,
        programs,
        rows,
        summary,
    };
    Ok((report, exit))
}

fn count<T>(all: &[T], which: impl Fn(&T) -> bool) -> usize {
    all.iter().filter(|one| which(one)).count()
}

/// What was found of what nothing can be enforced without.
struct Ground {
    root: Option<gateway_capture::cgroup::Root>,
    checks: Vec<Check>,
    programs: Vec<Program>,
    built_with_lsm: Option<bool>,
    attached: Option<Attached>,
    /// Why the tier cannot be `seal`, where it cannot.
    seal: Result<(), Unsealed>,
}

fn ground(config: &Config, host: &Host, viewer: Viewer) -> Ground {
    let (types, built_with_lsm) = kernel::types();
    let (cgroup2, root) = kernel::cgroup2(config);
    let (pins, attached) = kernel::pins(config, viewer);
    let (taken, programs, seal) = kernel::programs(config, viewer);
    let others = kernel::others(config, root.as_ref(), viewer);
    let checks = vec![
        viewer.check(),
        kernel::release(),
        types,
        host.capabilities(viewer),
        host.namespaces(),
        cgroup2,
        kernel::bpffs(config, viewer),
        pins,
        taken,
        others,
    ];
    Ground {
        root,
        checks,
        programs,
        built_with_lsm,
        attached,
        seal,
    }
}

/// What the gateway works without.
fn notes(
    config: &Config,
    host: &Host,
    built_with_lsm: Option<bool>,
    seal: &Result<(), Unsealed>,
) -> Vec<Check> {
    let wanted = config.limits.descriptors();
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    vec![
        host.descriptors(wanted, hard),
        host.lsm(built_with_lsm, seal.as_ref().err().map(String::as_str)),
        host.lockdown(),
        host.modules(),
        host.kexec(),
        host.unprivileged_bpf(),
        host.service(),
    ]
}

fn any(checks: &[Check], result: Finding) -> bool {
    checks.iter().any(|check| check.result == result)
}

fn footing(ground: &[Check]) -> Footing {
    if any(ground, Finding::Missing) {
        Footing::Missing
    } else if any(ground, Finding::Unknown) {
        Footing::Unknown
    } else {
        Footing::Firm
    }
}

/// The strongest tier that this host gives. `contain` is for single jobs: no host has it.
const fn tier(footing: Footing, sealed: bool) -> &'static str {
    match (footing, sealed) {
        (Footing::Firm, true) => "seal",
        (Footing::Firm, false) => "attest",
        (Footing::Missing, _) => "none",
        (Footing::Unknown, _) => "unknown",
    }
}

/// What policies rely on counts, and what all of them do; notes do not.
fn exit(checks: &[Check], footing: Footing, policies: &[Check]) -> Exit {
    if any(checks, Finding::Missing) || any(policies, Finding::Missing) {
        Exit::No
    } else if footing == Footing::Unknown || any(policies, Finding::Unknown) {
        Exit::NotPermitted
    } else {
        Exit::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_before_what_is_not_known() {
        let ok = || Check::ok("a", "fine");
        let missing = || Check::missing("b", "gone", "put it back");
        let unknown = || Check::unknown("c", "hidden", "be root");
        let warning = || Check::warning("d", "odd", "look");
        for (ground, policies, tier_name, expected) in [
            (vec![ok(), warning()], vec![ok()], "attest", Exit::Done),
            (vec![ok(), missing(), unknown()], vec![], "none", Exit::No),
            (vec![ok(), unknown()], vec![], "unknown", Exit::NotPermitted),
            (vec![unknown()], vec![missing()], "unknown", Exit::No),
            (vec![ok()], vec![missing()], "attest", Exit::No),
            (vec![ok()], vec![unknown()], "attest", Exit::NotPermitted),
        ] {
            let footing = footing(&ground);
            assert_eq!(tier(footing, false), tier_name, "{ground:?}");
            let sealed = if tier_name == "attest" {
                "seal"
            } else {
                tier_name
            };
            assert_eq!(tier(footing, true), sealed, "{ground:?}");
            assert_eq!(exit(&ground, footing, &policies), expected, "{policies:?}");
        }
    }
}
