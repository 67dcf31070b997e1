//! Trees in which processes present tokens: their own, the same ones, stolen ones.
use super::*;
use gateway_core::{Process, Provenance};
use gateway_files::{Lasting, sealed};
use proptest::prelude::*;
use std::path::Path;

const NOW: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(9_000);
const TREE: TreeId = TreeId(1);
const OTHER_TREE: TreeId = TreeId(2);

fn token(name: &str, id: &str) -> VerifiedToken {
    VerifiedToken {
        principal: Principal {
            id: name.into(),
            assurance: Assurance::Verified,
            groups: vec!["release".into()],
        },
        issuer: "github".into(),
        id: id.into(),
        expires: Timestamp(5_000),
        subject: format!("subject of {name}").into(),
    }
}

fn process((pid, start): ProcessKey) -> Process {
    Process {
        pid,
        start,
        exe: "/x".into(),
        argv: Vec::new(),
        uid: 0,
        cwd: None,
        cgroup: "".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    }
}

fn lineage(tree: TreeId, keys: &[ProcessKey]) -> Lineage {
    Lineage {
        tree,
        processes: keys.iter().copied().map(process).collect(),
    }
}

fn local() -> Principal {
    Principal {
        id: "local:alice".into(),
        assurance: Assurance::Kernel,
        groups: Vec::new(),
    }
}

/// The ids: principal first, then the delegates.
fn who(bindings: &Bindings, tree: TreeId, keys: &[ProcessKey]) -> Vec<String> {
    let (principal, delegates) = bindings.subject(&lineage(tree, keys), local());
    let all = std::iter::once(&principal).chain(&delegates);
    all.map(|one| one.id.to_string()).collect()
}

/// root, its child, the child's child.
const CHAIN: [ProcessKey; 3] = [(10, 1), (11, 2), (12, 3)];

#[test]
fn without_a_binding_the_described_one_stays() {
    let bindings = Bindings::new();
    let (principal, delegates) = bindings.subject(&lineage(TREE, &CHAIN), local());
    assert_eq!((principal, delegates.len()), (local(), 0));
    bindings
        .bind(OTHER_TREE, CHAIN[0], &token("user:bob", "1"), NOW)
        .expect("bound");
    assert_eq!(
        who(&bindings, TREE, &CHAIN),
        ["local:alice"],
        "another tree's is not ours"
    );
}

#[test]
fn the_root_most_is_the_principal_and_deeper_ones_are_delegates() {
    let bindings = Bindings::new();
    let bind = |at: ProcessKey, name: &str, id: &str| {
        bindings
            .bind(TREE, at, &token(name, id), NOW)
            .expect("bound")
    };
    // From below, in the order in which it cannot be told from the time who stands above.
    bind(CHAIN[2], "user:deep", "1");
    assert_eq!(who(&bindings, TREE, &CHAIN), ["user:deep"]);
    assert_eq!(
        who(&bindings, TREE, &CHAIN[..2]),
        ["local:alice"],
        "it does not cover its parent"
    );
    bind(CHAIN[1], "ci:mid", "2");
    bind(CHAIN[0], "ci:root", "3");
    assert_eq!(
        who(&bindings, TREE, &CHAIN),
        ["ci:root", "ci:mid", "user:deep"]
    );
    assert_eq!(who(&bindings, TREE, &CHAIN[..1]), ["ci:root"]);
    let sibling = [CHAIN[0], (77, 7)];
    assert_eq!(who(&bindings, TREE, &sibling), ["ci:root"]);
    let (principal, delegates) = bindings.subject(&lineage(TREE, &CHAIN), local());
    assert_eq!(
        principal,
        token("ci:root", "3").principal,
        "with groups and assurance"
    );
    assert_eq!(delegates[0], token("ci:mid", "2").principal);
}

#[test]
fn each_id_counts_once_and_a_second_token_at_a_process_is_a_delegate() {
    let bindings = Bindings::new();
    let tokens = [
        (CHAIN[0], "ci:root", "1"),
        (CHAIN[0], "user:second", "2"),
        (CHAIN[1], "ci:root", "3"),
        (CHAIN[1], "user:third", "4"),
        (CHAIN[2], "user:second", "5"),
    ];
    for (at, name, id) in tokens {
        assert_eq!(
            bindings.bind(TREE, at, &token(name, id), NOW),
            Ok(Bound::New)
        );
    }
    assert_eq!(
        who(&bindings, TREE, &CHAIN),
        ["ci:root", "user:second", "user:third"]
    );
}

