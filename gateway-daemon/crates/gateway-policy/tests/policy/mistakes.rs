//! Every kind of mistake in a policy file, and what is said about it, to the column.
use gateway_policy::PolicySet;

/// What is wrong with a text: `line:column: message (expected …)`, in the order of the file.
pub(crate) fn mistakes(text: &str) -> Vec<String> {
    let diagnostics = PolicySet::load_texts([("f.toml", text)]).diagnostics;
    diagnostics
        .iter()
        .map(|d| {
            let line = d.to_string();
            assert!(
                line.starts_with("f.toml:") && line.contains(": error: "),
                "{line}"
            );
            let rendered = d.render();
            assert!(
                rendered.starts_with(&line) && rendered.ends_with('^'),
                "{rendered}"
            );
            line.replacen("f.toml:", "", 1).replacen(" error: ", " ", 1)
        })
        .collect()
}

/// The text is a whole file; every mistake is given in order, as a prefix of what is said.
pub(crate) fn check(text: &str, expected: &[&str]) {
    let found = mistakes(text);
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.starts_with(expected),
            "{text}\nexpected: {expected}\nfound:    {found}"
        );
    }
}

/// One mistake in the [policy] table: the line is 3.
pub(crate) fn in_policy(line: &str, expected: &[&str]) {
    check(&format!("[policy]\nname = \"p\"\n{line}\n"), expected);
}

/// One mistake in a [[resource]]: the line is 5.
pub(crate) fn in_resource(line: &str, expected: &[&str]) {
    check(
        &format!("[policy]\nname = \"p\"\n[[resource]]\nname = \"r\"\n{line}\n"),
        expected,
    );
}

#[test]
fn what_is_not_toml() {
    check(
        "",
        &["1:1: the file has no `policy` (expected `policy`: a table [policy] with a `name`)"],
    );
    check(
        "[policy\nname = \"p\"\n",
        &["1:8: unclosed table (expected `]`)"],
    );
    check(
        "[policy]\nname = \"p\n",
        &["2:10: invalid basic string (expected `\"`)"],
    );
    check(
        "[policy]\nname = p\n",
        &["2:8: string values must be quoted (expected literal string)"],
    );
    check(
        "[policy]\nname = \"p\"\nname = \"q\"\n",
        &["3:1: duplicate key (expected each key and each table once)"],
    );
    check(
        "[policy]\nname = \"p\"\n[policy]\nmode = \"shadow\"\n",
        &["3:2: duplicate key (expected each key and each table once)"],
    );
    check(
        "[policy]\nname \"p\"\n",
        &["2:6: key with no value (expected `=`)"],
    );
    check(
        "[policy]\nname = \"\\q\"\n",
        &["2:10: missing escaped value (expected `b`,"],
    );
}

#[test]
fn what_else_is_wrong_is_said_too() {
    check(
        "[policy]\nname = p\nmode = \"on\"\n[[rule]]\nnmae = \"x\"\nverbs = [\"raed\", \"write\" \"x\"]\n",
        &[
            "2:8: string values must be quoted",
            "3:8: `mode` is \"on\" (expected \"observe\", \"shadow\" or \"enforce\")",
            "5:1: [[rule]] has no key \"nmae\" (expected `name`, perhaps)",
            "6:26: missing comma between array elements (expected `,`)",
        ],
    );
    check(
        "[policy]\nmode = \"on\"\n[[rule]]\nname = \"x\"\n",
        &[
            "1:1: [policy] has no `name` (expected `name`: a name of 1 to 200 characters)",
            "2:8: `mode` is \"on\"",
            "3:1: [[rule]] has no `verdict` (expected `verdict`: \"allow\", \"deny\" or \"hold\")",
        ],
    );
}

#[test]
fn mistakes_beyond_counting_are_counted() {
    let text = format!("[policy]\nname = \"p\"\n{}", "[[rule]]\n".repeat(500));
    let found = mistakes(&text);
    assert_eq!(found.len(), 101);
    assert!(
        found[100].contains("900 more mistakes behind this one are not shown"),
        "{}",
        found[100]
    );
}

#[test]
fn tables_that_are_not() {
    check(
        "policy = 1\n",
        &["1:10: `[policy]` is an integer (expected one table, written [policy])"],
    );
    check(
        "[[policy]]\nname = \"p\"\n",
        &["1:1: `[policy]` is a list (expected one table, written [policy])"],
    );
    let head = "[policy]\nname = \"p\"\n";
    for key in ["resource", "rule", "case", "mask"] {
        let message = format!("3:1: `{key}` is a table (expected [[{key}]])");
        check(&format!("{head}[{key}]\nname = \"x\"\n"), &[&message]);
        let text = format!("{key} = [1]\n{head}");
        check(
            &text,
            &[&format!(
                "1:{}: `[[{key}]]` is an integer (expected a table)",
                key.len() + 5
            )],
        );
    }
    check(
        &format!("{head}[rules]\n"),
        &["3:2: the file has no key \"rules\" (expected `rule`, perhaps)"],
    );
    check(
        &format!("{head}[whatever]\n"),
        &[
            "3:2: the file has no key \"whatever\" (expected one of `policy`, `resource`, `rule`, `case` or `mask`)",
        ],
    );
}

