//! Trees of known and unknown users, with a directory that is slow, silent or wrong.
use super::*;
use crate::accounts::{AccountsError, SystemAccounts};
use crate::login::SystemLoginUids;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Process 1 was begun by user 1001's login, process 2 by nobody's, of process 3 nobody can tell.
struct FakeLogins;

impl LoginUids for FakeLogins {
    fn login_uid(&self, pid: u32, _: u64) -> LoginUid {
        match pid {
            1 => LoginUid::Set(1001),
            2 => LoginUid::Unset,
            _ => LoginUid::Unreadable,
        }
    }
}

fn name_of(uid: u32) -> Result<Option<String>, AccountsError> {
    match uid {
        0 => Ok(Some("root".to_owned())),
        1000 => Ok(Some("build".to_owned())),
        1001 => Ok(Some("alice".to_owned())),
        1002 => Ok(Some("*\n".to_owned())),
        65534 => Ok(Some("nobody".to_owned())),
        6666 => Err(AccountsError {
            uid,
            reason: "no answer".to_owned(),
        }),
        _ => Ok(None),
    }
}

struct FakeAccounts;

impl Accounts for FakeAccounts {
    fn name_of(&self, uid: u32) -> Result<Option<String>, AccountsError> {
        name_of(uid)
    }
}

/// Answers about user 1000 only when told to, and counts.
struct SlowAccounts {
    go: Mutex<Receiver<()>>,
    asked: Arc<AtomicUsize>,
}

impl Accounts for SlowAccounts {
    fn name_of(&self, uid: u32) -> Result<Option<String>, AccountsError> {
        if uid == 1000 {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let told = self.go.lock().recv_timeout(Duration::from_secs(30));
            told.map_err(|error| AccountsError {
                uid,
                reason: error.to_string(),
            })?;
        }
        name_of(uid)
    }
}

fn slow() -> (Identities, Sender<()>, Arc<AtomicUsize>) {
    let (sender, go) = channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let accounts = SlowAccounts {
        go: Mutex::new(go),
        asked: Arc::clone(&asked),
    };
    (
        Identities::new(Box::new(accounts), Box::new(FakeLogins)).expect("threads"),
        sender,
        asked,
    )
}

fn identities() -> Identities {
    Identities::new(Box::new(FakeAccounts), Box::new(FakeLogins)).expect("threads")
}

fn root(pid: u32, uid: u32) -> Root {
    Root {
        pid,
        start: 5,
        uid,
        login_uid: None,
    }
}

