//! The JSON schema of policy files: the one in the documentation is the one that the reader's
//! tables make, and both agree about what is a policy.
use gateway_policy::{PolicySet, json_schema};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// To write it anew: `GATEWAY_WRITE_DOCS=1 cargo test -p gateway-policy schema`
#[test]
fn the_schema_in_the_documentation_is_this_one() {
    let page = repository().join("docs/policy.schema.json");
    if std::env::var_os("GATEWAY_WRITE_DOCS").is_some() {
        let text = serde_json::to_string_pretty(&json_schema()).unwrap();
        std::fs::write(&page, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&page).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        written,
        json_schema(),
        "write it anew with GATEWAY_WRITE_DOCS=1"
    );
}

/// What a value breaks of a schema; the place in the file where it does. Validators are heavy, and
/// this schema uses few words: one that is not known here fails the test.
fn faults(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let Some(words) = schema.as_object() else {
        let allowed = schema.as_bool().expect("a schema is a table or a boolean");
        return if allowed {
            Vec::new()
        } else {
            vec![format!("{place}: not allowed")]
        };
    };
    let is_valid = |schema: &Value| faults(schema, value, place).is_empty();
    let mut found = Vec::new();
    for (word, argument) in words {
        let number = || {
            argument
                .as_u64()
                .unwrap_or_else(|| panic!("{word}: {argument}"))
        };
        let length = value.as_str().map(|text| text.chars().count() as u64);
        let count = value.as_array().map(|items| items.len() as u64);
        let good = match word.as_str() {
            "$schema" | "title" | "description" | "then" | "else" | "additionalProperties" => true,
            "type" => match argument {
                Value::Array(types) => types.iter().any(|kind| is_of(kind, value)),
                kind => is_of(kind, value),
            },
            "enum" => argument.as_array().unwrap().contains(value),
            "const" => argument == value,
            "minLength" => length.is_none_or(|length| length >= number()),
            "maxLength" => length.is_none_or(|length| length <= number()),
            "minItems" => count.is_none_or(|count| count >= number()),
            "maxItems" => count.is_none_or(|count| count <= number()),
            "minimum" => value.as_i64().is_none_or(|value| value >= number() as i64),
            "maximum" => value.as_i64().is_none_or(|value| value <= number() as i64),
            "pattern" => {
                let pattern = regex::Regex::new(argument.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "anyOf" => argument.as_array().unwrap().iter().any(is_valid),
            "oneOf" => {
                argument
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|of| is_valid(of))
                    .count()
                    == 1
            }
            "required" => value.as_object().is_none_or(|table| {
                let keys = argument.as_array().unwrap().iter();
                keys.map(|key| key.as_str().unwrap())
                    .all(|key| table.contains_key(key))
            }),
            "if" => {
                let way = if is_valid(argument) { "then" } else { "else" };
                found.extend(faults(&words[way], value, place));
                true
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(faults(argument, item, &format!("{place}[{number}]")));
                }
                true
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let other = words.get("additionalProperties");
                    if let Some(schema) = argument.get(key).or(other) {
                        found.extend(faults(schema, value, &format!("{place}.{key}")));
                    }
                }
                true
            }
            other => panic!("the schema says {other:?}, which this test does not know"),
        };
        if !good {
            found.push(format!("{place}: {word} {argument}, not {value}"));
        }
    }
    if !words.contains_key("properties")
        && let Some(schema) = words.get("additionalProperties")
    {
        for (key, value) in value.as_object().into_iter().flatten() {
            found.extend(faults(schema, value, &format!("{place}.{key}")));
        }
    }
    found
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("no such type: {other}"),
    }
}

/// What the schema says about a policy file. A time of TOML is a string there.
pub(crate) fn check(text: &str) -> Vec<String> {
    fn json(value: toml::Value) -> Value {
        match value {
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(json).collect(),
            toml::Value::Table(table) => {
                let pairs = table.into_iter().map(|(key, value)| (key, json(value)));
                Value::Object(pairs.collect())
            }
            other => serde_json::to_value(other).unwrap(),
        }
    }
    let table: toml::Table = text.parse().unwrap();
    faults(&json_schema(), &json(toml::Value::Table(table)), "")
}

