//! What a restarted daemon remembers.
use super::*;
use crate::state::{StateFile, StateNote};
use std::fs;
use std::path::Path;

fn reopened(directory: &Path) -> (World, crate::Restored) {
    let world = World::new(Limits::default());
    let restored = world.forest.restore(&StateFile::new(directory, "boot"));
    world.forest.check();
    (world, restored)
}

#[test]
fn names_and_arguments_of_exited_ancestors_come_back() {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut file = StateFile::new(directory.path(), "boot");
    let mut world = World::with_job();
    world.fork(1, 2);
    world.exec(2, "/agent");
    world.fork(2, 3);
    world.exit(2);
    assert!(world.forest.save(&mut file).expect("save") > 0);
    assert_eq!(
        world.forest.save(&mut file).expect("save"),
        0,
        "nothing changed"
    );
    world.fork(3, 4);
    world.exec(4, "/usr/bin/psql");
    world.exit(3);
    world.fork(1, 5);
    world.exit(5);
    assert!(world.forest.save(&mut file).expect("save") > 0);
    let expected = world.forest.lineage_of(key(4));

    let (mut restarted, restored) = reopened(directory.path());
    assert_eq!((restored.trees, restored.note), (1, None));
    assert_eq!(
        restored.processes, 4,
        "who exited without descendants is not kept"
    );
    assert_eq!(restarted.forest.lineage_of(key(4)), expected);
    assert_eq!(restarted.forest.trees()[0].policy_slot, Some(3));
    assert!(restarted.forest.needs_repair());

    // While nobody listened, 4 exited and 6 was forked.
    restarted.show(1, "/srv/job", 0);
    restarted.show(6, "/new", 1);
    let repaired = restarted.repair(&[tag(1, None), tag(6, Some(1))]);
    assert_eq!((repaired.added, repaired.vanished), (1, 1));
    assert_eq!(restarted.draw(6), "1:/srv/job kernel > 6:/new proc");
}

#[test]
fn every_state_that_was_saved_comes_back_as_it_was() {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut file = StateFile::new(directory.path(), "boot");
    let mut world = World::with_job();
    for pid in 2..400 {
        world.fork(if pid % 3 == 0 { 1 } else { pid - 1 }, pid);
        if pid % 2 == 0 {
            world.exec(pid, &format!("/bin/tool-{pid}"));
        }
        if pid % 5 == 0 {
            world.exit(pid - 2);
        }
        if pid % 50 == 0 {
            world.root(pid, u64::from(pid), RootedBy::Run);
        }
        if pid % 7 == 0 {
            world.forest.save(&mut file).expect("save");
        }
        if pid % 90 == 0 {
            world.pass();
        }
    }
    world.pass();
    world.forest.save(&mut file).expect("save");
    let (restarted, restored) = reopened(directory.path());
    assert_eq!(restored.note, None);
    assert_eq!(restarted.forest.trees(), world.forest.trees());
    for tree in world.forest.trees() {
        assert_eq!(
            restarted.forest.tree_of(tree.tree),
            world.forest.tree_of(tree.tree)
        );
    }
}

#[test]
fn the_log_does_not_grow_for_ever() {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut file = StateFile::new(directory.path(), "boot");
    let mut world = World::with_job();
    for round in 0..200 {
        for pid in 2..100 {
            world.fork(1, round * 100 + pid);
            world.exec(round * 100 + pid, &format!("/{}", "x".repeat(1_500)));
        }
        world.forest.save(&mut file).expect("save");
        for pid in 2..100 {
            world.exit(round * 100 + pid);
        }
        world.pass();
    }
    world.forest.save(&mut file).expect("save");
    let bytes = fs::metadata(directory.path().join("lineage.bin"))
        .expect("file")
        .len();
    assert!(bytes < 6 << 20, "{bytes} for one living process");
    let (restarted, _) = reopened(directory.path());
    assert_eq!(restarted.forest.stats().processes, 1);
}

#[test]
fn what_cannot_be_used_is_left_out_and_said() {
    let directory = tempfile::tempdir().expect("tempdir");
    let path = directory.path().join("lineage.bin");
    let (_, restored) = reopened(directory.path());
    assert_eq!(restored.note, Some(StateNote::Absent(path.clone())));

    let mut file = StateFile::new(directory.path(), "boot");
    let mut world = World::with_job();
    world.forest.save(&mut file).expect("save");
    let first = fs::read(&path).expect("read").len();
    world.fork(1, 2);
    world.exec(2, "/tool");
    world.forest.save(&mut file).expect("save");
    let whole = fs::read(&path).expect("read");

    let other_boot = World::new(Limits::default());
    let restored = other_boot
        .forest
        .restore(&StateFile::new(directory.path(), "another"));
    assert_eq!(
        (restored.processes, restored.note),
        (0, Some(StateNote::AnotherBoot(path.clone())))
    );

    // Every possible torn end, and every single flipped byte: never a panic, never a lie.
    let header = 8 + 8 + usize::from(whole[8]);
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).expect("write");
        let (restarted, restored) = reopened(directory.path());
        assert!(
            restored.note.is_some() || end == header || end == first,
            "{end}"
        );
        assert_eq!(
            restarted.forest.stats().processes,
            usize::from(end >= first),
            "{end}"
        );
    }
    for index in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 0x40;
        fs::write(&path, &flipped).expect("write");
        let (restarted, restored) = reopened(directory.path());
        assert!(restored.note.is_some(), "{index}");
        assert_eq!(
            restarted.forest.stats().processes,
            usize::from(index >= first),
            "{index}"
        );
    }
    fs::write(&path, b"something else entirely").expect("write");
    assert!(matches!(
        reopened(directory.path()).1.note,
        Some(StateNote::Foreign(_))
    ));
}

#[test]
fn a_failed_save_is_made_good_by_the_next() {
    let directory = tempfile::tempdir().expect("tempdir");
    let state = directory.path().join("state");
    let mut file = StateFile::new(&state, "boot");
    let mut world = World::with_job();
    world.forest.save(&mut file).expect_err("no such directory");
    fs::create_dir(&state).expect("mkdir");
    assert!(world.forest.save(&mut file).expect("save") > 0);
    world.fork(1, 2);
    world.forest.save(&mut file).expect("save");
    assert_eq!(reopened(&state).1.processes, 2);
}

#[test]
fn only_the_daemon_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("tempdir");
    let mut file = StateFile::new(directory.path(), "boot");
    World::with_job().forest.save(&mut file).expect("save");
    let mode = fs::metadata(directory.path().join("lineage.bin"))
        .expect("file")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}
