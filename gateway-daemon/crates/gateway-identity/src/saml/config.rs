//! Whose assertions are taken: `[[saml]]` of the configuration, as written and as checked.
use super::keys::Keys;
use super::metadata;
use crate::token::{Template, TemplateError};
use serde::Deserialize;
use std::sync::Arc;

/// One `[[saml]]`, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamlConfig {
    /// What the gateway calls it: `acme`.
    pub name: String,
    /// What its assertions call it (`Issuer`, compared byte for byte).
    pub entity_id: String,
    /// Files in PEM with the certificates that it signs with. They are pinned.
    #[serde(default)]
    pub certificate: Option<Certificates>,
    /// The file of its metadata in the place of them: the keys for signing in the `EntityDescriptor`
    /// of its entity id are pinned.
    #[serde(default)]
    pub metadata: Option<String>,
    /// What its assertions must be made out to (`Audience`): the gateway's own entity id.
    pub audience: String,
    /// Where its responses must be addressed to (`Recipient`, and `Destination` where there is
    /// one): the address of the service that takes them from browsers. Not checked when not said.
    #[serde(default)]
    pub recipient: Option<String>,
    /// How its attributes become a principal: `user:{name_id}`, `user:{email}`.
    pub principal: String,
    /// The attribute that lists the principal's groups.
    #[serde(default = "groups_by_default")]
    pub groups: String,
}

fn groups_by_default() -> String {
    "groups".to_owned()
}

/// One file, or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Certificates {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Certificates {
    fn files(&self) -> &[String] {
        match self {
            Certificates::One(file) => std::slice::from_ref(file),
            Certificates::Several(files) => files,
        }
    }
}

/// What is wrong with a `[[saml]]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("saml {name:?}: {fault}")]
pub struct SamlConfigError {
    /// Which one.
    pub name: String,
    /// What it is.
    pub fault: SamlFault,
}

/// Which rule a `[[saml]]` breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamlFault {
    /// A key without a value.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// It is there twice. An assertion names its provider by entity id, so that must be one of a
    /// kind too.
    #[error("another one has the same `{0}`")]
    Twice(&'static str),
    /// Its keys must be said, once.
    #[error("expected either `certificate` or `metadata`")]
    Keys,
    /// A certificate will not do.
    #[error("`certificate`: {0}")]
    Certificate(String),
    /// The metadata will not do.
    #[error("`metadata`: {0}")]
    Metadata(String),
    /// The template will not do.
    #[error("`principal`: {0}")]
    Template(#[from] TemplateError),
}

impl SamlConfig {
    /// Checks everything but the certificates, which are files; and that it differs from others.
    ///
    /// # Errors
    /// It breaks this rule.
    pub fn check(&self, others: &[SamlConfig]) -> Result<(), SamlConfigError> {
        let fault = match self.template() {
            Err(fault) => fault,
            Ok(_) if others.iter().any(|other| other.name == self.name) => SamlFault::Twice("name"),
            Ok(_) if others.iter().any(|other| other.entity_id == self.entity_id) => {
                SamlFault::Twice("entity_id")
            }
            Ok(_) => return Ok(()),
        };
        Err(SamlConfigError {
            name: self.name.clone(),
            fault,
        })
    }

    /// The files with its keys, as they are written.
    #[must_use]
    pub fn files(&self) -> &[String] {
        match (&self.certificate, &self.metadata) {
            (Some(certificates), _) => certificates.files(),
            (None, Some(metadata)) => std::slice::from_ref(metadata),
            (None, None) => &[],
        }
    }

    fn template(&self) -> Result<Template, SamlFault> {
        let required = [
            ("name", self.name.as_str()),
            ("entity_id", &self.entity_id),
            ("audience", &self.audience),
            ("groups", &self.groups),
            ("recipient", self.recipient.as_deref().unwrap_or("unsaid")),
        ];
        if let Some((key, _)) = required.iter().find(|(_, value)| value.is_empty()) {
            return Err(SamlFault::Empty(key));
        }
        if self.certificate.is_some() == self.metadata.is_some() || self.files().is_empty() {
            return Err(SamlFault::Keys);
        }
        Ok(Template::parse(&self.principal)?)
    }
}

/// One `[[saml]]`, checked.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: Arc<str>,
    pub(super) entity_id: Arc<str>,
    pub(super) keys: Keys,
    pub(super) audience: String,
    pub(super) recipient: Option<String>,
    pub(super) template: Template,
    pub(super) groups: String,
}

impl Provider {
    pub(super) fn new(config: SamlConfig, files: &[u8]) -> Result<Provider, SamlFault> {
        Ok(Provider {
            template: config.template()?,
            keys: match config.metadata {
                Some(_) => metadata::keys(files, &config.entity_id)?,
                None => Keys::parse(files)?,
            },
            name: config.name.into(),
            entity_id: config.entity_id.into(),
            audience: config.audience,
            recipient: config.recipient,
            groups: config.groups,
        })
    }
}
