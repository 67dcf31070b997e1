//! Mistakes in rules and cases, and what is known but not built.
use crate::mistakes::{check, in_policy, in_resource};

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
        &["3:1: [[rule]] has no `approvers` (expected `approvers`: a list of who may answer"],
    );
    check(
        "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"Deny\"\n",
        &["5:11: `verdict` is \"Deny\" (expected \"allow\", \"deny\" or \"hold\")"],
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
            "6:14: the host name in \"db.internal:5432\" is known, but not built in this version: destinations by name that no [[resource]] names (expected the name of a resource that has it in `hosts`, or address:port)",
        ],
    );
    in_rule(
        "resources = [\"*.internal:*\"]",
        &[
            "6:14: the host name in \"*.internal:*\" is known, but not built in this version: destinations by name that no [[resource]] names (expected a pattern over address:port, or over the names of resources)",
        ],
    );
}

#[test]
fn the_way_to_a_resource() {
    let check = |line: &str, expected: &[&str]| {
        in_resource(&format!("{line}\nhosts = [\"10.0.0.7\"]"), expected);
    };
    check("tls = {}", &[]);
    check(
        "tls = { upstream = \"verify-full\", ca = \"/ca.pem\", name = \"db.internal\", client = \"offer\" }",
        &[],
    );
    check("tls = { upstream = \"verify-ca\", ca = \"/ca.pem\" }", &[]);
    check(
        "tls = { name = \"10.0.0.7\" }\ncredential = \"orders-ci\"",
        &[],
    );
    for (line, expected) in [
        ("tls = \"verify-full\"", "5:7: `tls` "),
        ("tls = { upstream = \"prefer\" }", "5:20: `upstream` "),
        ("tls = { client = \"never\" }", "5:18: `client` "),
        ("tls = { cert = \"/x\" }", "5:9: "),
        ("tls = { ca = \"ca.pem\" }", "5:14: `ca` is \"ca.pem\""),
        ("tls = { name = \"*.internal\" }", "5:16: `name` is "),
        ("tls = { name = \"a b\" }", "5:16: `name` is "),
        (
            "tls = { upstream = \"require\", ca = \"/ca.pem\" }",
            "5:36: `ca` means nothing where `upstream` is \"require\"",
        ),
        (
            "tls = { upstream = \"verify-ca\", ca = \"/x\", name = \"db\" }",
            "5:51: `name` means nothing",
        ),
        ("credential = \"Orders CI\"", "5:14: `credential` is "),
        ("credential = 5", "5:14: `credential` "),
        (
            "tls = { upstream = \"verify-ca\" }",
            "5:7: `upstream` is \"verify-ca\" without `ca`",
        ),
        (
            "tls = { client = \"offer\" }",
            "5:7: `client` is \"offer\" without `upstream`",
        ),
        (
            "credential = \"c\"\ntls = { upstream = \"require\" }",
            "5:14: `credential` beside `upstream = \"require\"`",
        ),
        (
            "protocol = \"postgres\"\ntls = { client = \"opaque\" }",
            "5:12: `protocol` cannot be seen to be spoken inside of TLS",
        ),
        (
            "credential = \"c\"\ntls = { client = \"opaque\" }",
            "5:14: `credential` cannot be used inside of TLS",
        ),
    ] {
        check(line, &[expected]);
    }
}

#[test]
fn what_is_known_but_not_built_is_refused_by_name() {
    let not_built = "is known, but not built in this version: ";
    check(
        "[policy]\nname = \"p\"\n[[mask]]\nname = \"m\"\nfields = [\"*.a\", \"$.items[*].card\"]\n",
        &[&format!(
            "5:18: the JSON path \"$.items[*].card\" in `fields` {not_built}masking within JSON \
             (expected a pattern over schema.table.column)"
        )],
    );
    in_case(
        "who = { principal = \"x\" }\noperation = { resource = \"db\", verb = \"read\" }\nverdict = \"hold\"",
        &[],
    );
}

#[test]
fn defaults_may_be_written_out() {
    in_policy(
        "mode = \"enforce\"\ndefault = \"deny\"\nwhen_down = \"deny\"\ninbound = \"own-tree\"\nboundaries = []\nharden = []",
        &[],
    );
    in_policy(
        "inbound = \"any\"\nwhen_down = { allow_after = \"30s\" }",
        &[],
    );
    in_rule("masks = []", &[]);
    check("mask = []\n[policy]\nname = \"p\"\n", &[]);
}

#[test]
fn nonsense_in_a_policy_is_said_with_its_place() {
    let either = "(expected \"deny\", or { allow_after = \"30s\" })";
    let time = "(expected a time from \"5s\" to \"24h\")";
    for (line, expected) in [
        (
            "when_down = \"allow\"",
            format!("3:13: `when_down` is \"allow\" {either}"),
        ),
        (
            "when_down = 30",
            format!("3:13: `when_down` is an integer {either}"),
        ),
        (
            "when_down = { allow_after = \"4s\" }",
            format!("3:29: `allow_after` is \"4s\" {time}"),
        ),
        (
            "when_down = { allow_after = \"25h\" }",
            format!("3:29: `allow_after` is \"25h\" {time}"),
        ),
        (
            "when_down = { allow_after = 30 }",
            format!("3:29: `allow_after` is an integer {time}"),
        ),
        (
            "inbound = \"all\"",
            "3:11: `inbound` is \"all\" (expected \"own-tree\" or \"any\")".into(),
        ),
        ("inbound = 1", "3:11: `inbound` is an integer".into()),
    ] {
        in_policy(line, &[&expected]);
    }
    in_policy(
        "when_down = { after = 1 }",
        &[
            "3:13: when_down has no `allow_after`",
            "3:15: when_down has no key \"after\"",
        ],
    );
    in_policy(
        "boundaries = \"x\"",
        &["3:14: `boundaries` is a string (expected a list of paths of programs)"],
    );
    for bad in [
        "usr/bin/runner",
        "/usr/../runner",
        "/usr//runner",
        "/",
        "/usr/bin/",
    ] {
        let said = format!("3:15: \"{bad}\" in `boundaries` (expected an absolute path");
        in_policy(&format!("boundaries = [\"{bad}\"]"), &[&said]);
    }
    in_policy("boundaries = [\"/usr/bin/runner\", \"/opt/a b/c\"]", &[]);
    for bad in ["run/docker.sock", "/run/*/bus", "@", "/*"] {
        let said = format!("3:9: \"{bad}\" in `unix` (expected \"/run/a.sock\"");
        in_policy(&format!("unix = [\"{bad}\"]"), &[&said]);
    }
    in_policy("unix = []", &[]);
    in_policy("unix = [\"/run/docker.sock\", \"@bus-*\"]", &[]);
    in_policy(
        "harden = [\"sandbox\"]",
        &["3:11: `harden` has no value \"sandbox\" (expected \"close-sockets\", \"no-new-privs\""],
    );
    in_policy(
        "harden = [\"seccomp\", \"close-sockets\", \"drop-capabilities\", \"no-new-privs\"]",
        &[],
    );
    in_policy("harden = []", &[]);
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
