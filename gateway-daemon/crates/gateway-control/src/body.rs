//! What is posted, as JSON. Unknown keys are errors.
use serde::Deserialize;

/// `POST /v1/kill`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct KillBody {
    /// A session (`s…`) or a tree (`t…`).
    pub(crate) target: String,
}

/// `POST /v1/run`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunBody {
    /// The policy; without one the caller's cgroup decides.
    pub(crate) policy: Option<String>,
    /// A token that says whose the tree is.
    pub(crate) token: Option<String>,
}

/// `POST /v1/login`.
#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoginBody {
    /// The name of the issuer; without one the only issuer that has a client.
    pub(crate) issuer: Option<String>,
}

/// `POST /v1/ssh-session`: what sshd told PAM.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct SshSessionBody {
    /// `PAM_USER`.
    pub(crate) user: String,
    /// `SSH_AUTH_INFO_0`: a line for each method that succeeded.
    pub(crate) auth_info: String,
    /// `PAM_RHOST`: where the client is.
    pub(crate) host: Option<String>,
    /// The policy; without one that of `[ssh] policy`.
    pub(crate) policy: Option<String>,
}

/// `POST /v1/login/saml`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginSamlBody {
    /// What the identity provider answered with: XML, or base64 of it, as browsers post it as
    /// `SAMLResponse`; at most 256 KiB.
    pub(crate) response: String,
}

/// `POST /v1/revoke`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeBody {
    /// Who.
    pub(crate) principal: String,
    /// End the processes of its trees too. Not with `undo`.
    #[serde(default)]
    pub(crate) stop: bool,
    /// Take back what was revoked here.
    #[serde(default)]
    pub(crate) undo: bool,
}

/// `POST /v1/approvals/{id}`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerBody {
    /// Yes or no.
    pub(crate) approve: bool,
    /// Why: one line, at most 1,024 bytes.
    pub(crate) reason: Option<String>,
}
