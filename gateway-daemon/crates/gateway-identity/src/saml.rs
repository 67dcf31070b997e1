//! Assertions that a SAML 2.0 identity provider signed: the other way in which a person signs in.
//!
//! What is taken is a Response of the web browser SSO profile, as a browser posts it. The rule that
//! holds this together: **nothing is believed that was not read from the very bytes that were
//! verified**. The element that a signature speaks of is canonicalised, those bytes are hashed, and
//! the assertion is read from a second parse of the same bytes. What else is in the document, where
//! the signed element stands in it, and whether the canonicalisation has a mistake, then decides at
//! most whether something is refused; it cannot put words into a provider's mouth.
//!
//! Keys come from the configuration alone. A `KeyInfo` in the message is not looked at.
//!
//! Sources: SAML Core, Bindings and Profiles 2.0 (OASIS, March 2005); XML Signature 1.1;
//! Exclusive XML Canonicalization 1.0.
use crate::token::{VerifiedToken, shown};
use gateway_core::Timestamp;
use std::fmt;

mod assertion;
mod config;
mod document;
mod error;
mod keys;
mod metadata;
mod signature;

use config::Provider;
use document::{ASSERTION, Element};

pub use config::{Certificates, SamlConfig, SamlConfigError, SamlFault};
pub use document::RESPONSE_BYTES_MAX;
pub use error::SamlError;
pub use keys::CERTIFICATES_MAX;

/// The configured SAML identity providers.
pub struct SamlProviders {
    providers: Vec<Provider>,
}

impl fmt::Debug for SamlProviders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.providers.iter().map(|provider| &provider.name);
        f.debug_list().entries(names).finish()
    }
}

impl SamlProviders {
    /// Checks the configuration; with each comes what its files hold, one behind
    /// the other: certificates in PEM, or its metadata.
    ///
    /// # Errors
    /// One of them will not do, or two have the same name or entity id.
    pub fn new(configured: Vec<(SamlConfig, Vec<u8>)>) -> Result<SamlProviders, SamlConfigError> {
        let mut providers: Vec<Provider> = Vec::new();
        let mut before: Vec<SamlConfig> = Vec::new();
        for (config, files) in configured {
            config.check(&before)?;
            before.push(config.clone());
            let name = config.name.clone();
            let provider = Provider::new(config, &files);
            providers.push(provider.map_err(|fault| SamlConfigError { name, fault })?);
        }
        Ok(SamlProviders { providers })
    }

    /// Whom a Response speaks of: XML, or base64 of it, at most [`RESPONSE_BYTES_MAX`] bytes.
    ///
    /// What it proves has the provider's entity id as its issuer and the assertion's ID as its id,
    /// and is valid until no such assertion would be taken any more, the allowance for clocks
    /// included: until then whoever remembers the id can tell that it was used.
    ///
    /// Asks nobody, and takes a few milliseconds.
    ///
    /// # Errors
    /// It is refused, for this reason.
    pub fn verify(&self, response: &str, now: Timestamp) -> Result<VerifiedToken, SamlError> {
        let text = document::decode(response)?;
        let tree = document::parse(&text)?;
        let response = Element::root(&tree);
        let assertion = document::only_assertion(response)?;
        // Says only whose keys are tried; it is read again from what those keys have signed.
        let issuer = assertion.child(ASSERTION, "Issuer")?.text()?;
        let provider = self.provider(&issuer)?;

        let signed_response = signature::verify(response, &provider.keys)?;
        let signed_assertion = signature::verify(assertion, &provider.keys)?;
        match (signed_response, signed_assertion) {
            (None, None) => Err(SamlError::NotSigned),
            (None, Some(assertion)) => {
                assertion::judge_response(response, provider)?;
                assertion::judge_alone(&assertion, provider, now)
            }
            (Some(response), signed_assertion) => {
                let tree = document::parse_verified(&response)?;
                let response = Element::root(&tree);
                let inside = document::only_assertion(response)?;
                assertion::judge_response(response, provider)?;
                match signed_assertion {
                    Some(alone) => assertion::judge_alone(&alone, provider, now),
                    None => assertion::judge(inside, provider, now),
                }
            }
        }
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    fn provider(&self, entity_id: &str) -> Result<&Provider, SamlError> {
        let found = self
            .providers
            .iter()
            .find(|provider| *provider.entity_id == *entity_id);
        found.ok_or_else(|| SamlError::UnknownIssuer(shown(entity_id)))
    }
}

#[cfg(test)]
mod tests;
