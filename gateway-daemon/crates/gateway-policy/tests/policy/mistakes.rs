//! Every kind of mistake in a policy file, and what is said about it, to the column.
use gateway_policy::{FILE_MAX, PolicySet};
use std::fs;

/// What is wrong with a text: `line:column: message (expected …)`, in the order of the file.
fn mistakes(text: &str) -> Vec<String> {
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
fn check(text: &str, expected: &[&str]) {
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
fn in_policy(line: &str, expected: &[&str]) {
    check(&format!("[policy]\nname = \"p\"\n{line}\n"), expected);
}

/// One mistake in a [[resource]]: the line is 5.
fn in_resource(line: &str, expected: &[&str]) {
    check(
        &format!("[policy]\nname = \"p\"\n[[resource]]\nname = \"r\"\n{line}\n"),
        expected,
    );
}

/// One mistake in a [[rule]]: the line is 6; there is a resource `db` on 10.0.0.7:5432.
fn in_rule(line: &str, expected: &[&str]) {
    let resource = "resource = [{ name = \"db\", hosts = [\"10.0.0.7\"], ports = [5432] }]";
    let head = format!("{resource}\n[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\n");
    check(&format!("{head}{line}\nverdict = \"deny\"\n"), expected);
}

/// One mistake in a [[case]]: its first line is 4.
fn in_case(line: &str, expected: &[&str]) {
    let resource = "resource = [{ name = \"db\", hosts = [\"10.0.0.7\"] }]";
    check(
        &format!("policy = {{ name = \"p\" }}\n{resource}\n[[case]]\n{line}\n"),
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
            "3:1: [[rule]] has no `verdict` (expected `verdict`: \"allow\" or \"deny\")",
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
        &[
            "3:11: `default = \"hold\"` is known, but not built in this version: holding an operation for a human (expected \"allow\" or \"deny\")",
        ],
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
        &["3:1: [[resource]] has no `hosts` (expected `hosts`: a list of addresses and networks"],
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
    in_resource(
        "hosts = [\"db.internal\"]",
        &[
            "5:10: the host name \"db.internal\" is known, but not built in this version: hosts by name (expected an address or a network)",
        ],
    );
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
fn rules() {
    in_rule(
        "nme = 1",
        &["6:1: [[rule]] has no key \"nme\" (expected `name`, perhaps)"],
    );
    for key in ["principals", "resources", "verbs", "objects"] {
        let column = key.len() + 4;
        in_rule(
            &format!("{key} = []"),
            &[&format!("6:{column}: `{key}` is an empty list (expected ")],
        );
        in_rule(
            &format!("{key} = \"*\""),
            &[&format!("6:{column}: `{key}` is a string (expected ")],
        );
        in_rule(
            &format!("{key} = [\"*\", 1]"),
            &[&format!("6:{}: `{key}` is an integer", column + 6)],
        );
    }
    for key in ["principals", "resources", "objects"] {
        let column = key.len() + 5;
        in_rule(
            &format!("{key} = [\"\"]"),
            &[&format!("6:{column}: a text in `{key}` is empty")],
        );
        let long = "x".repeat(1025);
        in_rule(
            &format!("{key} = [\"{long}\"]"),
            &[&format!(
                "6:{column}: a text in `{key}` is longer than 1024 bytes"
            )],
        );
    }
    in_rule(
        "verbs = [\"raed\"]",
        &["6:10: there is no verb \"raed\" (expected \"read\", perhaps)"],
    );
    in_rule(
        "verbs = [\"re*\"]",
        &["6:10: there is no verb \"re*\" (expected \"connect\", \"authenticate\", "],
    );
    in_rule(
        "verbs = [\"obliterate\"]",
        &[
            "6:10: there is no verb \"obliterate\" (expected \"connect\", \"authenticate\", \"read\", ",
        ],
    );
    in_rule(
        "principals = [\"group:\"]",
        &["6:15: `group:` is without a name (expected a group like \"group:engineering\")"],
    );
    in_rule("message = \"\"", &["6:11: a text in `message` is empty"]);
    in_rule(
        "message = \"a\\u0000b\"",
        &["6:11: a text in `message` has a control character in it"],
    );
    in_rule(
        "[[rule]]\nname = \"r\"",
        &[
            "4:1: [[rule]] has no `verdict`",
            "7:8: a second rule has the name \"r\" (expected another name; the first one is on line 5)",
        ],
    );
    check(
        "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"hold\"\n",
        &[
            "5:11: `verdict = \"hold\"` is known, but not built in this version: holding an operation for a human (expected \"allow\" or \"deny\")",
        ],
    );
    check(
        "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"Deny\"\n",
        &["5:11: `verdict` is \"Deny\" (expected \"allow\" or \"deny\")"],
    );
    check(
        "[policy]\nname = \"p\"\n[[rule]]\nverdict = \"deny\"\n",
        &["3:1: [[rule]] has no `name`"],
    );
}

#[test]
fn resources_of_rules() {
    in_rule(
        "resources = [\"db\", \"d*\", \"other-*\", \"10.0.0.8:5432\", \"[fd00::1]:80\", \"10.*\", \"*:22\"]",
        &[],
    );
    in_rule(
        "resources = [\"dd\"]",
        &[
            "6:14: there is no resource \"dd\" (expected \"db\", perhaps, or address:port like 10.0.0.7:5432",
        ],
    );
    in_rule(
        "resources = [\"10.0.0.7:5432\"]",
        &["6:14: \"10.0.0.7:5432\" is the resource \"db\" here (expected \"db\")"],
    );
    in_rule(
        "resources = [\"10.0.0.7\"]",
        &["6:14: there is no resource \"10.0.0.7\""],
    );
    in_rule(
        "resources = [\"fd00::1:80\"]",
        &[
            "6:14: there is no resource \"fd00::1:80\" (expected \"db\", or address:port like 10.0.0.7:5432 or [fd00::7]:5432)",
        ],
    );
    in_rule(
        "resources = [\"10.0.0.8:0\"]",
        &["6:14: there is no resource \"10.0.0.8:0\""],
    );
    in_rule(
        "resources = [\"db.internal:5432\"]",
        &[
            "6:14: the host name in \"db.internal:5432\" is known, but not built in this version: hosts by name",
        ],
    );
    in_rule(
        "resources = [\"*.internal:*\"]",
        &["6:14: the host name in \"*.internal:*\" is known, but not built in this version"],
    );
}

#[test]
fn what_is_known_but_not_built_is_refused_by_name() {
    let not_built = "is known, but not built in this version: ";
    for (line, expected) in [
        (
            "when_down = { allow_after = \"30s\" }",
            "3:13: `when_down = { allow_after = … }`",
        ),
        ("inbound = \"any\"", "3:11: `inbound = \"any\"`"),
        (
            "boundaries = [\"/usr/bin/runner\"]",
            "3:15: \"/usr/bin/runner\" in `boundaries`",
        ),
        ("harden = [\"seccomp\"]", "3:11: \"seccomp\" in `harden`"),
    ] {
        in_policy(line, &[&format!("{expected} {not_built}")]);
    }
    in_policy(
        "harden = [\"seccomp\", \"close-sockets\"]",
        &["3:11: \"seccomp\"", "3:22: \"close-sockets\""],
    );
    let hosts = "hosts = [\"10.0.0.7\"]";
    in_resource(
        &format!("credential = \"c\"\n{hosts}"),
        &[&format!(
            "5:14: `credential` {not_built}logging in upstream for the job (expected no `credential`)"
        )],
    );
    in_resource(
        &format!("tls = {{ upstream = \"verify-full\" }}\n{hosts}"),
        &[&format!("5:7: `tls` {not_built}")],
    );
    for (line, expected) in [
        ("when = 'lineage.depth > 2'", "6:8: `when`"),
        (
            "approvers = [\"group:dba\"]",
            "6:14: \"group:dba\" in `approvers`",
        ),
        ("timeout = \"30s\"", "6:11: `timeout = \"30s\"`"),
        ("grant = \"15m\"", "6:9: `grant = \"15m\"`"),
        (
            "masks = [\"personal-data\"]",
            "6:10: \"personal-data\" in `masks`",
        ),
    ] {
        in_rule(line, &[&format!("{expected} {not_built}")]);
    }
    check(
        "[policy]\nname = \"p\"\n[[mask]]\nname = \"m\"\n[[mask]]\nwhatever = 1\n",
        &[
            &format!("3:1: [[mask]] {not_built}masking fields of answers (expected no [[mask]])"),
            "5:1: [[mask]] is known",
        ],
    );
    in_case(
        "who = { principal = \"x\" }\noperation = { resource = \"db\", verb = \"read\" }\nverdict = \"hold\"",
        &[&format!("6:11: `verdict = \"hold\"` {not_built}")],
    );
}

#[test]
fn defaults_of_what_is_not_built_may_be_written_out() {
    in_policy(
        "mode = \"enforce\"\ndefault = \"deny\"\nwhen_down = \"deny\"\ninbound = \"own-tree\"\nboundaries = []\nharden = []",
        &[],
    );
    in_rule(
        "approvers = []\ntimeout = \"60s\"\ngrant = \"once\"\nmasks = []",
        &[],
    );
    check("mask = []\n[policy]\nname = \"p\"\n", &[]);
}

#[test]
fn nonsense_in_what_is_not_built_is_said_as_such() {
    in_policy(
        "when_down = \"allow\"",
        &["3:13: `when_down` is \"allow\" (expected \"deny\")"],
    );
    in_policy(
        "when_down = { after = 1 }",
        &["3:13: `when_down` is a table (expected \"deny\")"],
    );
    in_policy(
        "inbound = \"all\"",
        &["3:11: `inbound` is \"all\" (expected \"own-tree\", the default)"],
    );
    in_policy("inbound = 1", &["3:11: `inbound` is an integer"]);
    in_policy(
        "boundaries = \"x\"",
        &["3:14: `boundaries` is a string (expected an empty list)"],
    );
    in_policy(
        "harden = [\"sandbox\"]",
        &[
            "3:11: `harden` has no value \"sandbox\" (expected an empty list (later one of \"close-sockets\"",
        ],
    );
}

#[test]
fn cases() {
    let who = "who = { principal = \"x\" }";
    let operation = "operation = { resource = \"db\", verb = \"read\" }";
    in_case(
        "",
        &[
            "3:1: [[case]] has no `operation`",
            "3:1: [[case]] has no `verdict`",
            "3:1: [[case]] has no `who`",
        ],
    );
    in_case(
        &format!("who = \"x\"\n{operation}\nverdict = \"deny\""),
        &["4:7: `who` is a string (expected { principal = "],
    );
    in_case(
        &format!("who = {{ depth = 1 }}\n{operation}\nverdict = \"deny\""),
        &["4:7: who has no `principal`"],
    );
    in_case(
        &format!("who = {{ principal = \"x\", depth = -1 }}\n{operation}\nverdict = \"deny\""),
        &["4:34: `depth` is -1"],
    );
    in_case(
        &format!("who = {{ principal = \"x\", group = [] }}\n{operation}\nverdict = \"deny\""),
        &["4:26: who has no key \"group\" (expected `groups`, perhaps)"],
    );
    in_case(
        &format!(
            "who = {{ principal = \"x\", groups = [\"group:a\"] }}\n{operation}\nverdict = \"deny\""
        ),
        &["4:36: \"group:a\" in `groups` begins with `group:` (expected the name alone: \"a\")"],
    );
    for (operation, expected) in [
        (
            "{}",
            vec![
                "5:13: `operation` has neither a statement nor a verb",
                "5:13: operation has no `resource`",
            ],
        ),
        (
            "{ resource = \"db\" }",
            vec!["5:13: `operation` has neither a statement nor a verb"],
        ),
        (
            "{ resource = \"db\", verb = \"raed\" }",
            vec!["5:39: `verb` is \"raed\""],
        ),
        (
            "{ resource = \"db\", verb = \"read\", statement = \"x\", protocol = \"postgres\" }",
            vec!["5:39: `verb` beside a statement (expected one of them)"],
        ),
        (
            "{ resource = \"db\", statement = \"x\" }",
            vec!["5:44: a statement without a `protocol` that reads it"],
        ),
        (
            "{ resource = \"db\", protocol = \"postgres\", statement = \"x\", objects = [] }",
            vec!["5:82: `objects` beside a statement"],
        ),
        (
            "{ resource = \"dc\", verb = \"read\" }",
            vec!["5:26: there is no resource \"dc\" (expected \"db\""],
        ),
        (
            "{ resource = \"db.internal:1\", verb = \"read\" }",
            vec!["5:26: the host name in \"db.internal:1\" is known, but not built"],
        ),
        (
            "{ resource = \"db\", verb = \"read\", objects = [1] }",
            vec!["5:58: `objects` is an integer"],
        ),
    ] {
        in_case(
            &format!("{who}\noperation = {operation}\nverdict = \"deny\""),
            &expected,
        );
    }
    in_case(
        &format!("{who}\n{operation}\nverdict = \"deny\"\nrule = \"r\""),
        &["7:8: there is no rule \"r\" (expected a [[rule]] of this name)"],
    );
    in_case(
        &format!("{who}\n{operation}\nverdict = \"allow\"\nrul = \"r\""),
        &["7:1: [[case]] has no key \"rul\" (expected `rule`, perhaps)"],
    );
    in_case(
        &format!("{who}\n{operation}\nverdict = 1"),
        &["6:11: `verdict` is an integer"],
    );
}

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