#[test]
fn the_policy_table() {
    in_policy(
        "nmae = 1",
        &["3:1: [policy] has no key \"nmae\" (expected `name`, perhaps)"],
    );
    in_policy(
        "mode = \"Enforce\"",
        &["3:8: `mode` is \"Enforce\" (expected \"observe\", \"shadow\" or \"enforce\")"],
    );
    in_policy(
        "mode = true",
        &["3:8: `mode` is a boolean (expected \"observe\""],
    );
    in_policy(
        "default = \"maybe\"",
        &["3:11: `default` is \"maybe\" (expected \"allow\" or \"deny\")"],
    );
    in_policy(
        "default = \"hold\"",
        &["3:11: `default` is \"hold\" (expected \"allow\" or \"deny\")"],
    );
    check(
        "[policy]\nname = 3\n",
        &["2:8: `name` is an integer (expected a name of 1 to 200 characters)"],
    );
    check("[policy]\nname = \"\"\n", &["2:8: the name \"\" is empty"]);
    check(
        "[policy]\nname = \" p\"\n",
        &["2:8: the name \" p\" begins or ends with a space"],
    );
    check(
        "[policy]\nname = \"a\\u0007\"\n",
        &["2:8: the name \"a\\u{7}\" has a control character in it"],
    );
    check(
        &format!("[policy]\nname = \"{}\"\n", "n".repeat(201)),
        &["2:8: the name \"nnn"],
    );
}

#[test]
fn cgroup_globs() {
    in_policy(
        "cgroups = \"a\"",
        &["3:11: `cgroups` is a string (expected a list of globs over cgroup paths)"],
    );
    in_policy("cgroups = [\"a\", 1]", &["3:17: `cgroups` is an integer"]);
    for (glob, message) in [
        (
            "",
            "a cgroup glob is empty (expected a path, or \"**\" for every cgroup)",
        ),
        (
            "/a",
            "the cgroup glob \"/a\" begins or ends with `/` (expected a path like",
        ),
        ("a/", "the cgroup glob \"a/\" begins or ends with `/`"),
        ("a//b", "the cgroup glob \"a//b\" has an empty component"),
        (
            "a/../b",
            "the cgroup glob \"a/../b\" has the component `.` or `..`",
        ),
        (
            "a/**b",
            "`**` is only part of a component in the cgroup glob \"a/**b\" (expected `**` as a component",
        ),
    ] {
        in_policy(
            &format!("cgroups = [\"ok\", \"{glob}\"]"),
            &[&format!("3:18: {message}")],
        );
    }
    in_policy(
        "cgroups = [\n\"/a\",\n\"b/\"]",
        &["4:1: the cgroup glob", "5:1: the cgroup glob"],
    );
}

#[test]
fn resources() {
    let hosts = "hosts = [\"10.0.0.7\"]";
    in_resource(
        "",
        &[
            "3:1: [[resource]] has no `hosts` (expected `hosts`: a list of addresses, networks and names",
        ],
    );
    check(
        "[policy]\nname = \"p\"\n[[resource]]\nhosts = [\"10.0.0.7\"]\n",
        &["3:1: [[resource]] has no `name`"],
    );
    in_resource(
        "hosts = []",
        &["5:9: `hosts` is an empty list (expected a list of addresses"],
    );
    in_resource("hosts = \"10.0.0.7\"", &["5:9: `hosts` is a string"]);
    in_resource(
        "hosts = [\"10.0.0.7/24\"]",
        &[
            "5:10: \"10.0.0.7/24\" has bits set behind its length of 24 (expected 10.0.0.0/24, or a single address)",
        ],
    );
    in_resource(
        "hosts = [\"10.0.0.7\", \"10.0.0.0/33\"]",
        &[
            "5:22: \"10.0.0.0/33\" is not a network: its length is \"33\" (expected a length from 0 to 32)",
        ],
    );
    in_resource(
        "hosts = [\"10.0.0.256\"]",
        &["5:10: \"10.0.0.256\" is not an address (expected an address like"],
    );
    in_resource(
        "hosts = [\"10.0.0.7:5432\"]",
        &[
            "5:10: \"10.0.0.7:5432\" has a port in it (expected the address alone; ports are in `ports`)",
        ],
    );
    for (host, message) in [
        (
            "db..internal",
            "\"db..internal\" has an empty part in it (expected a name like \"orders.db.internal\")",
        ),
        (
            "büro.example",
            "\"büro.example\" has letters in it that names on the wire do not have (expected the form that begins with xn--)",
        ),
        (
            "db.*",
            "\"db.*\" leaves open in which domain the names are (expected a pattern whose last part is written out, like \"*.db.internal\")",
        ),
        (
            "db internal",
            "\"db internal\" is not an address (expected an address like 10.0.0.7, a network like 10.20.0.0/16, or a name like db.internal)",
        ),
        (
            "db.internal:5432",
            "\"db.internal:5432\" has a port in it (expected the name alone; ports are in `ports`)",
        ),
        (
            "10.20.*",
            "\"10.20.*\" is a pattern over addresses (expected a network like 10.20.0.0/16)",
        ),
    ] {
        in_resource(
            &format!("hosts = [\"db.internal\", \"{host}\"]"),
            &[&format!("5:25: {message}")],
        );
    }
    for (ports, message) in [
        (
            "5432",
            "5:9: `ports` is an integer (expected a list of ports",
        ),
        (
            "[]",
            "5:9: `ports` is an empty list (expected a list of ports from 1 to 65535, or no `ports`",
        ),
        (
            "[0]",
            "5:10: `ports` is 0 (expected a port from 1 to 65535)",
        ),
        (
            "[5432, 65536]",
            "5:16: `ports` is 65536 (expected a port from 1 to 65535)",
        ),
        ("[-1]", "5:10: `ports` is -1"),
        (
            "[99999999999999999999999]",
            "5:10: `ports` is 99999999999999999999999",
        ),
        ("[\"5432\"]", "5:10: `ports` is a string (expected a port"),
        ("[5432.0]", "5:10: `ports` is a float"),
    ] {
        in_resource(&format!("ports = {ports}\n{hosts}"), &[message]);
    }
    in_resource(
        &format!("protocol = \"Postgres\"\n{hosts}"),
        &["5:12: `protocol` is \"Postgres\" (expected the name of a protocol"],
    );
    in_resource(
        &format!("port = [1]\n{hosts}"),
        &["5:1: [[resource]] has no key \"port\" (expected `ports`, perhaps)"],
    );
    for name in ["prod-*", "10.0.0.7:5432", "db:5432"] {
        let text = format!("[policy]\nname = \"p\"\n[[resource]]\nname = \"{name}\"\n{hosts}\n");
        check(&text, &["4:8: the name of the resource "]);
    }
}

