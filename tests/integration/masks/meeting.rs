//! Columns that several masks are about: each of them is obeyed.
use super::*;

/// Two fields with masks of their own, and what is made of both of them.
const SCHEMA: &str = "
create table users (
    id int primary key, email text not null, ssn text not null,
    pair text generated always as (email || ' ' || ssn) stored
);
insert into users values (1, 'first-k4n4ry', '078-k4n4ry'), (2, 'second-k4n4ry', '079-k4n4ry');
create table logins (id int, mail text);
insert into logins values (1, 'first-k4n4ry');
create type identity as (email text, ssn text);
create view named as select id, email || ssn as pair from users;
create materialized view kept as select id, ssn || email as pair from users;
create view apart as select id, email as ssn_or_email from users
    union all select id, ssn from users;
";

const MASKS: &str = r#"
[[mask]]
name = "soft"
fields = ["public.users.email"]
with = "partial"
predicates = "allow"

[[mask]]
name = "hard"
fields = ["public.users.ssn"]
"#;

fn rules(masks: &str) -> String {
    format!(
        "[[rule]]\nname = \"all\"\nverbs = [\"*\"]\nverdict = \"allow\"\nmasks = [{masks}]\n{MASKS}"
    )
}

#[test]
fn what_is_made_of_two_fields_is_judged_by_both_masks() {
    let masked = Masked::over(&rules("\"soft\", \"hard\""), SCHEMA);
    assert_eq!(
        masked.sees("select email from users where id = 1"),
        "********n4ry"
    );
    assert_eq!(masked.sees("select id from users where email ~ '^f'"), "1");
    let questions = [
        "select id from users where ssn ~ '^078'",
        "select id from users where pair ~ '078'",
        "select id from named where pair ~ '078'",
        "select id from kept where pair ~ '078'",
        "select id from apart where ssn_or_email ~ '078'",
        "select id from named order by pair",
        "select id from named n where n::text ~ '078'",
    ];
    for question in questions {
        let refusal = masked.fails(question);
        assert!(
            refusal.contains("public.users.ssn"),
            "{question}: {refusal}"
        );
    }
    for relation in ["users", "named", "kept"] {
        let shown = masked.sees(&format!("select pair from {relation} where id = 1"));
        assert_eq!(shown, "[masked]", "{relation}");
    }
    assert_eq!(
        masked.sees("select distinct id, 'x' from apart where id = 1"),
        "1|x"
    );
    assert_eq!(
        masked.sees("select ssn_or_email from apart where id = 1"),
        "[masked]\n[masked]"
    );
    let record = masked.record("select pair from named");
    for field in ["public.users.email", "public.users.ssn"] {
        assert_eq!(record["masked"][field], 1, "{record}");
    }
    masked.assert_unknown("078-k4n4ry");
}

#[test]
fn a_column_that_gets_the_name_of_a_laxer_mask_keeps_its_own() {
    let masked = Masked::over(&rules("\"soft\", \"hard\""), SCHEMA);
    assert_eq!(
        masked.sees("select ssn from users where id = 1"),
        "[masked]"
    );
    // Who may, from elsewhere: the gateway finds out when it reads the catalogue anew.
    let renames = "alter table users drop column pair cascade; \
                   alter table users rename email to mail; alter table users rename ssn to email";
    masked.scene.cluster.query(renames).unwrap();
    assert_eq!(
        masked.sees("select email from users where id = 1"),
        "[masked]"
    );
    wait::until_true("the new name to be known", PATIENCE, || {
        let outcome = masked.psql("select id from users where email ~ '078'");
        outcome.stderr.contains("public.users.ssn")
    })
    .unwrap();
    masked.assert_unknown("078-k4n4ry");
}

#[test]
fn each_field_that_was_seen_in_the_clear_is_on_record() {
    let masked = Masked::over(&rules(""), SCHEMA);
    for statement in [
        "select email || ssn from users",
        "select pair from named",
        "select pair from users",
        "copy (select pair from kept) to stdout",
    ] {
        masked.sees(statement);
        let record = masked.record(statement);
        for field in ["public.users.email", "public.users.ssn"] {
            assert_eq!(record["disclosed_rows"][field], 2, "{statement}: {record}");
        }
    }
}
