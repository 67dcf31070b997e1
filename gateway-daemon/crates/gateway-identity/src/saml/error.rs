//! Why a SAML Response is not taken.
use super::document::RESPONSE_BYTES_MAX;
use crate::token::TokenError;

/// Why a Response is refused. Never quotes the assertion; names that stand in it (an issuer, an
/// audience, an algorithm) are shown bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamlError {
    /// It was not even looked at.
    #[error("the SAML response has {0} bytes, at most {RESPONSE_BYTES_MAX} are expected")]
    TooLarge(usize),
    /// It is no document that is taken.
    #[error("not a SAML response: {0}")]
    Malformed(String),
    /// A part that is not known here, and could change what the rest says.
    #[error("the SAML response is refused for its {0}")]
    Unsupported(&'static str),
    /// An element is not there, or not once.
    #[error("expected exactly one {expected} in the {parent} of the SAML response, found {found}")]
    Count {
        /// The element's name.
        expected: &'static str,
        /// Where.
        parent: String,
        /// How many there are.
        found: usize,
    },
    /// An attribute is not there.
    #[error("the {element} of the SAML response has no {attribute}")]
    Missing {
        /// The element's name.
        element: String,
        /// The attribute's name.
        attribute: &'static str,
    },
    /// Its issuer is not the `entity_id` of any `[[saml]]`.
    #[error("the assertion is of \"{0}\", which is not the entity_id of any [[saml]]")]
    UnknownIssuer(String),
    /// Something says another thing than it must.
    #[error("the {what} of the SAML response is \"{found}\", expected \"{expected}\"")]
    Mismatch {
        /// What it is.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is, bounded and escaped.
        found: String,
    },
    /// The provider did not sign anybody in.
    #[error("the identity provider answers with the status \"{0}\", expected Success")]
    Status(String),
    /// Neither the assertion nor the response has a signature of its own.
    #[error("neither the assertion nor the response is signed")]
    NotSigned,
    /// A signature stands where none may.
    #[error(
        "a signature is expected as a child of the response or the assertion, and nowhere else"
    )]
    SignaturePlace,
    /// The signature is not of the one form that is taken.
    #[error("the signature is not of the form that is taken: {0}")]
    SignatureForm(String),
    /// SHA-1, HMAC, or anything else that is not taken.
    #[error("the signature's {what} is \"{found}\"; {expected} are accepted")]
    Algorithm {
        /// Of what.
        what: &'static str,
        /// Its URI, bounded and escaped.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// None of the configured certificates is for that algorithm.
    #[error("no certificate of this [[saml]] is for {0}")]
    NoKey(&'static str),
    /// The signed element is not what was signed.
    #[error("the digest of the signed {0} is wrong: it was changed after it was signed")]
    Digest(&'static str),
    /// Forged, damaged, or signed by a key that is not pinned.
    #[error("the signature is not of any certificate that is configured for this provider")]
    Signature,
    /// It was made for somebody else.
    #[error("the assertion is not made out to the audience {expected:?} but to {found}")]
    Audience {
        /// Ours.
        expected: String,
        /// Theirs.
        found: String,
    },
    /// It is over.
    #[error("the assertion has expired, by the {0}")]
    Expired(&'static str),
    /// It has not begun.
    #[error("the assertion is from the future, by the {0}")]
    NotYet(&'static str),
    /// No way in which its bearer may present it here.
    #[error("no SubjectConfirmation of the assertion does: {0}")]
    Confirmation(String),
    /// A name or an attribute does not make a principal.
    #[error("of the assertion's attributes: {0}")]
    Claims(TokenError),
}

impl SamlError {
    pub(super) fn malformed(text: impl Into<String>) -> SamlError {
        SamlError::Malformed(text.into())
    }

    pub(super) fn form(text: impl Into<String>) -> SamlError {
        SamlError::SignatureForm(text.into())
    }
}
