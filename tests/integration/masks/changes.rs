//! Names that mean something else by the time that they are read.
use super::*;

#[test]
fn what_is_prepared_is_masked_however_it_is_executed() {
    let masked = Masked::new("predicates = \"deny\"");
    let outcome = masked.script(true, "prepared.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
}

#[test]
fn the_gateway_and_the_server_mean_the_same_by_a_name() {
    for predicates in ["allow", "deny"] {
        let masked = Masked::new(&format!("predicates = \"{predicates}\""));
        let outcome = masked.script(true, "desync.py", "attacks.sql");
        assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
        masked.assert_unknown(CANARY);
    }
}

#[test]
fn nothing_masked_gets_another_name() {
    for predicates in ["allow", "deny"] {
        let masked = Masked::new(&format!("predicates = \"{predicates}\""));
        let outcome = masked.script(true, "naming.py", "attacks.sql");
        assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
        assert_eq!(masked.sees("select count(*) from sink"), "0");
        masked.assert_unknown(CANARY);
    }
}

#[test]
fn what_is_behind_a_name_does_not_change_how_the_next_text_is_read() {
    let masked = Masked::new("predicates = \"deny\"");
    let hidden = fs::read_to_string(scripts().join("unseen.sql")).unwrap();
    masked.scene.cluster.query(&hidden).unwrap();
    let outcome = masked.script(true, "unseen.py", "unseen.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
}

#[test]
fn names_are_read_as_databases_of_other_encodings_read_them() {
    let masked = Masked::new("predicates = \"deny\"");
    for (database, encoding) in [("euc", "EUC_JP"), ("latin", "LATIN1")] {
        let create = format!(
            "create database {database} template template0 encoding '{encoding}' lc_collate 'C' \
             lc_ctype 'C'"
        );
        masked.scene.cluster.query(&create).unwrap();
        masked.scene.cluster.query_in(database, SCHEMA).unwrap();
    }
    let outcome = masked.script(true, "encodings.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
}

#[test]
fn a_mask_follows_what_is_renamed_elsewhere() {
    let masked = Masked::new("");
    assert_eq!(
        masked.sees("select email from users where id = 1"),
        "[masked]"
    );
    let program = include_str!("../scripts/masks/renamed.py");
    let job = masked.scene.job("renamed").unwrap();
    let mut client = job
        .python(program, &[&masked.scene.cluster.address()])
        .unwrap();
    client.wait_for_output("before [masked]", PATIENCE).unwrap();
    masked
        .scene
        .cluster
        .query("alter table users rename email to mail; alter table users rename to members")
        .unwrap();
    // Its prepared statement means the new names from now on.
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    assert!(outcome.stdout.contains("after [masked]"), "{outcome:?}");
    assert_eq!(
        masked.sees("select mail from members where id = 1"),
        "[masked]"
    );
}

#[test]
fn a_mask_follows_a_renamed_column_over_a_crash() {
    let mut masked = Masked::new("");
    masked.sees("select id from users where id = 1");
    let file = masked.scene.daemon.state().join("columns.json");
    wait::until("the columns on disk", PATIENCE, || {
        let text = fs::read_to_string(&file).ok()?;
        text.contains("public.users.email").then_some(())
    })
    .unwrap();
    masked.scene.daemon.crash().unwrap();
    masked
        .scene
        .cluster
        .query("alter table users rename email to mail; alter table users rename to members")
        .unwrap();
    masked.scene.daemon.restart().unwrap();
    assert_eq!(
        masked.sees("select mail from members where id = 1"),
        "[masked]"
    );
    masked.scene.daemon.terminate().unwrap().success().unwrap();
    fs::write(&file, "{}").unwrap();
    let refusal = masked.scene.daemon.restart().unwrap_err().to_string();
    let said = masked.scene.daemon.said();
    assert!(
        said.contains("columns.json does not list sensitive columns"),
        "{refusal}: {said}"
    );
}

#[test]
fn where_the_catalogue_cannot_be_read_everything_is_masked() {
    let masked = Masked::new("");
    masked
        .scene
        .cluster
        .query(
            "create role blind login; grant select on users, plain to blind; \
             revoke select on pg_catalog.pg_class from public",
        )
        .unwrap();
    let mut psql = masked.scene.job("blind").unwrap().command("psql");
    let address = masked
        .scene
        .cluster
        .address()
        .replace("user=postgres", "user=blind");
    psql.args(["-X", "-A", "-t", "-d", &address, "-c"]);
    psql.arg("select id, name, email from users where id = 1");
    let outcome = running::run(&mut psql).unwrap();
    assert_ne!(
        outcome.code(),
        0,
        "a question about what is not known: {outcome:?}"
    );
    let mut psql = masked.scene.job("blind2").unwrap().command("psql");
    psql.args(["-X", "-A", "-t", "-d", &address, "-c"]);
    psql.arg("select id, name, email from users limit 1");
    let outcome = running::run(&mut psql).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "|[masked]|[masked]\n");
}