#[test]
fn what_is_shipped_and_shown_is_valid() {
    let mut policies = 0;
    for entry in std::fs::read_dir(repository().join("policies")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(check(&text), [""; 0], "{}", path.display());
            policies += 1;
        }
    }
    assert!(policies >= 3);
    let page = std::fs::read_to_string(repository().join("docs/policy.md")).unwrap();
    let blocks = page.split("```toml\n").skip(1);
    let file: String = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(file.contains("[policy]"));
    assert_eq!(check(&file), [""; 0]);
}

const GOOD: &str = r#"
[policy]
name = "p"
cgroups = ["ci.slice/**"]
mode = "shadow"
default = "allow"
when_down = { allow_after = "30s" }
inbound = "any"
boundaries = ["/usr/bin/runner"]
unix = ["/run/user/*", "@bus"]
harden = []

[[resource]]
name = "db"
protocol = "postgres"
hosts = ["10.0.0.7"]
ports = [5432]

[[rule]]
name = "r"
principals = ["group:a"]
resources = ["db"]
verbs = ["read", "*", "unknown"]
objects = ["public.*"]
when = "lineage.depth > 1"
verdict = "hold"
message = "asked"
approvers = ["group:dba"]
timeout = "5m"
grant = "once"
masks = ["m"]
record_answers = "64KiB"

[[mask]]
name = "m"
fields = ["public.users.email", "*.ssn"]
detect = ["iban"]
with = "partial"
predicates = "hold"
approvers = ["group:dpo"]
timeout = "2m"
grant = "15m"

[[case]]
who = { principal = "a", groups = ["g"], assurance = "kernel", delegates = ["b", { principal = "c", groups = ["h"] }], depth = 3, exe = "/x", argv = ["x"], uid = 0, cwd = "/", cgroup = "c", container = "k", pid = 7, root = "/r", time = 2026-01-01T03:00:00Z }
operation = { resource = "db", protocol = "postgres", verb = "write", objects = ["public.a"], attributes = { "sql.has_where" = true, n = 1, t = "x" } }
verdict = "hold"
rule = "r"
masks = ["m"]

[[case]]
who = { principal = "a" }
operation = { resource = "db", protocol = "postgres", statement = "SELECT 1" }
verdict = "deny"
"#;

fn reader_says(text: &str) -> Vec<String> {
    let loaded = PolicySet::load_texts([("p.toml", text)]);
    loaded.diagnostics.iter().map(|d| d.to_string()).collect()
}

#[test]
fn a_file_with_every_key_is_good_for_both() {
    assert_eq!(reader_says(GOOD), [""; 0]);
    assert_eq!(check(GOOD), [""; 0]);
}

