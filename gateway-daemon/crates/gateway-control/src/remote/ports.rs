//! What the control port needs from others, beside what the socket needs.
//!
//! Every call may block, but those of [`Entropy`] and [`Page::origin`]: the server makes them on
//! threads where that harms nobody.
use crate::ports::{PortError, Role};
use gateway_core::Principal;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Whom a signature vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who it is.
    pub principal: Principal,
    /// What their groups let them do; [`Role::None`] for who is known and has no role.
    pub role: Role,
}

/// Why a token is not taken. The reason is for the log: it must not quote the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// It is no token of ours, over, forged, or its principal is offboarded or revoked.
    #[error("{0}")]
    Refused(String),
    /// It cannot be told now: the issuer's keys cannot be had.
    #[error("{0}")]
    Unavailable(String),
}

/// Turns bearer tokens into principals.
pub trait Authenticator: Send + Sync {
    /// Who this token's bearer is.
    ///
    /// # Errors
    /// It is not taken.
    fn authenticate(&self, bearer: &str) -> Result<Identity, AuthenticationError>;
}

/// A request of the identity provider, once its sender is known to be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimRequest {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: String,
    /// Below the base: `/Users/u1-00ff`; `/` or empty for the base itself.
    pub path: String,
    /// What follows the `?`, still encoded; empty without one.
    pub query: String,
    /// The body, empty without one. At most 1 MiB.
    pub body: Vec<u8>,
    /// Where it comes from, for the record.
    pub address: SocketAddr,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimResponse {
    /// The HTTP status.
    pub status: u16,
    /// `application/scim+json`; empty with 204.
    pub body: Vec<u8>,
    /// The `Location` header.
    pub location: Option<String>,
}

/// The directory's SCIM service.
pub trait ScimPort: Send + Sync {
    /// Is this the identity provider's token? To be compared in constant time.
    fn admits(&self, bearer: &str) -> bool;
    /// Answers a request, and records what it changed.
    fn handle(&self, request: ScimRequest) -> ScimResponse;
}

/// A question as it is shown. The keys are those of `gateway approvals --json`, so that it can be
/// read from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct QuestionView {
    /// The operation that waits.
    pub id: String,
    /// When it was asked, RFC 3339.
    pub time: String,
    /// When its time is over, RFC 3339.
    pub expires: String,
    /// The session that asks.
    pub session: String,
    /// The tree that asks.
    pub tree: String,
    /// Who stands at the root of the tree.
    pub principal: PrincipalLine,
    /// Who was added on the way.
    pub delegates: Vec<PrincipalLine>,
    /// The processes from the root to the one that acts.
    pub lineage: Vec<ProcessLine>,
    /// The resource.
    pub resource: String,
    /// The protocol.
    pub protocol: String,
    /// The strongest effect.
    pub verb: String,
    /// What is touched.
    pub objects: Vec<String>,
    /// More is touched than is named.
    pub objects_cut: bool,
    /// The text.
    pub statement: String,
    /// The whole length in bytes of a text that was cut.
    pub statement_cut_from: Option<u64>,
    /// The bind values.
    pub parameters: Vec<ParameterLine>,
    /// The rules that hold it.
    pub rules: Vec<String>,
    /// Whom these rules name.
    pub approvers: Vec<String>,
    /// What the rule says to people.
    pub message: Option<String>,
    /// What an approval covers: `once`, or a time.
    pub grant: String,
}

/// A bind value of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ParameterLine {
    /// Its type as the protocol names it.
    pub kind: Option<String>,
    /// The value as text, or in hexadecimal with the prefix `\x`; none is NULL.
    pub value: Option<String>,
    /// The whole length in bytes of a value that was cut.
    pub cut_from: Option<u64>,
}

/// A principal of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PrincipalLine {
    /// The name that rules match.
    pub id: String,
    /// How sure the gateway is: `none`, `asserted`, `kernel`, `verified`.
    pub assurance: String,
    /// Its groups.
    pub groups: Vec<String>,
}

/// A process of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessLine {
    /// Its process id.
    pub pid: u32,
    /// The user it acts as.
    pub uid: u32,
    /// What it executes.
    pub exe: String,
    /// Its arguments.
    pub argv: Vec<String>,
}

/// A question that waits, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What is asked.
    pub question: QuestionView,
    /// How long it still waits.
    pub left: Duration,
}

