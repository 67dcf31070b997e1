//! Texts that are too long, or made to be slow.
use super::{outlook, relation};
use crate::interpret::flow::Flow;
use crate::interpret::parse::PARSED_BYTES_MAX;
use crate::mask::catalogue::Catalogue;
use crate::mask::outlook::Outlook;
use gateway_core::mask::UseKind;
use gateway_testkit::FakeMasks;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn of_what_is_too_long_nothing_is_understood_but_rows() {
    let outlook = outlook();
    let unreadable = |sql: &str| Flow::of(sql, &outlook) == Flow::unreadable();
    let padding = "x".repeat(PARSED_BYTES_MAX);
    for sql in [
        format!("select '{padding}', upper(email) from users order by 2"),
        format!("select set_config('allow_system_table_mods', 'on', false), '{padding}'"),
        format!("insert into plain select 1, '{padding}'"),
        format!("insert into plain values (1, set_config('a', 'b', false), '{padding}')"),
        format!("insert into plain values (1, (select email from users), '{padding}')"),
    ] {
        assert!(unreadable(&sql), "{}", &sql[..80]);
    }
    // What is long, and not too long, is read with its literals.
    let padding = "x".repeat(PARSED_BYTES_MAX / 2);
    let sql = format!("select set_config('allow_system_table_mods', 'on', false), '{padding}'");
    let flow = Flow::of(&sql, &outlook);
    assert!(flow.uses.iter().any(|(kind, _)| *kind == UseKind::Unproven));
    let values = "(1, 'x'), ".repeat(40_000);
    let sql = format!("insert into plain (id, note) values {values} (2, 'y')");
    let flow = Flow::of(&sql, &outlook);
    assert_eq!((flow.statements.len(), flow.uses.len()), (1, 0));
}

