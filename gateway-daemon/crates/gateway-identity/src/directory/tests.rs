//! The file with all of its mistakes, reloads, and the union with SCIM.
use super::*;
use gateway_core::{Assurance, Lineage, TreeId};
use std::fs;

fn file(text: &str) -> DirectoryFile {
    DirectoryFile::parse("d.toml", text).unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    match DirectoryFile::parse("d.toml", text) {
        Err(DirectoryError::Mistakes(list)) => list.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn groups(entry: &Entry) -> Vec<&str> {
    entry.groups.iter().map(|group| &**group).collect()
}

fn principal(id: &str, groups: &[&str]) -> Principal {
    Principal {
        id: id.into(),
        assurance: Assurance::Verified,
        groups: groups.iter().map(|group| (*group).into()).collect(),
    }
}

/// A file on disk, and ways to replace it.
struct OnDisk {
    dir: tempfile::TempDir,
}

impl OnDisk {
    fn new(text: &str) -> OnDisk {
        let on_disk = OnDisk {
            dir: tempfile::tempdir().unwrap(),
        };
        on_disk.replace(text);
        on_disk
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("directory.toml")
    }

    /// As administrators should: a new inode each time.
    fn replace(&self, text: &str) {
        let beside = self.dir.path().join("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path()).unwrap();
    }

    fn open(&self) -> Directory {
        Directory::open(Some(&self.path()), None).unwrap()
    }
}

#[test]
fn every_key_is_taken() {
    let on_disk = OnDisk::new(
        r#"
        [[user]]
        name = "Alice@acme.com"
        groups = ["engineering", "dba", "engineering"]
        local = "alice"
        [[user]]
        name = "user:bob@acme.com"
        status = "offboarded"
        groups = ["dba"]
        local = 'ACME\bob'
        [[user]]
        name = "ci:github:acme/api@refs/heads/main"
        status = "active"
        [[user]]
        name = "local:deploy"
        groups = ["release"]
        "#,
    );
    let directory = on_disk.open();
    let alice = directory.lookup("user:alice@acme.com");
    assert!(alice.known);
    assert_eq!(alice.status, Status::Active);
    assert_eq!(groups(&alice), ["engineering", "dba"]);
    assert_eq!(alice.user.as_deref(), Some("user:Alice@acme.com"));
    assert_eq!(directory.lookup("local:alice"), alice);
    assert_eq!(directory.lookup("user:ALICE@ACME.COM"), alice);
    let bob = directory.lookup("local:ACME%5Cbob");
    assert_eq!(bob.user.as_deref(), Some("user:bob@acme.com"));
    assert_eq!(bob.status, Status::Offboarded);
    assert_eq!(groups(&bob), [""; 0], "who has left is in no group");
    assert!(directory.lookup("ci:github:acme/api@refs/heads/main").known);
    assert_eq!(groups(&directory.lookup("local:deploy")), ["release"]);
    for stranger in [
        "",
        "unknown",
        "user:",
        "alice@acme.com",
        "local:Alice",
        "user:alice",
        "user:local:alice",
        "ci:github:Acme/api@refs/heads/main",
        "user:bob@acme.com ",
    ] {
        assert_eq!(directory.lookup(stranger), Entry::unknown(), "{stranger}");
    }
}

#[test]
fn nobody_is_known_without_a_source() {
    let directory = Directory::default();
    assert_eq!(directory.lookup("user:alice"), Entry::unknown());
    assert_eq!(directory.generation(), 0);
    assert!(!directory.changed_on_disk());
    assert_eq!(directory.reload(), Ok(false));
    assert_eq!(directory.rejected(), None);
}

const NAME: &str = "a principal like \"alice@acme.com\" or \"user:alice@acme.com\", \
                    1 to 256 bytes on one line, without `*`";
const GROUP: &str = "a name of 1 to 256 bytes on one line, without `*` and without `group:`";

#[test]
fn every_mistake_in_a_name_is_named_with_its_place() {
    for (name, message) in [
        ("5", "`name` is an integer".to_owned()),
        ("[\"a\"]", "`name` is a list".to_owned()),
        ("\"\"", "`name`: \"\" is empty".to_owned()),
        ("\"a*\"", "`name`: \"a*\" has a `*` in it".to_owned()),
        (
            "\"a\\nb\"",
            "`name`: \"a\\nb\" has a control character in it".to_owned(),
        ),
        (
            "\" a\"",
            "`name`: \" a\" begins or ends with a space".to_owned(),
        ),
        (
            "\"user: a\"",
            "`name`: \"user: a\" has a space behind its scheme".to_owned(),
        ),
        (
            "\"user:\"",
            "`name`: \"user:\" has nothing behind its scheme".to_owned(),
        ),
        (
            "\"User:a\"",
            "`name`: \"User:a\" does not begin with a scheme in lower case".to_owned(),
        ),
        (
            "\":a\"",
            "`name`: \":a\" does not begin with a scheme in lower case".to_owned(),
        ),
        ("\"group:a\"", "`name`: \"group:a\" is a group".to_owned()),
        (
            "\"local:jörg\"",
            "`name`: \"local:jörg\" is not the form of a local principal".to_owned(),
        ),
    ] {
        let text = format!("# é\n[[user]]\n  name = {name}\n");
        let expected = format!("d.toml:3:10: {message} (expected {NAME})");
        assert_eq!(mistakes(&text), [expected], "{name}");
    }
    let long = "x".repeat(257);
    let quoted = "x".repeat(80);
    assert_eq!(
        mistakes(&format!("[[user]]\nname = \"{long}\"")),
        [format!(
            "d.toml:2:8: `name`: \"{quoted}\"… is longer than 256 bytes (expected {NAME})"
        )]
    );
    file(&format!("[[user]]\nname = \"{}\"", "x".repeat(256)));
}

#[test]
fn every_other_mistake_is_named_with_its_place() {
    let local = "the name of a local account, like \"alice\"";
    for (text, expected) in [
        (
            "",
            "d.toml:1:1: the file is empty (expected [[user]], or a comment when there is nobody)"
                .to_owned(),
        ),
        (
            " \n\n",
            "d.toml:1:1: the file is empty (expected [[user]], or a comment when there is nobody)"
                .to_owned(),
        ),
        (
            "users = []",
            "d.toml:1:1: the file has no key \"users\" (expected [[user]])".to_owned(),
        ),
        (
            "\n[user]\nname = \"a\"",
            "d.toml:2:2: `user` is a table (expected [[user]])".to_owned(),
        ),
        (
            "user = [1]",
            "d.toml:1:9: a user is an integer (expected a table)".to_owned(),
        ),
        (
            "#\n[[user]]\nlocal = \"a\"",
            "d.toml:2:1: [[user]] has no `name` (expected `name`: the user's principal id)"
                .to_owned(),
        ),
        (
            "[[user]]\nname = \"a\"\nstate = \"offboarded\"",
            "d.toml:3:1: [[user]] has no key \"state\" (expected one of `name`, `groups`, \
             `status`, `local`)"
                .to_owned(),
        ),
        (
            "[[user]]\nname = \"a\"\nstatus = \"Offboarded\"",
            "d.toml:3:10: `status` is \"Offboarded\" (expected \"active\" or \"offboarded\")"
                .to_owned(),
        ),
        (
            "[[user]]\nname = \"a\"\nstatus = false",
            "d.toml:3:10: `status` is a boolean (expected \"active\" or \"offboarded\")".to_owned(),
        ),
        (
            "[[user]]\nname = \"a\"\ngroups = \"x\"",
            "d.toml:3:10: `groups` is a string (expected a list of names like [\"engineering\"])"
                .to_owned(),
        ),
        (
            "[[user]]\nname = \"a\"\ngroups = [\"x\", 1.5]",
            "d.toml:3:16: one of `groups` is a float (expected a list of names like \
             [\"engineering\"])"
                .to_owned(),
        ),
        (
            "[[user]]\nname = \"a\"\ngroups = [\"group:x\"]",
            format!("d.toml:3:11: `groups`: \"group:x\" begins with `group:` (expected {GROUP})"),
        ),
        (
            "[[user]]\nname = \"a\"\ngroups = [\"\"]",
            format!("d.toml:3:11: `groups`: \"\" is empty (expected {GROUP})"),
        ),
        (
            "[[user]]\nname = \"a\"\ngroups = [\"*\"]",
            format!("d.toml:3:11: `groups`: \"*\" has a `*` in it (expected {GROUP})"),
        ),
        (
            "[[user]]\nname = \"a\"\nlocal = 1000",
            format!("d.toml:3:9: `local` is an integer (expected {local})"),
        ),
        (
            "[[user]]\nname = \"a\"\nlocal = \"local:a\"",
            format!("d.toml:3:9: `local`: \"local:a\" has a `:` in it (expected {local})"),
        ),
        (
            "[[user]]\nname = \"a\"\nlocal = \"\"",
            format!("d.toml:3:9: `local`: \"\" is empty (expected {local})"),
        ),
        (
            "[[user]]\nname = \"a\"\nname = \"b\"",
            "d.toml:3:1: duplicate key (expected each key once)".to_owned(),
        ),
        (
            "[[user]]\nname = \"a\n",
            "d.toml:2:10: invalid basic string (expected `\"`)".to_owned(),
        ),
    ] {
        assert_eq!(mistakes(text), [expected], "{text}");
    }
}

#[test]
fn nobody_is_listed_twice() {
    for (second, expected) in [
        (
            "name = \"user:ALICE@x\"",
            "d.toml:6:8: `name`: \"user:ALICE@x\" was given on line 2",
        ),
        (
            "name = \"b\"\nlocal = \"al\"",
            "d.toml:7:9: `local`: \"local:al\" was given on line 3",
        ),
        (
            "name = \"local:al\"",
            "d.toml:6:8: `name`: \"local:al\" was given on line 3",
        ),
    ] {
        let text = format!("[[user]]\nname = \"alice@x\"\nlocal = \"al\"\n\n[[user]]\n{second}");
        let expected = format!("{expected} (expected each principal once)");
        assert_eq!(mistakes(&text), [expected], "{second}");
    }
    // Accounts of the host are not people: their case counts.
    file("[[user]]\nname = \"a\"\nlocal = \"x\"\n[[user]]\nname = \"b\"\nlocal = \"X\"");
}

#[test]
fn all_mistakes_are_told_at_once_but_not_endlessly() {
    assert_eq!(
        mistakes("[[user]]\nname = 1\nlocal = 2\n[[user]]\n[other]\n").len(),
        4
    );
    assert_eq!(mistakes(&"[[user]]\nname = 1\n".repeat(5000)).len(), 100);
    assert_eq!(mistakes(&"[[user]\n".repeat(5000)).len(), 100);
    // A name of a file cannot steer a terminal.
    let error = DirectoryFile::parse("\u{1b}[2J", "").unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'));
}

#[test]
fn more_than_the_limits_is_refused() {
    let groups = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("\"g{i}\"")).collect();
        format!("[[user]]\nname = \"a\"\ngroups = [{}]", list.join(","))
    };
    file(&groups(256));
    let told = mistakes(&groups(257));
    assert!(
        told[0].ends_with("more than 256 groups of one user (expected at most 256)"),
        "{told:?}"
    );
    let users = |n: usize| {
        let user = |i| format!("[[user]]\nname = \"u{i}\"\nlocal = \"l{i}\"\n");
        (0..n).map(user).collect::<String>()
    };
    file(&users(100_000));
    assert_eq!(
        mistakes(&users(100_001)),
        ["d.toml:300001:1: more than 100000 users (expected at most 100000)"]
    );
    let deep = format!("user = {}", "[".repeat(100_000));
    assert!(!mistakes(&deep).is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("directory.toml");
    let told = || {
        let error = Directory::open(Some(&path), None).unwrap_err().to_string();
        let prefix = format!("{}: ", path.display());
        error.strip_prefix(&prefix).unwrap().to_owned()
    };
    assert_eq!(
        told(),
        "it cannot be read: No such file or directory (os error 2)"
    );
    fs::create_dir(&path).unwrap();
    assert_eq!(told(), "it is not a file (expected a regular file)");
    fs::remove_dir(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(told(), "it is not a file (expected a regular file)");
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"# \xff").unwrap();
    assert_eq!(told(), "byte 2 is not UTF-8 (expected UTF-8)");
    fs::File::create(&path)
        .and_then(|file| file.set_len((16 << 20) + 1))
        .unwrap();
    assert_eq!(told(), "it is larger than 16 MiB (expected a smaller file)");
    fs::write(&path, "nothing").unwrap();
    assert!(Directory::open(Some(&path), None).is_err());
    fs::write(&path, "# nobody yet").unwrap();
    assert!(Directory::open(Some(&path), None).is_ok());
}

#[test]
fn a_bad_file_never_replaces_a_good_one() {
    let gone = "[[user]]\nname = \"a\"\nstatus = \"offboarded\"";
    let on_disk = OnDisk::new(gone);
    let directory = on_disk.open();
    let first = directory.generation();
    assert!(!directory.changed_on_disk());
    assert_eq!(directory.reload(), Ok(false), "nothing has changed");
    assert_eq!(directory.generation(), first);

    on_disk.replace("[[user]]\nname = \"a\"\nstatus = \"left\"");
    assert!(directory.changed_on_disk());
    let refused = directory.reload().unwrap_err();
    assert!(matches!(&refused, DirectoryError::Mistakes(list) if list.len() == 1));
    assert_eq!(directory.rejected().as_deref(), Some(&refused));
    assert_eq!(directory.status("user:a"), Status::Offboarded);
    assert_eq!(directory.generation(), first);
    assert!(
        !directory.changed_on_disk(),
        "it is not read again as it is"
    );

    fs::remove_file(on_disk.path()).unwrap();
    assert!(directory.changed_on_disk());
    assert!(matches!(
        directory.reload(),
        Err(DirectoryError::Unreadable { .. })
    ));
    assert_eq!(directory.status("user:a"), Status::Offboarded);
    assert!(!directory.changed_on_disk());

    on_disk.replace("");
    assert!(directory.reload().is_err(), "what a crash left behind");
    assert_eq!(directory.status("user:a"), Status::Offboarded);

    on_disk.replace(&format!("# only a comment more\n{gone}"));
    assert!(directory.changed_on_disk());
    assert_eq!(directory.reload(), Ok(false));
    assert_eq!(directory.generation(), first);
    assert_eq!(directory.rejected(), None);

    on_disk.replace("[[user]]\nname = \"a\"\ngroups = [\"back\"]");
    assert_eq!(directory.reload(), Ok(true));
    assert!(directory.generation() > first);
    assert_eq!(groups(&directory.lookup("user:a")), ["back"]);
}

#[test]
fn a_change_in_place_is_seen_too() {
    let on_disk = OnDisk::new("[[user]]\nname = \"a\"\n");
    let directory = on_disk.open();
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(on_disk.path())
        .unwrap();
    std::io::Write::write_all(&mut file, b"status = \"offboarded\"\n").unwrap();
    assert!(directory.changed_on_disk());
    assert_eq!(directory.reload(), Ok(true));
    assert_eq!(directory.status("user:a"), Status::Offboarded);
}

#[test]
fn groups_of_the_token_and_of_the_directory_are_united() {
    let text = "[[user]]\nname = \"a\"\ngroups = [\"dba\", \"eng\"]\n\
                [[user]]\nname = \"b\"\ngroups = [\"dba\"]\nstatus = \"offboarded\"";
    let directory = OnDisk::new(text).open();
    let alice = principal("user:A", &["ops", "eng", "ops"]);
    let expected = principal("user:A", &["ops", "eng", "dba"]);
    assert_eq!(directory.enrich(&alice), expected);
    assert_eq!(directory.enrich(&expected), expected, "once is enough");
    let stranger = principal("user:c", &["eng"]);
    assert_eq!(directory.enrich(&stranger), stranger);
    assert_eq!(
        directory.enrich(&principal("user:b", &["admin"])),
        principal("user:b", &[]),
        "nor does a token give groups to who has left"
    );
}

#[test]
fn a_delegate_that_has_left_counts_like_the_principal() {
    let text = "[[user]]\nname = \"gone\"\nstatus = \"offboarded\"\nlocal = \"gone\"";
    let directory = OnDisk::new(text).open();
    let subject = |ids: &[&str]| Subject {
        principal: principal(ids[0], &[]),
        delegates: ids[1..].iter().map(|id| principal(id, &[])).collect(),
        lineage: Lineage {
            tree: TreeId(1),
            processes: Vec::new(),
        },
    };
    for (ids, expected) in [
        (&["user:a", "local:b"][..], None),
        (&["user:gone", "user:a"], Some("user:gone")),
        (&["user:a", "user:b", "local:gone"], Some("local:gone")),
    ] {
        let subject = subject(ids);
        let left = directory.offboarded(&subject);
        assert_eq!(left.map(|it| &*it.id), expected, "{ids:?}");
    }
}

#[test]
fn the_file_and_scim_are_united_and_deny_wins() {
    let on_disk = OnDisk::new(
        r#"
        [[user]]
        name = "both@x"
        groups = ["file"]
        local = "both"
        [[user]]
        name = "link@x"
        local = "link"
        [[user]]
        name = "left@x"
        status = "offboarded"
        [[user]]
        name = "none@x"
        groups = []
        "#,
    );
    let scim = Arc::new(Scim::open(on_disk.dir.path(), "/scim", 7).unwrap());
    let directory = Directory::open(Some(&on_disk.path()), Some(Arc::clone(&scim))).unwrap();
    let before = directory.generation();
    let names = ["both@x", "link@x", "left@x", "none@x", "only@x"];
    let ids = names.map(|name| scim::testing::create_user(&scim, name));
    scim::testing::create_group(&scim, "pushed", &ids);
    assert!(directory.generation() > before);
    for (id, status, expected) in [
        ("user:both@x", Status::Active, &["file"][..]),
        ("local:both", Status::Active, &["file"]),
        ("user:link@x", Status::Active, &["pushed"]),
        ("local:link", Status::Active, &["pushed"]),
        ("user:left@x", Status::Offboarded, &[]),
        ("user:none@x", Status::Active, &[]),
        ("user:Only@x", Status::Active, &["pushed"]),
    ] {
        let entry = directory.lookup(id);
        assert_eq!(
            (entry.status, groups(&entry)),
            (status, expected.to_vec()),
            "{id}"
        );
        assert!(entry.known);
    }
    // The identity provider offboards somebody whom the file calls active.
    scim::testing::set_active(&scim, &ids[0], false);
    scim::testing::delete(&scim, &format!("/Users/{}", ids[1]));
    for id in ["user:both@x", "local:both", "user:link@x", "local:link"] {
        let entry = directory.lookup(id);
        assert_eq!(
            (entry.status, groups(&entry)),
            (Status::Offboarded, vec![]),
            "{id}"
        );
    }
    assert_eq!(directory.lookup("local:only@x"), Entry::unknown());
}
