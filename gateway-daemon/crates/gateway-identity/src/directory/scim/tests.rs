//! The life of users and groups, as Okta and as Entra tell it.
mod hostile;
mod model;
mod restart;

use super::state::Content;
use super::testing::*;
use super::*;
use crate::directory::entry::Status;
use serde_json::json;

pub(super) fn open(dir: &tempfile::TempDir) -> Scim {
    Scim::open(dir.path(), "https://gw/scim/v2/", 0xff).unwrap()
}

fn fresh() -> (tempfile::TempDir, Scim) {
    let dir = tempfile::tempdir().unwrap();
    let scim = open(&dir);
    (dir, scim)
}

/// The status of a principal and its groups; `None` for one that is not known.
pub(super) fn known(scim: &Scim, id: &str) -> Option<(Status, Vec<String>)> {
    let entry = scim.entry(id)?;
    let groups = entry.groups.iter().map(ToString::to_string).collect();
    Some((entry.status, groups))
}

fn active(groups: &[&str]) -> Option<(Status, Vec<String>)> {
    let groups = groups.iter().map(ToString::to_string).collect();
    Some((Status::Active, groups))
}

pub(super) const OFFBOARDED: Option<(Status, Vec<String>)> = Some((Status::Offboarded, Vec::new()));

fn scim_type(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["scimType"].as_str().unwrap_or_default())
}

#[test]
fn okta_provisions_and_deactivates_a_user() {
    let (_dir, scim) = fresh();
    let question = "/Users?filter=userName%20eq%20%22alice%40acme.com%22&startIndex=1&count=100";
    let (status, list) = get(&scim, question);
    assert_eq!((status, &list["totalResults"]), (200, &json!(0)));
    let body = json!({
        "schemas": [USER_SCHEMA],
        "userName": "alice@acme.com",
        "name": {"givenName": "Alice", "familyName": "A"},
        "emails": [{"primary": true, "value": "alice@acme.com", "type": "work"}],
        "displayName": "Alice A",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": true,
    });
    let (status, made) = send(&scim, "POST", "/Users", &body);
    assert_eq!(status, 201);
    let id = made["id"].as_str().unwrap();
    let expected = json!({
        "schemas": [USER_SCHEMA],
        "id": "u1-00000000000000ff",
        "userName": "alice@acme.com",
        "name": {"givenName": "Alice", "familyName": "A"},
        "emails": [{"primary": true, "value": "alice@acme.com", "type": "work"}],
        "displayName": "Alice A",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "active": true,
        "meta": {
            "resourceType": "User",
            "location": "https://gw/scim/v2/Users/u1-00000000000000ff",
        },
    });
    assert_eq!(made, expected, "no password, no locale");
    assert_eq!(get(&scim, &format!("/Users/{id}")), (200, expected.clone()));
    let (_, list) = get(&scim, question);
    assert_eq!(list["Resources"], json!([expected]));
    assert_eq!(known(&scim, "user:Alice@acme.com"), active(&[]));

    let mut changed = body.clone();
    changed["name"]["familyName"] = json!("B");
    let (status, put) = send(&scim, "PUT", &format!("/Users/{id}"), &changed);
    assert_eq!((status, &put["name"]["familyName"]), (200, &json!("B")));

    set_active(&scim, id, false);
    assert_eq!(known(&scim, "user:alice@acme.com"), OFFBOARDED);
    let mut silent = body.clone();
    silent.as_object_mut().unwrap().remove("active");
    let (_, put) = send(&scim, "PUT", &format!("/Users/{id}"), &silent);
    assert_eq!(
        put["active"],
        json!(false),
        "a PUT without it brings nobody back"
    );
    set_active(&scim, id, true);
    assert_eq!(known(&scim, "user:alice@acme.com"), active(&[]));
}