/// Knows what the page behind a signed link shows.
pub trait Page: Send + Sync {
    /// Where browsers reach the port: scheme, host and port, as `https://gateway.acme.com`. The
    /// `Origin` of every form that is sent here. Asked once.
    fn origin(&self) -> String;

    /// Is this a link of ours that is still good? `id`, `e` and `s` as they stand in it.
    ///
    /// # Errors
    /// What is wrong with it, for who opened it.
    fn check_link(&self, id: &str, e: &str, s: &str) -> Result<(), String>;

    /// The question, as long as it waits.
    fn question(&self, id: &str) -> Option<Shown>;
}

/// What a sign-in is begun with. It holds no secret: the verifier stays here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `state`: comes back to `/callback`.
    pub state: String,
    /// `nonce`: stands in the ID token.
    pub nonce: String,
    /// `code_challenge`, of the method S256 (RFC 7636).
    pub challenge: String,
}

/// Signs people in at an OpenID provider: the authorization code flow with PKCE.
pub trait SignIn: Send + Sync {
    /// The address at the provider that the browser is sent to, with `/callback` of the port as
    /// its `redirect_uri`.
    ///
    /// # Errors
    /// The provider cannot be reached.
    fn begin(&self, attempt: &Attempt) -> Result<String, PortError>;

    /// Exchanges the code, and checks the ID token: signature, audience, expiry, and that its
    /// nonce is this one.
    ///
    /// # Errors
    /// The provider says no, or the token is not good.
    fn finish(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
    ) -> Result<Identity, AuthenticationError>;
}

/// Randomness, and time that is never set.
pub trait Entropy: Send + Sync {
    /// 32 bytes that nobody can foretell.
    ///
    /// # Errors
    /// The kernel gives none; nobody is signed in then.
    fn random(&self) -> Result<[u8; 32], PortError>;

    /// Time since some moment before the start.
    fn now(&self) -> Duration;
}

/// What the page needs.
#[derive(Clone)]
pub struct PagePorts {
    /// Knows what it shows.
    pub page: Arc<dyn Page>,
    /// Signs people in.
    pub sign_in: Arc<dyn SignIn>,
    /// Randomness and time.
    pub entropy: Arc<dyn Entropy>,
}

/// All of them, as the server takes them.
#[derive(Clone)]
pub struct RemotePorts {
    /// Turns bearer tokens into principals.
    pub authenticator: Arc<dyn Authenticator>,
    /// The directory; without it there is no `/scim/v2`.
    pub scim: Option<Arc<dyn ScimPort>>,
    /// The page; without it there is none.
    pub page: Option<PagePorts>,
}

impl std::fmt::Debug for RemotePorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemotePorts").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PagePorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PagePorts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_from_what_the_command_line_shows() {
        let process = serde_json::json!({
            "pid": 42, "start": 9, "exe": "/usr/bin/psql", "argv": ["psql", "-c"], "uid": 1000,
            "cwd": "/srv", "container": null, "cgroup": "/ci", "provenance": "kernel",
            "argv_cut": false, "exited": false,
        });
        let principal = serde_json::json!({"id": "user:a", "assurance": "verified", "groups": []});
        let question: QuestionView = serde_json::from_value(serde_json::json!({
            "id": "s0000000000001.4", "time": "1970-01-01T00:00:01.000000Z",
            "expires": "1970-01-01T00:01:01.000000Z", "session": "s0000000000001",
            "tree": "t0000000000007", "principal": principal, "delegates": [principal],
            "process": process, "lineage": [process], "resource": "prod-orders",
            "protocol": "postgres", "verb": "delete", "objects": ["public.users"],
            "objects_cut": false, "statement": "DELETE FROM users", "statement_cut_from": null,
            "parameters": [{"kind": null, "value": null, "cut_from": null}], "attributes": {},
            "rules": ["writes"], "approvers": ["group:dba"],
            "holds": [{"rule": "writes", "approvers": ["group:dba"]}], "message": null,
            "timeout_s": 60, "grant": "once",
        }))
        .unwrap();
        assert_eq!(question.statement, "DELETE FROM users");
        assert_eq!(question.lineage[0].argv, ["psql", "-c"]);
        assert_eq!(question.delegates[0].id, "user:a");
    }
}
