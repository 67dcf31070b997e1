//! What is answered to a request that cannot be done: RFC 7644, 3.12.
use super::ScimResponse;
use serde_json::json;

/// An error, as SCIM words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: u16,
    /// `scimType`, where the RFC has one.
    kind: Option<&'static str>,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            kind: None,
            detail: detail.into(),
        }
    }

    /// 400 with a `scimType`.
    pub(super) fn bad(kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: Some(kind),
            ..Problem::new(400, detail)
        }
    }

    pub(super) fn syntax(detail: impl Into<String>) -> Problem {
        Problem::bad("invalidSyntax", detail)
    }

    pub(super) fn value(detail: impl Into<String>) -> Problem {
        Problem::bad("invalidValue", detail)
    }

    pub(super) fn unique(detail: impl Into<String>) -> Problem {
        Problem {
            kind: Some("uniqueness"),
            ..Problem::new(409, detail)
        }
    }

    pub(super) fn method() -> Problem {
        Problem::new(405, "this resource does not know this method")
    }

    pub(super) fn response(&self) -> ScimResponse {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let (Some(kind), Some(body)) = (self.kind, body.as_object_mut()) {
            body.insert("scimType".to_owned(), kind.into());
        }
        ScimResponse {
            status: self.status,
            body: body.to_string().into_bytes(),
            location: None,
        }
    }
}