#[test]
fn okta_pushes_a_group() {
    let (_dir, scim) = fresh();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| create_user(&scim, name));
    let group = create_group(&scim, "Engineering", &[]);
    let target = format!("/Groups/{group}");
    let change = |operations: Value| {
        let answer = send(&scim, "PATCH", &target, &patch(&operations));
        assert_eq!(answer, (204, Value::Null));
    };
    change(json!([
        {"op": "replace", "value": {"id": group, "displayName": "engineering"}},
        {"op": "add", "path": "members", "value": [
            {"value": alice, "display": "alice"}, {"value": bob, "display": "bob"}]},
    ]));
    assert_eq!(known(&scim, "user:alice"), active(&["engineering"]));
    let (_, shown) = get(&scim, &target);
    let member = |id: &str, name: &str| json!({"value": id, "display": name});
    assert_eq!(
        shown["members"],
        json!([member(&alice, "alice"), member(&bob, "bob")])
    );
    let (_, shown) = get(&scim, &format!("/Users/{alice}"));
    let expected = json!([{"value": group, "display": "engineering", "type": "direct"}]);
    assert_eq!(shown["groups"], expected);
    change(json!([{"op": "remove", "path": format!("members[value eq \"{alice}\"]")}]));
    assert_eq!(known(&scim, "user:alice"), active(&[]));
    change(json!([{"op": "replace", "path": "members", "value": [{"value": carol}]}]));
    assert_eq!(known(&scim, "user:bob"), active(&[]));
    assert_eq!(known(&scim, "user:carol"), active(&["engineering"]));
    let body = super::testing::group("dba", &[bob]);
    let (status, put) = send(&scim, "PUT", &target, &body);
    assert_eq!((status, &put["displayName"]), (200, &json!("dba")));
    assert_eq!(known(&scim, "user:bob"), active(&["dba"]));
    delete(&scim, &target);
    assert_eq!(known(&scim, "user:bob"), active(&[]));
    assert_eq!(get(&scim, &target).0, 404);
}

#[test]
fn entra_speaks_its_own_dialect() {
    let (_dir, scim) = fresh();
    let body = json!({
        "schemas": [USER_SCHEMA, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "externalId": "jyoung",
        "userName": "Test_User@acme.com",
        "active": "True",
        "addresses": null,
        "displayName": "lennay",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "bob"},
    });
    let (status, made) = send(&scim, "POST", "/Users", &body);
    assert_eq!((status, &made["active"]), (201, &json!(true)));
    let id = made["id"].as_str().unwrap();
    let target = format!("/Users/{id}");
    let change = |operations: Value| {
        let (status, user) = send(&scim, "PATCH", &target, &patch(&operations));
        assert_eq!(status, 200, "{user}");
        user
    };
    let (_, list) = get(&scim, "/Users?filter=externalId+eq+%22jyoung%22");
    assert_eq!(list["totalResults"], json!(1));
    let user = change(json!([
        {"op": "Replace", "path": "displayName", "value": "Lennay"},
        {"op": "Add", "path": "emails[type eq \"work\"].value", "value": "l@acme.com"},
        {"op": "Add", "path": "name.givenName", "value": "Len"},
        {"op": "Replace", "value": {"name.familyName": "Nay", "nickName": "x",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "y"}},
        {"op": "Add", "path": "addresses[type eq \"work\"].formatted", "value": "street"},
        {"op": "Add",
         "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
         "value": [{"$ref": "...", "value": "7ea3"}]},
        {"op": "Replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:externalId",
         "value": "jyoung2"},
    ]));
    assert_eq!(user["displayName"], "Lennay");
    assert_eq!(
        user["emails"],
        json!([{"type": "work", "value": "l@acme.com"}])
    );
    assert_eq!(
        user["name"],
        json!({"givenName": "Len", "familyName": "Nay"})
    );
    assert_eq!(user["externalId"], "jyoung2");
    let user = change(json!([
        {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "n@acme.com"}]));
    assert_eq!(
        user["emails"],
        json!([{"type": "work", "value": "n@acme.com"}])
    );
    let user = change(json!([{"op": "Remove", "path": "emails[type eq \"work\"]"}]));
    assert_eq!(user.get("emails"), None);

    let group = create_group(&scim, "Ops", &[]);
    let in_group = |operations: Value| {
        send(
            &scim,
            "PATCH",
            &format!("/Groups/{group}"),
            &patch(&operations),
        )
    };
    let member = json!([{"$ref": null, "value": id}]);
    let (status, _) = in_group(json!([{"op": "Add", "path": "members", "value": member}]));
    assert_eq!(status, 204);
    assert_eq!(known(&scim, "user:test_user@acme.com"), active(&["Ops"]));
    let question =
        format!("/Groups?filter=id%20eq%20%22{group}%22%20and%20members%20eq%20%22{id}%22");
    assert_eq!(get(&scim, &question).1["totalResults"], json!(1));
    let question = "/Groups?excludedAttributes=members&filter=displayName%20eq%20%22OPS%22";
    let (_, list) = get(&scim, question);
    assert_eq!(list["Resources"][0]["id"], json!(group));
    assert_eq!(list["Resources"][0].get("members"), None);
    let (status, _) = in_group(json!([{"op": "Remove", "path": "members", "value": member}]));
    assert_eq!(status, 204);
    assert_eq!(known(&scim, "user:test_user@acme.com"), active(&[]));
    // A list of nobody removes nobody.
    in_group(json!([{"op": "Add", "path": "members", "value": member}]));
    in_group(json!([{"op": "Remove", "path": "members", "value": []}]));
    assert_eq!(known(&scim, "user:test_user@acme.com"), active(&["Ops"]));
    in_group(json!([{"op": "Remove", "path": "members"}]));
    assert_eq!(known(&scim, "user:test_user@acme.com"), active(&[]));

    let user = change(json!([{"op": "Replace", "path": "active", "value": "False"}]));
    assert_eq!(user["active"], json!(false));
    assert_eq!(known(&scim, "user:test_user@acme.com"), OFFBOARDED);
    // Before it deletes somebody it gives the name a prefix.
    change(json!([{"op": "Replace", "path": "userName", "value": "6fd3test_user@acme.com"}]));
    assert_eq!(known(&scim, "user:test_user@acme.com"), OFFBOARDED);
    assert_eq!(known(&scim, "user:6fd3test_user@acme.com"), OFFBOARDED);
}

