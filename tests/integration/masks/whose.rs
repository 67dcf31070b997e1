//! What belongs together: answers and requests, names and the search path, portals and who runs them.
use super::{CANARY, Masked, scripts};
use std::fs;

fn passes(masked: &Masked, program: &str) {
    let outcome = masked.script(true, program, "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
}

#[test]
fn an_answer_is_masked_as_that_of_its_own_request() {
    for predicates in ["allow", "deny"] {
        passes(
            &Masked::new(&format!("predicates = \"{predicates}\"")),
            "whose.py",
        );
    }
}

#[test]
fn names_are_looked_up_where_the_server_does() {
    const RULES: &str = "
[[rule]]
name = \"what is secret\"
objects = [\"secret.*\"]
verdict = \"deny\"

[[rule]]
name = \"the rest\"
verbs = [\"*\"]
verdict = \"allow\"
";
    let schema = fs::read_to_string(scripts().join("path.sql")).unwrap();
    passes(&Masked::over(RULES, &schema), "path.py");
}

#[test]
fn a_held_statement_is_not_run_by_what_fetches_from_it() {
    const RULES: &str = "
[[rule]]
name = \"a human for what deletes\"
verbs = [\"delete\"]
verdict = \"hold\"
approvers = [\"local:root\"]
timeout = \"1s\"

[[rule]]
name = \"the rest\"
verbs = [\"*\"]
verdict = \"allow\"
";
    let schema = "create table accounts (id int); insert into accounts values (1), (2), (3);
        create function taken(c refcursor) returns setof int language plpgsql as
          $$ declare r record; begin loop fetch c into r; exit when not found; return next r.id; end loop; end $$";
    let masked = Masked::over(RULES, schema);
    passes(&masked, "portals.py");
    assert_eq!(masked.sees("select count(*) from accounts"), "3");
}
