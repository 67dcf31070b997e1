//! Starts and reloads: a bad file never replaces a good one.
use crate::ask::Ask;
use gateway_core::{Judge, Mode, Timestamp, Verdict};
use gateway_policy::{OpenError, Policies, ReloadReport};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

struct Host {
    root: TempDir,
}

impl Host {
    fn new(files: &[(&str, &str)]) -> Host {
        let host = Host {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(host.policies()).unwrap();
        files.iter().for_each(|(name, text)| host.write(name, text));
        host
    }

    fn policies(&self) -> PathBuf {
        self.root.path().join("policies")
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.policies().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.policies().join(name)).unwrap();
    }

    fn open(&self) -> Result<Policies, OpenError> {
        Policies::open(&self.policies(), &self.state(), Arc::new(|| Timestamp(7)))
    }
}

/// A policy with one rule on `p`, so that its verdict tells which version is in force.
fn text(name: &str, verdict: &str) -> String {
    format!(
        "[policy]\nname = \"{name}\"\ncgroups = [\"{name}/**\"]\n\
         [[rule]]\nname = \"r\"\nverdict = \"{verdict}\"\n"
    )
}

fn names(policies: &Policies) -> Vec<String> {
    policies
        .set()
        .policies()
        .map(|policy| policy.name().to_string())
        .collect()
}

fn verdict(policies: &Policies) -> Verdict {
    Ask::default().with(|case| policies.decide(case)).verdict
}

fn rejected(report: &ReloadReport) -> Vec<(&str, Option<&str>)> {
    report
        .rejected
        .iter()
        .map(|file| (&*file.file, file.kept.as_deref()))
        .collect()
}

#[test]
fn a_reload_puts_in_force_what_is_good_and_keeps_what_was_there_for_what_is_bad() {
    let host = Host::new(&[
        ("p.toml", &text("p", "allow")),
        ("q.toml", &text("q", "allow")),
    ]);
    let policies = host.open().unwrap();
    let first = policies.generation();
    assert!(policies.report().is_clean());
    assert_eq!(
        (names(&policies), verdict(&policies)),
        (vec!["p".into(), "q".into()], Verdict::Allow)
    );

    host.write("p.toml", "[policy]\nname = p\n");
    host.write("q.toml", &text("renamed", "allow"));
    host.write("new.toml", "nonsense");
    let report = policies.reload();
    assert_eq!(
        rejected(&report),
        [("new.toml", None), ("p.toml", Some("p"))]
    );
    assert_eq!(report.diagnostics.len(), 2);
    assert_eq!(*report.removed, ["q".into()]);
    assert_eq!(
        (names(&policies), verdict(&policies)),
        (vec!["p".into(), "renamed".into()], Verdict::Allow)
    );
    assert_ne!(policies.generation(), first);
    assert_eq!(policies.report(), report);

    host.write("p.toml", &text("p", "deny"));
    host.remove("new.toml");
    let report = policies.reload();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(verdict(&policies), Verdict::Deny);
    assert_eq!(report.generation, policies.generation());
}

#[test]
fn a_file_that_is_gone_takes_its_policy_with_it() {
    let host = Host::new(&[("p.toml", &text("p", "allow"))]);
    let policies = host.open().unwrap();
    host.remove("p.toml");
    let report = policies.reload();
    assert!(report.is_clean());
    assert_eq!(*report.removed, ["p".into()]);
    assert!(policies.set().is_empty());
    let decision = Ask::default().with(|case| policies.decide(case));
    assert_eq!(
        (decision.verdict, decision.mode),
        (Verdict::Deny, Mode::Enforce)
    );
    assert_eq!(
        decision.message.as_deref(),
        Some("the policy \"p\" is not loaded")
    );
    assert_eq!(*decision.resource, *"10.0.0.7:5432");
    assert!(!decision.passes());
    assert!(
        host.open().unwrap().set().is_empty(),
        "and does not come back"
    );
}

#[test]
fn a_policy_in_observe_that_is_gone_is_denied_all_the_same() {
    let observe = text("p", "deny").replace("cgroups", "mode = \"observe\"\ncgroups");
    let host = Host::new(&[("p.toml", &observe)]);
    let policies = host.open().unwrap();
    assert!(Ask::default().with(|case| policies.decide(case)).passes());
    host.remove("p.toml");
    policies.reload();
    assert!(!Ask::default().with(|case| policies.decide(case)).passes());
}

