//! What the control API needs from others. Each port is named for its role.
//!
//! Every call may block: the server makes them on threads where that harms nobody.
use crate::caller::Caller;
use crate::filter::{ActFilter, Filter};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::standing::Standing;
use crate::view::{
    AnswerView, LineageView, LoginBegunView, LoginView, RevokeView, RunView, SshSessionView,
    StatusView, TreeView,
};
use gateway_core::{SessionId, TreeId};
use std::sync::Arc;
use std::time::Duration;

/// A port could not answer. The text is for the caller; it never holds a statement or a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(pub String);

/// The caller has left; there is nobody to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller has left")]
pub struct Gone;

/// What a user may do outside of every tree, the weakest first: of several, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing.
    None,
    /// See what waits for a human.
    Approver,
    /// Look.
    Reader,
    /// Look, and end what lives.
    Responder,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Role; 5] = [
        Role::None,
        Role::Approver,
        Role::Reader,
        Role::Responder,
        Role::Admin,
    ];

    /// The name in the configuration (`[control] roles`) and in the documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::None => "none",
            Role::Approver => "approver",
            Role::Reader => "viewer",
            Role::Responder => "responder",
            Role::Admin => "admin",
        }
    }
}

/// Says who the callers of the control socket are.
pub trait Callers: Send + Sync {
    /// The tree that the caller is in, by the kernel's own tags.
    ///
    /// # Errors
    /// It cannot be told; the caller is refused.
    fn tree_of(&self, peer: &Peer) -> Result<Option<TreeId>, PortError>;

    /// What the caller's user may do.
    fn role_of(&self, peer: &Peer) -> Role;
}

/// Says how the daemon is.
pub trait Overview: Send + Sync {
    /// Everything that `gateway status` shows.
    fn status(&self) -> StatusView;
    /// What is counted.
    fn metrics(&self) -> Metrics;
    /// Are the programs attached and the listeners open?
    fn ready(&self) -> bool;
}

/// Knows the governed trees.
pub trait Trees: Send + Sync {
    /// The trees that live, or the one that is named.
    fn trees(&self, only: Option<TreeId>) -> Vec<TreeView>;
    /// One lineage; `None` when nothing is known of the target.
    ///
    /// # Errors
    /// It could not be looked up.
    fn lineage(&self, of: Target) -> Result<Option<LineageView>, PortError>;
}

/// What a person names: a process, a tree or a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process id.
    Process(u32),
    /// A tree.
    Tree(TreeId),
    /// A session.
    Session(SessionId),
}

/// The text names neither a process, nor a tree, nor a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a process id, nor a tree (t…), nor a session (s…)")]
pub struct ParseTargetError(String);

impl std::str::FromStr for Target {
    type Err = ParseTargetError;
    fn from_str(text: &str) -> Result<Target, ParseTargetError> {
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(pid) = text.parse().ok().filter(|pid| number && *pid > 0) {
            return Ok(Target::Process(pid));
        }
        if let Ok(tree) = text.parse() {
            return Ok(Target::Tree(tree));
        }
        text.parse()
            .map(Target::Session)
            .map_err(|_| ParseTargetError(text.to_owned()))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Process(pid) => pid.fmt(f),
            Target::Tree(tree) => tree.fmt(f),
            Target::Session(session) => session.fmt(f),
        }
    }
}

/// Takes lines of JSON, one object each, without the line feed. Blocks while the caller is slow.
pub trait LineSink {
    /// Passes one line on.
    ///
    /// # Errors
    /// The caller has left.
    fn line(&mut self, json: Vec<u8>) -> Result<(), Gone>;

    /// Waits, and notices when the caller leaves.
    ///
    /// # Errors
    /// The caller has left.
    fn pause(&mut self, time: Duration) -> Result<(), Gone>;
}

/// Reads what was recorded.
pub trait Archive: Send + Sync {
    /// The sessions that match, oldest first.
    ///
    /// # Errors
    /// The journal could not be read.
    fn sessions(&self, filter: &Filter, out: &mut dyn LineSink) -> Result<(), PortError>;