/// Each of these is one slip away from the good file.
#[test]
fn what_the_schema_refuses_the_reader_refuses_too() {
    for (good, bad) in [
        ("name = \"p\"\n", ""),
        ("name = \"p\"\n", "name = \"\"\n"),
        ("name = \"p\"\n", "name = 7\n"),
        ("cgroups = [", "cgroup = ["),
        ("cgroups = [\"ci.slice/**\"]", "cgroups = \"ci.slice/**\""),
        ("mode = \"shadow\"", "mode = \"shadows\""),
        ("default = \"allow\"", "default = \"hold\""),
        (
            "when_down = { allow_after = \"30s\" }",
            "when_down = { allow_after = 30 }",
        ),
        ("inbound = \"any\"", "inbound = \"all\""),
        ("boundaries = [\"/usr", "boundaries = [\"usr"),
        ("unix = [\"/run", "unix = [\"run"),
        ("harden = []", "harden = [\"sandbox\"]"),
        (
            "protocol = \"postgres\"\nhosts",
            "protocol = \"Post gres\"\nhosts",
        ),
        ("hosts = [\"10.0.0.7\"]\n", ""),
        ("hosts = [\"10.0.0.7\"]", "hosts = []"),
        (
            "hosts = [\"10.0.0.7\"]",
            "hosts = [\"10.0.0.7\"]\ntls = { upstream = \"prefer\" }",
        ),
        (
            "hosts = [\"10.0.0.7\"]",
            "hosts = [\"10.0.0.7\"]\ntls = { ca = \"ca.pem\" }",
        ),
        (
            "hosts = [\"10.0.0.7\"]",
            "hosts = [\"10.0.0.7\"]\ncredential = \"A b\"",
        ),
        ("ports = [5432]", "ports = [0]"),
        ("ports = [5432]", "ports = [65536]"),
        ("ports = [5432]", "ports = [\"5432\"]"),
        ("principals = [\"group:a\"]", "principals = []"),
        ("principals = [\"group:a\"]", "principals = [\"\"]"),
        ("verbs = [\"read\"", "verbs = [\"raed\""),
        ("verdict = \"hold\"\nmessage", "verdict = \"deny\"\nmessage"),
        ("verdict = \"hold\"\nmessage", "message"),
        ("approvers = [\"group:dba\"]\n", ""),
        ("timeout = \"5m\"", "timeout = \"5 minutes\""),
        ("grant = \"once\"", "grant = \"twice\""),
        ("masks = [\"m\"]", "masks = \"m\""),
        ("masks = [\"m\"]", "masks = [\"\"]"),
        ("record_answers = \"64KiB\"", "record_answers = \"64kb\""),
        ("record_answers = \"64KiB\"", "record_answers = 65536"),
        ("name = \"m\"\n", ""),
        (
            "fields = [\"public.users.email\", \"*.ssn\"]\ndetect = [\"iban\"]\n",
            "",
        ),
        (
            "fields = [\"public.users.email\", \"*.ssn\"]\ndetect = [\"iban\"]\n",
            "fields = []\ndetect = []\n",
        ),
        ("fields = [\"public", "fields = [\"\", \"public"),
        ("fields = [\"public", "fields = [\"$.a\", \"public"),
        ("detect = [\"iban\"]", "detect = [\"iban\", \"ibna\"]"),
        ("with = \"partial\"", "with = \"partly\""),
        ("predicates = \"hold\"\n", ""),
        ("predicates = \"hold\"", "predicates = \"ask\""),
        ("approvers = [\"group:dpo\"]\n", ""),
        ("with = \"partial\"", "as = \"partial\""),
        (
            "verdict = \"hold\"\nrule = \"r\"\nmasks = [\"m\"]",
            "verdict = \"hold\"\nmasks = \"m\"",
        ),
        ("when = \"", "if = \""),
        ("principal = \"a\", groups", "groups"),
        ("assurance = \"kernel\"", "assurance = \"sure\""),
        ("principal = \"c\", groups", "groups"),
        ("depth = 3", "depth = 256"),
        ("uid = 0", "uid = -1"),
        ("pid = 7", "pid = 4294967296"),
        ("verb = \"write\", ", ""),
        ("verb = \"write\"", "verb = \"*\""),
        ("verb = \"write\"", "statement = \"x\""),
        ("n = 1", "n = 1.5"),
        (", protocol = \"postgres\", statement", ", statement"),
        (
            "statement = \"SELECT 1\"",
            "statement = \"SELECT 1\", objects = []",
        ),
        ("[[case]]\nwho = { principal = \"a\" }\n", "[[case]]\n"),
        ("verdict = \"deny\"\n", "verdict = \"expired\"\n"),
        ("[[resource]]", "[[mask]]\nname = \"m\"\n[[resource]]"),
        ("[[resource]]", "[[resources]]"),
    ] {
        assert!(GOOD.contains(good), "{good}");
        let text = GOOD.replacen(good, bad, 1);
        assert!(
            !check(&text).is_empty(),
            "the schema takes {bad:?} for {good:?}"
        );
        assert!(
            !reader_says(&text).is_empty(),
            "the reader takes {bad:?} for {good:?}"
        );
    }
}
