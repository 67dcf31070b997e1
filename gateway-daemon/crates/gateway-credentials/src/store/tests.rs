//! Everything that may happen to the file, and to its key.
use super::*;
use crate::error::{FileError, KeyError};
use crate::testing::{Place, name, password, pem, revealed};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

const FIRST: Timestamp = Timestamp(1_000);
const LATER: Timestamp = Timestamp(2_000);

fn value(store: &Store, name: &str) -> String {
    let content = store.open().unwrap().unwrap().content;
    revealed(&content.0[name].credential).to_owned()
}

fn names(store: &Store) -> Vec<String> {
    let entries = store.entries().unwrap();
    entries.iter().map(|entry| entry.name.to_string()).collect()
}

#[test]
fn all_kinds_come_back() {
    let place = Place::new();
    let store = place.store();
    assert_eq!(store.entries().unwrap(), []);
    assert!(!place.key_file().exists(), "looking makes nothing");
    let (chain, key) = pem();
    let text = format!("{chain}{key}");
    let certificate = Credential::client_certificate(Some("ci"), text.as_bytes()).unwrap();
    let secret = Credential::secret(b"\0\xff sixteen bytes").unwrap();
    store.add(name("z"), certificate, FIRST).unwrap();
    store.add(name("hook"), secret, FIRST).unwrap();
    store.add(name("a"), password("hunter2"), LATER).unwrap();
    let entries = store.entries().unwrap();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.to_string(), entry.kind, entry.user.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("a".to_owned(), Kind::Password, None),
            ("hook".to_owned(), Kind::Secret, None),
            ("z".to_owned(), Kind::Certificate, Some("ci")),
        ]
    );
    assert_eq!(value(&store, "a"), "hunter2");
    let content = store.open().unwrap().unwrap().content;
    match &*content.0["z"].credential {
        Credential::ClientCertificate {
            chain_pem, key_pem, ..
        } => assert_eq!((&**chain_pem, key_pem.reveal()), (&*chain, &key)),
        other => panic!("{other:?}"),
    }
    match &*content.0["hook"].credential {
        Credential::Secret { bytes } => assert_eq!(bytes.reveal(), b"\0\xff sixteen bytes"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_is_replaced_only_on_purpose() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let twice = store.add(name("a"), password("two"), LATER).unwrap_err();
    assert!(matches!(twice, StoreError::Exists(_)), "{twice}");
    assert_eq!(value(&store, "a"), "one");
    assert!(store.replace(name("a"), password("two"), LATER).unwrap());
    assert_eq!(value(&store, "a"), "two");
    let entry = store.entries().unwrap().remove(0);
    assert_eq!((entry.added, entry.changed), (FIRST, LATER));
    assert!(!store.replace(name("b"), password("new"), LATER).unwrap());
    assert_eq!(names(&store), ["a", "b"]);
}

#[test]
fn what_is_removed_is_gone() {
    let place = Place::new();
    let store = place.store();
    let missing = store.remove(&name("a")).unwrap_err();
    assert!(matches!(missing, StoreError::NotThere(_)), "{missing}");
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
    store.add(name("a"), password("one"), FIRST).unwrap();
    store.add(name("b"), password("two"), FIRST).unwrap();
    store.remove(&name("a")).unwrap();
    assert_eq!(names(&store), ["b"]);
    assert!(matches!(
        store.remove(&name("a")),
        Err(StoreError::NotThere(_))
    ));
}

#[test]
fn changes_of_many_threads_are_all_kept() {
    let place = Place::new();
    let store = place.store();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..5 {
                    let name = name(&format!("c{thread}-{number}"));
                    store.add(name, password("x"), FIRST).unwrap();
                }
            });
        }
    });
    assert_eq!(store.entries().unwrap().len(), 40);
}

/// Opens what cannot be opened, and tries to change it: the file stays, bit by bit.
fn refused(store: &Store, place: &Place, expected: impl Fn(&StoreError) -> bool) {
    let before = fs::read(place.file()).unwrap();
    let added = store.add(name("new"), password("x"), FIRST).map(drop);
    let replaced = store.replace(name("a"), password("x"), FIRST).map(drop);
    let removed = store.remove(&name("a"));
    let read = store.entries().map(drop);
    for outcome in [added, replaced, removed, read] {
        let error = outcome.unwrap_err();
        assert!(expected(&error), "{error:?}");
    }
    assert_eq!(fs::read(place.file()).unwrap(), before);
}

