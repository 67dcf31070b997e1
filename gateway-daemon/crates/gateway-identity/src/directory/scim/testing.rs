//! Speaks SCIM as an identity provider does.
use super::{Scim, ScimRequest};
use serde_json::{Value, json};

/// Sends a request; the status, and the body when there is one.
pub(in crate::directory) fn send(
    scim: &Scim,
    method: &str,
    target: &str,
    body: &Value,
) -> (u16, Value) {
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    send_bytes(scim, method, target, &body)
}

pub(in crate::directory) fn send_bytes(
    scim: &Scim,
    method: &str,
    target: &str,
    body: &[u8],
) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let response = scim.handle(ScimRequest {
        method,
        path,
        query,
        body,
    });
    let value = match response.body.as_slice() {
        [] => Value::Null,
        body => serde_json::from_slice(body).unwrap(),
    };
    assert_eq!(response.body.is_empty(), response.status == 204);
    assert_eq!(response.location.is_some(), response.status == 201);
    if response.status >= 400 {
        let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:Error"]);
        assert_eq!(value["schemas"], schemas);
        assert_eq!(value["status"], response.status.to_string());
        assert!(value["detail"].is_string());
    }
    (response.status, value)
}

pub(in crate::directory) fn get(scim: &Scim, target: &str) -> (u16, Value) {
    send(scim, "GET", target, &Value::Null)
}

pub(in crate::directory) fn delete(scim: &Scim, target: &str) {
    assert_eq!(send(scim, "DELETE", target, &Value::Null).0, 204);
}

pub(in crate::directory) fn user(name: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "active": true,
    })
}

pub(in crate::directory) fn group(name: &str, members: &[String]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": name,
        "members": members,
    })
}

pub(in crate::directory) fn patch(operations: &Value) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": operations,
    })
}

fn id(sent: (u16, Value)) -> String {
    assert_eq!(sent.0, 201, "{}", sent.1);
    sent.1["id"].as_str().unwrap().to_owned()
}

pub(in crate::directory) fn create_user(scim: &Scim, name: &str) -> String {
    id(send(scim, "POST", "/Users", &user(name)))
}

pub(in crate::directory) fn create_group(scim: &Scim, name: &str, members: &[String]) -> String {
    id(send(scim, "POST", "/Groups", &group(name, members)))
}

pub(in crate::directory) fn set_active(scim: &Scim, id: &str, active: bool) {
    let body = patch(&json!([{"op": "replace", "value": {"active": active}}]));
    let (status, value) = send(scim, "PATCH", &format!("/Users/{id}"), &body);
    assert_eq!((status, &value["active"]), (200, &json!(active)));
}