#[test]
fn a_token_belongs_to_the_first_tree() {
    let bindings = Bindings::new();
    let stolen = token("ci:root", "1");
    assert_eq!(bindings.bind(TREE, CHAIN[0], &stolen, NOW), Ok(Bound::New));
    let refused = bindings.bind(OTHER_TREE, (90, 9), &stolen, NOW);
    assert_eq!(refused, Err(BindError::OfAnotherTree(TREE)));
    assert_eq!(who(&bindings, OTHER_TREE, &[(90, 9)]), ["local:alice"]);
    // Under another name, with another subject: it is the id that counts.
    let disguised = token("ci:else", "1");
    let refused = bindings.bind(OTHER_TREE, (90, 9), &disguised, NOW);
    assert_eq!(refused, Err(BindError::OfAnotherTree(TREE)));
    // The same id of another issuer is another token.
    let mut other = token("user:bob", "1");
    other.issuer = "gitlab".into();
    assert_eq!(
        bindings.bind(OTHER_TREE, (90, 9), &other, NOW),
        Ok(Bound::New)
    );
    // In its own tree it is fine, at each process, again and again.
    assert_eq!(
        bindings.bind(TREE, CHAIN[0], &stolen, NOW),
        Ok(Bound::Again)
    );
    assert_eq!(bindings.bind(TREE, CHAIN[1], &stolen, NOW), Ok(Bound::New));
    assert_eq!(
        bindings.bind(TREE, CHAIN[1], &stolen, NOW),
        Ok(Bound::Again)
    );
    assert_eq!((bindings.len(), bindings.of(TREE).len()), (3, 2));
    // The tree has ended, and the token is still not free.
    bindings.retain(|tree| tree != TREE);
    let refused = bindings.bind(OTHER_TREE, (90, 9), &stolen, NOW);
    assert_eq!(refused, Err(BindError::OfAnotherTree(TREE)));
}

#[test]
fn expiry_ends_a_token_and_not_a_binding() {
    let bindings = Bindings::new();
    let one = token("ci:root", "1");
    assert_eq!(
        bindings.bind(TREE, CHAIN[0], &one, LATER),
        Err(BindError::Expired)
    );
    assert_eq!(who(&bindings, TREE, &CHAIN), ["local:alice"]);
    bindings.bind(TREE, CHAIN[0], &one, NOW).expect("bound");
    assert_eq!(bindings.bind(TREE, CHAIN[0], &one, LATER), Ok(Bound::Again));
    assert_eq!(
        bindings.bind(TREE, CHAIN[1], &one, LATER),
        Err(BindError::Expired)
    );
    assert_eq!(
        bindings.bind(TREE, CHAIN[1], &one, one.expires),
        Err(BindError::Expired)
    );
    assert_eq!(who(&bindings, TREE, &CHAIN), ["ci:root"]);
}

#[test]
fn only_verified_principals_bind() {
    let bindings = Bindings::new();
    for assurance in [Assurance::None, Assurance::Asserted, Assurance::Kernel] {
        let mut one = token("ci:root", "1");
        one.principal.assurance = assurance;
        assert_eq!(
            bindings.bind(TREE, CHAIN[0], &one, NOW),
            Err(BindError::NotVerified)
        );
    }
    assert!(bindings.is_empty());
}

#[test]
fn one_person_signs_in_for_a_tree_once() {
    let bindings = Bindings::new();
    let once = |key, name: &str, id: &str| bindings.bind_once(TREE, key, &token(name, id), NOW);
    assert_eq!(once(CHAIN[0], "user:alice", "a"), Ok(Bound::New));
    assert_eq!(once(CHAIN[0], "user:alice", "a"), Ok(Bound::Again));
    assert_eq!(once(CHAIN[0], "user:alice", "b"), Ok(Bound::Again));
    let other = Err(BindError::OfAnotherPrincipal);
    assert_eq!(once(CHAIN[0], "user:bob", "c"), other);
    let bob = token("user:bob", "c").principal;
    assert_eq!(bindings.may_bind_once(TREE, CHAIN[0], &bob), other);
    assert_eq!(bindings.may_bind_once(TREE, CHAIN[1], &bob), Ok(Bound::New));
    assert_eq!(who(&bindings, TREE, &CHAIN), ["user:alice"]);
    assert_eq!(bindings.len(), 1);
    // What a job presented there first stays too, and a token stays with its tree.
    let present = |tree, id| bindings.bind(tree, CHAIN[0], &token("ci:job", id), NOW);
    assert_eq!(present(OTHER_TREE, "d"), Ok(Bound::New));
    let alice = token("user:alice", "e");
    assert_eq!(bindings.bind_once(OTHER_TREE, CHAIN[0], &alice, NOW), other);
    let stolen = bindings.bind_once(OTHER_TREE, CHAIN[1], &token("user:alice", "a"), NOW);
    assert_eq!(stolen, Err(BindError::OfAnotherTree(TREE)));
    bindings.doubt([TREE]);
    assert_eq!(once(CHAIN[1], "user:alice", "f"), Err(BindError::Doubtful));
}

