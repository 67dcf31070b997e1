//! The policies, and what of the host they rely on.
use super::check::{Check, Viewer};
use crate::config::Config;
use crate::memory;
use crate::wiring::{names::resolvers, protocols};
use gateway_capture::cgroup::Root;
use gateway_core::{Inbound, Mode};
use gateway_credentials::{KeyPlace, Store};
use gateway_policy::{Diagnostic, Loaded, Policy, PolicySet};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

/// The names of the stored credentials, or why they are not known.
type Names = Result<BTreeSet<String>, String>;

/// The directory, each file, and what each policy relies on.
pub(super) fn policies(config: &Config, root: Option<&Root>, viewer: Viewer) -> Vec<Check> {
    let mut loaded = match PolicySet::load(&config.policy_dir) {
        Ok(loaded) => loaded,
        Err(error) => {
            let kind = error.source.kind();
            return vec![unreadable(config, kind, &error.to_string(), viewer)];
        }
    };
    let wrong = loaded.set.check_protocols(&protocols::names());
    loaded.diagnostics.extend(wrong);
    loaded.diagnostics.sort();
    let mut checks = vec![directory(&config.policy_dir, &loaded)];
    checks.extend(rejected(&loaded.diagnostics));
    let names = credentials(config, &loaded.set);
    for policy in loaded.set.policies() {
        checks.extend(policy_checks(policy, root, &names, viewer));
    }
    checks.extend(name_servers(config, &loaded.set));
    checks.extend(ssh(config, &loaded.set));
    checks
}

/// Names of destinations are learned from believed servers only.
fn name_servers(config: &Config, set: &PolicySet) -> Option<Check> {
    let policy = set.policies().find(|policy| policy.asks_names())?;
    let servers = config.dns_servers.clone().unwrap_or_else(resolvers);
    if !servers.is_empty() {
        return None;
    }
    let detail = format!(
        "{}: hosts by name, and no name server is believed: nothing is reached by them",
        policy.name()
    );
    let remedy = "name the servers that jobs ask in dns.servers";
    Some(Check::missing("policy", detail, remedy))
}

fn unreadable(config: &Config, kind: ErrorKind, why: &str, viewer: Viewer) -> Check {
    const NAME: &str = "policies";
    let make = format!("make {}", config.policy_dir.display());
    match kind {
        // Then the daemon makes it.
        ErrorKind::NotFound if config.file.is_none() => {
            let detail = format!("{}: nothing is governed", config.policy_dir.display());
            Check::warning(NAME, detail, "put policies there")
        }
        ErrorKind::PermissionDenied => viewer.denied(NAME, why, make),
        _ => Check::missing(NAME, why, make),
    }
}

fn directory(path: &Path, loaded: &Loaded) -> Check {
    const NAME: &str = "policies";
    let count = loaded.set.policies().count();
    let place = path.display();
    match (count, loaded.diagnostics.is_empty()) {
        (0, true) => {
            let detail = format!("none in {place}: nothing is governed");
            Check::warning(NAME, detail, "put policies there")
        }
        (1, _) => Check::ok(NAME, format!("1 good policy in {place}")),
        _ => Check::ok(NAME, format!("{count} good policies in {place}")),
    }
}

/// One check for each file with mistakes: a daemon does not take it.
fn rejected(diagnostics: &[Diagnostic]) -> Vec<Check> {
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for diagnostic in diagnostics {
        let file = files.entry(&diagnostic.location.file).or_default();
        file.push(diagnostic.to_string());
    }
    let check = |mistakes: Vec<String>| {
        let remedy = "gateway policy check shows the places";
        Check::missing("policy", mistakes.join("; "), remedy)
    };
    files.into_values().map(check).collect()
}

fn policy_checks(
    policy: &Policy,
    root: Option<&Root>,
    names: &Names,
    viewer: Viewer,
) -> Vec<Check> {
    let mut checks = vec![summary(policy)];
    checks.extend(root.map(|root| outside(policy, root)).into_iter().flatten());
    checks.extend(needs(policy, names, viewer));
    checks.extend(opens(policy));
    let absent = policy.boundaries().iter();
    let absent = absent.filter(|program| !Path::new(program.as_ref()).exists());
    checks.extend(absent.map(|program| {
        let detail = format!("{}: the boundary {program} is not there", policy.name());
        let remedy = "install the program, or name the one that starts the jobs";
        Check::warning("policy", detail, remedy)
    }));
    checks
}

fn summary(policy: &Policy) -> Check {
    let summary = policy.summary();
    let detail = format!(
        "{} ({}) in {}: {}",
        summary.name,
        summary.mode.name(),
        summary.file,
        summary.cgroups.join(" ")
    );
    if summary.mode == Mode::Enforce {
        return Check::ok("policy", detail);
    }
    let detail = format!("{detail}; this mode refuses nothing");
    Check::warning("policy", detail, "mode = \"enforce\"")
}