    /// The operations that match, oldest first; with `follow` also those that come, until the
    /// caller leaves.
    ///
    /// # Errors
    /// The journal could not be read.
    fn operations(
        &self,
        filter: &Filter,
        follow: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError>;

    /// What people did to the gateway itself, oldest first.
    ///
    /// # Errors
    /// The journal could not be read.
    fn acts(&self, filter: &ActFilter, out: &mut dyn LineSink) -> Result<(), PortError>;

    /// One session whole: a line for itself, then one for each operation. `false` when it is
    /// not known.
    ///
    /// # Errors
    /// The journal could not be read.
    fn session(&self, session: SessionId, out: &mut dyn LineSink) -> Result<bool, PortError>;

    /// A session as it happened, a line for each event; with `after` those behind the record of
    /// that number. `false` when it is not known.
    ///
    /// # Errors
    /// The journal could not be read.
    fn replay(
        &self,
        session: SessionId,
        after: Option<u64>,
        out: &mut dyn LineSink,
    ) -> Result<bool, PortError>;
}

/// Ends sessions.
pub trait Switch: Send + Sync {
    /// Ends the live sessions of the target in the name of the caller and says how many; `None`
    /// when it is not known.
    fn kill(&self, caller: &Caller, target: Target) -> Option<u64>;
}

/// Knows what waits for a human, and takes answers.
pub trait Approvals: Send + Sync {
    /// What waits, oldest first, a line each; with `watch` also what comes and what is answered,
    /// until the caller leaves. `answerable`: only what this caller may answer.
    ///
    /// # Errors
    /// It cannot be told who the caller is.
    fn pending(
        &self,
        caller: &Caller,
        answerable: bool,
        watch: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError>;

    /// Answers a question in the name of the caller: of the user of a local one.
    /// A session of the page lasts ten minutes: whether a remote principal is still active is to
    /// be asked here, anew for each answer.
    ///
    /// # Errors
    /// There is no such question, or the caller may not answer it.
    fn answer(
        &self,
        caller: &Caller,
        id: &str,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<AnswerView, AnswerError>;
}

/// Why an answer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing is known of it.
    #[error("{0}")]
    Unknown(String),
    /// Somebody answered before, or the wait is over.
    #[error("{0}")]
    Over(String),
    /// The caller may not.
    #[error("{0}")]
    NotAllowed(String),
    /// What was said cannot be taken.
    #[error("{0}")]
    Malformed(String),
    /// It could not be recorded, so it did not happen.
    #[error("{0}")]
    Failed(String),
}

/// Revokes principals.
pub trait Revoker: Send + Sync {
    /// In the name of the caller, denies a principal everything from now on and ends its live sessions; with `stop` the
    /// processes of its trees too. With `undo` what was revoked here is no longer.
    ///
    /// # Errors
    /// It could not be done, or not wholly.
    fn revoke(
        &self,
        caller: &Caller,
        principal: &str,
        stop: bool,
        undo: bool,
    ) -> Result<RevokeView, PortError>;
}

/// Why a process was not put into a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// No policy covers it, or the one that was named does not exist.
    #[error("{0}")]
    NoPolicy(String),
    /// The token that it gave is not good.
    #[error("{0}")]
    Token(String),
    /// It is in a tree under another policy already.
    #[error("{0}")]
    Governed(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// Puts callers into trees: processes of this host, nobody else.
pub trait Launcher: Send + Sync {
    /// Makes the caller the root of a governed tree, or leaves it where it is when it is
    /// governed. When this returns `Ok`, the caller is governed.
    ///
    /// # Errors
    /// It is not governed as was asked, and must not go on.
    fn run(
        &self,
        peer: &Peer,
        standing: Standing,
        policy: Option<&str>,
        token: Option<&str>,
    ) -> Result<RunView, RunError>;
}

/// Why nobody was signed in. Nothing was bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// There is no such issuer, or it has to be named.
    #[error("{0}")]
    Issuer(String),
    /// The person or the issuer said no, or somebody else is bound already.
    #[error("{0}")]
    Refused(String),
    /// Too many sign in now.
    #[error("{0}")]
    Busy(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// Signs the trees of callers in.
pub trait Logins: Send + Sync {
    /// Begins a sign-in for the tree of a caller: what the person does, and the wait for it.
    ///
    /// # Errors
    /// It does not begin.
    fn begin(
        &self,
        peer: &Arc<Peer>,
        tree: TreeId,
        issuer: Option<&str>,
    ) -> Result<(LoginBegunView, Box<dyn PendingLogin>), LoginError>;

    /// Signs the tree of a caller in at once, with the SAML response that it presents.
    ///
    /// # Errors
    /// Nobody was signed in.
    fn present(
        &self,
        peer: &Arc<Peer>,
        tree: TreeId,
        response: &str,
    ) -> Result<LoginView, LoginError>;
}

/// A sign-in that waits for a person. Dropped, it is over.
pub trait PendingLogin: Send {
    /// Waits, by the pauses of `out`, and binds the root of the tree. `None`: the caller has left.
    ///
    /// # Errors
    /// Nobody was signed in.
    fn wait(self: Box<Self>, out: &mut dyn LineSink) -> Result<Option<LoginView>, LoginError>;
}

/// What sshd told PAM about somebody who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSession {
    /// `PAM_USER`.
    pub user: String,
    /// `SSH_AUTH_INFO_0`: a line for each method that succeeded.
    pub auth_info: String,
    /// `PAM_RHOST`: where the client is.
    pub host: Option<String>,
    /// The policy of the connection; without one that of the configuration.
    pub policy: Option<String>,
}

/// Why an SSH login was not taken over. It must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshSessionError {
    /// It is not sshd that asks.
    #[error("{0}")]
    NotSshd(String),
    /// There is no policy for it, nobody can be told, or whoever it is may not.
    #[error("{0}")]
    Refused(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// Takes over the connections of sshd.
pub trait SshSessions: Send + Sync {
    /// Makes the process of sshd that the caller is the child of the root of a tree, and binds it
    /// to who logged in. When this returns `Ok`, whatever that process starts is governed.
    ///
    /// # Errors
    /// It is not so, and the login must not go on.
    fn open(&self, peer: &Arc<Peer>, login: &SshSession)
    -> Result<SshSessionView, SshSessionError>;
}

/// All of them, as the server takes them.
#[derive(Clone)]
pub struct Ports {
    /// Says who callers are.
    pub callers: Arc<dyn Callers>,
    /// Says how the daemon is.
    pub overview: Arc<dyn Overview>,
    /// Knows the governed trees.
    pub trees: Arc<dyn Trees>,
    /// Reads what was recorded.
    pub archive: Arc<dyn Archive>,
    /// Ends sessions.
    pub switch: Arc<dyn Switch>,
    /// Knows what waits for a human.
    pub approvals: Arc<dyn Approvals>,
    /// Revokes principals.
    pub revoker: Arc<dyn Revoker>,
    /// Puts callers into trees.
    pub launcher: Arc<dyn Launcher>,
    /// Signs the trees of callers in.
    pub logins: Arc<dyn Logins>,
    /// Takes over the connections of sshd.
    pub ssh_sessions: Arc<dyn SshSessions>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_names() {
        let tree = TreeId(5);
        let session = SessionId(6);
        for (text, expected) in [
            ("1", Some(Target::Process(1))),
            ("4294967295", Some(Target::Process(u32::MAX))),
            (tree.to_string().as_str(), Some(Target::Tree(tree))),
            (session.to_string().as_str(), Some(Target::Session(session))),
            ("0", None),
            ("+1", None),
            ("-1", None),
            ("4294967296", None),
            ("", None),
            ("t", None),
            ("x0000000000005", None),
        ] {
            assert_eq!(text.parse::<Target>().ok(), expected, "{text:?}");
        }
    }
}