#[test]
fn one_person_logs_in_for_a_tree_once_and_stays() {
    let directory = tempfile::tempdir().expect("directory");
    let bindings = Bindings::new();
    let alice = token("user:alice", "1").principal;
    let login =
        |tree, principal: &Principal| bindings.bind_login(tree, CHAIN[0], principal, "sshd");
    assert_eq!(login(TREE, &alice), Ok(Bound::New));
    assert_eq!(login(TREE, &alice), Ok(Bound::Again));
    let bob = token("user:bob", "2");
    assert_eq!(
        login(TREE, &bob.principal),
        Err(BindError::OfAnotherPrincipal)
    );
    assert_eq!(
        bindings.bind_once(TREE, CHAIN[0], &bob, NOW),
        Err(BindError::OfAnotherPrincipal)
    );
    assert_eq!(login(OTHER_TREE, &alice), Ok(Bound::New), "a second login");
    assert_eq!(login(TreeId(3), &local()), Err(BindError::NotVerified));
    // A token further down only narrows.
    bindings.bind(TREE, CHAIN[2], &bob, NOW).expect("bound");
    assert_eq!(who(&bindings, TREE, &CHAIN), ["user:alice", "user:bob"]);
    let mut file = BindingFile::new(directory.path(), "boot");
    bindings.save(&mut file).expect("saved");
    let (restored, count) = restored(directory.path(), "boot");
    assert_eq!(count, Ok(3));
    assert_eq!(who(&restored, TREE, &CHAIN), ["user:alice", "user:bob"]);
    assert_eq!(restored.of(OTHER_TREE)[0].issuer.as_ref(), "sshd");
}

#[test]
fn a_reused_pid_inherits_nothing() {
    let bindings = Bindings::new();
    bindings
        .bind(TREE, (11, 2), &token("ci:root", "1"), NOW)
        .expect("bound");
    assert_eq!(who(&bindings, TREE, &[(10, 1), (11, 2)]), ["ci:root"]);
    assert_eq!(who(&bindings, TREE, &[(10, 1), (11, 99)]), ["local:alice"]);
}

#[test]
fn what_has_ended_is_forgotten() {
    let bindings = Bindings::new();
    for (at, id) in CHAIN.into_iter().zip(["1", "2", "3"]) {
        bindings.bind(TREE, at, &token(id, id), NOW).expect("bound");
    }
    bindings
        .bind(OTHER_TREE, (90, 9), &token("4", "4"), NOW)
        .expect("bound");
    bindings.retain_processes(|tree, process| tree != TREE || process != CHAIN[1]);
    assert_eq!(who(&bindings, TREE, &CHAIN), ["1", "3"]);
    bindings.retain(|tree| tree == OTHER_TREE);
    assert_eq!(who(&bindings, TREE, &CHAIN), ["local:alice"]);
    assert_eq!(bindings.len(), 1);
}

#[test]
fn valid_tokens_are_never_forgotten_for_new_ones() {
    let bindings = Bindings::new();
    let short = |id: usize| token("x:1", &id.to_string());
    let first = token("x:first", "first");
    bindings.bind(TREE, CHAIN[0], &first, NOW).expect("bound");
    for id in 1..TOKENS_MAX {
        let tree = TreeId(100 + id as u64);
        bindings.bind(tree, (1, 1), &short(id), NOW).expect("bound");
        // The trees are short-lived; what is remembered of their tokens is not.
        if id % 10_000 == 0 {
            bindings.retain(|tree| tree == TREE);
        }
    }
    bindings.retain(|tree| tree == TREE);
    let more = bindings.bind(OTHER_TREE, (90, 9), &token("x:2", "more"), NOW);
    assert_eq!(more, Err(BindError::TooManyTokens));
    let stolen = bindings.bind(OTHER_TREE, (90, 9), &first, NOW);
    assert_eq!(stolen, Err(BindError::OfAnotherTree(TREE)));
    // In its own tree a known one still binds.
    assert_eq!(bindings.bind(TREE, CHAIN[1], &first, NOW), Ok(Bound::New));
    // Once they have expired, there is room.
    let mut late = token("x:late", "late");
    late.expires = Timestamp(20_000);
    assert_eq!(
        bindings.bind(OTHER_TREE, (90, 9), &late, LATER),
        Ok(Bound::New)
    );
    assert_eq!(bindings.state.lock().tokens.len(), 1);
}

