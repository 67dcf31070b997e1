//! What the service says of itself: RFC 7643, 5 to 7.
use super::page::COUNT_MAX;
use super::{GROUP_SCHEMA, USER_SCHEMA};
use serde_json::{Value, json};

/// The resource of a path, if it is one of these.
pub(super) fn find(path: &str, base: &str) -> Option<Value> {
    let (kind, name) = path.split_once('/').unwrap_or((path, ""));
    match (kind, name) {
        ("ServiceProviderConfig", "") => Some(service_provider_config(base)),
        ("ResourceTypes", "") => Some(list(vec![
            resource_type("User", base),
            resource_type("Group", base),
        ])),
        ("ResourceTypes", "User" | "Group") => Some(resource_type(name, base)),
        ("Schemas", "") => Some(list(vec![user_schema(base), group_schema(base)])),
        ("Schemas", USER_SCHEMA) => Some(user_schema(base)),
        ("Schemas", GROUP_SCHEMA) => Some(group_schema(base)),
        _ => None,
    }
}

fn list(resources: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": resources.len(),
        "startIndex": 1,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": COUNT_MAX},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that the administrator of the gateway gave out",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

fn resource_type(name: &str, base: &str) -> Value {
    let schema = if name == "User" {
        USER_SCHEMA
    } else {
        GROUP_SCHEMA
    };
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "endpoint": format!("/{name}s"),
        "schema": schema,
        "schemaExtensions": [],
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base}/ResourceTypes/{name}"),
        },
    })
}

fn user_schema(base: &str) -> Value {
    let string = |name| attribute(name, "string", json!({}));
    let name_parts = [
        "formatted",
        "familyName",
        "givenName",
        "middleName",
        "honorificPrefix",
        "honorificSuffix",
    ];
    let email = json!({
        "multiValued": true,
        "subAttributes": [
            string("value"),
            string("display"),
            string("type"),
            attribute("primary", "boolean", json!({})),
        ],
    });
    let group = json!({
        "multiValued": true,
        "mutability": "readOnly",
        "subAttributes": [
            attribute("value", "string", json!({"mutability": "readOnly"})),
            attribute("display", "string", json!({"mutability": "readOnly"})),
            attribute("type", "string", json!({"mutability": "readOnly"})),
        ],
    });
    let name = json!({"subAttributes": name_parts.map(string)});
    schema(
        base,
        USER_SCHEMA,
        "User",
        vec![
            attribute(
                "userName",
                "string",
                json!({"required": true, "uniqueness": "server"}),
            ),
            string("displayName"),
            attribute("name", "complex", name),
            attribute("emails", "complex", email),
            attribute("active", "boolean", json!({})),
            attribute("groups", "complex", group),
        ],
    )
}

fn group_schema(base: &str) -> Value {
    let members = json!({
        "multiValued": true,
        "subAttributes": [
            attribute("value", "string", json!({"mutability": "immutable", "caseExact": true})),
            attribute("display", "string", json!({"mutability": "readOnly"})),
        ],
    });
    schema(
        base,
        GROUP_SCHEMA,
        "Group",
        vec![
            attribute(
                "displayName",
                "string",
                json!({"required": true, "uniqueness": "server"}),
            ),
            attribute("members", "complex", members),
        ],
    )
}

fn schema(base: &str, id: &str, name: &str, attributes: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": id,
        "name": name,
        "attributes": attributes,
        "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{id}")},
    })
}

/// An attribute with the characteristics that most have, and those in which it differs.
fn attribute(name: &str, kind: &str, differs: Value) -> Value {
    let mut attribute = json!({
        "name": name,
        "type": kind,
        "multiValued": false,
        "required": false,
        "caseExact": false,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
    });
    if let (Some(attribute), Value::Object(differs)) = (attribute.as_object_mut(), differs) {
        attribute.extend(differs);
    }
    attribute
}
