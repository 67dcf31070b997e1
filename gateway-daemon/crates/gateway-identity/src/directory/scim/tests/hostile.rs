//! What no identity provider should send.
use super::*;

#[test]
fn a_body_that_is_not_what_it_should_be_is_refused() {
    let (_dir, scim) = fresh();
    create_user(&scim, "alice");
    let deep = format!("{}1{}", "[".repeat(500_000), "]".repeat(500_000));
    let user = |rest: &str| format!("{{\"schemas\": [\"{USER_SCHEMA}\"], {rest}}}");
    let long = "x".repeat(257);
    for (body, expected) in [
        (String::new(), (400, "invalidSyntax")),
        ("{".into(), (400, "invalidSyntax")),
        ("{} {}".into(), (400, "invalidSyntax")),
        ("[]".into(), (400, "invalidSyntax")),
        ("null".into(), (400, "invalidSyntax")),
        ("{\"userName\": \"x\"}".into(), (400, "invalidSyntax")),
        (
            format!("{{\"schemas\": [\"{GROUP_SCHEMA}\"], \"userName\": \"x\"}}"),
            (400, "invalidSyntax"),
        ),
        (
            format!("{{\"schemas\": \"{USER_SCHEMA}\", \"userName\": \"x\"}}"),
            (400, "invalidSyntax"),
        ),
        (
            user("\"userName\": \"x\", \"USERNAME\": \"y\""),
            (400, "invalidSyntax"),
        ),
        (
            user("\"name\": []  , \"userName\": \"x\""),
            (400, "invalidSyntax"),
        ),
        (user("\"active\": true"), (400, "invalidValue")),
        (user("\"userName\": null"), (400, "invalidValue")),
        (user("\"userName\": 5"), (400, "invalidValue")),
        (user("\"userName\": \"\""), (400, "invalidValue")),
        (user("\"userName\": \"*\""), (400, "invalidValue")),
        (user("\"userName\": \" x\""), (400, "invalidValue")),
        (user("\"userName\": \"a\\u0000\""), (400, "invalidValue")),
        (
            user(&format!("\"userName\": \"{long}\"")),
            (400, "invalidValue"),
        ),
        (
            user("\"userName\": \"x\", \"active\": 1"),
            (400, "invalidValue"),
        ),
        (
            user("\"userName\": \"x\", \"active\": \"yes\""),
            (400, "invalidValue"),
        ),
        (
            user("\"userName\": \"x\", \"externalId\": {}"),
            (400, "invalidValue"),
        ),
        (
            user(&format!("\"userName\": \"x\", \"displayName\": \"{long}\"")),
            (400, "invalidValue"),
        ),
        (
            user(&format!(
                "\"userName\": \"x\", \"emails\": [{}{{}}]",
                "{},".repeat(16)
            )),
            (400, "invalidValue"),
        ),
        (deep, (400, "invalidSyntax")),
        (" ".repeat((1 << 20) + 1), (413, "")),
    ] {
        let answer = send_bytes(&scim, "POST", "/Users", body.as_bytes());
        let shown = &body[..body.len().min(120)];
        assert_eq!(scim_type(&answer), expected, "{shown}");
    }
    let answer = send_bytes(&scim, "POST", "/Users", b"{\"userName\": \"\xff\"}");
    assert_eq!(scim_type(&answer), (400, "invalidSyntax"));
    assert_eq!(get(&scim, "/Users").1["totalResults"], json!(1));
}

#[test]
fn a_group_is_held_to_its_rules() {
    let (_dir, scim) = fresh();
    let alice = create_user(&scim, "alice");
    let many = vec![alice.clone(); 10_001];
    let dba = create_group(&scim, "dba", &[]);
    for (body, expected) in [
        (group("*", &[]), (400, "invalidValue")),
        (group("group:dba", &[]), (400, "invalidValue")),
        (
            group("x", &["u2-00000000000000ff".into()]),
            (400, "invalidValue"),
        ),
        (group("x", &[dba]), (400, "invalidValue")),
        (
            group("x", &["u1-00000000000000fe".into()]),
            (400, "invalidValue"),
        ),
        (
            group("x", &["u01-00000000000000ff".into()]),
            (400, "invalidValue"),
        ),
        (
            group("x", &["u+1-00000000000000ff".into()]),
            (400, "invalidValue"),
        ),
        (group("x", &many), (413, "")),
    ] {
        let answer = send(&scim, "POST", "/Groups", &body);
        assert_eq!(scim_type(&answer), expected, "{}", answer.1);
    }
    assert_eq!(get(&scim, "/Groups").1["totalResults"], json!(1));
    let target = "/Groups/g2-00000000000000ff";
    let half = json!({"op": "add", "path": "members", "value": many[..6000].iter()
        .map(|id| json!({"value": id})).collect::<Vec<_>>()});
    let body = patch(&json!([half, half]));
    assert_eq!(send(&scim, "PATCH", target, &body).0, 413);
}

