//! The outer form of a token (RFC 7515, compact): three parts, a header, nothing believed yet.
use super::TokenError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A token that is longer is refused unread, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// What a token says of itself. Keys that it carries or points to are not looked at: they come
/// from the issuer alone.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub alg: String,
    pub kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token taken apart.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    pub header: Header,
    pub claims: Map<String, Value>,
    /// What is signed: `header.claims` as they came.
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Jws<'a>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge(token.len()));
        }
        let token = token.trim_ascii();
        let parts = TokenError::Malformed("three parts with dots between them are expected");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| parts.clone())?;
        let (header, claims) = signed.split_once('.').ok_or_else(|| parts.clone())?;
        if claims.contains('.') {
            return Err(parts);
        }
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| TokenError::Malformed("its header is not the JSON that is expected"))?;
        header.check()?;
        let claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| TokenError::Malformed("its claims are not a JSON object"))?;
        Ok(Jws {
            header,
            claims,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }
}

impl Header {
    /// Made for an interface, not for saying who somebody is (RFC 9068, section 2.1).
    pub(super) fn is_access_token(&self) -> bool {
        let kind = self.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        kind.strip_prefix("application/").unwrap_or(&kind) == "at+jwt"
    }

    fn check(&self) -> Result<(), TokenError> {
        if self.crit.is_some() {
            return Err(TokenError::Critical);
        }
        if !super::keys::Algorithm::is_name(&self.alg) {
            return Err(TokenError::Algorithm(super::shown(&self.alg)));
        }
        // A logout token, or whatever else the issuer signs, says here what it is (RFC 8725, 3.11).
        let kind = self.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        match kind.strip_prefix("application/").unwrap_or(&kind) {
            "jwt" | "at+jwt" => Ok(()),
            _ => Err(TokenError::Malformed("its typ is neither JWT nor at+jwt")),
        }
    }
}

/// Strict: no padding, no stray bits at the end, so that a token has one form.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed("a part is not base64url"))
}