#[test]
fn a_start_with_a_bad_file_uses_its_last_good_version() {
    let host = Host::new(&[
        ("p.toml", &text("p", "allow")),
        ("q.toml", &text("q", "allow")),
    ]);
    drop(host.open().unwrap());
    host.write("p.toml", "[policy\n");
    host.write("q.toml", &text("q2", "allow"));
    host.write("r.toml", "[policy\n");
    let policies = host.open().unwrap();
    assert_eq!(
        (names(&policies), verdict(&policies)),
        (vec!["p".into(), "q2".into()], Verdict::Allow)
    );
    let report = policies.report();
    assert_eq!(rejected(&report), [("p.toml", Some("p")), ("r.toml", None)]);
    let shown = report.diagnostics[0].to_string();
    assert!(
        shown.starts_with(&format!(
            "{}/p.toml:1:8: error: ",
            host.policies().display()
        )),
        "{shown}"
    );
    // And again: what was kept before is kept still.
    drop(policies);
    let policies = host.open().unwrap();
    assert_eq!(names(&policies), ["p", "q2"]);
    assert_eq!(
        **policies.set().policy("p").unwrap().file(),
        *host.policies().join("p.toml").to_string_lossy()
    );
}

#[test]
fn a_first_start_with_a_bad_file_is_refused() {
    let host = Host::new(&[("p.toml", &text("p", "allow")), ("q.toml", "[policy\n")]);
    let Err(OpenError::Rejected(diagnostics)) = host.open() else {
        panic!("it must not start")
    };
    assert_eq!(diagnostics.len(), 1);
    let error = host.open().unwrap_err().to_string();
    assert!(
        error.starts_with("1 mistake in the policy files, and no earlier good set is kept:\n"),
        "{error}"
    );
    assert!(
        error.contains("q.toml:1:8: error: unclosed table"),
        "{error}"
    );
    assert!(!host.state().exists(), "nothing is kept of it");

    let nowhere = Host::new(&[]);
    fs::remove_dir(nowhere.policies()).unwrap();
    let error = nowhere.open().unwrap_err();
    assert!(matches!(error, OpenError::Directory(_)));
    assert!(
        error
            .to_string()
            .contains(&*nowhere.policies().to_string_lossy()),
        "{error}"
    );
}

#[test]
fn an_empty_directory_is_valid_and_an_empty_kept_set_is_none() {
    let host = Host::new(&[]);
    let policies = host.open().unwrap();
    assert!(policies.set().is_empty() && policies.report().is_clean());
    host.write("p.toml", "[policy\n");
    assert!(matches!(host.open(), Err(OpenError::Rejected(_))));
}

#[test]
fn a_directory_that_cannot_be_read_changes_nothing() {
    let host = Host::new(&[("p.toml", &text("p", "allow"))]);
    let policies = host.open().unwrap();
    let away = host.root.path().join("away");
    fs::rename(host.policies(), &away).unwrap();
    let report = policies.reload();
    assert_eq!(report.diagnostics.len(), 1);
    assert!(report.diagnostics[0].message.contains("cannot be read"));
    assert_eq!(
        (names(&policies), verdict(&policies)),
        (vec!["p".into()], Verdict::Allow)
    );
    // Nor does a start.
    let policies = host.open().unwrap();
    assert_eq!(names(&policies), ["p"]);
    assert!(!policies.report().is_clean());
    fs::rename(&away, host.policies()).unwrap();
    assert!(policies.reload().is_clean());
}

#[test]
fn of_two_files_that_collide_the_one_in_force_stays() {
    let host = Host::new(&[("m.toml", &text("p", "allow"))]);
    let policies = host.open().unwrap();
    for newcomer in ["a.toml", "z.toml"] {
        host.write(newcomer, &text("p", "deny"));
        let report = policies.reload();
        assert_eq!(rejected(&report), [(newcomer, None)]);
        assert_eq!(verdict(&policies), Verdict::Allow, "{newcomer}");
        let policies = host.open().unwrap();
        assert_eq!(
            (rejected(&policies.report()), verdict(&policies)),
            (vec![(newcomer, None)], Verdict::Allow)
        );
        host.remove(newcomer);
    }
    // A move to another file is none.
    host.remove("m.toml");
    host.write("a.toml", &text("p", "deny"));
    assert!(policies.reload().is_clean());
    assert_eq!(verdict(&policies), Verdict::Deny);
}