#[test]
fn who_is_deleted_stays_offboarded_until_created_again() {
    let (_dir, scim) = fresh();
    let alice = create_user(&scim, "Alice");
    let group = create_group(&scim, "dba", std::slice::from_ref(&alice));
    delete(&scim, &format!("/Users/{alice}"));
    assert_eq!(known(&scim, "user:ALICE"), OFFBOARDED);
    let (_, shown) = get(&scim, &format!("/Groups/{group}"));
    assert_eq!(shown["members"], json!([]), "no member is left dangling");
    assert_eq!(get(&scim, "/Users").1["totalResults"], json!(0));
    for method in ["GET", "DELETE"] {
        let answer = send(&scim, method, &format!("/Users/{alice}"), &Value::Null);
        assert_eq!(answer.0, 404);
    }
    let again = create_user(&scim, "alice");
    assert_ne!(again, alice, "no id is used twice");
    assert_eq!(known(&scim, "user:Alice"), active(&[]), "and in no group");
    delete(&scim, &format!("/Users/{again}"));
    let mut body = user("alice");
    body["active"] = json!(false);
    assert_eq!(send(&scim, "POST", "/Users", &body).0, 201);
    assert_eq!(known(&scim, "user:alice"), OFFBOARDED);
}

#[test]
fn a_name_that_was_left_behind_is_offboarded_until_somebody_takes_it() {
    let (_dir, scim) = fresh();
    let id = create_user(&scim, "old");
    let rename = |name: &str| {
        let body = patch(&json!([{"op": "replace", "path": "userName", "value": name}]));
        assert_eq!(send(&scim, "PATCH", &format!("/Users/{id}"), &body).0, 200);
    };
    rename("new");
    assert_eq!(known(&scim, "user:old"), OFFBOARDED);
    assert_eq!(known(&scim, "user:new"), active(&[]));
    rename("NEW");
    assert_eq!(
        known(&scim, "user:new"),
        active(&[]),
        "case is no other name"
    );
    rename("old");
    assert_eq!(known(&scim, "user:old"), active(&[]));
    assert_eq!(known(&scim, "user:new"), OFFBOARDED);
}

#[test]
fn names_are_unique_whatever_their_case() {
    let (_dir, scim) = fresh();
    create_user(&scim, "alice");
    let bob = create_user(&scim, "bob");
    create_group(&scim, "dba", &[]);
    let ops = create_group(&scim, "ops", &[]);
    let rename =
        |path: &str, name: &str| patch(&json!([{"op": "add", "path": path, "value": name}]));
    for (method, target, body) in [
        ("POST", "/Users".to_owned(), user("ALICE")),
        ("PUT", format!("/Users/{bob}"), user("Alice")),
        (
            "PATCH",
            format!("/Users/{bob}"),
            rename("userName", "Alice"),
        ),
        ("POST", "/Groups".to_owned(), group("DBA", &[])),
        ("PUT", format!("/Groups/{ops}"), group("DBA", &[])),
        (
            "PATCH",
            format!("/Groups/{ops}"),
            rename("displayName", "Dba"),
        ),
    ] {
        let answer = send(&scim, method, &target, &body);
        assert_eq!(scim_type(&answer), (409, "uniqueness"), "{method} {target}");
    }
    assert_eq!(known(&scim, "user:bob"), active(&[]));
}