/// Ways out that the policy opens by itself.
fn opens(policy: &Policy) -> Vec<Check> {
    let posture = policy.posture();
    let mut checks = Vec::new();
    if posture.inbound == Inbound::Any {
        let detail = format!(
            "{}: inbound = \"any\": anybody can connect to what its trees listen on, and fetch data \
             there (58)",
            policy.name()
        );
        checks.push(Check::warning("policy", detail, "inbound = \"own-tree\""));
    }
    if let Some(time) = posture.allow_after {
        let detail = format!(
            "{}: when_down: {} s after the daemon has died its trees pass uninspected (36)",
            policy.name(),
            time.as_secs()
        );
        checks.push(Check::warning("policy", detail, "when_down = \"deny\""));
    }
    checks
}

/// What is named outside of the cgroup that the programs are attached to is not governed.
fn outside(policy: &Policy, root: &Root) -> Option<Check> {
    let cgroups = policy.summary().cgroups;
    let mut outside = cgroups.iter().filter(|glob| !meets(glob, &root.path));
    let glob = outside.next()?;
    let detail = format!(
        "{}: {glob} is outside of capture.cgroup_root ({})",
        policy.name(),
        root.directory.display()
    );
    let remedy = "set capture.cgroup_root to \"auto\", or to a cgroup above";
    Some(Check::missing("policy", detail, remedy))
}

/// Can a cgroup at or below `root` be under this glob? By what stands before its first wildcard.
fn meets(glob: &str, root: &str) -> bool {
    let glob = glob.trim_start_matches('/');
    let literal = glob.split(['*', '?', '[', '{']).next().unwrap_or(glob);
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with('/'))
    };
    // `ci*` may be completed to `ci.slice`, `ci/` only from there on.
    let may_grow = literal.len() < glob.len() && root.starts_with(literal);
    let literal = literal.trim_end_matches('/');
    may_grow || within(literal, root) || within(root, literal)
}

/// Credentials and files of authorities that its resources name.
fn needs(policy: &Policy, names: &Names, viewer: Viewer) -> Vec<Check> {
    let mut checks = Vec::new();
    for terms in policy.links() {
        let what = format!("{}, resource {}", policy.name(), terms.resource);
        if let Some(credential) = &terms.credential {
            checks.extend(lacks_credential(&what, credential, names, viewer));
        }
        if let Some(file) = &terms.authorities
            && let Err(error) = std::fs::metadata(file.as_ref())
        {
            let detail = format!("{what}: {file}: {error}");
            let remedy = "put the PEM file of the authorities there";
            checks.push(Check::missing("policy", detail, remedy));
        }
    }
    checks
}

fn lacks_credential(what: &str, name: &str, names: &Names, viewer: Viewer) -> Option<Check> {
    let remedy = format!("gateway credentials add {name}");
    match names {
        Ok(names) if names.contains(name) => None,
        Ok(_) => {
            let detail = format!("{what}: there is no credential {name}");
            Some(Check::missing("policy", detail, remedy))
        }
        Err(reason) => {
            let detail = format!("{what}: the credential {name}: {reason}");
            Some(viewer.denied("policy", detail, remedy))
        }
    }
}

/// Only looked for where a policy names one.
fn credentials(config: &Config, set: &PolicySet) -> Names {
    let mut links = set.policies().flat_map(|policy| policy.links());
    if !links.any(|terms| terms.credential.is_some()) {
        return Ok(BTreeSet::new());
    }
    // The store is opened whole, with the values.
    memory::close().map_err(|failure| failure.to_string())?;
    let keys = KeyPlace::of_process(config.credentials.key_file.clone());
    let store = Store::new(config.credentials.file.clone(), keys);
    let entries = store.entries().map_err(|error| error.to_string())?;
    Ok(entries.iter().map(|entry| entry.name.to_string()).collect())
}

/// The policy of logins by SSH.
fn ssh(config: &Config, set: &PolicySet) -> Option<Check> {
    let name = config.ssh.policy.as_deref()?;
    if set.policy(name).is_some() {
        return None;
    }
    let detail = format!("[ssh] policy = {name:?}: there is no such good policy");
    let remedy = "put it into the policy directory: logins are refused without it";
    Some(Check::missing("policy", detail, remedy))
}

#[cfg(test)]
mod tests {
    use super::super::check::Finding;
    use super::*;

    const ROOT: Viewer = Viewer { uid: 0 };

    fn root(path: &str) -> Root {
        Root {
            directory: Path::new("/cg").join(path),
            path: path.to_owned(),
            mount: "/cg".into(),
        }
    }

