//! Answers that the policy wants kept, and `gateway replay`, which shows them.
use gateway_tests::{Scene, running};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What no record may hold.
const SECRETS: [&str; 3] = ["k4n4ry", "918273", "078-05-1120"];

/// People read everything, without e-mail addresses; salaries they may see. Answers are kept.
const RULES: &str = r#"
[[rule]]
name = "all, masked"
verbs = ["*"]
verdict = "allow"
masks = ["mail"]
record_answers = "64KiB"

[[mask]]
name = "mail"
fields = ["public.users.email"]
predicates = "allow"

[[mask]]
name = "pay"
fields = ["public.users.salary"]
detect = ["us-ssn"]
"#;

const SCHEMA: &str = "\
create table users (id int primary key, name text, email text, salary int, note text); \
insert into users select n, 'user ' || n, 'k4n4ry-' || n || '@example.com', 918273 + n, \
case when n = 2 then 'ssn 078-05-1120' end from generate_series(1, 3) n";

/// Every form of an answer, as psycopg asks for it.
const PROGRAM: &str = r#"
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=0) as connection:
    binary = connection.cursor(binary=True)
    print(binary.execute("select id, name, email, salary, note from users order by id").fetchall())
    print(binary.execute("select upper(email), salary + 1, 7::int8 from users where id = %s", [1]).fetchall())
    print(connection.execute("select to_jsonb(u) from users u where id = 1").fetchall())
    with connection.cursor().copy("copy users (id, email, salary) to stdout") as copy:
        print(b"".join(bytes(block) for block in copy))
    with connection.cursor().copy("copy (select salary, note from users order by id) to stdout (format csv)") as copy:
        print(b"".join(bytes(block) for block in copy))
    with connection.cursor().copy("copy users (id, salary) to stdout (format binary)") as copy:
        print(sum(len(block) for block in copy) > 0)
    print(len(connection.execute("select n, repeat('x', 1000) from generate_series(1, 200) n").fetchall()))
    print(len(connection.execute("select 1, repeat('y', 200000)").fetchall()))
"#;

fn scene(rules: &str) -> Scene {
    let scene = Scene::with_rules(rules).unwrap();
    scene
        .cluster
        .access("host all all 127.0.0.1/32 trust")
        .unwrap();
    scene.cluster.query(SCHEMA).unwrap();
    scene
}

/// The session in which a statement like this was executed.
fn session(scene: &Scene, like: &str) -> String {
    let log = scene.daemon.log().unwrap();
    let found = log.iter().find(|operation| {
        let statement = operation["statement"].as_str();
        statement.is_some_and(|statement| statement.contains(like))
    });
    let found = found.unwrap_or_else(|| panic!("{like:?} is not in the log"));
    found["session"].as_str().unwrap().to_owned()
}

fn replay(scene: &Scene, session: &str) -> String {
    let outcome = scene.daemon.run(&["replay", session]).unwrap();
    outcome.success().unwrap().stdout
}

/// The events of a session, and only those of its answers.
fn answers(scene: &Scene, session: &str) -> Vec<Value> {
    let mut events = scene.daemon.json(&["replay", session]).unwrap();
    events.retain(|event| event["event"] == "answer");
    events
}

/// The files below a directory, as text.
fn texts(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    found
}

/// Fails when anything that the daemon keeps holds a secret, however it is written.
fn assert_free_of_secrets(scene: &Scene) {
    let texts = texts(scene.daemon.state());
    let any = |word: &str| texts.iter().find(|(_, text)| text.contains(word));
    assert!(any("user 1").is_some(), "what is kept can be read");
    for secret in SECRETS {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [secret, &secret.to_uppercase(), &hex] {
            let found = any(form).map(|(path, _)| path);
            assert_eq!(found, None, "{form}");
        }
    }
}

#[test]
fn a_session_of_psql_is_played_back_with_its_tables() {
    let scene = scene(RULES);
    let outcome = scene
        .psql(&[
            "-c",
            "select id, name, email, salary, note from users order by id",
            "-c",
            "select 1 as one where false",
            "-c",
            "copy users (id, email, salary) to stdout",
            "-c",
            "update users set name = 'x' where id = 3",
        ])
        .unwrap()
        .success()
        .unwrap();
    assert!(outcome.stdout.contains("918274"), "salaries are shown");
    assert!(!outcome.stdout.contains("k4n4ry"), "{outcome:?}");

    let session = session(&scene, "select id, name, email");
    let played = replay(&scene, &session);
    let expected = [
        "select id, name, email, salary, note from users order by id",
        " id |  name  |  email   |  salary  |     note     ",
        "  1 | user 1 | [masked] | [masked] | NULL",
        "  2 | user 2 | [masked] | [masked] | ssn [masked]",
        " one",
        "1\t[masked]\t[masked]",
    ];
    for line in expected {
        let has = |found: &str| found.trim_end().contains(line.trim_end());
        let tabbed = played.replace("\\t", "\t");
        assert!(tabbed.lines().any(has), "{line:?} is not in\n{played}");
    }
    assert_free_of_secrets(&scene);

    // With the daemon dead as well, from the journal itself.
    let mut scene = scene;
    scene.daemon.terminate().unwrap();
    assert_eq!(replay(&scene, &session), played);
}