#[test]
fn a_tree_cannot_take_the_room_of_others() {
    let bindings = Bindings::new();
    let one = token("ci:root", "1");
    for pid in 0..u32::try_from(BINDINGS_PER_TREE_MAX).expect("number") {
        assert_eq!(bindings.bind(TREE, (pid, 1), &one, NOW), Ok(Bound::New));
    }
    let full = Err(BindError::TooManyBindings);
    assert_eq!(bindings.bind(TREE, (1_000_000, 1), &one, NOW), full);
    assert_eq!(bindings.bind(TREE, (1, 1), &one, NOW), Ok(Bound::Again));
    let other = token("ci:other", "2");
    assert_eq!(
        bindings.bind(OTHER_TREE, (1, 1), &other, NOW),
        Ok(Bound::New)
    );
    for id in 3..2 + BINDINGS_PER_PROCESS_MAX {
        let another = token("ci:another", &id.to_string());
        assert_eq!(
            bindings.bind(OTHER_TREE, (1, 1), &another, NOW),
            Ok(Bound::New)
        );
    }
    let last = token("ci:another", "last");
    assert_eq!(bindings.bind(OTHER_TREE, (1, 1), &last, NOW), full);
    // A token that was refused is nobody's.
    assert_eq!(bindings.bind(TreeId(3), (1, 1), &last, NOW), Ok(Bound::New));
}

fn restored(dir: &Path, boot: &str) -> (Bindings, Result<usize, BindingNote>) {
    let bindings = Bindings::new();
    let restored = bindings.restore(&BindingFile::new(dir, boot));
    (bindings, restored)
}

#[test]
fn a_restarted_daemon_goes_on_and_another_boot_does_not() {
    let dir = tempfile::tempdir().expect("dir");
    let mut file = BindingFile::new(dir.path(), "boot-1\n");
    let bindings = Bindings::new();
    assert!(
        matches!(bindings.restore(&file), Err(note @ BindingNote::Absent(_)) if !note.is_loss())
    );
    for (at, id) in [(CHAIN[0], "1"), (CHAIN[0], "2"), (CHAIN[2], "3")] {
        bindings
            .bind(TREE, at, &token(&format!("x:{id}"), id), NOW)
            .expect("bound");
    }
    bindings
        .bind(OTHER_TREE, (9, 9), &token("x:ended", "ended"), NOW)
        .expect("bound");
    bindings.retain(|tree| tree == TREE);
    bindings.save(&mut file).expect("saved");

    let (again, count) = restored(dir.path(), "boot-1");
    assert_eq!(count, Ok(3));
    assert_eq!(who(&again, TREE, &CHAIN), ["x:1", "x:2", "x:3"]);
    assert_eq!(again.of(TREE), bindings.of(TREE));
    let stolen = again.bind(TreeId(5), (9, 9), &token("x:ended", "ended"), NOW);
    assert_eq!(stolen, Err(BindError::OfAnotherTree(OTHER_TREE)));
    assert_eq!(
        again.bind(TREE, CHAIN[0], &token("x:1", "1"), NOW),
        Ok(Bound::Again)
    );

    let (other, note) = restored(dir.path(), "boot-2");
    let note = note.expect_err("another boot");
    assert!(matches!(note, BindingNote::AnotherBoot(_)) && !note.is_loss());
    assert!(other.is_empty());
    assert_eq!(
        other.bind(TreeId(5), (9, 9), &token("x:1", "1"), NOW),
        Ok(Bound::New)
    );
}

