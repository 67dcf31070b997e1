//! Mistakes in masks, and in the rules and cases that name them.
use crate::mistakes::check;

/// One mask: its lines begin on line 5.
fn in_mask(lines: &str, expected: &[&str]) {
    check(
        &format!("[policy]\nname = \"p\"\n[[mask]]\nname = \"m\"\n{lines}\n"),
        expected,
    );
}

#[test]
fn mistakes_in_masks() {
    in_mask(
        "fields = [\"public.users.email\", \"*.ssn\", \"*\", \"*mail*\", \"hr.*\"]",
        &[],
    );
    in_mask(
        "fields = []\ndetect = [\"email\", \"us-ssn\", \"credit-card\", \"iban\", \"api-key\", \"jwt\", \"private-key\"]",
        &[],
    );
    for with in ["redact", "partial", "hash", "null"] {
        in_mask(&format!("detect = [\"iban\"]\nwith = \"{with}\""), &[]);
    }
    for lines in ["", "fields = []", "detect = []", "fields = []\ndetect = []"] {
        in_mask(
            lines,
            &[
                "3:1: [[mask]] calls nothing sensitive (expected `fields`, `detect` or both, with something in them)",
            ],
        );
    }
    in_mask("fields = [\"\"]", &["5:11: a text in `fields` is empty"]);
    in_mask(
        "fields = \"*.a\"",
        &["5:10: `fields` is a string (expected a list of patterns like [\"public.users.email\""],
    );
    for (pattern, near) in [
        ("ssn", "*.ssn"),
        ("ssn*", "*.ssn*"),
        ("users.email", "*.users.email"),
    ] {
        in_mask(
            &format!("fields = [\"{pattern}\"]"),
            &[&format!(
                "5:11: the pattern \"{pattern}\" in `fields` names no column (expected \"{near}\", perhaps: names are schema.table.column)"
            )],
        );
    }
    in_mask(
        "fields = [\"$.items[*].card\", \"*.a\", \"$\"]",
        &[
            "5:11: the JSON path \"$.items[*].card\" in `fields` is known, but not built in this version: masking within JSON (expected a pattern over schema.table.column)",
            "5:37: the JSON path \"$\" in `fields` is known",
        ],
    );
    in_mask(
        "detect = [\"emial\"]",
        &["5:11: there is no detector \"emial\" (expected \"email\", perhaps)"],
    );
    in_mask(
        "detect = [\"phone\"]",
        &["5:11: there is no detector \"phone\" (expected \"email\", \"us-ssn\", "],
    );
    in_mask(
        "detect = \"email\"",
        &["5:10: `detect` is a string (expected a list of \"email\", "],
    );
    let some = "detect = [\"iban\"]\n";
    in_mask(
        &format!("{some}with = \"mask\""),
        &["6:8: `with` is \"mask\" (expected \"redact\", \"partial\", \"hash\" or \"null\")"],
    );
    in_mask(
        &format!("{some}field = [\"*.a\"]"),
        &["6:1: [[mask]] has no key \"field\" (expected `fields`, perhaps)"],
    );
    in_mask(
        &format!("{some}verdict = \"deny\""),
        &["6:1: [[mask]] has no key \"verdict\" (expected one of `name`, `fields`, "],
    );
    check(
        "[policy]\nname = \"p\"\n[[mask]]\ndetect = [\"iban\"]\n[[mask]]\nname = 7\ndetect = [\"iban\"]\n",
        &["3:1: [[mask]] has no `name`", "6:8: `name` is an integer"],
    );
    in_mask(
        "detect = [\"iban\"]\n[[mask]]\nname = \"m\"\ndetect = [\"jwt\"]",
        &[
            "7:8: a second mask has the name \"m\" (expected another name; the first one is on line 4)",
        ],
    );
    in_mask(
        "detect = [\"iban\"]\n[[rule]]\nname = \"mask m\"\nverdict = \"deny\"",
        &["7:8: \"mask m\" is the name of a mask in records (expected another name)"],
    );
    check(
        "mask = 1\n[policy]\nname = \"p\"\n",
        &["1:8: `mask` is an integer (expected [[mask]])"],
    );
}

#[test]
fn mistakes_in_predicates() {
    let some = "detect = [\"iban\"]\n";
    for good in [
        "predicates = \"allow\"",
        "predicates = \"deny\"",
        "predicates = \"hold\"\napprovers = [\"group:dpo\"]",
        "predicates = \"hold\"\napprovers = [\"group:dpo\"]\ntimeout = \"24h\"\ngrant = \"15m\"",
    ] {
        in_mask(&format!("{some}{good}"), &[]);
    }
    in_mask(
        &format!("{some}long_rows = \"drop\""),
        &["6:13: `long_rows` is \"drop\" (expected \"refuse\" or \"cut\")"],
    );
    in_mask(
        &format!("{some}predicates = \"ask\""),
        &["6:14: `predicates` is \"ask\" (expected \"allow\", \"deny\" or \"hold\")"],
    );
    in_mask(
        &format!("{some}predicates = \"hold\""),
        &["3:1: [[mask]] has no `approvers` (expected `approvers`: a list of who may answer"],
    );
    in_mask(
        &format!(
            "{some}predicates = \"hold\"\napprovers = [\"group:\"]\ntimeout = \"0s\"\ngrant = \"twice\""
        ),
        &[
            "7:14: `group:` is without a name",
            "8:11: `timeout` is \"0s\" (expected a time from \"1s\" to \"24h\")",
            "9:9: `grant` is \"twice\" (expected \"once\", or a time from",
        ],
    );
    for (line, word) in [
        ("", "deny"),
        ("predicates = \"deny\"\n", "deny"),
        ("predicates = \"allow\"\n", "allow"),
    ] {
        let at = 6 + line.lines().count();
        in_mask(
            &format!("{some}{line}approvers = [\"x\"]\ntimeout = \"1s\""),
            &[
                &format!(
                    "{at}:13: `approvers` in a mask whose `predicates` is \"{word}\" (expected no `approvers`, or `predicates = \"hold\"`)"
                ),
                &format!("{}:11: `timeout` in a mask", at + 1),
            ],
        );
    }
}