#[test]
fn a_patch_that_is_none_is_refused() {
    let (_dir, scim) = fresh();
    let user = create_user(&scim, "alice");
    let group = create_group(&scim, "dba", std::slice::from_ref(&user));
    let (user, group) = (format!("/Users/{user}"), format!("/Groups/{group}"));
    let one =
        |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
    for (target, operations, expected) in [
        (&user, json!("x"), (400, "invalidSyntax")),
        (&user, json!(["x"]), (400, "invalidSyntax")),
        (
            &user,
            json!([{"path": "active", "value": true}]),
            (400, "invalidSyntax"),
        ),
        (
            &user,
            one("test", "active", json!(true)),
            (400, "invalidSyntax"),
        ),
        (&user, json!([{"op": "remove"}]), (400, "noTarget")),
        (
            &user,
            json!([{"op": "add", "value": "x"}]),
            (400, "invalidSyntax"),
        ),
        (
            &user,
            json!([{"op": "add", "path": 5, "value": "x"}]),
            (400, "invalidPath"),
        ),
        (
            &user,
            one("replace", "id", json!("u9")),
            (400, "mutability"),
        ),
        (
            &user,
            one("add", "groups", json!([{"value": "g1"}])),
            (400, "mutability"),
        ),
        (
            &user,
            one("remove", "userName", json!(null)),
            (400, "invalidValue"),
        ),
        (
            &user,
            one("replace", "userName", json!("*")),
            (400, "invalidValue"),
        ),
        (
            &user,
            one("replace", "active.x", json!(true)),
            (400, "invalidPath"),
        ),
        (
            &user,
            one("replace", "active[x eq true]", json!(true)),
            (400, "invalidPath"),
        ),
        (
            &user,
            one("replace", "emails[", json!("x")),
            (400, "invalidPath"),
        ),
        (
            &user,
            one("replace", "emails[type eq \"]\"", json!("x")),
            (400, "invalidPath"),
        ),
        (
            &user,
            one("replace", "emails[type ne \"x\"]", json!({})),
            (400, "invalidFilter"),
        ),
        (
            &user,
            one("replace", "emails[x eq \"x\"]", json!({})),
            (200, ""),
        ),
        (
            &user,
            one("replace", "a b", json!("x")),
            (400, "invalidPath"),
        ),
        (&user, one("replace", "", json!("x")), (400, "invalidPath")),
        (
            &user,
            one("replace", "name..x", json!("x")),
            (400, "invalidPath"),
        ),
        (
            &user,
            one("replace", &"a".repeat(1025), json!("x")),
            (400, "invalidPath"),
        ),
        (
            &group,
            one("remove", "displayName", json!(null)),
            (400, "invalidValue"),
        ),
        (
            &group,
            one("add", "members.value", json!("x")),
            (400, "invalidPath"),
        ),
        (
            &group,
            one("add", "members[value eq \"x\"]", json!("x")),
            (400, "invalidPath"),
        ),
        (
            &group,
            one("remove", "members[display eq \"x\"]", json!(null)),
            (400, "invalidFilter"),
        ),
        (
            &group,
            one(
                "remove",
                "members[value eq \"x\" or value eq \"y\"]",
                json!(null),
            ),
            (400, "invalidFilter"),
        ),
        (
            &group,
            one("add", "members", json!([{"display": "x"}])),
            (400, "invalidValue"),
        ),
        (
            &group,
            one("add", "members", json!(["x"])),
            (400, "invalidSyntax"),
        ),
        (
            &group,
            one("remove", "members[value eq \"x\"]", json!(null)),
            (204, ""),
        ),
    ] {
        let answer = send(&scim, "PATCH", target, &patch(&operations));
        assert_eq!(scim_type(&answer), expected, "{operations}");
    }
    let body = json!({"schemas": [USER_SCHEMA], "Operations": []});
    let answer = send(&scim, "PATCH", &user, &body);
    assert_eq!(scim_type(&answer), (400, "invalidSyntax"));
    let many = vec![json!({"op": "add", "path": "x", "value": 1}); 10_001];
    assert_eq!(send(&scim, "PATCH", &user, &patch(&json!(many))).0, 413);
    assert_eq!(known(&scim, "user:alice"), active(&["dba"]));
}