    /// The results for a directory with this one file, with something of each detail.
    fn checked(text: &str, config: &Config, root: &Root) -> Vec<(Finding, String)> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ci.toml"), text).unwrap();
        let config = Config {
            policy_dir: directory.path().to_owned(),
            ..config.clone()
        };
        let checks = policies(&config, Some(root), ROOT);
        let pair = |check: Check| (check.result, check.detail);
        checks.into_iter().map(pair).collect()
    }

    fn check(found: &[(Finding, String)], expected: &[(Finding, &str)]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((result, detail), (expected, word)) in found.iter().zip(expected) {
            assert_eq!(result, expected, "{detail}");
            assert!(detail.contains(word), "{word:?} in {detail:?}");
        }
    }

    const GOOD: &str = "[policy]\nname = \"ci\"\ncgroups = [\"ci/**\"]\n";

    #[test]
    fn a_good_policy_is_fine_and_a_bad_one_is_named_with_its_place() {
        let config = Config::default();
        let one = (Finding::Ok, "1 good");
        check(
            &checked(GOOD, &config, &root("")),
            &[one, (Finding::Ok, "/ci.toml: ci/**")],
        );
        let open = format!("{GOOD}inbound = \"any\"\nwhen_down = {{ allow_after = \"30s\" }}\n");
        check(
            &checked(&open, &config, &root("")),
            &[
                one,
                (Finding::Ok, "/ci.toml: ci/**"),
                (Finding::Warning, "(58)"),
                (Finding::Warning, "30 s after"),
            ],
        );
        let open = format!("{GOOD}[[mask]]\nname = \"m\"\nfields = [\"$.card\"]\n");
        check(
            &checked(&open, &config, &root("")),
            &[
                (Finding::Ok, "0 good"),
                (
                    Finding::Missing,
                    "ci.toml:6:11: error: the JSON path \"$.card\" in `fields` is known, but not built",
                ),
            ],
        );
        let shadow = format!("{GOOD}mode = \"shadow\"\n");
        check(
            &checked(&shadow, &config, &root("")),
            &[one, (Finding::Warning, "refuses nothing")],
        );
        check(&checked(GOOD, &config, &root("ci"))[2..], &[]);
        check(
            &checked(GOOD, &config, &root("other"))[2..],
            &[(Finding::Missing, "outside of capture.cgroup_root")],
        );
    }

    #[test]
    fn what_a_policy_names_has_to_be_there() {
        let text = format!(
            "{GOOD}boundaries = [\"/nowhere/runner\"]\n\
             [[resource]]\nname = \"db\"\nprotocol = \"postgres\"\nhosts = [\"10.0.0.7\"]\n\
             ports = [5432]\ncredential = \"db-ci\"\n\
             tls = {{ upstream = \"verify-full\", ca = \"/nowhere/ca.pem\" }}\n"
        );
        let nowhere = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.credentials.file = nowhere.path().join("store");
        config.credentials.key_file = nowhere.path().join("key");
        check(
            &checked(&text, &config, &root(""))[2..],
            &[
                (
                    Finding::Missing,
                    "ci, resource db: there is no credential db-ci",
                ),
                (Finding::Missing, "/nowhere/ca.pem"),
                (Finding::Warning, "/nowhere/runner"),
            ],
        );
        let named = format!("{GOOD}[[resource]]\nname = \"db\"\nhosts = [\"db.internal\"]\n");
        let mut config = Config {
            dns_servers: Some(Vec::new()),
            ..Config::default()
        };
        check(
            &checked(&named, &config, &root(""))[2..],
            &[(Finding::Missing, "no name server is believed")],
        );
        config.dns_servers = Some(vec![[10, 0, 0, 2].into()]);
        check(&checked(&named, &config, &root(""))[2..], &[]);
        let mut config = Config::default();
        config.ssh.policy = Some("people".into());
        check(
            &checked(GOOD, &config, &root(""))[2..],
            &[(Finding::Missing, "people")],
        );
    }

    #[test]
    fn a_directory_without_policies_governs_nothing() {
        let mut config = Config::default();
        let directory = tempfile::tempdir().unwrap();
        config.policy_dir = directory.path().to_owned();
        let checks = policies(&config, None, ROOT);
        assert_eq!((checks.len(), checks[0].result), (1, Finding::Warning));
        config.policy_dir = directory.path().join("none");
        assert_eq!(policies(&config, None, ROOT)[0].result, Finding::Warning);
        config.file = Some("/etc/gateway/gateway.toml".into());
        assert_eq!(policies(&config, None, ROOT)[0].result, Finding::Missing);
    }

    #[test]
    fn globs_meet_the_root_or_not() {
        for (glob, root, expected) in [
            ("ci/**", "", true),
            ("**", "a/b", true),
            ("ci/jobs/**", "ci", true),
            ("ci", "ci", true),
            ("ci", "ci/jobs", true),
            ("ci/*", "ci/jobs", true),
            ("ci*", "ci.slice", true),
            ("cia/**", "ci", false),
            ("ci/**", "cia", false),
            ("ci/jobs/**", "ci/other", false),
            ("/ci/**", "ci", true),
        ] {
            assert_eq!(meets(glob, root), expected, "{glob} at {root}");
        }
    }
}