fn write(path: &std::path::Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_file_that_is_damaged_is_not_overwritten() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let good = fs::read(place.file()).unwrap();
    let last = good.len() - 1;
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        bad
    };
    for bad in [
        flipped(20),
        flipped(40),
        flipped(last),
        good[..last].to_vec(),
    ] {
        write(&place.file(), &bad);
        refused(&store, &place, |error| {
            matches!(error, StoreError::Damaged { .. })
        });
    }
    for bad in [&b""[..], b"hello", b"GWSEALE"] {
        write(&place.file(), bad);
        refused(&store, &place, |error| {
            matches!(error, StoreError::NotAStore { .. })
        });
    }
    write(&place.file(), &flipped(8));
    refused(&store, &place, |error| {
        matches!(error, StoreError::Version { found: 17, .. })
    });
    write(&place.file(), &good);
    assert_eq!(value(&store, "a"), "one");
}

#[test]
fn every_bit_of_the_file_counts() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let good = fs::read(place.file()).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        write(&place.file(), &bad);
        assert!(store.entries().is_err(), "bit {bit}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let file = File::options().write(true).open(place.file()).unwrap();
    file.set_len(FILE_BYTES_MAX + 1).unwrap();
    let error = store.entries().unwrap_err();
    assert!(
        matches!(error, StoreError::File(FileError::TooLarge { .. })),
        "{error}"
    );
}

#[test]
fn without_its_own_key_nothing_is_done() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let good = fs::read(place.key_file()).unwrap();
    write(&place.key_file(), &[9; 32]);
    refused(&store, &place, |error| {
        matches!(error, StoreError::OtherKey { .. })
    });
    write(&place.key_file(), &good[..31]);
    refused(&store, &place, |error| {
        matches!(error, StoreError::Key(KeyError::Length { found: 31, .. }))
    });
    fs::remove_file(place.key_file()).unwrap();
    refused(&store, &place, |error| {
        matches!(error, StoreError::Key(KeyError::Missing { .. }))
    });
    assert!(!place.key_file().exists(), "no new key hides the loss");
    write(&place.key_file(), &good);
    assert_eq!(value(&store, "a"), "one");
}

#[test]
fn what_is_open_to_others_is_refused() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    open(&place.file(), 0o640);
    refused(&store, &place, |error| {
        matches!(error, StoreError::File(FileError::Exposed { .. }))
    });
    open(&place.file(), 0o600);
    open(&place.key_file(), 0o604);
    refused(&store, &place, |error| {
        matches!(
            error,
            StoreError::Key(KeyError::File(FileError::Exposed { .. }))
        )
    });
}

#[test]
fn nothing_is_lost_by_a_kill_before_the_rename() {
    let place = Place::new();
    let store = place.store();
    store.add(name("a"), password("one"), FIRST).unwrap();
    let unfinished = place.directory.path().join("credentials.sealed.new");
    fs::write(&unfinished, "half of a fi").unwrap();
    assert_eq!(value(&store, "a"), "one");
    store.add(name("b"), password("two"), FIRST).unwrap();
    assert_eq!(names(&store), ["a", "b"]);
    assert!(!unfinished.exists());
}

#[test]
fn the_file_is_ours_alone_and_has_nothing_in_the_clear() {
    let place = Place::new();
    let store = place.store();
    store
        .add(name("orders"), password("hunter2"), FIRST)
        .unwrap();
    let bytes = fs::read(place.file()).unwrap();
    for clear in [&b"hunter2"[..], b"orders"] {
        assert!(!bytes.windows(clear.len()).any(|window| window == clear));
    }
    for entry in fs::read_dir(place.directory.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
}

#[test]
fn the_store_has_an_end() {
    let place = Place::new();
    let store = place.store();
    let (chain, key) = pem();
    let big = format!("{}{key}", chain.repeat(90));
    let certificate = Credential::client_certificate(None, big.as_bytes()).unwrap();
    let mut content = Content::default();
    for number in 0..400 {
        put(
            &mut content,
            name(&number.to_string()),
            certificate.clone(),
            FIRST,
        );
    }
    assert!(matches!(content.encode(), Err(ContentFault::TooLarge)));
    store.add(name("a"), certificate, FIRST).unwrap();
}
