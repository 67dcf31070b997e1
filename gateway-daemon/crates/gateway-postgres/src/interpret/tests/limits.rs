//! Sizes and depths: nothing overflows, nothing takes long, and what is too much is `unknown`.
use super::*;
use std::time::{Duration, Instant};

/// The stack of the daemon's workers, in bytes.
const WORKER_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Classifies on a stack as small as those of the workers.
fn classify_on_a_worker(sql: String) -> Arc<Classification> {
    std::thread::Builder::new()
        .stack_size(WORKER_STACK_BYTES)
        .spawn(move || classify(&sql))
        .expect("a thread")
        .join()
        .expect("no panic, and no overflow")
}

#[test]
fn nesting_ends_in_unknown_and_never_in_a_crash() {
    const MANY: usize = 20_000;
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        format!(
            "SELECT {}{inner}{}",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let texts = [
        "(".repeat(1 << 20),
        format!("SELECT {}", "(".repeat(100_000)),
        nested("(", "1", ")", 3_000),
        nested("(", "1", ")", MANY),
        nested("f(", "1", ")", MANY),
        nested("(SELECT ", "1", ")", MANY),
        nested("ARRAY[", "1", "]", MANY),
        nested("CASE WHEN true THEN ", "1", " END", 4_000),
        nested("NOT ", "true", "", MANY),
        nested("- ", "a", "", MANY),
        nested("@ ", "a", "", MANY),
        nested("ROW(", "1", ")", MANY),
        nested("CAST(", "1", " AS int)", 6_000),
        nested("", "1", "::int", MANY),
        nested("", "1", "+1", MANY),
        nested("", "1", "+1", 60_000),
        nested("", "'a'", "||'b'", MANY),
        nested("", "1", " UNION ALL SELECT 1", 6_000),
        nested("", "a", ".b", MANY),
        nested("", "(a)", "[1]", MANY),
        nested("", "1 FROM a", " JOIN b ON true", 8_000),
        nested("1 FROM (SELECT ", "1", ") s", 6_000),
        format!("WITH {} SELECT 1", "a AS (WITH ".repeat(3_000)),
        format!("EXPLAIN {} SELECT 1", "EXPLAIN ".repeat(10_000)),
        format!("{}SELECT 1{}", "/*".repeat(30_000), "*/".repeat(30_000)),
    ];
    for text in texts {
        let start: String = text.chars().take(60).collect();
        let classification = classify_on_a_worker(text);
        let effects = rendered(&classification.effects);
        // The parser folds some of these; nothing may be taken for less than it is.
        let is_harmless = effects == "read" || effects == "unknown ?*";
        assert!(is_harmless, "{start}: {effects}");
    }
}

#[test]
fn what_people_write_is_not_too_deep() {
    let ands = "x = 1 AND ".repeat(2_000);
    let rows = [
        format!("SELECT 1 FROM a WHERE {ands} true"),
        format!("SELECT 1 FROM a WHERE {} true", "x = 1 OR ".repeat(2_000)),
        format!("SELECT 1 {} FROM a", "+ 1".repeat(40)),
        format!("SELECT 'a' {} FROM a", "|| 'b'".repeat(40)),
        format!("SELECT 1 FROM a {}", " UNION ALL SELECT 1".repeat(60)),
        format!(
            "SELECT * FROM {} a {}",
            "(SELECT * FROM".repeat(15),
            ") s".repeat(15)
        ),
        format!("SELECT 1 FROM a WHERE id IN ({}1)", "1, ".repeat(20_000)),
        format!("SELECT 1 FROM a {}", "LEFT JOIN a b ON true ".repeat(40)),
    ];
    for text in rows {
        let start: String = text.chars().take(60).collect();
        let classification = classify_on_a_worker(text);
        assert_eq!(
            rendered(&classification.effects),
            "read public.a",
            "{start}"
        );
    }
}

#[test]
fn long_statements_are_read_when_their_length_is_in_their_literals() {
    let rows = [
        format!("INSERT INTO a VALUES ('{}')", "x".repeat(8 << 20)),
        format!(
            "INSERT INTO a VALUES {}(1, 'x', NULL)",
            "(1, 'x', NULL), ".repeat(100_000)
        ),
        format!(
            "INSERT INTO a VALUES (0, now()){}",
            ", (1, now())".repeat(1_000)
        ),
        format!(
            "INSERT INTO a VALUES {}(1, 'x', 2.5)",
            "(-1, 'it''s', 1e5),\n".repeat(100_000)
        ),
    ];
    for text in rows {
        let classification = classify_on_a_worker(text);
        assert_eq!(rendered(&classification.effects), "write public.a");
    }
    let long = format!("DELETE FROM a WHERE id IN ({}1)", "1,".repeat(1 << 20));
    let classification = classify_on_a_worker(long);
    assert_eq!(rendered(&classification.effects), "delete public.a");
    assert!(classification.has_where());
}

#[test]
fn long_statements_that_cannot_be_made_short_are_unknown() {
    let rows = [
        format!("SELECT {} FROM a", "x,".repeat(200_000) + "x"),
        format!("SELECT set_config('a', '{}', false)", "x".repeat(200_000)),
        format!("SELECT E'{}'", "x".repeat(200_000)),
        format!("{}SELECT 1", " ".repeat(200_000)),
        "SELECT 1;".repeat(100_000),
    ];
    for text in rows {
        let classification = classify_on_a_worker(text);
        assert_eq!(rendered(&classification.effects), "unknown ?*");
    }
}

#[test]
fn nothing_that_is_read_takes_long() {
    // Just below the longest that is parsed, each made to be slow.
    const BYTES: usize = parse::PARSED_BYTES_MAX - 64;
    let filled = |unit: &str| unit.repeat(BYTES / unit.len());
    let numbered = |make: fn(usize) -> String| {
        let mut text = String::new();
        for number in 0.. {
            let unit = make(number);
            if text.len() + unit.len() > BYTES {
                break;
            }
            text.push_str(&unit);
        }
        text
    };
    let names = numbered(|n| format!("a{n} AS (SELECT 1), "));
    let texts = [
        format!("SELECT {}1", filled("x,")),
        filled("SELECT 1;"),
        filled("EXECUTE a;"),
        numbered(|n| format!("EXECUTE a{n};")),
        numbered(|n| format!("PREPARE a{n} AS SELECT 1;EXECUTE a{n};")),
        numbered(|n| format!("SET search_path = a{n};SELECT * FROM b;")),
        format!("WITH {} z AS (SELECT 1) SELECT {}", names, "1"),
        format!(
            "SELECT * FROM a{} FOR UPDATE",
            numbered(|n| format!(", a{n}"))
        ),
        format!(
            "SELECT * FROM a{}",
            numbered(|n| format!(" FOR UPDATE OF a{n}"))
        ),
        format!("SELECT * FROM a{}", numbered(|n| format!(", f(x) a{n}"))),
        format!("SELECT {}1 FROM lower('x') x", filled("x.y,")),
        format!(
            "MERGE INTO a USING b ON true{}",
            filled(" WHEN MATCHED THEN DELETE")
        ),
    ];
    for text in texts {
        assert!(text.len() <= parse::PARSED_BYTES_MAX);
        let start: String = text.chars().take(40).collect();
        let began = Instant::now();
        let classification = classify(&text);
        let took = began.elapsed();
        // Without optimisation, and on a machine that does other things: a hundredfold is room.
        assert!(took < Duration::from_secs(20), "{start}: {took:?}");
        assert!(!classification.effects.is_empty());
    }
}