#[test]
fn it_is_written_when_something_changed_and_after_a_failure() {
    let dir = tempfile::tempdir().expect("dir");
    let inside = dir.path().join("state");
    let mut file = BindingFile::new(&inside, "boot");
    let bindings = Bindings::new();
    bindings.save(&mut file).expect("nothing to save");
    bindings
        .bind(TREE, CHAIN[0], &token("x:1", "1"), NOW)
        .expect("bound");
    assert!(bindings.save(&mut file).is_err(), "no directory");
    std::fs::create_dir(&inside).expect("dir");
    bindings.save(&mut file).expect("saved");
    assert_eq!(restored(&inside, "boot").1, Ok(1));
    std::fs::remove_file(inside.join("bindings.bin")).expect("removed");
    bindings.save(&mut file).expect("nothing to save");
    assert!(matches!(
        restored(&inside, "boot").1,
        Err(BindingNote::Absent(_))
    ));
    bindings.retain(|_| false);
    bindings.save(&mut file).expect("saved");
    assert_eq!(restored(&inside, "boot").1, Ok(0));
}

#[test]
fn lost_bindings_leave_trees_to_nobody() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("bindings.bin");
    let mut file = BindingFile::new(dir.path(), "boot");
    let bindings = Bindings::new();
    bindings
        .bind(TREE, CHAIN[0], &token("x:1", "1"), NOW)
        .expect("bound");
    bindings.save(&mut file).expect("saved");
    let whole = std::fs::read(&path).expect("read");
    // Each bit, and each end.
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).expect("write");
        assert!(
            matches!(restored(dir.path(), "boot").1, Err(BindingNote::Damaged(_))),
            "{at}"
        );
        std::fs::write(&path, &whole[..at]).expect("write");
        assert!(
            matches!(restored(dir.path(), "boot").1, Err(BindingNote::Damaged(_))),
            "{at}"
        );
    }
    let (after, note) = restored(dir.path(), "boot");
    assert!(note.expect_err("damaged").is_loss());
    after.doubt([TREE]);
    assert_eq!(who(&after, TREE, &CHAIN), ["unknown"]);
    assert_eq!(who(&after, OTHER_TREE, &CHAIN), ["local:alice"]);
    after
        .bind(TREE, CHAIN[1], &token("x:2", "2"), NOW)
        .expect("bound");
    assert_eq!(
        who(&after, TREE, &CHAIN),
        ["unknown", "x:2"],
        "it cannot raise itself"
    );
    // The doubt is saved too, and ends with the tree.
    after.save(&mut file).expect("saved");
    let (again, _) = restored(dir.path(), "boot");
    assert_eq!(who(&again, TREE, &CHAIN), ["unknown", "x:2"]);
    again.retain(|tree| tree != TREE);
    assert_eq!(who(&again, TREE, &CHAIN), ["local:alice"]);
}

#[test]
fn another_version_of_this_boot_is_a_loss() {
    let dir = tempfile::tempdir().expect("dir");
    let contents = postcard::to_stdvec(&(7_u32, "boot", 1_u8)).expect("bytes");
    let file = dir.path().join("bindings.bin");
    sealed::write(&file, b"GWBINDIN", Lasting::Process, &contents).expect("write");
    let note = restored(dir.path(), "boot").1.expect_err("another version");
    assert!(matches!(note, BindingNote::AnotherVersion(_, 7)) && note.is_loss());
    let note = restored(dir.path(), "later").1.expect_err("another boot");
    assert!(!note.is_loss());
}

proptest! {
    /// However tokens are presented, the subject of a process is what a plain walk says, and what
    /// a child adds never changes the principal of what stands under the same root.
    #[test]
    fn a_deeper_binding_only_adds(
        presented in prop::collection::vec((0_usize..4, 0_u8..5), 0..12),
        deeper in 0_u8..5,
    ) {
        let chain = [(1, 1), (2, 2), (3, 3), (4, 4)];
        let bindings = Bindings::new();
        let name = |one: u8| format!("x:{one}");
        let mut expected: Vec<String> = Vec::new();
        for &(at, one) in &presented {
            bindings.bind(TREE, chain[at], &token(&name(one), &name(one)), NOW).expect("bound");
        }
        for at in 0..chain.len() {
            for &(_, one) in presented.iter().filter(|(place, _)| *place == at) {
                if !expected.contains(&name(one)) {
                    expected.push(name(one));
                }
            }
        }
        let before = who(&bindings, TREE, &chain);
        prop_assert_eq!(&before, &if expected.is_empty() { vec!["local:alice".to_owned()] } else { expected.clone() });
        let below = [chain[0], chain[1], chain[2], chain[3], (5, 5)];
        bindings.bind(TREE, (5, 5), &token(&name(deeper), &name(deeper)), NOW).expect("bound");
        prop_assert_eq!(&who(&bindings, TREE, &chain), &before);
        let after = who(&bindings, TREE, &below);
        if !expected.is_empty() {
            prop_assert_eq!(&after[..before.len()], &before[..]);
        }
    }
}