#[test]
fn a_patch_is_made_whole_or_not_at_all() {
    let (_dir, scim) = fresh();
    let alice = create_user(&scim, "alice");
    let group = create_group(&scim, "dba", std::slice::from_ref(&alice));
    let before = (
        get(&scim, "/Users"),
        get(&scim, "/Groups"),
        scim.generation(),
    );
    let bad = json!({"op": "add", "path": "members", "value": [{"value": "u99-00000000000000ff"}]});
    let body = patch(&json!([{"op": "remove", "path": "members"}, bad]));
    let answer = send(&scim, "PATCH", &format!("/Groups/{group}"), &body);
    assert_eq!(scim_type(&answer), (400, "invalidValue"));
    let body = patch(&json!([
        {"op": "replace", "path": "userName", "value": "other"},
        {"op": "replace", "path": "active", "value": "no"},
    ]));
    let answer = send(&scim, "PATCH", &format!("/Users/{alice}"), &body);
    assert_eq!(scim_type(&answer), (400, "invalidValue"));
    assert_eq!(
        (
            get(&scim, "/Users"),
            get(&scim, "/Groups"),
            scim.generation()
        ),
        before
    );
    assert_eq!(known(&scim, "user:other"), None);
}

#[test]
fn lists_come_in_pages() {
    let (_dir, scim) = fresh();
    for number in 0..5 {
        create_user(&scim, &format!("user{number}"));
    }
    for (query, names) in [
        ("startIndex=1&count=2", &["user0", "user1"][..]),
        ("startIndex=5&count=2", &["user4"]),
        ("startIndex=6", &[]),
        ("startIndex=-3&count=1", &["user0"]),
        ("startIndex=9223372036854775807", &[]),
        ("count=0", &[]),
        ("count=-1", &[]),
        ("", &["user0", "user1", "user2", "user3", "user4"]),
    ] {
        let (status, list) = get(&scim, &format!("/Users?{query}"));
        assert_eq!((status, &list["totalResults"]), (200, &json!(5)), "{query}");
        let shown: Vec<&str> = list["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["userName"].as_str().unwrap())
            .collect();
        assert_eq!(shown, names, "{query}");
        assert_eq!(list["itemsPerPage"], json!(names.len()));
    }
    let (_, list) = get(&scim, "/Users?count=1&attributes=userName,name.givenName");
    let expected = json!([{
        "schemas": [USER_SCHEMA], "id": "u1-00000000000000ff", "userName": "user0",
    }]);
    assert_eq!(list["Resources"], expected);
    assert_eq!(
        scim_type(&get(&scim, "/Users?count=ten")),
        (400, "invalidValue")
    );
}

#[test]
fn the_service_says_what_it_can_do() {
    let (_dir, scim) = fresh();
    let (_, config) = get(&scim, "/ServiceProviderConfig");
    assert_eq!(config["bulk"]["supported"], json!(false));
    assert_eq!(config["patch"]["supported"], json!(true));
    assert_eq!(
        config["filter"],
        json!({"supported": true, "maxResults": 1000})
    );
    for (path, total) in [("/ResourceTypes", 2), ("/Schemas", 2)] {
        let (_, list) = get(&scim, path);
        assert_eq!(list["totalResults"], json!(total));
        for resource in list["Resources"].as_array().unwrap() {
            let id = resource["id"].as_str().unwrap();
            assert_eq!(get(&scim, &format!("{path}/{id}")), (200, resource.clone()));
        }
    }
    for (method, path, status) in [
        ("POST", "/Bulk", 501),
        ("GET", "/Me", 501),
        ("POST", "/.search", 501),
        ("POST", "/Schemas", 405),
        ("DELETE", "/Users", 405),
        ("POST", "/Users/u1-00000000000000ff", 405),
        ("get", "/Users", 405),
        ("GET", "/users", 404),
        ("GET", "/", 404),
        ("GET", "", 404),
        ("GET", "/Users/../Groups", 404),
        ("GET", "/Schemas/urn:x", 404),
        ("GET", "/Users/", 200),
    ] {
        assert_eq!(
            send(&scim, method, path, &Value::Null).0,
            status,
            "{method} {path}"
        );
    }
}

#[test]
fn a_request_that_changes_nothing_writes_nothing() {
    let (dir, scim) = fresh();
    let id = create_user(&scim, "alice");
    let generation = scim.generation();
    let inode = || {
        let about = std::fs::metadata(dir.path().join("scim.bin")).unwrap();
        (
            std::os::unix::fs::MetadataExt::ino(&about),
            about.modified().unwrap(),
        )
    };
    let before = inode();
    set_active(&scim, &id, true);
    assert_eq!(
        send(&scim, "PUT", &format!("/Users/{id}"), &user("alice")).0,
        200
    );
    assert_eq!((scim.generation(), inode()), (generation, before));
    set_active(&scim, &id, false);
    assert_eq!(scim.generation(), generation + 1);
}