#[test]
fn of_two_new_files_that_collide_none_is_taken() {
    let host = Host::new(&[("m.toml", &text("p", "allow"))]);
    let policies = host.open().unwrap();
    host.write("a.toml", &text("q", "allow"));
    host.write("b.toml", &text("q", "allow"));
    let report = policies.reload();
    assert_eq!(rejected(&report), [("a.toml", None), ("b.toml", None)]);
    assert_eq!(names(&policies), ["p"]);
}

#[test]
fn two_files_may_swap_their_names_and_a_wrong_swap_goes_back_as_a_whole() {
    let host = Host::new(&[
        ("a.toml", &text("p", "allow")),
        ("b.toml", &text("q", "deny")),
    ]);
    let policies = host.open().unwrap();
    host.write("a.toml", &text("q", "deny"));
    host.write("b.toml", &text("p", "deny"));
    assert!(policies.reload().is_clean());
    assert_eq!(verdict(&policies), Verdict::Deny);
    // b takes the name that a gives up, and a is bad: b has to wait.
    host.write("a.toml", "[policy\n");
    host.write("b.toml", &text("q", "allow"));
    let report = policies.reload();
    assert_eq!(
        rejected(&report),
        [("a.toml", Some("q")), ("b.toml", Some("p"))]
    );
    assert_eq!(names(&policies), ["p", "q"]);
}

#[test]
fn a_kept_set_that_was_damaged_is_not_trusted() {
    let host = Host::new(&[("p.toml", &text("p", "allow"))]);
    drop(host.open().unwrap());
    let kept = host
        .state()
        .join("policies-last-good")
        .join(format!("{:020}", 1))
        .join("p.toml");
    assert_eq!(
        fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::write(&kept, "[policy\n").unwrap();
    host.write("p.toml", "[policy\n");
    assert!(matches!(host.open(), Err(OpenError::Rejected(_))));
    fs::write(&kept, [0xff]).unwrap();
    let error = host.open().unwrap_err();
    assert!(
        matches!(error, OpenError::Kept { .. }) && error.to_string().contains("UTF-8"),
        "{error}"
    );
    // With a good directory it is not needed, and written anew.
    host.write("p.toml", &text("p", "deny"));
    assert!(host.open().unwrap().report().is_clean());
    host.write("p.toml", "[policy\n");
    assert_eq!(verdict(&host.open().unwrap()), Verdict::Deny);
}

#[test]
fn a_set_that_cannot_be_kept_is_in_force_and_said() {
    let host = Host::new(&[("p.toml", &text("p", "allow"))]);
    fs::write(host.state(), "not a directory").unwrap();
    let policies = host.open().unwrap();
    assert!(policies.report().unsaved.is_some());
    assert_eq!(verdict(&policies), Verdict::Allow);
    fs::remove_file(host.state()).unwrap();
    assert!(
        policies.reload().is_clean(),
        "written with the next reload, though nothing has changed"
    );
    host.write("p.toml", "[policy\n");
    assert_eq!(verdict(&host.open().unwrap()), Verdict::Allow);
}

#[test]
fn decisions_go_on_during_reloads_and_see_one_policy_or_the_other() {
    let host = Host::new(&[("p.toml", &text("p", "allow"))]);
    let policies = Arc::new(host.open().unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let judges: Vec<_> = (0..2)
        .map(|_| {
            let (policies, done) = (Arc::clone(&policies), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let generation = policies.generation();
                    assert!(generation >= last);
                    last = generation;
                    let decision = Ask::default().with(|case| policies.decide(case));
                    assert_eq!(
                        decision.rule.as_deref(),
                        Some("r"),
                        "never a policy that is not there"
                    );
                }
            })
        })
        .collect();
    for round in 0..20 {
        let before = policies.generation();
        host.write(
            "p.toml",
            &text("p", if round % 2 == 0 { "deny" } else { "allow" }),
        );
        assert!(policies.reload().is_clean());
        assert_ne!(policies.generation(), before);
        let expected = if round % 2 == 0 {
            Verdict::Deny
        } else {
            Verdict::Allow
        };
        assert_eq!(verdict(&policies), expected, "from the next decision on");
    }
    done.store(true, Ordering::Relaxed);
    judges.into_iter().for_each(|judge| judge.join().unwrap());
}
