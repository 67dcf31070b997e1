//! What survives a restart, a kill and a full disk.
use super::*;
use gateway_files::{Lasting, sealed};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

fn store(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("scim.bin")
}

fn all(scim: &Scim) -> [Value; 2] {
    [get(scim, "/Users").1, get(scim, "/Groups").1]
}

#[test]
fn a_restart_keeps_everything() {
    let (dir, scim) = fresh();
    let ids = ["alice", "bob", "carol", "dave"].map(|name| create_user(&scim, name));
    create_group(&scim, "dba", &ids);
    set_active(&scim, &ids[1], false);
    delete(&scim, &format!("/Users/{}", ids[2]));
    let before = all(&scim);
    drop(scim);
    let mode = fs::metadata(store(&dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The nonce is drawn once.
    let scim = Scim::open(dir.path(), "https://gw/scim/v2", 1).unwrap();
    assert_eq!(all(&scim), before);
    assert_eq!(known(&scim, "user:alice"), active(&["dba"]));
    assert_eq!(known(&scim, "user:bob"), OFFBOARDED);
    assert_eq!(known(&scim, "user:carol"), OFFBOARDED);
    assert_eq!(create_user(&scim, "carol"), "u6-00000000000000ff");
}

#[test]
fn a_kill_between_write_and_rename_keeps_the_old_state() {
    let (dir, scim) = fresh();
    create_user(&scim, "alice");
    let before = all(&scim);
    drop(scim);
    let whole = fs::read(store(&dir)).unwrap();
    for torn in [0, 5, whole.len() / 2, whole.len()] {
        fs::write(dir.path().join("scim.bin.new"), &whole[..torn]).unwrap();
        let scim = open(&dir);
        assert_eq!(all(&scim), before);
    }
    let scim = open(&dir);
    create_user(&scim, "bob");
    drop(scim);
    assert_eq!(all(&open(&dir))[0]["totalResults"], json!(2));
}

#[test]
fn a_damaged_store_is_an_error_and_not_an_empty_one() {
    let (dir, scim) = fresh();
    let id = create_user(&scim, "alice");
    delete(&scim, &format!("/Users/{id}"));
    drop(scim);
    let whole = fs::read(store(&dir)).unwrap();
    let open = || Scim::open(dir.path(), "", 1).map(drop);
    let damaged = Err(ScimStoreError::Damaged(store(&dir)));
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(store(&dir), &bytes).unwrap();
        assert_eq!(open(), damaged, "a bit of byte {at}");
        fs::write(store(&dir), &whole[..at]).unwrap();
        assert_eq!(open(), damaged, "cut at {at}");
    }
    let put = |contents: &[u8]| {
        sealed::write(&store(&dir), b"GWSCIM\0\0", Lasting::Process, contents).unwrap();
    };
    put(&[2]);
    assert_eq!(open(), Err(ScimStoreError::AnotherVersion(store(&dir), 2)));
    put(&[&whole[12..], b"x"].concat());
    assert_eq!(open(), damaged, "something behind it");
    fs::remove_file(store(&dir)).unwrap();
    fs::create_dir(store(&dir)).unwrap();
    assert!(matches!(open(), Err(ScimStoreError::Unreadable(..))));
    let missing = dir.path().join("missing");
    let opened = Scim::open(&missing, "", 1).map(drop);
    assert!(matches!(opened, Err(ScimStoreError::Unwritable(..))));
}

#[test]
fn a_store_that_breaks_a_rule_is_damaged() {
    let user = |name| Arc::new(User::from_resource(&user(name), None).unwrap());
    let group = |name: &str, members: &[u64]| {
        Arc::new(Group {
            display_name: name.into(),
            external_id: None,
            members: members.iter().copied().collect(),
        })
    };
    let content = |users: &[(u64, Arc<User>)], groups: &[(u64, Arc<Group>)]| Content {
        nonce: 1,
        next: 5,
        users: users.iter().cloned().collect(),
        groups: groups.iter().cloned().collect(),
        gone: Default::default(),
    };
    let (a, b) = (user("a"), user("A"));
    for (content, sound) in [
        (content(&[(1, a.clone())], &[(2, group("g", &[1]))]), true),
        (content(&[(1, a.clone())], &[(2, group("g", &[3]))]), false),
        (content(&[(1, a.clone()), (2, b)], &[]), false),
        (content(&[(5, a.clone())], &[]), false),
        (
            content(&[], &[(1, group("g", &[])), (2, group("G", &[]))]),
            false,
        ),
    ] {
        assert_eq!(State::new(content).is_some(), sound);
    }
}

#[test]
fn what_cannot_be_saved_is_not_done() {
    let (dir, scim) = fresh();
    let id = create_user(&scim, "alice");
    let before = (all(&scim), scim.generation());
    // A directory with something in it is in the way.
    let obstacle = dir.path().join("scim.bin.new/x");
    fs::create_dir_all(&obstacle).unwrap();
    let body = patch(&json!([{"op": "replace", "path": "active", "value": false}]));
    let target = format!("/Users/{id}");
    assert_eq!(send(&scim, "PATCH", &target, &body).0, 500);
    assert_eq!((all(&scim), scim.generation()), before);
    // Nobody knows what the disk holds, so even what changes nothing has to be saved now.
    assert_eq!(send(&scim, "PUT", &target, &user("alice")).0, 500);
    fs::remove_dir_all(dir.path().join("scim.bin.new")).unwrap();
    fs::remove_file(store(&dir)).unwrap();
    assert_eq!(send(&scim, "PUT", &target, &user("alice")).0, 200);
    assert!(store(&dir).exists());
    assert_eq!(send(&scim, "PATCH", &target, &body).0, 200);
    assert_eq!(known(&open(&dir), "user:alice"), OFFBOARDED);
}

const CHILD: &str = "GATEWAY_TEST_SCIM_CHILD";

/// Not a test of its own: what [`nothing_acknowledged_is_lost_by_kill`] kills.
#[test]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let scim = Scim::open(std::path::Path::new(&dir), "", 0xff).unwrap();
    for number in 0.. {
        let id = create_user(&scim, &format!("user{number}"));
        delete(&scim, &format!("/Users/{id}"));
        // The harness captures what `println!` says.
        writeln!(std::io::stderr(), "acknowledged {number}").unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill() {
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = |line: std::io::Result<String>| {
            let line = line.unwrap();
            line.strip_prefix("acknowledged ")?.parse::<u64>().ok()
        };
        let reached = lines.by_ref().filter_map(told).take(20).last().unwrap();
        assert_eq!(reached, 19);
        child.kill().unwrap();
        child.wait().unwrap();
        // What was still in the pipe was acknowledged too.
        let reached = lines.filter_map(told).last().unwrap_or(reached);
        let scim = open(&dir);
        for number in 0..=reached {
            let id = format!("user:user{number}");
            assert_eq!(known(&scim, &id), OFFBOARDED, "{number}");
        }
    }
}
