//! `docs/openapi.json`, made of the table of routes, the table of permissions and the types of the
//! answers. It exists in tests only: the binary does not carry it.
pub(crate) mod shapes;

use crate::body::{
    AnswerBody, KillBody, LoginBody, LoginSamlBody, RevokeBody, RunBody, SshSessionBody,
};
use crate::filter::VERDICTS;
use crate::ports::Role;
use crate::remote::QuestionView;
use crate::reply::{JSON, LINES, TEXT};
use crate::route::{Entry, ROUTES, Route};
use crate::standing::{Permission, permits_remote};
use crate::view::{
    AnswerView, ErrorView, KillView, LineageView, LoginBegunView, LoginView, RevokeView, RunView,
    SshSessionView, StatusView, TreeView,
};
use gateway_core::Verb;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// What a route takes and gives. The match is exhaustive: a new route does not compile without.
struct Words {
    summary: &'static str,
    /// The form of its answer, and what that is made of; of lists, one line.
    kind: &'static str,
    answer: Value,
    body: Option<Value>,
    query: Vec<Value>,
    /// Statuses beside those that every route has.
    statuses: &'static [(&'static str, &'static str)],
}

const BAD: (&str, &str) = (
    "400",
    "What was asked makes no sense; the reason says what was expected",
);
const MISSING: (&str, &str) = ("404", "Nothing is known of it");
const CONFLICT: (&str, &str) = ("409", "It is over already, or cannot be");
const FULL: (&str, &str) = ("503", "Too many callers follow");

fn words(route: Route, schemas: &mut SchemaGenerator) -> Words {
    let of = |summary, kind, answer: Value| Words {
        summary,
        kind,
        answer,
        body: None,
        query: vec![],
        statuses: &[],
    };
    let string = || json!({ "type": "string" });
    macro_rules! schema {
        ($type:ty) => {
            schemas.subschema_for::<$type>().to_value()
        };
    }
    match route {
        Route::Health => of("Does the daemon live?", TEXT, string()),
        Route::Ready => Words {
            statuses: &[("503", "Not yet, or no longer")],
            ..of(
                "Are the programs attached and the listeners open?",
                TEXT,
                string(),
            )
        },
        Route::Metrics => of("What is counted, in Prometheus' form", TEXT, string()),
        Route::Status => of("How the daemon is", JSON, schema!(StatusView)),
        Route::Trees => of("The governed trees", LINES, schema!(TreeView)),
        Route::Lineage => Words {
            statuses: &[BAD, MISSING],
            ..of(
                "The lineage of a process id, a tree (t…) or a session (s…)",
                JSON,
                schema!(LineageView),
            )
        },
        Route::Sessions => Words {
            query: filters(false),
            statuses: &[BAD],
            ..of(
                "Sessions, oldest first",
                LINES,
                schema!(shapes::SessionLine),
            )
        },
        Route::Session => Words {
            statuses: &[BAD, MISSING],
            ..of(
                "One session whole: its own line, then one for each operation",
                LINES,
                json!({ "anyOf": [schema!(shapes::SessionLine), schema!(shapes::OperationLine)] }),
            )
        },
        Route::Replay => Words {
            query: vec![query_parameter((
                "after",
                "Go on behind the record of this number",
                json!({ "type": "integer", "minimum": 0 }),
            ))],
            statuses: &[BAD, MISSING],
            ..of(
                "One session as it happened: a line for each event, with what came back as far as \
                 it was kept",
                LINES,
                schema!(shapes::EventLine),
            )
        },
        Route::Operations => Words {
            query: filters(true),
            statuses: &[BAD, FULL],
            ..of(
                "Operations, oldest first",
                LINES,
                schema!(shapes::OperationLine),
            )
        },
        Route::Acts => Words {
            query: act_filters(),
            statuses: &[BAD],
            ..of(
                "What people did to the gateway itself, oldest first",
                LINES,
                schema!(shapes::ActLine),
            )
        },
        Route::Kill => Words {
            body: Some(schema!(KillBody)),
            statuses: &[BAD, MISSING],
            ..of("Ends live sessions", JSON, schema!(KillView))
        },
        Route::Revoke => Words {
            body: Some(schema!(RevokeBody)),
            statuses: &[BAD],
            ..of(
                "Denies a principal everything and ends its live sessions, or takes that back",
                JSON,
                schema!(RevokeView),
            )
        },
        Route::Approvals => Words {
            query: vec![json!({
                "name": "watch",
                "in": "query",
                "description": "Go on with what comes and what is answered",
                "allowEmptyValue": true,
                "schema": { "type": "string", "maxLength": 0 },
            })],
            statuses: &[BAD, FULL],
            ..of(
                "What waits for a human, oldest first; without a role only what one may answer. \
                 Keys may be added",
                LINES,
                schema!(QuestionView),
            )
        },
        Route::Answer => Words {
            body: Some(schema!(AnswerBody)),
            statuses: &[BAD, MISSING, CONFLICT],
            ..of(
                "Answers a question. Who may, the rules that hold it say, whatever the role",
                JSON,
                schema!(AnswerView),
            )
        },
        Route::Run => Words {
            body: Some(schema!(RunBody)),
            statuses: &[BAD, CONFLICT],
            ..of(
                "Puts the calling process into a governed tree. On the control socket only",
                JSON,
                schema!(RunView),
            )
        },
        Route::LoginSaml => Words {
            body: Some(schema!(LoginSamlBody)),
            statuses: &[BAD, CONFLICT, ("503", "Too many sign in now")],
            ..of(
                "Signs the tree of the calling process in with the answer of a SAML identity \
                 provider. On the control socket only",
                JSON,
                schema!(LoginView),
            )
        },
        Route::Login => Words {
            body: Some(schema!(LoginBody)),
            statuses: &[BAD, CONFLICT, ("503", "Too many sign in now")],
            ..of(
                "Signs the tree of the calling process in: what the person does, then who it was \
                 or why nobody signed in. On the control socket only",
                LINES,
                json!({ "anyOf": [
                    schema!(LoginBegunView), schema!(LoginView), schema!(ErrorView),
                ] }),
            )
        },
        Route::SshSession => Words {
            body: Some(schema!(SshSessionBody)),
            statuses: &[BAD, CONFLICT],
            ..of(
                "Says, for sshd, who logged in: governs the process of sshd that the calling \
                 process is a child of. On the control socket only",
                JSON,
                schema!(SshSessionView),
            )
        },
    }
}

