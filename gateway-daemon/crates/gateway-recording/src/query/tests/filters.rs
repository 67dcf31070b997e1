//! What each filter narrows a query to, by scanning and by the index.
use super::*;

type Narrow = fn(&mut Query);

fn pattern(text: &str) -> Option<Pattern> {
    Some(Pattern::new(text))
}

fn narrowed(narrow: Narrow) -> Query {
    let mut query = Query::default();
    narrow(&mut query);
    query
}

#[test]
fn each_filter_of_operations_narrows_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let _journal = everything(&path);
    let all = "1.1 2.1 1.2 2.2 3.1";
    let table: [(Narrow, &str); 30] = [
        (|_| {}, all),
        (|q| q.session = Some(SessionId(2)), "2.1 2.2"),
        (|q| q.session = Some(SessionId(9)), ""),
        (|q| q.tree = Some(TreeId(10)), "1.1 1.2 3.1"),
        (|q| q.tree = Some(TreeId(11)), ""),
        (|q| q.principal = pattern("local:alice"), "1.1 1.2"),
        (|q| q.principal = pattern("local:*"), "1.1 1.2 3.1"),
        (|q| q.principal = pattern("ci:*@*/main"), "2.1 2.2"),
        (|q| q.principal = pattern("*"), all),
        (|q| q.principal = pattern("local:"), ""),
        (|q| q.principal = pattern("user:carol"), "3.1"),
        (|q| q.resource = pattern("prod-*"), all),
        (|q| q.resource = pattern("test-*"), ""),
        (|q| q.protocol = Some("postgres".into()), all),
        (|q| q.protocol = Some("mysql".into()), ""),
        (|q| q.since = Some(Parts::new(2, 0, "").time), "2.1 2.2 3.1"),
        (|q| q.verb = Some(Verb::Delete), "2.1"),
        (|q| q.verdict = Some("deny".into()), "1.2 2.2"),
        (|q| q.verdict = Some("expired".into()), ""),
        (|q| q.grep = Some("Drop".into()), "1.2 2.2"),
        (|q| q.grep = Some("bobby".into()), "2.1"),
        (|q| q.grep = Some("\u{dc}BER".into()), "2.1"),
        (|q| q.grep = Some("DROP*users".into()), ""),
        (|q| q.disclosed = pattern("public.users.phone"), "1.1 2.2"),
        (|q| q.disclosed = pattern("*.phone"), "1.1 2.2"),
        (|q| q.disclosed = pattern("public.users.email"), ""),
        (|q| q.masked = pattern("public.users.*"), "1.1 2.2"),
        (
            |q| (q.disclosed, q.masked) = (pattern("*"), pattern("phone")),
            "",
        ),
        (|q| q.live = true, "2.1 2.2 3.1"),
        (
            |q| (q.tree, q.verdict, q.live) = (Some(TreeId(10)), Some("allow".into()), true),
            "3.1",
        ),
    ];
    for (how, reader) in readers(&path) {
        for (narrow, expected) in table {
            let query = narrowed(narrow);
            assert_eq!(
                ids(&reader, &query).join(" "),
                expected,
                "{query:?}, by {how}"
            );
        }
    }
}

#[test]
fn each_filter_of_sessions_narrows_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = everything(&path);
    let table: [(Narrow, &[u64]); 13] = [
        (|_| {}, &[1, 2, 3]),
        (|q| q.session = Some(SessionId(1)), &[1]),
        (|q| q.tree = Some(TreeId(10)), &[1, 3]),
        (|q| q.principal = pattern("*:alice"), &[1]),
        (|q| q.principal = pattern("user:*"), &[3]),
        (|q| q.resource = pattern("prod-orders"), &[1, 2, 3]),
        (|q| q.resource = pattern("10.0.0.7*"), &[]),
        (|q| q.protocol = Some("postgres".into()), &[1, 2, 3]),
        (|q| q.protocol = Some("redis".into()), &[]),
        (|q| q.since = Some(closed(1).time), &[1, 2, 3]),
        (|q| q.since = Some(Timestamp(closed(1).time.0 + 1)), &[2, 3]),
        (|q| q.live = true, &[2, 3]),
        (|q| (q.live, q.tree) = (true, Some(TreeId(10))), &[3]),
    ];
    for (how, reader) in readers(&path) {
        for (narrow, expected) in table {
            let query = narrowed(narrow);
            assert_eq!(
                session_ids(&reader, &query),
                expected,
                "{query:?}, by {how}"
            );
        }
    }
    drop(journal);
    let live = Query {
        live: true,
        ..Query::default()
    };
    for (how, reader) in readers(&path) {
        assert_eq!(
            session_ids(&reader, &live),
            [0; 0],
            "nobody holds them open, by {how}"
        );
        assert_eq!(ids(&reader, &live), [""; 0], "by {how}");
    }
}
