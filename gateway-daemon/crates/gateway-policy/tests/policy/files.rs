//! Files that collide, and files that cannot be read.
use gateway_policy::{FILE_MAX, PolicySet};
use std::fs;

/// The diagnostics of two files, each with its file.
fn check_two(left: &str, right: &str, expected: &[&str]) {
    let loaded = PolicySet::load_texts([("a.toml", left), ("b.toml", right)]);
    let found: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{left}\n{right}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.starts_with(expected),
            "expected: {expected}\nfound:    {found}"
        );
    }
    assert_eq!(
        loaded.set.policies().count(),
        if expected.is_empty() { 2 } else { 0 }
    );
}

#[test]
fn files_that_collide() {
    let policy =
        |name: &str, glob: &str| format!("[policy]\nname = \"{name}\"\ncgroups = [\"{glob}\"]\n");
    check_two(
        &policy("p", "a"),
        &policy("p", "b"),
        &[
            "a.toml:2:8: error: the policy name \"p\" is taken (expected another name; it is used at b.toml:2:8)",
            "b.toml:2:8: error: the policy name \"p\" is taken (expected another name; it is used at a.toml:2:8)",
        ],
    );
    check_two(
        &policy("p", "a/**"),
        &policy("q", "a/**"),
        &[
            "a.toml:3:12: error: \"a/**\" here and \"a/**\" of policy \"q\" govern the same cgroups (expected globs of different literal prefix; the other is at b.toml:3:12)",
            "b.toml:3:12: error: \"a/**\" here and",
        ],
    );
    check_two(
        &policy("p", "a/*/c"),
        &policy("q", "a/**"),
        &["a.toml:3:12:", "b.toml:3:12:"],
    );
    check_two(
        &policy("p", "a"),
        &policy("q", "a"),
        &["a.toml:3:12:", "b.toml:3:12:"],
    );
    check_two(&policy("p", "a/*/c"), &policy("q", "a/*/d"), &[]);
    let twins = [
        "a.toml:3:12: error: \"a/**\" here and \"a\" of policy \"q\" govern the same cgroups",
        "b.toml:3:12: error: \"a\" here and \"a/**\" of policy \"p\" govern the same cgroups",
    ];
    check_two(&policy("p", "a/**"), &policy("q", "a"), &twins);
    let tie = [
        "a.toml:3:12: error: \"a/*\" here and \"a/*/d\" of policy \"q\" can govern the same cgroup, and both have the literal prefix \"a/\" (expected globs",
        "b.toml:3:12: error: ",
    ];
    check_two(&policy("p", "a/*"), &policy("q", "a/*/d"), &tie);
    check_two(
        &policy("p", "a*"),
        &policy("q", "a"),
        &["a.toml:3:12:", "b.toml:3:12:"],
    );
    check_two(&policy("p", "a/*"), &policy("q", "a"), &[]);
    check_two(&policy("p", "a/**"), &policy("q", "a/b/**"), &[]);
    check_two(
        &policy("p", "**"),
        &policy("q", "*/x"),
        &["a.toml:3:12:", "b.toml:3:12:"],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("ok.toml"), "[policy]\nname = \"ok\"\n").unwrap();
    fs::write(path.join("bytes.toml"), b"[policy]\nname = \"\xff\"\n").unwrap();
    fs::write(path.join("large.toml"), "#".repeat(FILE_MAX as usize + 1)).unwrap();
    fs::create_dir(path.join("dir.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("gone.toml")).unwrap();
    std::os::unix::fs::symlink(path.join("other.text"), path.join("link.toml")).unwrap();
    fs::write(path.join("other.text"), "[policy]\nname = \"linked\"\n").unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"odd\xff.toml");
    fs::write(
        path.join::<&std::ffi::OsStr>(odd),
        "[policy]\nname = \"odd\"\n",
    )
    .unwrap();
    // What is not ours to read.
    for name in [
        ".#ok.toml",
        ".hidden.toml",
        "ok.toml~",
        "ok.toml.bak",
        "README",
        "toml",
    ] {
        fs::write(path.join(name), "not a policy").unwrap();
    }
    let loaded = PolicySet::load(path).unwrap();
    let found: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    let expected = [
        "bytes.toml:2:9: error: a byte that is not UTF-8 (expected UTF-8)".to_owned(),
        "dir.toml:1:1: error: it is not a file (expected a regular file)".to_owned(),
        "gone.toml:1:1: error: it cannot be read: No such file or directory".to_owned(),
        format!(
            "large.toml:1:1: error: it is larger than {FILE_MAX} bytes (expected a smaller file)"
        ),
        "odd\u{fffd}.toml:1:1: error: the name of the file is not UTF-8".to_owned(),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(&expected) {
        let expected = format!("{}/{expected}", path.display());
        assert!(
            found.starts_with(&expected),
            "expected: {expected}\nfound:    {found}"
        );
    }
    let names: Vec<&str> = loaded
        .set
        .policies()
        .map(|policy| &**policy.name())
        .collect();
    assert_eq!(names, ["linked", "ok"]);
    assert_eq!(PolicySet::check_dir(path).unwrap(), loaded.diagnostics);
    assert_eq!(PolicySet::check_file(&path.join("ok.toml")), []);
    assert_eq!(PolicySet::check_file(&path.join("bytes.toml")).len(), 1);
    let error = PolicySet::load(&path.join("nowhere"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("nowhere cannot be read: No such file"),
        "{error}"
    );
}