#[test]
fn a_filter_says_one_thing_or_is_refused() {
    let (_dir, scim) = fresh();
    for name in ["alice", "a\"b", "x\" or userName eq \"alice", "back\\slash"] {
        create_user(&scim, name);
    }
    let encoded = |filter: &str| {
        form_urlencoded::Serializer::new(String::from("/Users?"))
            .append_pair("filter", filter)
            .finish()
    };
    for (filter, total) in [
        ("userName eq \"ALICE\"", 1),
        ("USERNAME EQ \"alice\"", 1),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"alice\"",
            1,
        ),
        ("userName eq \"a\\\"b\"", 1),
        ("userName eq \"x\\\" or userName eq \\\"alice\"", 1),
        ("userName eq \"back\\\\slash\"", 1),
        ("userName eq \"a*\"", 0),
        ("userName eq \"\"", 0),
        ("userName eq \"alice\" and active eq true", 1),
        ("userName eq \"alice\" and active eq false", 0),
        ("active eq \"True\"", 4),
        ("id eq \"u1-00000000000000ff\"", 1),
        ("externalId eq \"alice\"", 0),
    ] {
        let (status, list) = get(&scim, &encoded(filter));
        assert_eq!(
            (status, &list["totalResults"]),
            (200, &json!(total)),
            "{filter}"
        );
    }
    for filter in [
        "",
        "userName",
        "userName eq",
        "userName eq alice",
        "userName eq 'alice'",
        "userName eq \"alice",
        "userName eq \"alice\"x",
        "userName eq \"a\"b\"",
        "userName eq \"alice\"and active eq true",
        "userName eq \"x\" or userName eq \"alice\"",
        "userName eq \"x\" and",
        "userName ne \"alice\"",
        "userName co \"a\"",
        "userName pr",
        "not (userName eq \"alice\")",
        "(userName eq \"alice\")",
        "userName eq true",
        "userName eq 1",
        "userName eq {}",
        "password eq \"x\"",
        "userName eq \"alice\" and password eq \"x\"",
        "meta.lastModified gt \"2011-05-13T04:42:34Z\"",
        &["active eq true"; 9].join(" and "),
    ] {
        let answer = get(&scim, &encoded(filter));
        assert_eq!(scim_type(&answer), (400, "invalidFilter"), "{filter}");
    }
    let twice = "/Users?filter=active+eq+false&filter=active+eq+true";
    assert_eq!(scim_type(&get(&scim, twice)), (400, "invalidValue"));
    let long = format!("/Users?filter={}", "x".repeat(8192));
    assert_eq!(get(&scim, &long).0, 414);
}

#[test]
fn a_user_cannot_be_in_groups_without_end() {
    let mut content = Content {
        nonce: 1,
        next: 1000,
        users: [(1, Arc::new(User::from_resource(&user("a"), None).unwrap()))].into(),
        groups: Default::default(),
        gone: Default::default(),
    };
    let group = |name: String| Group {
        display_name: name.into(),
        external_id: None,
        members: [1].into(),
    };
    for number in 2..258 {
        content
            .groups
            .insert(number, Arc::new(group(format!("g{number}"))));
    }
    let mut state = State::new(content).unwrap();
    let problem = state.create_group(group("more".into())).unwrap_err();
    assert_eq!(problem.response().status, 507);
}

#[test]
fn an_offboarding_that_cannot_be_kept_leaves_the_user_inactive() {
    let content = Content {
        nonce: 1,
        next: 9,
        users: [(1, Arc::new(User::from_resource(&user("a"), None).unwrap()))].into(),
        groups: Default::default(),
        gone: (0..100_000)
            .map(|n| Arc::from(format!("gone{n}")))
            .collect(),
    };
    let mut state = State::new(content).unwrap();
    let mut renamed = User::clone(state.user(1).unwrap());
    renamed.user_name = "b".into();
    let problem = state.clone().replace_user(1, renamed).unwrap_err();
    assert_eq!(problem.response().status, 507);
    assert!(state.delete_user("u1-0000000000000001").unwrap().is_some());
    let entry = state.entry("user:a").unwrap();
    assert_eq!(entry.status, Status::Offboarded);
    assert!(state.user(1).is_ok());
}