#[test]
fn what_drivers_get_in_any_form_is_kept_as_text() {
    let scene = scene(RULES);
    let job = scene.job("driver").unwrap();
    let outcome = job
        .python(PROGRAM, &[&scene.cluster.address()])
        .unwrap()
        .wait(running::PATIENCE)
        .unwrap()
        .success()
        .unwrap();
    assert!(outcome.stdout.contains("918274"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("k4n4ry"), "{}", outcome.stdout);

    let session = session(&scene, "to_jsonb");
    let events = answers(&scene, &session);
    let rows = |columns: Value| -> Vec<Value> {
        let mut events = events.iter();
        events
            .find(|event| event["columns"] == columns)
            .unwrap_or_else(|| panic!("{columns} is not among the answers"));
        let rows = events.take_while(|event| event["columns"].is_null());
        rows.filter_map(|event| event["values"].as_array())
            .flatten()
            .cloned()
            .collect()
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let people = rows(json!(["id", "name", "email", "salary", "note"]));
    let people: Vec<Vec<Option<String>>> = people
        .iter()
        .map(|row| row.as_array().unwrap().iter().map(text).collect())
        .collect();
    let masked = || Some("[masked]".to_owned());
    assert_eq!(
        people[1],
        [
            Some("2".into()),
            Some("user 2".into()),
            masked(),
            masked(),
            Some("ssn [masked]".into())
        ]
    );
    assert_eq!(people.len(), 3);
    let expressions = rows(json!(["upper", "?column?", "int8"]));
    assert_eq!(expressions, [json!(["[masked]", "[masked]", "7"])]);
    let texts: String = events
        .iter()
        .filter_map(|event| event["text"].as_str())
        .collect();
    assert!(texts.contains("1\t[masked]\t[masked]\n"), "{texts}");
    assert!(texts.contains(" bytes in binary format]\n"), "{texts}");
    assert!(texts.contains(",\"ssn [masked]\"\n"), "{texts}");

    // 64 of 200 rows; and what is long leaves its beginning, or a mark.
    let cuts: Vec<&Value> = events
        .iter()
        .map(|event| &event["cut"])
        .filter(|cut| !cut.is_null())
        .collect();
    assert_eq!(cuts.len(), 2, "{cuts:?}");
    assert!(cuts[0]["rows"].as_u64().is_some_and(|rows| rows > 130));
    assert!(
        cuts[1]["bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 130_000)
    );
    let played = replay(&scene, &session);
    let said = played.lines().filter(|line| line.contains("not kept"));
    assert!(said.count() >= 1, "{played}");
    assert_free_of_secrets(&scene);
}

/// Modes that refuse nothing cover nothing: the client sees it all, and the journal does not.
#[test]
fn who_only_watches_keeps_answers_without_what_is_sensitive() {
    let scene = Scene::with_rules(RULES).unwrap();
    let watching = fs::read_to_string(scene.daemon.policies().join("test.toml")).unwrap();
    let watching = watching.replacen("mode = \"enforce\"", "mode = \"observe\"", 1);
    assert!(watching.contains("observe"), "{watching}");
    scene.daemon.put_in_force("test", &watching).unwrap();
    scene
        .cluster
        .access("host all all 127.0.0.1/32 trust")
        .unwrap();
    scene.cluster.query(SCHEMA).unwrap();
    scene.cluster.query("analyze users").unwrap();
    let outcome = scene
        .psql(&[
            "-c",
            "select name, email, lower(email), 1 + 1 as two from users where id = 1",
            "-c",
            "select u from users u",
            "-c",
            "select most_common_vals, histogram_bounds from pg_stats where tablename = 'users'",
            "-c",
            "begin; declare c cursor for select email || '' from users; fetch all from c; commit",
            "-c",
            "copy users to stdout (format csv)",
            "-c",
            "copy (select reverse(reverse(email)) from users) to stdout",
        ])
        .unwrap()
        .success()
        .unwrap();
    assert!(outcome.stdout.contains("k4n4ry-1"), "{outcome:?}");
    let played = replay(&scene, &session(&scene, "lower(email)"));
    let row = " user 1 | [masked] | [masked] |   2";
    assert!(played.contains(row), "{played}");
    assert_free_of_secrets(&scene);
}