fn process(pid: u32, uid: u32, provenance: Provenance) -> Process {
    Process {
        pid,
        start: 5,
        exe: "/x".into(),
        argv: Vec::new(),
        uid,
        cwd: None,
        cgroup: "".into(),
        container: None,
        provenance,
        argv_cut: false,
        exited: false,
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("an answer in time")
}

#[tokio::test]
async fn the_login_uid_counts_and_else_the_uid() {
    let cases = [
        // pid, uid, login uid in the report, expected
        (1, 0, None, "local:alice"),
        (1, 1000, None, "local:alice"),
        (2, 1000, None, "local:build"),
        (2, 0, None, "local:root"),
        (2, 65534, None, "local:nobody"),
        (2, 4242, None, "local:#4242"),
        (2, 1002, None, "local:%2A%0A"),
        (2, 1000, Some(1001), "local:alice"),
        (2, 1000, Some(0), "local:root"),
        // The report says that it was unset: what /proc says by now does not count.
        (1, 1000, Some(UNSET_LOGIN_UID), "local:build"),
        (2, 6666, None, "local:#6666"),
    ];
    let identities = identities();
    for (number, (pid, uid, login_uid, expected)) in (1..).zip(cases) {
        let tree = TreeId(number);
        identities.rooted(
            tree,
            &Root {
                login_uid,
                ..root(pid, uid)
            },
        );
        let principal = soon(identities.principal(tree, None)).await;
        assert_eq!(&*principal.id, expected);
        assert_eq!(
            (principal.assurance, principal.groups.len()),
            (Assurance::Kernel, 0)
        );
        if login_uid.is_none() {
            let process = process(pid, uid, Provenance::Kernel);
            assert_eq!(identify(&process, &FakeLogins, &FakeAccounts), principal);
        }
    }
}

#[tokio::test]
async fn minus_one_is_nobody() {
    let identities = identities();
    identities.rooted(TreeId(1), &root(2, NO_UID));
    assert_eq!(
        soon(identities.principal(TreeId(1), None)).await,
        Principal::unknown()
    );
    assert_eq!(identities.by_number(TreeId(1)), Principal::unknown());
    let nobody = process(2, NO_UID, Provenance::Kernel);
    assert_eq!(
        identify(&nobody, &FakeLogins, &FakeAccounts),
        Principal::unknown()
    );
}

#[tokio::test]
async fn a_login_uid_that_cannot_be_read_makes_nobody_root() {
    let identities = identities();
    identities.rooted(TreeId(1), &root(3, 0));
    assert_eq!(
        soon(identities.principal(TreeId(1), None)).await,
        Principal::unknown()
    );
}

#[tokio::test]
async fn the_first_word_stays() {
    let identities = identities();
    identities.rooted(TreeId(1), &root(2, 1000));
    identities.rooted(TreeId(1), &root(1, 0));
    let late = process(1, 0, Provenance::Kernel);
    let principal = soon(identities.principal(TreeId(1), Some(&late))).await;
    assert_eq!(&*principal.id, "local:build");
}

#[tokio::test]
async fn a_tree_that_was_not_reported_is_known_by_its_root_or_nobodys() {
    let identities = identities();
    let found = process(1, 0, Provenance::Cgroup);
    let principal = soon(identities.principal(TreeId(1), Some(&found))).await;
    assert_eq!(&*principal.id, "local:alice");

    // It may be a descendant that became root by sudo.
    let after_gap = process(2, 0, Provenance::Gap);
    let principal = soon(identities.principal(TreeId(2), Some(&after_gap))).await;
    assert_eq!(principal, Principal::unknown());
    assert_eq!(
        soon(identities.principal(TreeId(3), None)).await,
        Principal::unknown()
    );
    assert_eq!(identities.len(), 1);
}

#[tokio::test]
async fn a_slow_directory_delays_those_who_need_it_and_nobody_else() {
    let (identities, go, asked) = slow();
    for tree in 1..=50 {
        identities.rooted(TreeId(tree), &root(2, 1000));
    }
    identities.rooted(TreeId(99), &root(1, 0));
    assert_eq!(
        &*soon(identities.principal(TreeId(99), None)).await.id,
        "local:alice"
    );
    assert_eq!(identities.settled(TreeId(1)), None);
    assert_eq!(&*identities.by_number(TreeId(1)).id, "local:#1000");
    let wait = identities.principal(TreeId(1), None);
    let mut wait = std::pin::pin!(wait);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), wait.as_mut())
            .await
            .is_err()
    );
    go.send(()).expect("it asks");
    assert_eq!(&*soon(wait).await.id, "local:build");
    for tree in 1..=50 {
        let principal = identities.settled(TreeId(tree)).expect("all at once");
        assert_eq!(&*principal.id, "local:build");
    }
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "one question for fifty trees"
    );
}

#[test]
fn a_thread_waits_no_longer_than_it_wants_to() {
    let (identities, go, _) = slow();
    identities.rooted(TreeId(1), &root(2, 1000));
    let short = Duration::from_millis(10);
    assert_eq!(
        &*identities.principal_within(TreeId(1), None, short).id,
        "local:#1000"
    );
    assert_eq!(
        identities.principal_within(TreeId(2), None, short),
        Principal::unknown()
    );
    let found = process(1, 0, Provenance::Proc);
    let long = Duration::from_secs(20);
    let principal = identities.principal_within(TreeId(3), Some(&found), long);
    assert_eq!(&*principal.id, "local:alice");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| identities.principal_within(TreeId(1), None, long));
        go.send(()).expect("it asks");
        assert_eq!(&*waiting.join().expect("answered").id, "local:build");
    });
}