#[test]
fn mistakes_in_the_masks_of_rules_and_cases() {
    let head = "policy = { name = \"p\" }\nmask = [{ name = \"personal\", fields = [\"*.a\"] }]\n[[rule]]\nname = \"r\"\n";
    let in_rule = |lines: &str, expected: &[&str]| check(&format!("{head}{lines}\n"), expected);
    in_rule("verdict = \"allow\"\nmasks = [\"personal\"]", &[]);
    in_rule("verdict = \"allow\"\nmasks = []", &[]);
    in_rule("verdict = \"deny\"\nmasks = []", &[]);
    in_rule(
        "verdict = \"allow\"\nmasks = [\"persnoal\"]",
        &["6:10: there is no mask \"persnoal\" (expected \"personal\", perhaps)"],
    );
    in_rule(
        "verdict = \"allow\"\nmasks = [\"cards\"]",
        &["6:10: there is no mask \"cards\" (expected \"personal\")"],
    );
    in_rule(
        "verdict = \"allow\"\nmasks = [\"personal\", \"personal\"]",
        &["6:22: `masks` names \"personal\" twice (expected each mask once)"],
    );
    in_rule(
        "verdict = \"allow\"\nmasks = \"personal\"",
        &["6:9: `masks` is a string (expected a list of names of [[mask]] tables)"],
    );
    in_rule(
        "verdict = \"allow\"\nmasks = [1]",
        &["6:10: `masks` is an integer"],
    );
    in_rule(
        "verdict = \"deny\"\nmasks = [\"personal\"]",
        &[
            "6:9: `masks` in a rule whose verdict is \"deny\": nothing is returned (expected no `masks`, or another verdict)",
        ],
    );
    let case = "verdict = \"allow\"\n[[case]]\nwho = { principal = \"x\" }\noperation = { resource = \"10.0.0.7:1\", verb = \"read\" }\nverdict = \"allow\"\n";
    in_rule(&format!("{case}masks = []"), &[]);
    in_rule(
        &format!("{case}masks = [\"persona\", \"personal\", \"personal\"]"),
        &[
            "10:10: there is no mask \"persona\" (expected \"personal\", perhaps)",
            "10:33: `masks` names \"personal\" twice",
        ],
    );
    check(
        "[policy]\nname = \"p\"\n[[rule]]\nname = \"r\"\nverdict = \"allow\"\nmasks = [\"m\"]\n",
        &["6:10: there is no mask \"m\" (expected a [[mask]] of this name)"],
    );
}

#[test]
fn masks_where_nothing_can_be_masked_are_refused() {
    let resources = "resource = [{ name = \"pg\", protocol = \"postgres\", hosts = [\"10.0.0.1\"] }, \
                     { name = \"web-a\", protocol = \"http\", hosts = [\"10.0.0.2\"] }, \
                     { name = \"web-b\", protocol = \"opaque\", hosts = [\"10.0.0.3\"] }, \
                     { name = \"some\", hosts = [\"10.0.0.4\"] }]\n";
    let in_rule = |list: &str, good: bool| {
        let text = format!(
            "{resources}policy = {{ name = \"p\" }}\nmask = [{{ name = \"m\", fields = [\"*.a\"] }}]\n\
             [[rule]]\nname = \"r\"\nverdict = \"allow\"\n{list}\nmasks = [\"m\"]\n"
        );
        let expected = "8:9: `masks` in a rule all of whose resources have a protocol that cannot be masked \
                        (expected no `masks`, or a resource whose protocol is \"postgres\")";
        match good {
            true => check(&text, &[]),
            false => check(&text, &[expected]),
        }
    };
    for (list, good) in [
        ("", true),
        ("resources = [\"*\"]", true),
        ("resources = [\"pg\"]", true),
        ("resources = [\"some\"]", true),
        ("resources = [\"web-a\", \"pg\"]", true),
        ("resources = [\"web-*\", \"10.0.0.9:5432\"]", true),
        ("resources = [\"web-*\", \"10.*\"]", true),
        ("resources = [\"web-*\", \"*:5432\"]", true),
        ("resources = [\"web-*\", \"[fd00:*\"]", true),
        ("resources = [\"later-*\"]", true),
        ("resources = [\"web-a\"]", false),
        ("resources = [\"web-*\"]", false),
        ("resources = [\"web-a\", \"web-b\", \"later-*\"]", false),
        ("resources = [\"*-b\"]", false),
    ] {
        in_rule(list, good);
    }
}