#[test]
fn resources_that_claim_the_same() {
    let two = |left: &str, right: &str| {
        format!(
            "[policy]\nname = \"p\"\n[[resource]]\nname = \"a\"\n{left}\n[[resource]]\nname = \"b\"\n{right}\n"
        )
    };
    let tie = [
        "8:10: 10.0.0.7 belongs to the resource \"a\" too (expected other hosts or ports than on line 5)",
    ];
    check(
        &two("hosts = [\"10.0.0.7\"]", "hosts = [\"10.0.0.7\"]"),
        &tie,
    );
    check(
        &two(
            "hosts = [\"10.0.0.7/32\"]",
            "hosts = [\"10.0.0.7\"]\nports = [80]",
        ),
        &tie,
    );
    check(
        &two(
            "hosts = [\"10.0.0.7\"]\nports = [79, 80]",
            "hosts = [\"10.0.0.7\"]\nports = [80]",
        ),
        &[
            "9:10: 10.0.0.7 belongs to the resource \"a\" too (expected other hosts or ports than on line 5)",
        ],
    );
    check(
        &two(
            "hosts = [\"10.0.0.7\"]\nports = [79]",
            "hosts = [\"10.0.0.7\"]\nports = [80]",
        ),
        &[],
    );
    check(
        &two("hosts = [\"10.0.0.0/24\"]", "hosts = [\"10.0.0.0/25\"]"),
        &[],
    );
    check(
        &two("hosts = [\"10.0.0.7\", \"10.0.0.7\"]", "hosts = [\"::1\"]"),
        &[],
    );
    check(
        &two("hosts = [\"10.0.0.7\"]", "hosts = [\"10.0.0.8\"]").replace("\"b\"", "\"a\""),
        &[
            "7:8: a second resource has the name \"a\" (expected another name; the first one is on line 4)",
        ],
    );
}

#[test]
fn a_diagnostic_is_a_flat_object() {
    let diagnostics = PolicySet::load_texts([("f.toml", "[policy]\nname = 1\n")]).diagnostics;
    assert_eq!(
        serde_json::to_value(&diagnostics).unwrap(),
        serde_json::json!([{
            "file": "f.toml", "line": 2, "column": 8, "width": 1, "source": "name = 1",
            "message": "`name` is an integer", "expected": "a name of 1 to 200 characters",
        }])
    );
}

#[test]
fn a_protocol_that_nobody_speaks() {
    let text = "[policy]\nname = \"p\"\n[[resource]]\nname = \"r\"\nprotocol = \"postgre\"\nhosts = [\"::1\"]\n";
    let loaded = PolicySet::load_texts([("f.toml", text)]);
    let found: Vec<String> = loaded
        .set
        .check_protocols(&["opaque", "postgres"])
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "f.toml:5:12: error: there is no protocol \"postgre\" (expected \"opaque\" or \"postgres\")"
        ]
    );
    assert_eq!(loaded.set.check_protocols(&["postgre"]), []);
}
