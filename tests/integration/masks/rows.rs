//! Rows that are too long to be looked into.
use super::*;

#[test]
fn a_row_that_is_too_long_to_be_masked_is_refused() {
    let masked = Masked::new("");
    masked
        .scene
        .cluster
        .query("update users set ssn = repeat('k4n4ry', 12 * 1024 * 1024) where id = 2")
        .unwrap();
    let statements = "select ssn from users where id = 2; select id, ssn from users where id = 1";
    let outcome = masked.scene.psql(&["-A", "-t", "-c", statements]).unwrap();
    assert_ne!(outcome.code(), 0);
    assert!(
        outcome.stderr.contains("limits.masked_row_bytes"),
        "{outcome:?}"
    );
    let script = "select ssn from users where id = 2;\nselect id, ssn from users where id = 1;\n\
                  copy users (ssn) to stdout;\nselect 'still here';\n";
    let files = place::temporary_directory().unwrap();
    let file = files.path().join("long.sql");
    fs::write(&file, script).unwrap();
    let outcome = masked
        .scene
        .psql(&["-A", "-t", "-f", &file.display().to_string()])
        .unwrap();
    assert!(outcome.stdout.contains("1|[masked]"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("still here\n"), "{outcome:?}");
    assert!(!outcome.stdout.contains(CANARY));
    let record = masked.record("select ssn from users");
    assert!(
        record["error"].as_str().unwrap().starts_with("54000"),
        "{record}"
    );
    let _ = operation(&masked.scene.daemon.log().unwrap(), "select 'still here';");
}

#[test]
fn a_row_that_is_too_long_to_be_masked_is_cut_where_the_policy_says_so() {
    let masked = Masked::new("long_rows = \"cut\"");
    masked
        .scene
        .cluster
        .query("update users set ssn = repeat('k4n4ry', 12 * 1024 * 1024) where id = 2")
        .unwrap();
    assert_eq!(
        masked.sees("select id, name, ssn from users where id < 4 order by id"),
        "1|user 1|[masked]\n0|[masked]|[masked]\n3|user 3|[masked]"
    );
    let record = masked.record("select id, name, ssn");
    assert_eq!(record["masked"]["row:cut"], 1);
    assert_eq!(record["masked"]["public.users.ssn"], 3);
    assert_eq!(record["error"], Value::Null);
    let refusal = masked.fails("copy users (ssn) to stdout");
    assert!(refusal.contains("limits.masked_row_bytes"), "{refusal}");
}
