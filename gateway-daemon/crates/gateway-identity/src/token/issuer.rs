//! Who may sign tokens: `[[issuer]]` of the configuration, as written and as checked.
use super::fetch::{Url, UrlError};
use super::template::{Template, TemplateError};
use serde::Deserialize;
use std::sync::Arc;

/// One `[[issuer]]`, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What the gateway calls it: `github`.
    pub name: String,
    /// What its tokens call it (`iss`, compared byte for byte), and where its discovery document
    /// is: https, or http to a loopback address.
    pub url: String,
    /// What its tokens must be made out to (`aud`).
    pub audience: String,
    /// How its claims become a principal: `ci:github:{repository}@{ref}`.
    pub principal: String,
    /// The claim that lists the principal's groups.
    #[serde(default = "groups_by_default")]
    pub groups: String,
    /// The variable in a job's environment in which its token is looked for.
    #[serde(default)]
    pub environment: Option<String>,
    /// The gateway's name at this issuer, as a public client: what people sign in with. Without it
    /// nobody signs in there. An ID token is made out to it, and to nothing else.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Whether `{email}` may be an address that the issuer has not verified (`email_verified`).
    /// Where people choose their addresses, one could be another's.
    #[serde(default)]
    pub unverified_email: bool,
}

fn groups_by_default() -> String {
    "groups".to_owned()
}

/// What is wrong with an `[[issuer]]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer {name:?}: {fault}")]
pub struct IssuerError {
    /// Which one.
    pub name: String,
    /// What it is.
    pub fault: IssuerFault,
}

/// Which rule an `[[issuer]]` breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerFault {
    /// A key without a value.
    #[error("`{0}` is empty")]
    Empty(&'static str),
    /// It is there twice. A token names its issuer by address, so that must be one of a kind too.
    #[error("another issuer has the same `{0}`")]
    Twice(&'static str),
    /// The address will not do.
    #[error("`url`: {0}")]
    Url(#[from] UrlError),
    /// The template will not do.
    #[error("`principal`: {0}")]
    Template(#[from] TemplateError),
    /// That is not a variable's name.
    #[error("`environment` is not the name of a variable: {0:?} (expected letters, digits and _)")]
    Environment(String),
}

/// One `[[issuer]]`, checked.
#[derive(Debug)]
pub(super) struct Issuer {
    pub name: Arc<str>,
    pub url: Url,
    pub audience: String,
    pub template: Template,
    pub groups: String,
    pub environment: Option<String>,
    pub client_id: Option<Arc<str>>,
    /// `email` makes the principal, and has to be verified.
    pub wants_verified_email: bool,
}

impl Issuer {
    pub(super) fn new(config: IssuerConfig) -> Result<Issuer, IssuerFault> {
        let required = [
            ("name", &config.name),
            ("url", &config.url),
            ("audience", &config.audience),
            ("groups", &config.groups),
        ];
        if let Some((key, _)) = required.iter().find(|(_, value)| value.is_empty()) {
            return Err(IssuerFault::Empty(key));
        }
        if config.client_id.as_deref() == Some("") {
            return Err(IssuerFault::Empty("client_id"));
        }
        if let Some(variable) = &config.environment
            && !is_variable(variable)
        {
            return Err(IssuerFault::Environment(variable.clone()));
        }
        let template = Template::parse(&config.principal)?;
        Ok(Issuer {
            name: config.name.into(),
            url: Url::parse(&config.url)?,
            audience: config.audience,
            wants_verified_email: template.has("email") && !config.unverified_email,
            template,
            groups: config.groups,
            environment: config.environment,
            client_id: config.client_id.map(Arc::from),
        })
    }
}

fn is_variable(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
}
