//! The other end: what the command line asks through.
use crate::filter::{ActFilter, Filter};
use crate::ports::{SshSession, Target};
use crate::view::{
    AnswerView, ErrorView, KillView, LineageView, LoginView, RevokeView, RunView, SshSessionView,
    StatusView, TreeView,
};
use bytes::Bytes;
use gateway_core::SessionId;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long the daemon may take to begin its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest answer that is one object, in bytes.
const OBJECT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest line of a list, in bytes; a statement may be long.
const LINE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Takes a line of JSON, and says whether it wants more.
pub type EachLine<'a> = &'a mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or not on time.
    #[error("the daemon cannot be reached at {path}: {source}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The caller may not ask this.
    #[error("{0}")]
    NotPermitted(String),
    /// Nothing is known by that name.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense to the daemon.
    #[error("{0}")]
    BadRequest(String),
    /// The daemon says no.
    #[error("{0}")]
    Refused(String),
    /// The answer broke off or could not be read.
    #[error("the daemon's answer: {0}")]
    Answer(String),
}

/// Asks the daemon that listens on a socket. Each question is a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of this socket. Nothing is connected yet.
    #[must_use]
    pub fn new(path: &Path) -> Client {
        Client {
            path: path.to_owned(),
        }
    }

    /// What `gateway status` shows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.object(Method::GET, "/v1/status", String::new()).await
    }

    /// One lineage.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn lineage(&self, target: Target) -> Result<LineageView, ClientError> {
        self.object(Method::GET, &format!("/v1/lineage/{target}"), String::new())
            .await
    }

    /// The governed trees.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn trees(&self) -> Result<Vec<TreeView>, ClientError> {
        let mut trees = Vec::new();
        let mut broken = None;
        self.get_lines(
            "/v1/trees",
            &mut |line| match serde_json::from_slice(line) {
                Ok(tree) => {
                    trees.push(tree);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    broken = Some(ClientError::Answer(error.to_string()));
                    ControlFlow::Break(())
                }
            },
        )
        .await?;
        broken.map_or(Ok(trees), Err)
    }

    /// The sessions that match, a line of JSON each.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn sessions(&self, filter: &Filter, each: EachLine<'_>) -> Result<(), ClientError> {
        self.get_lines(&format!("/v1/sessions?{}", filter.to_query(false)), each)
            .await
    }

    /// The operations that match, a line of JSON each; with `follow` until `each` breaks off or
    /// the daemon ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn operations(
        &self,
        filter: &Filter,
        follow: bool,
        each: EachLine<'_>,
    ) -> Result<(), ClientError> {
        self.get_lines(&format!("/v1/operations?{}", filter.to_query(follow)), each)
            .await
    }

    /// What people did to the gateway itself, a line of JSON each.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn acts(&self, filter: &ActFilter, each: EachLine<'_>) -> Result<(), ClientError> {
        self.get_lines(&format!("/v1/acts?{}", filter.to_query()), each)
            .await
    }

    /// One session whole: its own line, then one for each operation.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn session(&self, session: SessionId, each: EachLine<'_>) -> Result<(), ClientError> {
        self.get_lines(&format!("/v1/sessions/{session}"), each)
            .await
    }

    /// A session as it happened, an event in each line; with `after` those behind the record of
    /// that number.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn replay(
        &self,
        session: SessionId,
        after: Option<u64>,
        each: EachLine<'_>,
    ) -> Result<(), ClientError> {
        let path = match after {
            Some(after) => format!("/v1/replay/{session}?after={after}"),
            None => format!("/v1/replay/{session}"),
        };
        self.get_lines(&path, each).await
    }

    /// Ends live sessions.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn kill(&self, target: Target) -> Result<KillView, ClientError> {
        let body = serde_json::json!({ "target": target.to_string() }).to_string();
        self.object(Method::POST, "/v1/kill", body).await
    }

    /// Revokes a principal, or takes that back (`undo`); with `stop` the processes of its trees
    /// end too.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn revoke(
        &self,
        principal: &str,
        stop: bool,
        undo: bool,
    ) -> Result<RevokeView, ClientError> {
        let body = serde_json::json!({ "principal": principal, "stop": stop, "undo": undo });
        self.object(Method::POST, "/v1/revoke", body.to_string())
            .await
    }

    /// What waits for a human, a line of JSON each; with `watch` until `each` breaks off or the
    /// daemon ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn approvals(&self, watch: bool, each: EachLine<'_>) -> Result<(), ClientError> {
        let path = if watch {
            "/v1/approvals?watch"
        } else {
            "/v1/approvals"
        };
        self.get_lines(path, each).await
    }

    /// Answers a question.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn answer(
        &self,
        id: &str,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<AnswerView, ClientError> {
        // An id has no other characters, and a path must not have them.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if id.is_empty() || !id.bytes().all(plain) {
            return Err(ClientError::NotFound(format!(
                "there is no question {id:?}"
            )));
        }
        let body = serde_json::json!({ "approve": approve, "reason": reason }).to_string();
        self.object(Method::POST, &format!("/v1/approvals/{id}"), body)
            .await
    }

    /// Puts the calling process into a governed tree; a `token` says whose it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn run(
        &self,
        policy: Option<&str>,
        token: Option<&str>,
    ) -> Result<RunView, ClientError> {
        let body = serde_json::json!({ "policy": policy, "token": token }).to_string();
        self.object(Method::POST, "/v1/run", body).await
    }

    /// Signs the calling process's tree in, at the issuer of this name: first a line with what the
    /// person does, then one with who it was, or with an `error`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login(&self, issuer: Option<&str>, each: EachLine<'_>) -> Result<(), ClientError> {
        let body = serde_json::json!({ "issuer": issuer }).to_string();
        self.lines(Method::POST, "/v1/login", body, each).await
    }

    /// Has the process of sshd that is the parent of the calling one governed, and bound to who
    /// logged in.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ssh_session(&self, login: &SshSession) -> Result<SshSessionView, ClientError> {
        let body = serde_json::json!({
            "user": login.user,
            "auth_info": login.auth_info,
            "host": login.host,
            "policy": login.policy,
        });
        self.object(Method::POST, "/v1/ssh-session", body.to_string())
            .await
    }

    /// Signs the calling process's tree in, with a SAML response.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn login_saml(&self, response: &str) -> Result<LoginView, ClientError> {
        let body = serde_json::json!({ "response": response }).to_string();
        self.object(Method::POST, "/v1/login/saml", body).await
    }

    async fn object<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<T, ClientError> {
        let response = self.ask(method, path, body).await?;
        let body = Limited::new(response.into_body(), OBJECT_BYTES_MAX).collect();
        let body = match tokio::time::timeout(ANSWER_TIME_MAX, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(ClientError::Answer(error.to_string())),
            Err(_) => return Err(self.late()),
        };
        serde_json::from_slice(&body).map_err(|error| ClientError::Answer(error.to_string()))
    }

    async fn get_lines(&self, path: &str, each: EachLine<'_>) -> Result<(), ClientError> {
        self.lines(Method::GET, path, String::new(), each).await
    }

    async fn lines(
        &self,
        method: Method,
        path: &str,
        body: String,
        each: EachLine<'_>,
    ) -> Result<(), ClientError> {
        let mut body = self.ask(method, path, body).await?.into_body();
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ClientError::Answer("it broke off".to_owned()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let mut data: &[u8] = &data;
            while let Some((line, after)) = split_line(data) {
                let flow = if rest.is_empty() {
                    each(line)
                } else {
                    rest.extend_from_slice(line);
                    each(&std::mem::take(&mut rest))
                };
                if flow.is_break() {
                    return Ok(());
                }
                data = after;
            }
            rest.extend_from_slice(data);
            if rest.len() > LINE_BYTES_MAX {
                return Err(ClientError::Answer("a line is too long".to_owned()));
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(ClientError::Answer("it broke off".to_owned()))
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source: io::Error| ClientError::Unreachable {
            path: self.path.clone(),
            source,
        };
        let stream = UnixStream::connect(&self.path).await.map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                .await
                .map_err(|error| unreachable(io::Error::other(error)))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "gateway")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::BadRequest(error.to_string()))?;
        let response =
            match tokio::time::timeout(ANSWER_TIME_MAX, sender.send_request(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(unreachable(io::Error::other(error))),
                Err(_) => return Err(self.late()),
            };
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(refusal(response).await)
    }

    fn late(&self) -> ClientError {
        let source = io::ErrorKind::TimedOut.into();
        ClientError::Unreachable {
            path: self.path.clone(),
            source,
        }
    }
}

fn split_line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Some((data.get(..end)?, data.get(end + 1..)?))
}

async fn refusal(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = Limited::new(response.into_body(), OBJECT_BYTES_MAX).collect();
    let reason = match tokio::time::timeout(ANSWER_TIME_MAX, body).await {
        Ok(Ok(body)) => serde_json::from_slice::<ErrorView>(&body.to_bytes())
            .map_or_else(|_| status.to_string(), |view| view.error),
        _ => status.to_string(),
    };
    match status {
        StatusCode::FORBIDDEN => ClientError::NotPermitted(reason),
        StatusCode::NOT_FOUND => ClientError::NotFound(reason),
        StatusCode::BAD_REQUEST => ClientError::BadRequest(reason),
        _ => ClientError::Refused(reason),
    }
}
