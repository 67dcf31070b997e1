//! What of sensitive values is on record: what was seen, by whom, and nothing else.
use super::*;

#[test]
fn what_is_written_with_a_statement_is_not_on_record() {
    let masked = Masked::new("predicates = \"allow\"");
    let _ = masked
        .psql("insert into users (id, name, email, salary) values (50, 'n', 'k4n4ry-literal', 5)");
    let _ = masked.psql("update users set email = $$k4n4ry-dollar$$ where id = 50");
    let _ = masked.psql("update users set email = E'k4n4ry\\x2descaped' where id = 50");
    let _ = masked.psql("select 'k4n4ry-cast'::int from users");
    let _ = masked.psql("prepare p as select id from users where email = 'k4n4ry-p'; execute p");
    let outcome = masked.script(true, "parameters.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
    let record = masked.record("insert into users");
    assert!(
        record["statement"].as_str().unwrap().contains("[masked]"),
        "{record}"
    );
}

#[test]
fn the_literals_of_statements_that_define_are_not_on_record() {
    let masked = Masked::new("predicates = \"allow\"");
    let statements = [
        "create view lit as select id, email = $$k4n4ry-1$$ as a from users",
        "create table lit2 as select id from users where email = E'k4n4ry-2'",
        "alter table users alter column ssn set default $$k4n4ry-3$$",
        "create index lit3 on users (id) where ssn = $$k4n4ry-4$$",
        "comment on column users.ssn is $$k4n4ry-5$$",
        "prepare lit4 as select id from users where ssn = U&'k4n4ry-6'",
        "select id, ssn from users /* k4n4ry-7 */ where id = 1 -- k4n4ry-8",
        "select id from users where ssn = $$k4n4ry-9$$ and",
    ];
    for statement in statements {
        let _ = masked.psql(statement);
    }
    masked.assert_unknown(CANARY);
    let record = masked.record("create view lit");
    assert_eq!(
        record["statement"],
        "create view lit as select id, email = '[masked]' as a from users"
    );
}

#[test]
fn who_sees_what_in_the_clear_is_on_record() {
    let masked = Masked::with(&format!(
        "[[rule]]\nname = \"all\"\nverbs = [\"*\"]\nverdict = \"allow\"\n\n\
         [[mask]]\nname = \"personal\"\n{FIELDS}\ndetect = [\"credit-card\"]\n"
    ));
    let seen = masked.sees("select id, email, ssn from users where id < 3 order by id");
    assert!(
        seen.starts_with("1|k4n4ry-1@example.com|k4n4ry-ssn-1"),
        "{seen}"
    );
    masked.sees("select upper(email), name from users");
    masked.sees("select id, name from users");
    masked.sees("select 'card 4111 1111 1111 1111' from plain");
    masked.sees("copy users (id, ssn) to stdout");

    let daemon = &masked.scene.daemon;
    assert!(metric(daemon, "gateway_mask_seconds_count") >= 4);
    assert!(metric(daemon, "gateway_overhead_seconds_count") >= 5);
    assert_eq!(metric(daemon, "gateway_approvals_pending"), 0);
    let record = masked.record("select id, email, ssn");
    let both = ["public.users.email", "public.users.ssn"];
    assert_eq!(record["disclosed"], serde_json::json!(both));
    assert_eq!(record["disclosed_rows"]["public.users.email"], 2);
    assert_eq!(
        masked.record("select upper(email)")["disclosed_rows"]["public.users.email"],
        5
    );
    assert_eq!(
        masked.record("select id, name")["disclosed"],
        serde_json::json!([])
    );
    assert_eq!(
        masked.record("select 'card")["disclosed_rows"]["detected:credit-card"],
        2
    );
    assert_eq!(
        masked.record("copy users")["disclosed_rows"]["public.users.ssn"],
        5
    );

    let found = masked
        .scene
        .daemon
        .json(&["log", "--disclosed", "public.users.*", "--verb", "read"])
        .unwrap();
    assert_eq!(found.len(), 3, "{found:#?}");
    let found = masked
        .scene
        .daemon
        .json(&["log", "--disclosed", "public.users.phone"])
        .unwrap();
    assert!(found.is_empty());
    masked.assert_unknown("k4n4ry-1@");
    masked.assert_unknown("4111 1111");
}

#[test]
fn detectors_find_what_no_field_names() {
    let masked = Masked::with(&rules(
        "detect = [\"email\", \"credit-card\", \"iban\"]\npredicates = \"allow\"",
    ));
    assert_eq!(
        masked.sees("select id, email, note from plain where id = 1"),
        "1|[masked]|nothing"
    );
    assert_eq!(
        masked.sees("select 'pay 4111111111111111 to DE89370400440532013000 now'"),
        "pay [masked] to [masked] now"
    );
    assert_eq!(
        masked.sees("select 4111111111111111::bigint, 4111111111111112"),
        "|4111111111111112"
    );
    assert_eq!(
        masked.sees("copy (select email from plain) to stdout"),
        "[masked]\n[masked]"
    );
    let record = masked.record("select id, email, note");
    assert_eq!(record["masked"]["detected:email"], 1);
    assert_eq!(
        masked
            .sees("select 4111111111111111::float8, array[4111111111111111::float8], 4.5::float8"),
        "||4.5"
    );
    assert_eq!(
        masked.sees("select 'someone@example.com'::bytea, 'nobody'::bytea"),
        "|\\x6e6f626f6479"
    );
    let late = "create temp table late (email text unique deferrable initially deferred); \
                insert into late select 'someone@example.com' from generate_series(1, 2)";
    let failed = masked.fails(late);
    assert!(failed.contains("[masked]"), "{failed}");
    let outcome = masked.script(true, "told.py", "attacks.sql");
    assert_eq!(outcome.stdout, "done\n");
    let outcome = masked.script(true, "card_numbers.py", "attacks.sql");
    assert_eq!(
        outcome.stdout,
        "[None, None, None, None, None, '[masked]', Decimal('4111111111111112'), [5]]\n"
    );
    let failed = masked.fails("select 'someone@example.com'::int");
    assert!(failed.contains("[masked]"), "{failed}");
    masked.assert_unknown("someone@example.com");
    masked.assert_unknown("4111111111111111");
}

#[test]
fn detectors_find_other_spellings_and_what_is_cut() {
    let masked = Masked::over(
        &rules(
            "fields = [\"public.hashed.profile\", \"public.hashed.doc\"]\nwith = \"hash\"\n\
             detect = [\"email\", \"us-ssn\", \"credit-card\", \"iban\", \"api-key\", \"jwt\", \"private-key\"]\n\
             predicates = \"allow\"",
        ),
        "create table hashed (profile jsonb, doc json);
         insert into hashed values ('{\"a\":\"alice@example.com\"}', '{\"a\":\"alice@example.com\"}');
         create table fitting (short varchar(17), padded char(6));
         insert into fitting values ('alice@example.com', 'a@b.co');
         create table checked (id int check (id > 0), note text);",
    );
    let outcome = masked.script(true, "spelled.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    for word in [
        "4111111111",
        "078-05-112",
        "alice@ex",
        "eyJ",
        // In hexadecimal, and with an exponent.
        "616c69636540",
        "0457045704",
        "000e9b08a568f1c7",
        "4.1111",
        "3431313131",
    ] {
        masked.assert_unknown(word);
    }
}
