//! From the file form to the resolved form: every mistake is named with file, line and column.
use super::file::{DnsServers, File};
use super::place::Place;
use super::{Config, Credentials, DEFAULT_FILE, Remote, Roles, Ssh, Webhook, WebhookSecret};
use crate::terminal::moment;
use gateway_approvals::{Form, WebhookUrl};
use gateway_identity::{Fetch, FetchError, IssuerConfig, Issuers, SamlConfig, SshNames};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// A configuration file is a page of text, not a stream.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The configuration cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file could not be read.
    #[error("{}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something in it is wrong.
    #[error("{}:{}:{}: {message}", file.display(), place.line, place.column)]
    Mistake {
        /// The file.
        file: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong, and what was expected.
        message: String,
    },
}

/// Reads the configuration. Without a name, a file that is not there means the defaults.
pub(crate) fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    // An empty GATEWAY_CONFIG is how scripts unset it.
    let named = named.filter(|path| !path.as_os_str().is_empty());
    load_from(named, Path::new(DEFAULT_FILE))
}

pub(super) fn load_from(named: Option<&Path>, default: &Path) -> Result<Config, ConfigError> {
    let path = named.unwrap_or(default);
    match read(path) {
        Ok(text) => parse(path, &text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Config::default())
        }
        Err(error) => Err(ConfigError::Unreadable {
            file: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("is not a file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("is larger than 1 MiB"));
    }
    Ok(text)
}

/// Resolves the text of a configuration file.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let source = Source { path, text };
    let file: File = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        source.mistake(offset, error.message().to_owned())
    })?;
    source.refuse_unbuilt(&file)?;
    let mut config = Config {
        file: Some(path.to_owned()),
        ..Config::default()
    };
    source.path(&mut config.state_dir, "state_dir", file.state_dir)?;
    source.path(
        &mut config.control_socket,
        "control_socket",
        file.control_socket,
    )?;
    source.path(&mut config.policy_dir, "policy_dir", file.policy_dir)?;
    source.path(
        &mut config.bpffs_dir,
        "capture.bpffs_dir",
        file.capture.bpffs_dir,
    )?;
    if let Some(root) = file
        .capture
        .cgroup_root
        .filter(|root| root.get_ref() != "auto")
    {
        let mut path = PathBuf::new();
        source.path(&mut path, "capture.cgroup_root", Some(root))?;
        config.cgroup_root = Some(path);
    }
    config.debug_log = file.capture.debug_log;
    if let Some(durability) = file.recording.durability {
        config.durability = source.durability(&durability)?;
    }
    if let Some(directory) = file.directory.file {
        let mut path = PathBuf::new();
        source.path(&mut path, "directory.file", Some(directory))?;
        config.directory = Some(path);
    }
    config.issuers = source.issuers(&file.issuer)?;
    config.saml = source.saml(&file.saml, &config.issuers)?;
    config.ci_variables = file.identity.ci_variables;
    config.remote = source.remote(&file.control, &config.issuers)?;
    config.roles = roles(file.control.roles);
    config.ssh = source.ssh(file.ssh)?;
    config.webhooks = source.webhooks(file.webhook)?;
    config.credentials = Credentials::below(&config.state_dir);
    let written = file.credentials;
    let (store, key) = (
        &mut config.credentials.file,
        &mut config.credentials.key_file,
    );
    source.path(store, "credentials.file", written.file)?;
    source.path(key, "credentials.key_file", written.key_file)?;
    config.limits = file.limits.resolve(&source)?;
    config.dns_servers = source.dns_servers(file.dns.servers)?;
    Ok(config)
}

/// Checking the configuration asks nobody.
struct Offline;

impl Fetch for Offline {
    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        Err(FetchError {
            url: url.to_owned(),
            reason: "not asked".to_owned(),
        })
    }
}

fn roles(written: super::file::Roles) -> Roles {
    let patterns = |texts: Vec<String>| texts.into_iter().map(Arc::from).collect();
    Roles {
        viewer: patterns(written.viewer),
        responder: patterns(written.responder),
        approver: patterns(written.approver),
        admin: patterns(written.admin),
    }
}