#[tokio::test]
async fn a_directory_that_fails_is_asked_again() {
    let (identities, go, _) = slow();
    identities.rooted(TreeId(1), &root(2, 1000));
    drop(go);
    let by_number = soon(identities.principal(TreeId(1), None)).await;
    assert_eq!(&*by_number.id, "local:#1000");
    assert_eq!(
        by_number.assurance,
        Assurance::Kernel,
        "of the number the kernel is sure"
    );

    struct Recovering(AtomicUsize);
    impl Accounts for Recovering {
        fn name_of(&self, uid: u32) -> Result<Option<String>, AccountsError> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => name_of(6666),
                _ => name_of(uid),
            }
        }
    }
    let recovering = Box::new(Recovering(AtomicUsize::new(0)));
    let identities = Identities::new(recovering, Box::new(FakeLogins)).expect("threads");
    identities.rooted(TreeId(1), &root(2, 1000));
    assert_eq!(
        &*soon(identities.principal(TreeId(1), None)).await.id,
        "local:#1000"
    );
    soon(async {
        while &*identities.principal(TreeId(1), None).await.id != "local:build" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_restarted_daemon_keeps_who_it_was() {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut file = IdentityFile::new(directory.path(), "boot\n");
    let before = identities();
    before.rooted(TreeId(1), &root(1, 0));
    before.rooted(TreeId(2), &root(2, 6666));
    before.rooted(TreeId(3), &root(2, 1000));
    for tree in 1..=3 {
        soon(before.principal(TreeId(tree), None)).await;
    }
    before.retain(|tree| tree != TreeId(3));
    before.save(&mut file).expect("save");
    drop(before);

    // The root's process is another one by now, and the directory knows nobody.
    struct Nobody;
    impl Accounts for Nobody {
        fn name_of(&self, _: u32) -> Result<Option<String>, AccountsError> {
            Ok(None)
        }
    }
    let after = Identities::new(Box::new(Nobody), Box::new(FakeLogins)).expect("threads");
    assert_eq!(after.restore(&file), Ok(2));
    after.rooted(TreeId(1), &root(2, 4242));
    assert_eq!(
        &*after.settled(TreeId(1)).expect("settled").id,
        "local:alice"
    );
    assert_eq!(
        &*soon(after.principal(TreeId(2), None)).await.id,
        "local:#6666"
    );
    assert_eq!(
        soon(after.principal(TreeId(3), None)).await,
        Principal::unknown()
    );

    let other_boot = IdentityFile::new(directory.path(), "another");
    assert!(matches!(
        identities().restore(&other_boot),
        Err(IdentityNote::AnotherBoot(_))
    ));
}

#[test]
fn a_damaged_file_is_not_used_and_a_failed_save_is_repeated() {
    let directory = tempfile::tempdir().expect("tempdir");
    let state_dir = directory.path().join("state");
    let path = state_dir.join("identity.bin");
    let mut file = IdentityFile::new(&state_dir, "boot");
    let identities = identities();
    assert_eq!(
        identities.restore(&file),
        Err(IdentityNote::Absent(path.clone()))
    );
    identities.rooted(TreeId(1), &root(1, 0));
    identities.save(&mut file).expect_err("no such directory");
    std::fs::create_dir(&state_dir).expect("mkdir");
    identities.save(&mut file).expect("save");
    let whole = std::fs::read(&path).expect("read");
    for index in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 1;
        std::fs::write(&path, &flipped).expect("write");
        assert_eq!(
            identities.restore(&file),
            Err(IdentityNote::Damaged(path.clone())),
            "{index}"
        );
        std::fs::write(&path, &whole[..index]).expect("write");
        assert_eq!(
            identities.restore(&file),
            Err(IdentityNote::Damaged(path.clone())),
            "{index}"
        );
    }
    std::fs::write(&path, &whole).expect("write");
    assert_eq!(identities.restore(&file), Ok(1));
}

#[test]
fn memory_is_bounded() {
    let identities = identities();
    for tree in 0..TREES_MAX as u64 + 10 {
        identities.rooted(TreeId(tree), &root(2, 1000));
    }
    assert_eq!(identities.len(), TREES_MAX);
    assert_eq!(
        identities.by_number(TreeId(TREES_MAX as u64 + 1)),
        Principal::unknown()
    );
    identities.retain(|tree| tree.0 < 3);
    assert_eq!(identities.len(), 3);
}

#[tokio::test]
async fn this_very_process_has_a_name() {
    let accounts = Box::new(SystemAccounts);
    let identities = Identities::new(accounts, Box::new(SystemLoginUids)).expect("threads");
    // A pid that no process has: the login uid cannot be read, so the uid counts.
    identities.rooted(TreeId(1), &root(u32::MAX, 0));
    assert_eq!(
        &*soon(identities.principal(TreeId(1), None)).await.id,
        "local:root"
    );
}
