//! Daemons that are killed, and disks that are full: both need a process of their own.
//!
//! The children are tests of this binary, marked as ignored, that their parents call by name.
use super::*;
use crate::testing::clock;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

const DIR: &str = "GATEWAY_RECORDING_TEST_DIR";
const ROUND: &str = "GATEWAY_RECORDING_TEST_ROUND";
const THREADS: u64 = 2;

/// The arguments that make this binary run one child.
fn arguments(child: &str) -> [String; 4] {
    let name = format!("journal::tests::disk::{child}");
    [
        "--ignored".into(),
        "--exact".into(),
        "--nocapture".into(),
        name,
    ]
}

fn given_dir() -> PathBuf {
    std::env::var_os(DIR)
        .expect("only its parent calls this")
        .into()
}

fn counts(dir: &Path) -> [u64; THREADS as usize] {
    let bytes = std::fs::read(dir.join("counts")).unwrap_or_default();
    std::array::from_fn(|thread| {
        let start = thread * 8;
        bytes
            .get(start..start + 8)
            .map_or(0, |bytes| u64::from_ne_bytes(bytes.try_into().unwrap()))
    })
}

#[test]
#[ignore = "called by kill_9_loses_nothing_that_was_acknowledged"]
fn child_appends_until_it_is_killed() {
    let dir = given_dir();
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let journal = open(&dir.join("journal"));
    let counts = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("counts"));
    let counts = counts.unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, counts) = (&journal, &counts);
            scope.spawn(move || {
                for seq in 1..=u32::MAX {
                    let statement = "x".repeat(seq as usize % 700);
                    operate(journal, round * THREADS + thread, seq, &statement);
                    // In the page cache, like the journal: it survives the kill as well.
                    counts
                        .write_all_at(&u64::from(seq).to_ne_bytes(), thread * 8)
                        .unwrap();
                }
            });
        }
    });
}

fn start_child(dir: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments("child_appends_until_it_is_killed"))
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut acknowledged = Vec::new();
    for round in 0..50u64 {
        let _ = std::fs::remove_file(dir.path().join("counts"));
        let mut child = start_child(dir.path(), round);
        let deadline = Instant::now() + Duration::from_secs(60);
        // A different moment each time: from the first append on to some segments later.
        while counts(dir.path())[0] < round * 13 {
            assert!(
                Instant::now() < deadline,
                "round {round}: the child does not append"
            );
            assert!(
                child.try_wait().unwrap().is_none(),
                "round {round}: the child has ended"
            );
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(counts(dir.path()));
    }
    let mut found = vec![0u64; acknowledged.len()];
    let mut sequence = 0;
    for record in records(&journal) {
        assert_eq!(
            record.sequence,
            sequence + 1,
            "numbers go on over all kills"
        );
        sequence = record.sequence;
        if let RecordKind::Operation(operation) = record.kind {
            let found = &mut found[operation.id.session.0 as usize];
            *found += 1;
            assert_eq!(
                u64::from(operation.id.seq),
                *found,
                "in order, none missing"
            );
        }
    }
    for (session, (acknowledged, found)) in acknowledged.iter().zip(&found).enumerate() {
        let may_be = *acknowledged..=acknowledged + 1;
        assert!(
            may_be.contains(found),
            "session {session}: {found} of {acknowledged}"
        );
    }
    let total: u64 = found.iter().sum();
    assert!(total > 10_000, "the children hardly did anything: {total}");
}

/// Takes all that is left on the disk.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for bytes in [64 << 10, 4096, 1] {
        let block = vec![1; bytes];
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
#[ignore = "called by a_full_disk_refuses_and_recovers_by_itself"]
fn child_meets_a_full_disk() {
    let dir = given_dir();
    let (path, filler) = (dir.join("journal"), dir.join("filler"));
    let journal = Journal::open(JournalOptions {
        wait_max: Duration::from_secs(5),
        ..options(&path)
    })
    .unwrap()
    .0;
    // Wait for the next segment, so that what follows does not depend on who is faster.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !matches!(journal.shared.state.lock().spare, Spare::Ready(_)) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    fill(&filler);
    let mut kept = Vec::new();
    let error = loop {
        let statement = format!("statement {}", kept.len());
        match journal.operation(&Parts::new(1, 1, &statement).record()) {
            Ok(()) => kept.push(statement),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.starts_with("recording failed: the disk is full"),
        "{error}"
    );
    assert!(kept.len() > 500, "both segments were there: {}", kept.len());
    // Refusals are quick: nobody waits for a disk that is known to be full.
    let begun = Instant::now();
    for _ in 0..100 {
        journal
            .operation(&Parts::new(1, 2, &"x".repeat(500)).record())
            .unwrap_err();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(journal.failures(), 101);
    assert_eq!(statements(&path), kept);
    std::fs::remove_file(&filler).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let parts = Parts::new(1, 3, "there is space again");
    while journal.operation(&parts.record()).is_err() {
        assert!(Instant::now() < deadline, "it does not recover");
        std::thread::sleep(Duration::from_millis(5));
    }
    kept.push("there is space again".into());
    for seq in 0..500 {
        operate(&journal, 1, seq, "and more");
        kept.push("and more".into());
    }
    assert_eq!(statements(&path), kept);
    drop(journal);
    fill(&filler);
    let other = dir.join("other");
    let error = Journal::open(JournalOptions::new(&other, clock(), 1)).unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    // One that is there can still be opened: its segments have their space.
    drop(Journal::open(options(&path)).unwrap());
    println!("the child is content");
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    // The mount lives in a namespace of the child and goes with it.
    let script = r#"mount -t tmpfs -o size=640k none "$0" && exec "$@""#;
    let child = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(arguments("child_meets_a_full_disk"))
        .env(DIR, dir.path())
        .output()
        .expect("unshare of util-linux is needed");
    let (out, err) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    let content = child.status.success() && out.contains("the child is content");
    assert!(
        content,
        "this test mounts a tmpfs and needs root\n{}\n{out}\n{err}",
        child.status
    );
}