fn act_filters() -> Vec<Value> {
    let string = || json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0 });
    [
        (
            "principal",
            "Who did it; `*` matches any characters",
            string(),
        ),
        ("act", "What: approve, deny, kill, revoke …", string()),
        ("target", "To what; `*` matches any characters", string()),
        ("since", "Not before: nanoseconds since 1970", number),
    ]
    .map(query_parameter)
    .into()
}

fn query_parameter((name, description, schema): (&str, &str, Value)) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn filters(operations: bool) -> Vec<Value> {
    let verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.name()).collect();
    let string = json!({ "type": "string" });
    let boolean = json!({ "type": "boolean" });
    let mut filters = vec![
        (
            "principal",
            "Its id; `*` matches any characters",
            string.clone(),
        ),
        ("tree", "The tree, t…", string.clone()),
        ("session", "The session, s…", string.clone()),
        (
            "resource",
            "The resource; `*` matches any characters",
            string.clone(),
        ),
        ("protocol", "The protocol", string.clone()),
        (
            "since",
            "Not before: nanoseconds since 1970",
            json!({ "type": "integer", "minimum": 0 }),
        ),
        ("live", "Only what is open", boolean.clone()),
        (
            "verb",
            "Any of the operation's verbs",
            json!({ "enum": verbs }),
        ),
        ("verdict", "The verdict", json!({ "enum": VERDICTS })),
        (
            "grep",
            "Text of the statement, whatever its case",
            string.clone(),
        ),
        (
            "disclosed",
            "A sensitive field that was returned in the clear; `*` matches any characters",
            string.clone(),
        ),
        (
            "masked",
            "A field of which values were covered; `*` matches any characters",
            string,
        ),
    ];
    if operations {
        filters.push(("follow", "Go on with what comes", boolean));
    }
    filters.into_iter().map(query_parameter).collect()
}

/// The roles that may ask for it by the network, as the table of permissions says.
fn roles(entry: &Entry) -> Vec<&'static str> {
    Role::ALL
        .into_iter()
        .filter(|role| permits_remote(*role, entry.asks) != Permission::No)
        .map(Role::name)
        .collect()
}