/// Just below the longest that is parsed, each made to be slow: whoever shares the thread waits.
#[test]
fn nothing_that_is_read_takes_long() {
    const BYTES: usize = PARSED_BYTES_MAX - 256;
    let outlook = outlook();
    let filled = |unit: &str| unit.repeat(BYTES / unit.len());
    let numbered = |make: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for unit in (1..).map(make) {
            if text.len() + unit.len() > BYTES {
                return text;
            }
            text.push_str(&unit);
        }
        text
    };
    // Of a text that is twice as long, one half each.
    let halves = |one: &str, other: &str| {
        let count = BYTES / (one.len() + other.len());
        (one.repeat(count), other.repeat(count))
    };
    let nested = |count: usize, one: &str, other: &str, inner: &str| {
        format!("{}{inner}{}", one.repeat(count), other.repeat(count))
    };
    let (columns, places) = halves("email,", "1,");
    let (names, ordered) = halves("note email,", "email,");
    let texts = [
        format!("SELECT {columns}1 FROM users ORDER BY {places}1"),
        format!("SELECT {names}1 FROM users ORDER BY {ordered}1"),
        format!("SELECT {names}1 FROM users GROUP BY GROUPING SETS (({ordered}1))"),
        format!("SELECT {}1 FROM users", filled("email x,")),
        format!("SELECT {}1 FROM users u", filled("u.email,")),
        format!("SELECT {}1 FROM users u", filled("email(u),")),
        format!("SELECT {}1 FROM users", filled("upper(email),")),
        format!("SELECT 1 FROM users WHERE {}true", filled("email='a' OR ")),
        format!(
            "SELECT 1 FROM users WHERE email IN ({}'x')",
            filled("email,")
        ),
        format!(
            "SELECT 1 FROM users{}",
            numbered(&|n| format!(",users a{n}"))
        ),
        format!(
            "SELECT a1.email FROM users{}",
            numbered(&|n| format!(",users a{n}"))
        ),
        format!("SELECT 1 FROM users{}", filled(" JOIN users USING(email)")),
        format!("SELECT 1 FROM users{}", filled(" NATURAL JOIN users")),
        format!("SELECT 1 FROM users{}", filled(",(SELECT email) a")),
        format!("SELECT {}1", filled("(SELECT email FROM users),")),
        format!(
            "WITH {} z AS (SELECT 1) SELECT 1",
            numbered(&|n| format!("a{n} AS (SELECT email FROM users),"))
        ),
        format!(
            "WITH a0 AS (SELECT email FROM users),{} z AS (SELECT 1) SELECT 1",
            numbered(&|n| format!("a{n} AS (SELECT * FROM a{}),", n - 1))
        ),
        format!(
            "SELECT email FROM users{}",
            filled(" UNION SELECT email FROM users")
        ),
        format!("UPDATE users SET {}id=1", filled("email=email,")),
        format!("UPDATE accounts SET {}id=1", filled("slot=1,")),
        format!(
            "INSERT INTO users VALUES {}(1)",
            filled("((SELECT email FROM users)),")
        ),
        filled("SELECT email FROM users;"),
        filled("CREATE VIEW a AS SELECT email FROM users;"),
        numbered(&|n| format!("CREATE TABLE a{n}(a int);SELECT email FROM a{n},users;")),
        format!(
            "SELECT {} FROM users",
            nested(24, "upper(email||", ")", "email")
        ),
        format!(
            "SELECT {} FROM users",
            nested(12, "(SELECT email FROM users WHERE email=", ")", "'a'")
        ),
        nested(
            12,
            "SELECT * FROM (SELECT email FROM users) a,(",
            ") b",
            "SELECT email FROM users",
        ),
        nested(
            12,
            "WITH a AS (",
            ") SELECT email FROM a ORDER BY email",
            "SELECT email FROM users",
        ),
        {
            // Each name is made of others, which are made of others.
            let of = |make: &dyn Fn(usize) -> String| (0..400).map(make).collect::<String>();
            let made = |n: usize, by: usize| format!("a{}", (n + by) % 400);
            format!(
                "SELECT {}1 FROM (SELECT {}1 FROM (SELECT {}1 FROM users) y) x",
                of(&|n| format!("to_jsonb(a{n}),")),
                of(&|n| format!("({}||{}||{}) AS a{n},", made(n, 1), made(n, 2), made(n, 5))),
                of(&|n| format!("email AS a{n},"))
            )
        },
        format!("COPY (SELECT {columns}1 FROM users ORDER BY {places}1) TO STDOUT"),
        format!(
            "MERGE INTO users u USING plain p ON u.email=p.email{}",
            filled(" WHEN MATCHED THEN DELETE")
        ),
        format!(
            "SELECT {}1 FROM users",
            filled("sum(id) OVER (ORDER BY email),")
        ),
        format!(
            "ALTER TABLE users {} ADD a int",
            filled("ADD CHECK (email>'a'),")
        ),
    ];
    for text in texts {
        assert!(text.len() <= PARSED_BYTES_MAX);
        let start: String = text.chars().take(60).collect();
        let began = Instant::now();
        let flow = Flow::of(&text, &outlook);
        let took = began.elapsed();
        // Without optimisation, and on a machine that does other things.
        assert!(took < Duration::from_secs(15), "{start}: {took:?}");
        assert!(flow.touches, "{start}");
    }
}

/// Views over views, each older than what it is of by now (CREATE OR REPLACE), of a thousand columns.
#[test]
fn a_chain_of_wide_views_does_not_take_long() {
    const VIEWS: u32 = 40;
    let names: Vec<String> = (0..1000).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut catalogue = Catalogue::default();
    let mut add = |oid, name: &str, definition: Option<&str>| {
        let (oid, relation) = relation(oid, name, &names, definition);
        catalogue.by_name.insert(name.into(), vec![oid]);
        catalogue.relations.insert(oid, relation);
    };
    let oid = |view: u32| 30_000 - view;
    add(oid(0), "w0", None);
    for view in 1..VIEWS {
        let of = format!("w{}", view - 1);
        let columns: Vec<String> = names.iter().map(|name| format!("{of}.{name}")).collect();
        let definition = format!("SELECT {} FROM {of}", columns.join(", "));
        add(oid(view), &format!("w{view}"), Some(&definition));
    }
    catalogue.changed_with = (1..VIEWS).map(|view| (oid(view), oid(view - 1))).collect();
    let masks = FakeMasks {
        covered: &["public.w0.a7"],
        watched: &[],
    };
    let began = Instant::now();
    let outlook = Outlook::new(7, Arc::new(catalogue), &masks, &Default::default());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    for view in 1..VIEWS {
        assert!(outlook.marked(oid(view), 8).is_some(), "w{view}");
        assert!(outlook.marked(oid(view), 9).is_none(), "w{view}");
    }
}
