//! A provider's metadata, as a file that whoever configures the gateway has put there (SAML
//! Metadata 2.0): where the certificates are that it signs with. It is believed as the
//! configuration is; its own signature, if it has one, is not looked at.
use super::config::SamlFault;
use super::document::{DSIG, Element, base64};
use super::error::SamlError;
use super::keys::Keys;
use crate::token::shown;
use ua_cryptography_xml_c14n::DocumentText;

const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";

/// The keys for signing of the provider with this entity id.
pub(super) fn keys(file: &[u8], entity_id: &str) -> Result<Keys, SamlFault> {
    let unfit = |text: String| SamlFault::Metadata(text);
    let text = DocumentText::decode(file).map_err(|error| unfit(error.to_string()))?;
    let tree = text.parse().map_err(|error| unfit(error.to_string()))?;
    let root = Element::root(&tree);
    if !root.is(METADATA, "EntityDescriptor") {
        return Err(unfit(format!("expected EntityDescriptor of {METADATA}")));
    }
    let found = root.attribute("entityID").unwrap_or_default();
    if found != entity_id {
        let found = shown(found);
        return Err(unfit(format!(
            "it is of \"{found}\", expected {entity_id:?}"
        )));
    }
    let certificates = certificates(root).map_err(|error| unfit(error.to_string()))?;
    match certificates.is_empty() {
        true => Err(unfit(
            "expected an X509Certificate for signing in an IDPSSODescriptor".to_owned(),
        )),
        false => Keys::of(&certificates),
    }
}

fn certificates(root: Element<'_, '_>) -> Result<Vec<Vec<u8>>, SamlError> {
    let mut certificates = Vec::new();
    let roles = root.children(METADATA, "IDPSSODescriptor");
    let keys = roles.flat_map(|role| role.children(METADATA, "KeyDescriptor"));
    // A key for which no use is said is for all of them.
    let signing = keys.filter(|key| matches!(key.attribute("use"), None | Some("signing")));
    let infos = signing.flat_map(|key| key.children(DSIG, "KeyInfo"));
    let data = infos.flat_map(|info| info.children(DSIG, "X509Data"));
    for certificate in data.flat_map(|data| data.children(DSIG, "X509Certificate")) {
        let der = base64(&certificate.text()?);
        let expected = "expected base64 in its X509Certificate";
        certificates.push(der.ok_or_else(|| SamlError::malformed(expected))?);
    }
    Ok(certificates)
}
