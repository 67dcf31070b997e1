//! The configuration: a file form that refuses what it does not know, and the resolved form that
//! the rest of the program sees.
mod file;
mod limits;
mod place;
mod resolve;

use gateway_approvals::{Form, WebhookUrl};
use gateway_capture::Object;
use gateway_credentials::Name;
use gateway_identity::{CiSystem, IssuerConfig, SamlConfig};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use limits::Limits;
pub(crate) use place::Place;
pub(crate) use resolve::{ConfigError, load};

/// Where the configuration is when nobody says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/gateway/gateway.toml";

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The file that it came from; `None` when there was none and these are the defaults.
    pub(crate) file: Option<PathBuf>,
    pub(crate) state_dir: PathBuf,
    pub(crate) control_socket: PathBuf,
    pub(crate) policy_dir: PathBuf,
    /// Where governing happens: `None` is the top of the cgroup2 hierarchy.
    pub(crate) cgroup_root: Option<PathBuf>,
    pub(crate) bpffs_dir: PathBuf,
    /// The kernel half tells each of its decisions in the log.
    pub(crate) debug_log: bool,
    /// Between two fsyncs of the journal; zero is one for each record.
    pub(crate) durability: Duration,
    pub(crate) limits: Limits,
    /// The name servers whose answers are believed; `None`: those of the system.
    pub(crate) dns_servers: Option<Vec<IpAddr>>,
    /// Who exists, with groups and status.
    pub(crate) directory: Option<PathBuf>,
    /// Whose tokens are taken.
    pub(crate) issuers: Vec<IssuerConfig>,
    /// Whose assertions are taken.
    pub(crate) saml: Vec<SamlConfig>,
    /// CI systems whose variables name jobs that have no token.
    pub(crate) ci_variables: Vec<CiSystem>,
    /// Who is told of what waits for a human.
    pub(crate) webhooks: Vec<Webhook>,
    /// Where credentials are.
    pub(crate) credentials: Credentials,
    pub(crate) roles: Roles,
    /// Logins by SSH.
    pub(crate) ssh: Ssh,
    /// The control API on a TCP port.
    pub(crate) remote: Option<Remote>,
}

/// The control API on a TCP port, with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) listen: SocketAddr,
    /// A chain in PEM.
    pub(crate) certificate: PathBuf,
    /// Its key in PEM.
    pub(crate) key: PathBuf,
    /// Where others reach it: scheme, host and port.
    pub(crate) url: String,
    /// The issuer at which people sign in to answer a question; without it there is no page.
    pub(crate) sign_in: Option<String>,
    /// The token of the identity provider; without it there is no SCIM.
    pub(crate) scim_token_file: Option<PathBuf>,
}

/// Who is told of what waits for a human.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) url: WebhookUrl,
    pub(crate) form: Form,
    pub(crate) secret: WebhookSecret,
    /// Where it is written, for mistakes that only the start of the daemon finds: others may not
    /// be able to read the secret.
    pub(crate) place: Place,
}

/// Where the secret of a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebhookSecret {
    /// `secret`: in the credential store.
    Stored(Name),
    /// `secret_file`.
    File(PathBuf),
}

/// Where credentials are (`gateway credentials`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The sealed store.
    pub(crate) file: PathBuf,
    /// Its key, where systemd hands none over.
    pub(crate) key_file: PathBuf,
}

impl Credentials {
    /// Where they are when nobody says otherwise.
    fn below(state_dir: &Path) -> Credentials {
        Credentials {
            file: state_dir.join("credentials.sealed"),
            key_file: "/etc/gateway/credentials.key".into(),
        }
    }
}

/// How logins by SSH are taken over (`gateway ssh-session`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssh {
    /// The programs that may say who logged in. Those that are not there do not count.
    pub(crate) daemons: Vec<PathBuf>,
    /// How a login becomes a principal.
    pub(crate) principal: String,
    /// A login with a certificate is that of its key id.
    pub(crate) by_key_id: bool,
    /// The policy of connections for which the line in the PAM file names none.
    pub(crate) policy: Option<String>,
}

impl Default for Ssh {
    fn default() -> Ssh {
        // Since OpenSSH 9.8 a program of its own serves a connection. Debian, Fedora, others.
        let daemons = [
            "/usr/sbin/sshd",
            "/usr/lib/openssh/sshd-session",
            "/usr/libexec/openssh/sshd-session",
            "/usr/libexec/sshd-session",
        ];
        Ssh {
            daemons: daemons.map(PathBuf::from).to_vec(),
            principal: "user:{user}".to_owned(),
            by_key_id: false,
            policy: None,
        }
    }
}

/// What groups and principals may do beside what their user may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// May look.
    pub(crate) viewer: Vec<Arc<str>>,
    /// May look, and end what lives.
    pub(crate) responder: Vec<Arc<str>>,
    /// See what waits for a human.
    pub(crate) approver: Vec<Arc<str>>,
    /// May do everything.
    pub(crate) admin: Vec<Arc<str>>,
}

impl Roles {
    /// Does nobody have a role?
    pub(crate) fn is_empty(&self) -> bool {
        [&self.viewer, &self.responder, &self.approver, &self.admin]
            .iter()
            .all(|patterns| patterns.is_empty())
    }
}

impl Default for Config {
    fn default() -> Config {
        let state_dir = PathBuf::from("/var/lib/gateway");
        Config {
            file: None,
            credentials: Credentials::below(&state_dir),
            state_dir,
            control_socket: "/run/gateway/control.sock".into(),
            policy_dir: "/etc/gateway/policies".into(),
            cgroup_root: None,
            bpffs_dir: "/sys/fs/bpf/gateway".into(),
            debug_log: false,
            durability: Duration::from_millis(100),
            limits: Limits::default(),
            dns_servers: None,
            directory: None,
            issuers: Vec::new(),
            saml: Vec::new(),
            ci_variables: Vec::new(),
            webhooks: Vec::new(),
            roles: Roles::default(),
            ssh: Ssh::default(),
            remote: None,
        }
    }
}

impl Config {
    /// Which form of the programs is attached.
    pub(crate) const fn object(&self) -> Object {
        if self.debug_log {
            Object::Debug
        } else {
            Object::Plain
        }
    }

    /// Where the journal is.
    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.state_dir.join("journal")
    }

    /// The authority that clients believe.
    pub(crate) fn tls_dir(&self) -> PathBuf {
        self.state_dir.join("tls")
    }

    /// The key of the digests that masked values become.
    pub(crate) fn masks_key(&self) -> PathBuf {
        self.state_dir.join("masks.key")
    }

    /// Which columns were found to be sensitive.
    pub(crate) fn columns_file(&self) -> PathBuf {
        self.state_dir.join("columns.json")
    }

    /// Where the daemon keeps its things, by name.
    pub(crate) fn paths(&self) -> BTreeMap<String, String> {
        let text = |path: &Path| path.display().to_string();
        let mut paths = BTreeMap::from([
            ("state_dir".to_owned(), text(&self.state_dir)),
            ("control_socket".to_owned(), text(&self.control_socket)),
            ("policy_dir".to_owned(), text(&self.policy_dir)),
            ("bpffs_dir".to_owned(), text(&self.bpffs_dir)),
            ("journal".to_owned(), text(&self.journal_dir())),
            ("tls".to_owned(), text(&self.tls_dir())),
        ]);
        if let Some(file) = &self.file {
            paths.insert("config".to_owned(), text(file));
        }
        paths
    }
}

#[cfg(test)]
mod tests;