fn operation(entry: &Entry, schemas: &mut SchemaGenerator) -> Value {
    let Words {
        summary,
        kind,
        answer,
        body,
        mut query,
        statuses,
    } = words(entry.route, schemas);
    let mut parameters = Vec::new();
    if let Some((_, name)) = entry.path.split_once('{') {
        parameters.push(json!({
            "name": name.trim_end_matches('}'),
            "in": "path",
            "required": true,
            "schema": { "type": "string" },
        }));
    }
    parameters.append(&mut query);
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({ "description": "Yes", "content": { kind: { "schema": answer } } }),
    );
    let error = schemas.subschema_for::<ErrorView>().to_value();
    let always = [
        ("401", "No token, or one that is not accepted"),
        ("403", "Not permitted"),
        ("500", "It failed; the daemon's log says why"),
    ];
    for (status, description) in always.iter().chain(statuses) {
        responses.insert(
            (*status).into(),
            json!({ "description": description, "content": { JSON: { "schema": error } } }),
        );
    }
    let mut operation = json!({
        "operationId": format!("{:?}", entry.route).to_lowercase(),
        "summary": summary,
        "x-roles": roles(entry),
        "responses": responses,
    });
    let keys = operation.as_object_mut().unwrap();
    if !parameters.is_empty() {
        keys.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = body {
        let content = json!({ JSON: { "schema": body } });
        keys.insert(
            "requestBody".into(),
            json!({ "required": true, "content": content }),
        );
    }
    if entry.route == Route::Health {
        keys.insert("security".into(), json!([]));
    }
    operation
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for entry in &ROUTES {
        let method = entry.method.as_str().to_lowercase();
        let operation = operation(entry, &mut schemas);
        let path = paths.entry(entry.path).or_insert_with(|| json!({}));
        path.as_object_mut().unwrap().insert(method, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gateway control API",
            "version": "1",
            "description": "On the control socket the kernel says who asks; on the port a bearer \
                token does. `x-roles` names the roles that may ask on the port. A list is one JSON \
                object per line. Keys are added, never renamed or retyped.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of a configured OpenID issuer",
                },
            },
            "schemas": schemas.take_definitions(true),
        },
        "security": [{ "token": [] }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::{Assurance, Mode, Principal, Process, Provenance};
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Set to anything, this makes the test write the file instead of holding it against the code.
    const WRITE: &str = "GATEWAY_WRITE_DOCS";

    #[test]
    fn the_file_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/openapi.json");
        let made = format!("{:#}\n", document());
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == made,
            "docs/openapi.json is not what the code makes; \
             run `{WRITE}=1 cargo test -p gateway-control openapi`"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(keys) => {
                    if let Some(Value::String(reference)) = keys.get("$ref") {
                        found.push(reference.clone());
                    }
                    keys.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn roles_are_those_of_the_table() {
        let document = document();
        let roles = |path: &str| document["paths"][path].clone();
        assert_eq!(roles("/v1/run")["post"]["x-roles"], json!([]));
        assert_eq!(
            roles("/v1/kill")["post"]["x-roles"],
            json!(["responder", "admin"])
        );
        assert_eq!(
            roles("/v1/status")["get"]["x-roles"],
            json!(["viewer", "responder", "admin"])
        );
    }

    #[test]
    fn every_filter_is_one_that_is_understood() {
        let samples = [
            ("tree", "t0000000000001"),
            ("session", "s0000000000001"),
            ("since", "1"),
            ("live", "true"),
            ("verb", "read"),
            ("verdict", "deny"),
            ("follow", "true"),
        ];
        for filter in filters(true) {
            let name = filter["name"].as_str().unwrap().to_owned();
            let sample = samples.iter().find(|(other, _)| *other == name);
            let query = format!("{name}={}", sample.map_or("x", |(_, value)| value));
            assert!(crate::Filter::from_query(&query).is_ok(), "{query}");
        }
    }

    /// The keys of a value and those of its schema, which has to require them all but the null.
    fn check(value: &impl serde::Serialize, schema: &str) {
        let document = document();
        let value = serde_json::to_value(value).unwrap();
        let value: BTreeSet<&str> = value.as_object().unwrap().keys().map(|k| &**k).collect();
        let schema = &document["components"]["schemas"][schema]["properties"];
        let schema: BTreeSet<&str> = schema.as_object().unwrap().keys().map(|k| &**k).collect();
        assert_eq!(value, schema);
    }

    #[test]
    fn the_shapes_are_those_of_the_core() {
        let principal = Principal::unknown();
        let process = Process {
            pid: 1,
            start: 2,
            exe: "/bin/sh".into(),
            argv: vec![],
            uid: 0,
            cwd: None,
            cgroup: "/".into(),
            container: None,
            provenance: Provenance::Gap,
            argv_cut: false,
            exited: false,
        };
        check(&principal, "Principal");
        check(&process, "Process");
        let line = crate::view::LineageProcess {
            process,
            parent: None,
        };
        check(&line, "LineageProcess");
        let names = |schema: &str| {
            let schema = &document()["components"]["schemas"][schema];
            let listed = schema["enum"].as_array().cloned().unwrap_or_default();
            listed
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect::<BTreeSet<_>>()
        };
        let of = |values: &[Value]| {
            values
                .iter()
                .map(|value| value.as_str().unwrap().to_owned())
                .collect::<BTreeSet<_>>()
        };
        let assurances = [
            Assurance::None,
            Assurance::Asserted,
            Assurance::Kernel,
            Assurance::Verified,
        ];
        assert_eq!(
            names("Assurance"),
            of(&assurances.map(|value| json!(value)))
        );
        let modes = [Mode::Observe, Mode::Shadow, Mode::Enforce];
        assert_eq!(names("Mode"), of(&modes.map(|value| json!(value))));
        let provenances = [
            Provenance::Kernel,
            Provenance::Proc,
            Provenance::Cgroup,
            Provenance::Gap,
        ];
        assert_eq!(
            names("Provenance"),
            of(&provenances.map(|value| json!(value)))
        );
    }
}