/// A text with its name, for messages.
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn mistake(&self, offset: usize, message: String) -> ConfigError {
        let place = Place::of(self.text, offset);
        ConfigError::Mistake {
            file: self.path.to_owned(),
            place,
            message,
        }
    }

    pub(super) fn at<T>(&self, value: &Spanned<T>, message: String) -> ConfigError {
        self.mistake(value.span().start, message)
    }

    /// Each is checked by itself, so that a mistake is said where it is.
    fn issuers(&self, written: &[Spanned<IssuerConfig>]) -> Result<Vec<IssuerConfig>, ConfigError> {
        let mut issuers: Vec<IssuerConfig> = Vec::new();
        for issuer in written {
            issuers.push(issuer.get_ref().clone());
            // All so far, since two may not have the same name or address.
            Issuers::new(issuers.clone(), Box::new(Offline))
                .map_err(|error| self.at(issuer, error.to_string()))?;
        }
        Ok(issuers)
    }

    /// How logins by SSH are taken over.
    fn ssh(&self, written: super::file::Ssh) -> Result<Ssh, ConfigError> {
        let mut ssh = Ssh::default();
        if let Some(daemons) = written.daemons {
            if daemons.get_ref().is_empty() {
                let expected = "ssh.daemons: expected the paths of sshd's programs";
                return Err(self.at(&daemons, expected.to_owned()));
            }
            ssh.daemons.clear();
            for daemon in daemons.into_inner() {
                let mut path = PathBuf::new();
                self.path(&mut path, "ssh.daemons", Some(daemon))?;
                ssh.daemons.push(path);
            }
        }
        if let Some(certificates) = written.certificates {
            ssh.by_key_id = match certificates.get_ref().as_str() {
                "key-id" => true,
                "user" => false,
                other => {
                    let message =
                        format!("ssh.certificates: {other:?} (expected \"key-id\" or \"user\")");
                    return Err(self.at(&certificates, message));
                }
            };
        }
        if let Some(principal) = written.principal {
            SshNames::new(principal.get_ref(), ssh.by_key_id)
                .map_err(|error| self.at(&principal, format!("ssh.principal: {error}")))?;
            ssh.principal = principal.into_inner();
        }
        if let Some(policy) = written.policy {
            if policy.get_ref().is_empty() {
                let expected = "ssh.policy: expected the name of a policy";
                return Err(self.at(&policy, expected.to_owned()));
            }
            ssh.policy = Some(policy.into_inner());
        }
        Ok(ssh)
    }

    /// The same. An issuer's tokens and a provider's assertions are remembered side by side, so
    /// they may not share a name either. The certificates are read when the daemon starts.
    fn saml(
        &self,
        written: &[Spanned<SamlConfig>],
        issuers: &[IssuerConfig],
    ) -> Result<Vec<SamlConfig>, ConfigError> {
        let mut all: Vec<SamlConfig> = Vec::new();
        for spanned in written {
            let saml = spanned.get_ref();
            saml.check(&all)
                .map_err(|error| self.at(spanned, error.to_string()))?;
            let same =
                |issuer: &&IssuerConfig| [&saml.name, &saml.entity_id].contains(&&issuer.name);
            if let Some(issuer) = issuers.iter().find(same) {
                let message = format!(
                    "saml {:?}: an [[issuer]] is called {:?}",
                    saml.name, issuer.name
                );
                return Err(self.at(spanned, message));
            }
            for file in saml.files() {
                let start = spanned.span().start;
                self.path_at(start, "saml.certificate, saml.metadata", file)?;
            }
            all.push(saml.clone());
        }
        Ok(all)
    }

    /// The port of the control API; `None` when nothing listens.
    fn remote(
        &self,
        written: &super::file::Control,
        issuers: &[IssuerConfig],
    ) -> Result<Option<Remote>, ConfigError> {
        let others = [
            ("certificate", &written.certificate),
            ("key", &written.key),
            ("url", &written.url),
            ("sign_in", &written.sign_in),
            ("scim_token_file", &written.scim_token_file),
        ];
        let Some(listen) = &written.listen else {
            let useless = others
                .iter()
                .find_map(|(name, key)| Some((name, key.as_ref()?)));
            return match useless {
                Some((name, key)) => {
                    let message = format!("control.{name}: expected control.listen beside it");
                    Err(self.at(key, message))
                }
                None => Ok(None),
            };
        };
        let expected = "control.listen: expected an address and a port, like \"127.0.0.1:7433\"";
        let address = listen.get_ref().parse();
        let address = address.map_err(|_| self.at(listen, expected.to_owned()))?;
        let path = |name: &'static str, key: &Option<Spanned<String>>| {
            let key = key.clone().ok_or_else(|| {
                let message = format!("control.listen: expected {name} beside it (TLS)");
                self.at(listen, message)
            })?;
            let mut path = PathBuf::new();
            self.path(&mut path, name, Some(key))?;
            Ok(path)
        };
        let scim_token_file = match &written.scim_token_file {
            Some(_) => Some(path("control.scim_token_file", &written.scim_token_file)?),
            None => None,
        };
        let url = match &written.url {
            Some(url) => self.origin(url)?,
            None => format!("https://{address}"),
        };
        Ok(Some(Remote {
            listen: address,
            certificate: path("control.certificate", &written.certificate)?,
            key: path("control.key", &written.key)?,
            url,
            sign_in: self.sign_in(written, issuers)?,
            scim_token_file,
        }))
    }

    /// Scheme, host and port: browsers send no more of where a form came from.
    fn origin(&self, url: &Spanned<String>) -> Result<String, ConfigError> {
        let text = url.get_ref().trim_end_matches('/');
        match text.strip_prefix("https://") {
            Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => {
                Ok(text.to_owned())
            }
            _ => {
                let expected = "control.url: expected scheme, host and port alone, \
                                like \"https://gateway.acme.com\"";
                Err(self.at(url, expected.to_owned()))
            }
        }
    }

    /// The issuer that is named, else the only one that has a client.
    fn sign_in(
        &self,
        written: &super::file::Control,
        issuers: &[IssuerConfig],
    ) -> Result<Option<String>, ConfigError> {
        let mut clients = issuers.iter().filter(|issuer| issuer.client_id.is_some());
        if let Some(name) = &written.sign_in {
            return match clients.find(|issuer| issuer.name == *name.get_ref()) {
                Some(issuer) => Ok(Some(issuer.name.clone())),
                None => {
                    let expected = "control.sign_in: expected the name of an issuer with client_id";
                    Err(self.at(name, expected.to_owned()))
                }
            };
        }
        match (clients.next(), clients.next()) {
            (Some(_), Some(_)) => {
                let message = "control.sign_in is missing: several issuers have client_id \
                               (expected the name of the one at which approvers sign in)";
                // Where the port is opened.
                let place = written
                    .listen
                    .as_ref()
                    .map_or(0, |listen| listen.span().start);
                Err(self.mistake(place, message.to_owned()))
            }
            (only, _) => Ok(only.map(|issuer| issuer.name.clone())),
        }
    }

    /// Where their secrets are. What these are is for the daemon, when it starts.
    fn webhooks(
        &self,
        written: Vec<Spanned<super::file::Webhook>>,
    ) -> Result<Vec<Webhook>, ConfigError> {
        let mut webhooks = Vec::new();
        for webhook in written {
            let start = webhook.span().start;
            let webhook = webhook.into_inner();
            let url = WebhookUrl::parse(&webhook.url)
                .map_err(|error| self.mistake(start, error.to_string()))?;
            webhooks.push(Webhook {
                url,
                form: match webhook.form {
                    super::file::Form::Json => Form::Json,
                    super::file::Form::Slack => Form::Slack,
                },
                secret: self.webhook_secret(start, webhook.secret, webhook.secret_file)?,
                place: Place::of(self.text, start),
            });
        }
        Ok(webhooks)
    }

    fn webhook_secret(
        &self,
        start: usize,
        stored: Option<Spanned<String>>,
        file: Option<Spanned<String>>,
    ) -> Result<WebhookSecret, ConfigError> {
        match (stored, file) {
            (Some(name), None) => name
                .get_ref()
                .parse()
                .map(WebhookSecret::Stored)
                .map_err(|error| self.at(&name, format!("webhook.secret: {error}"))),
            (None, Some(file)) => {
                let start = file.span().start;
                self.path_at(start, "webhook.secret_file", file.get_ref())
                    .map(WebhookSecret::File)
            }
            (Some(_), Some(file)) => {
                let both =
                    "webhook.secret_file: webhook.secret is there too (expected one of them)";
                Err(self.at(&file, both.to_owned()))
            }
            (None, None) => {
                let missing = "webhook.secret is missing (expected the name of a credential, or \
                               secret_file with a file)";
                Err(self.mistake(start, missing.to_owned()))
            }
        }
    }

    /// `None`: those of the system.
    fn dns_servers(
        &self,
        written: Option<Spanned<DnsServers>>,
    ) -> Result<Option<Vec<IpAddr>>, ConfigError> {
        match written {
            None => Ok(None),
            Some(written) => match written.get_ref() {
                DnsServers::Word(word) if word == "system" => Ok(None),
                DnsServers::Word(word) => {
                    let message = format!(
                        "dns.servers: {word:?} (expected \"system\", or a list of addresses)"
                    );
                    Err(self.at(&written, message))
                }
                DnsServers::List(list) => {
                    let addresses = list.iter().map(IpAddr::to_canonical);
                    Ok(Some(addresses.collect()))
                }
            },
        }
    }

    fn refuse_unbuilt(&self, file: &File) -> Result<(), ConfigError> {
        let unbuilt = [("recording.retention", &file.recording.retention)];
        for (name, value) in unbuilt {
            if let Some(value) = value {
                return Err(self.at(value, not_built(name)));
            }
        }
        match file
            .recording
            .disk_full
            .as_ref()
            .map(|value| (value, value.get_ref().as_str()))
        {
            None | Some((_, "deny")) => Ok(()),
            Some((value, "oldest")) => {
                Err(self.at(value, not_built("recording.disk_full = \"oldest\"")))
            }
            Some((value, other)) => Err(self.at(
                value,
                format!("recording.disk_full: {other:?} (expected \"deny\")"),
            )),
        }
    }

    fn path(
        &self,
        target: &mut PathBuf,
        key: &str,
        value: Option<Spanned<String>>,
    ) -> Result<(), ConfigError> {
        let Some(value) = value else { return Ok(()) };
        *target = self.path_at(value.span().start, key, value.get_ref())?;
        Ok(())
    }

    fn path_at(&self, offset: usize, key: &str, text: &str) -> Result<PathBuf, ConfigError> {
        let path = Path::new(text);
        let plain = path.is_absolute()
            && path
                .components()
                .all(|part| !matches!(part, Component::ParentDir))
            && path.file_name().is_some()
            && !text.contains('\0');
        if !plain {
            let message = format!("{key}: expected an absolute path below / without \"..\"");
            return Err(self.mistake(offset, message));
        }
        Ok(path.components().collect())
    }

    /// Between two fsyncs; zero is one for each record.
    fn durability(&self, value: &Spanned<String>) -> Result<Duration, ConfigError> {
        if value.get_ref() == "always" {
            return Ok(Duration::ZERO);
        }
        let range = Duration::from_millis(1)..=Duration::from_secs(60);
        duration(value.get_ref(), &range).map_err(|expected| {
            self.at(
                value,
                format!("recording.durability: {expected}; or \"always\""),
            )
        })
    }
}

/// A duration within a range, or what was expected.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = moment::duration(text)?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (
        moment::written(*range.start()),
        moment::written(*range.end()),
    );
    Err(format!("expected {least} to {most}"))
}

fn not_built(name: &str) -> String {
    format!("{name}: known, but not built in this version")
}
