//! The configuration as it is written. Keys that the contract knows and this version does not
//! build yet are named here too, so that they are refused by name and not taken for typing errors.
use super::limits::WrittenLimits;
use gateway_identity::{CiSystem, IssuerConfig, SamlConfig};
use serde::Deserialize;
use toml::Spanned;

type Written<T> = Option<Spanned<T>>;
/// What only has to be there to be refused.
type Unbuilt = Option<Spanned<toml::Value>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) state_dir: Written<String>,
    pub(super) control_socket: Written<String>,
    pub(super) policy_dir: Written<String>,
    pub(super) capture: Capture,
    pub(super) dns: Dns,
    pub(super) limits: WrittenLimits,
    pub(super) recording: Recording,
    pub(super) control: Control,
    pub(super) directory: Directory,
    pub(super) identity: Identity,
    pub(super) webhook: Vec<Spanned<Webhook>>,
    pub(super) issuer: Vec<Spanned<IssuerConfig>>,
    pub(super) saml: Vec<Spanned<SamlConfig>>,
    pub(super) ssh: Ssh,
    pub(super) credentials: Credentials,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Credentials {
    pub(super) file: Written<String>,
    pub(super) key_file: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ssh {
    pub(super) daemons: Written<Vec<Spanned<String>>>,
    pub(super) principal: Written<String>,
    pub(super) certificates: Written<String>,
    pub(super) policy: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Capture {
    pub(super) cgroup_root: Written<String>,
    pub(super) bpffs_dir: Written<String>,
    pub(super) debug_log: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    /// CI systems whose variables name jobs that have no token.
    pub(super) ci_variables: Vec<CiSystem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Control {
    pub(super) listen: Written<String>,
    pub(super) certificate: Written<String>,
    pub(super) key: Written<String>,
    /// Where others reach it.
    pub(super) url: Written<String>,
    /// The issuer at which approvers sign in.
    pub(super) sign_in: Written<String>,
    pub(super) scim_token_file: Written<String>,
    pub(super) roles: Roles,
}

/// Patterns over principals and `group:NAME`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Roles {
    pub(super) viewer: Vec<String>,
    pub(super) responder: Vec<String>,
    pub(super) approver: Vec<String>,
    pub(super) admin: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) url: String,
    #[serde(default)]
    pub(super) form: Form,
    /// The name of a credential.
    pub(super) secret: Written<String>,
    pub(super) secret_file: Written<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    #[default]
    Json,
    Slack,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Directory {
    pub(super) file: Written<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) servers: Written<DnsServers>,
}

/// Whose answers teach names: a word, or addresses.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"system\", or a list of addresses like [\"10.0.0.2\"]"
)]
pub(super) enum DnsServers {
    Word(String),
    List(Vec<std::net::IpAddr>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Recording {
    pub(super) durability: Written<String>,
    pub(super) disk_full: Written<String>,
    pub(super) retention: Unbuilt,
}
