//! `[[case]]`s, and explanations.
use crate::ask::{Ask, effects, policy};
use gateway_policy::{CaseOperation, CaseResult, PolicySet, run_cases};

/// Reads a statement as the effects that it spells out, `|` between operations; `!` cannot be read.
fn interpret(protocol: &str, statement: &str) -> Result<Vec<CaseOperation>, String> {
    if protocol != "spelled" || statement.starts_with('!') {
        return Err(format!("{protocol} does not know {statement}"));
    }
    let parts = statement.split('|').filter(|part| !part.is_empty());
    Ok(parts
        .map(|part| {
            let effects = effects(part);
            CaseOperation {
                verb: effects[0].verb,
                effects,
                attributes: Vec::new(),
            }
        })
        .collect())
}

fn run(text: &str) -> Vec<CaseResult> {
    let loaded = PolicySet::load_texts([("p.toml", text)]);
    assert_eq!(loaded.diagnostics, []);
    run_cases(&loaded.set, &interpret)
}

const HEAD: &str = "
resource = [{ name = \"db\", protocol = \"spelled\", hosts = [\"10.0.0.7\"] }]
policy = { name = \"p\", mode = \"observe\" }
rule = [
  { name = \"reads\", verdict = \"allow\", verbs = [\"connect\", \"read\"], principals = [\"group:dev\"] },
  { name = \"no drops\", verdict = \"deny\", verbs = [\"define\"] },
  { name = \"no drops at all\", verdict = \"deny\", verbs = [\"define\"], message = \"m\" },
  { name = \"web\", verdict = \"allow\", resources = [\"10.0.0.9:80\"] },
]
";

/// One case, and what its result says for people behind the verdict.
fn check(who: &str, operation: &str, wanted: &str, expected: &str) {
    let case =
        format!("{HEAD}[[case]]\nwho = {{ {who} }}\noperation = {{ {operation} }}\n{wanted}\n");
    let results = run(&case);
    assert_eq!(results.len(), 1);
    let shown = results[0].to_string();
    assert_eq!(results[0].passed, expected == "ok", "{shown}");
    let expected = match expected {
        "ok" => "p.toml:10:1: ok: ",
        failure => failure,
    };
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn cases_pass_and_fail() {
    let dev = "principal = \"local:a\", depth = 4, groups = [\"dev\"]";
    let statement =
        |text: &str| format!("resource = \"db\", protocol = \"spelled\", statement = \"{text}\"");
    let (allow, deny) = ("verdict = \"allow\"", "verdict = \"deny\"");
    check(dev, &statement("read a"), allow, "ok");
    check(
        dev,
        &statement("read a"),
        "verdict = \"allow\"\nrule = \"reads\"",
        "ok",
    );
    check(
        dev,
        &statement("read a"),
        "verdict = \"allow\"\nrule = \"web\"",
        "expected allow by rule \"web\", got allow: rule \"reads\" says allow",
    );
    check(
        dev,
        &statement("read a"),
        deny,
        "expected deny, got allow: rule \"reads\" says allow",
    );
    check(dev, &statement("write a b"), deny, "ok");
    check(
        dev,
        &statement("write a b"),
        allow,
        "expected allow, got deny: no rule allows write on a, b for local:a",
    );
    check("principal = \"local:a\"", &statement("read a"), deny, "ok");
    // Every rule that decides counts, whichever a record names.
    for rule in ["no drops", "no drops at all"] {
        check(
            dev,
            &statement("read a; define a"),
            &format!("{deny}\nrule = \"{rule}\""),
            "ok",
        );
    }
    check(
        dev,
        &statement("write a"),
        "verdict = \"deny\"\nrule = \"no drops\"",
        "expected deny by rule \"no drops\", got deny: no rule allows",
    );
    check(
        dev,
        &statement("unknown"),
        allow,
        "could not be classified, and no rule names \"unknown\"",
    );
    // A statement is allowed when all its operations are.
    check(dev, &statement("read a|read b"), allow, "ok");
    check(
        dev,
        &statement("read a|define b|read c"),
        "verdict = \"deny\"\nrule = \"no drops\"",
        "ok",
    );
    check(
        dev,
        &statement("read a|write b"),
        "verdict = \"deny\"\nrule = \"reads\"",
        "got deny: no rule allows write on b",
    );
    // What cannot be read never passes, not even where a denial is wanted.
    check(
        dev,
        &statement("!"),
        deny,
        "expected deny: the statement cannot be read: spelled does not know !",
    );
    check(
        dev,
        &statement(""),
        deny,
        "expected deny: the statement holds no operation",
    );
}

#[test]
fn cases_with_a_verb_in_place_of_a_statement() {
    let dev = "principal = \"local:a\", groups = [\"dev\"]";
    let (allow, deny) = ("verdict = \"allow\"", "verdict = \"deny\"");
    check(
        dev,
        "resource = \"db\", protocol = \"spelled\", verb = \"connect\"",
        allow,
        "ok",
    );
    check(dev, "resource = \"db\", verb = \"connect\"", allow, "ok");
    check(
        dev,
        "resource = \"db\", protocol = \"opaque\", verb = \"connect\"",
        allow,
        "the protocol must be spelled, and it is \"opaque\"",
    );
    check(
        dev,
        "resource = \"db\", verb = \"read\"",
        allow,
        "the protocol must be spelled, and it is \"\"",
    );
    check(
        dev,
        "resource = \"db\", protocol = \"spelled\", verb = \"define\", objects = [\"x\"]",
        deny,
        "ok",
    );
    check(
        dev,
        "resource = \"10.0.0.7:5432\", verb = \"connect\"",
        "verdict = \"allow\"\nrule = \"reads\"",
        "ok",
    );
    check(
        "principal = \"unknown\"",
        "resource = \"10.0.0.9:80\", verb = \"connect\"",
        "verdict = \"allow\"\nrule = \"web\"",
        "ok",
    );
    check(
        "principal = \"unknown\"",
        "resource = \"[fd00::9]:80\", verb = \"connect\"",
        deny,
        "ok",
    );
}

#[test]
fn a_case_result_is_a_flat_object() {
    let results = run(&format!(
        "{HEAD}[[case]]\nwho = {{ principal = \"x\" }}\noperation = {{ resource = \"db\", verb = \"connect\" }}\nverdict = \"allow\"\n"
    ));
    let value = serde_json::to_value(&results[0]).unwrap();
    for (key, expected) in [
        ("policy", "p"),
        ("file", "p.toml"),
        ("principal", "x"),
        ("resource", "db"),
        ("asked", "connect"),
        ("expected", "allow"),
        ("verdict", "deny"),
    ] {
        assert_eq!(value[key], expected, "{value}");
    }
    assert_eq!(value["line"], 10);
    assert_eq!(value["passed"], false);
}

#[test]
fn an_explanation_names_every_rule_that_has_a_say() {
    let policy = policy(
        "[[rule]]\nname = \"public\"\nverdict = \"allow\"\nobjects = [\"public.*\"]\n\
         [[rule]]\nname = \"logs\"\nverdict = \"allow\"\nobjects = [\"*.log\"]\nverbs = [\"read\"]\n\
         [[rule]]\nname = \"agents\"\nverdict = \"deny\"\nprincipals = [\"ci:*\"]\nverbs = [\"define\"]\n",
    );
    let ask = Ask {
        effects: "read public.log hr.pay",
        delegates: &["ci:x"],
        ..Ask::default()
    };
    let explanation = ask.with(|case| policy.explain(case, ask.now));
    assert_eq!(
        explanation.to_string(),
        "deny on 10.0.0.7:5432: no rule allows read on hr.pay for local:alice\n\
         policy p (mode enforce)\n  \
           read [public.log, hr.pay] for local:alice\n    \
             allow rule \"logs\" [public.log]\n    \
             allow rule \"public\" [public.log]\n    \
             not covered by any rule: hr.pay\n  \
           read [public.log, hr.pay] for ci:x\n    \
             allow rule \"logs\" [public.log]\n    \
             allow rule \"public\" [public.log]\n    \
             not covered by any rule: hr.pay\n"
    );
    let ask = Ask {
        effects: "define public.a",
        delegates: &["ci:x"],
        ..Ask::default()
    };
    let shown = ask.with(|case| policy.explain(case, ask.now)).to_string();
    assert!(
        shown.starts_with("deny on 10.0.0.7:5432: rule \"agents\" says deny\n"),
        "{shown}"
    );
    assert!(
        shown.contains("deny  rule \"agents\" [public.a]"),
        "{shown}"
    );
}

#[test]
fn a_case_says_who_asks_and_when() {
    let text = |who: &str, operation: &str, verdict: &str, when: &str| {
        format!(
            "[policy]\nname = \"p\"\n[[resource]]\nname = \"db\"\nhosts = [\"10.0.0.7\"]\n\
             [[rule]]\nname = \"ask\"\nverdict = \"hold\"\napprovers = [\"group:dba\"]\nwhen = '''{when}'''\n\
             [[rule]]\nname = \"all\"\nverdict = \"allow\"\n\
             [[case]]\nwho = {{ {who} }}\noperation = {{ {operation} }}\nverdict = \"{verdict}\"\n"
        )
    };
    let verb = "resource = \"10.0.0.7:5432\", verb = \"read\"";
    let whole = "principal = \"local:a\", groups = [\"dev\"], assurance = \"kernel\", \
                 delegates = [\"ci:x\", { principal = \"ci:y\", groups = [\"ai\"], assurance = \"asserted\" }], \
                 depth = 2, exe = \"/bin/x\", argv = [\"x\", \"-v\"], uid = 7, cwd = \"/srv\", cgroup = \"a/b\", \
                 container = \"c\", pid = 9, root = \"/bin/init\", time = \"2026-01-01T03:00:00+01:00\"";
    for when in [
        "principal.id == 'local:a' && 'dev' in principal.groups && principal.assurance == 'kernel'",
        "delegates[0].id == 'ci:x' && delegates[0].assurance == 'verified'",
        "delegates[1].groups == ['ai'] && delegates[1].assurance == 'asserted'",
        "lineage.depth == 2 && lineage.root.exe == '/bin/init' && lineage.processes[1].exe == ''",
        "process.exe == '/bin/x' && process.argv == ['x', '-v'] && process.uid == 7 && process.pid == 9",
        "process.cwd == '/srv' && process.cgroup == 'a/b' && process.container == 'c'",
        "time.getHours() == 2",
        "resource.ip == '10.0.0.7' && resource.port == 5432 && resource.name == 'db'",
    ] {
        let results = run(&text(whole, verb, "hold", when));
        assert!(results[0].passed, "{when}: {}", results[0]);
        assert_eq!(results[0].conditions[0].result, "true");
        let results = run(&text(whole, verb, "allow", when));
        assert!(!results[0].passed && results[0].to_string().contains("(rule \"ask\"): true"));
    }
    let with = format!("{verb}, attributes = {{ \"a.b\" = true, n = 3, t = \"x\" }}");
    let when = "operation.attributes['a.b'] && operation.attributes['n'] == 3 && operation.attributes['t'] == 'x'";
    assert!(run(&text("principal = \"a\"", &with, "hold", when))[0].passed);
    // TOML's own times; and a case that does not say what the condition asks for.
    let toml = "principal = \"a\", time = 2026-01-01T03:00:00Z";
    assert!(run(&text(toml, verb, "hold", "time.getHours() == 3"))[0].passed);
    for (operation, when) in [
        (verb, "time.getHours() == 3"),
        (
            "resource = \"db\", verb = \"read\"",
            "resource.port == 5432",
        ),
    ] {
        let result = &run(&text("principal = \"a\"", operation, "deny", when))[0];
        assert!(result.passed, "{result}");
        assert_eq!(result.because, "the condition of rule \"ask\" failed");
        assert_eq!(result.rules.len(), 1);
    }
}
