//! What a signed token must say before it counts (RFC 7519, RFC 8725).
use super::issuer::Issuer;
use super::jws::Jws;
use super::template::{VALUE_BYTES_MAX, escape};
use super::{TokenError, VerifiedToken};
use aws_lc_rs::digest::{SHA256, digest};
use gateway_core::{Assurance, Principal, Timestamp};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// How far an issuer's clock may be ahead of ours, in nanoseconds. A token that has expired has
/// expired: there is no such allowance.
const SKEW_NANOS_MAX: u64 = 60 * NANOS_PER_SECOND;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// What a subject may be long, in bytes.
const SUBJECT_BYTES_MAX: usize = 1024;
/// How many groups a token may name.
const GROUPS_MAX: usize = 512;

/// Judges the claims of a job's token whose signature is this issuer's.
pub(super) fn judge(
    jws: &Jws<'_>,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<VerifiedToken, TokenError> {
    if !is_for(&jws.claims, &issuer.audience) {
        return Err(TokenError::Audience(issuer.audience.clone()));
    }
    judge_rest(jws, issuer, now)
}

/// Judges the claims of an ID token, which its issuer made for this client (OpenID Connect Core
/// 1.0, section 3.1.3.7). With a `nonce`, it must be the one of this very sign-in.
pub(super) fn judge_id_token(
    jws: &Jws<'_>,
    issuer: &Issuer,
    client_id: &str,
    nonce: Option<&str>,
    now: Timestamp,
) -> Result<VerifiedToken, TokenError> {
    if jws.header.is_access_token() {
        return Err(TokenError::Malformed("an access token, not an ID token"));
    }
    let claims = &jws.claims;
    if !is_for(claims, client_id) {
        return Err(TokenError::Audience(client_id.to_owned()));
    }
    // Made out to several, it says who asked for it; that must be us.
    let several = matches!(claims.get("aud"), Some(Value::Array(all)) if all.len() != 1);
    let party = claims.get("azp").map(Value::as_str);
    if party.is_some_and(|party| party != Some(client_id)) || (several && party.is_none()) {
        return Err(TokenError::Audience(client_id.to_owned()));
    }
    if let Some(nonce) = nonce {
        let found = claims.get("nonce").and_then(Value::as_str).unwrap_or("");
        if nonce.is_empty() || !bool::from(found.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(TokenError::Nonce);
        }
    }
    judge_rest(jws, issuer, now)
}

fn judge_rest(jws: &Jws<'_>, issuer: &Issuer, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    let claims = &jws.claims;
    let expires = seconds(claims, "exp")?.ok_or_else(|| missing("exp"))?;
    if expires <= now {
        return Err(TokenError::Expired);
    }
    let latest = Timestamp(now.0.saturating_add(SKEW_NANOS_MAX));
    for name in ["nbf", "iat"] {
        if seconds(claims, name)?.is_some_and(|from| from > latest) {
            return Err(TokenError::NotYet(name));
        }
    }
    // Some write it as text.
    let verified = [Value::Bool(true), Value::String("true".to_owned())];
    if issuer.wants_verified_email
        && !claims
            .get("email_verified")
            .is_some_and(|said| verified.contains(said))
    {
        return Err(TokenError::UnverifiedEmail);
    }
    let subject = text(claims, "sub", SUBJECT_BYTES_MAX)?.ok_or_else(|| missing("sub"))?;
    let id = match text(claims, "jti", VALUE_BYTES_MAX)? {
        Some(id) => id.into(),
        None => fingerprint(jws.signed),
    };
    Ok(VerifiedToken {
        principal: Principal {
            id: issuer.template.fill(claims)?,
            assurance: Assurance::Verified,
            groups: groups(claims, &issuer.groups)?,
        },
        issuer: Arc::clone(&issuer.name),
        id,
        expires,
        subject: subject.into(),
    })
}

fn missing(name: &str) -> TokenError {
    TokenError::MissingClaim(name.to_owned())
}

fn wrong(name: &str, expected: &'static str) -> TokenError {
    TokenError::Claim {
        name: name.to_owned(),
        expected,
    }
}

fn is_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// A moment, written as seconds since the epoch, with or without a fraction.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = value.as_u64().or_else(|| {
        let fraction = value.as_f64().filter(|it| (0.0..1e15).contains(it))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = fraction as u64;
        Some(whole)
    });
    let whole = whole.ok_or_else(|| wrong(name, "seconds since the epoch"))?;
    Ok(Some(Timestamp(whole.saturating_mul(NANOS_PER_SECOND))))
}

fn text<'a>(
    claims: &'a Map<String, Value>,
    name: &str,
    bytes_max: usize,
) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text))
            if (1..=bytes_max).contains(&text.len()) && !text.contains(char::is_control) =>
        {
            Ok(Some(text))
        }
        Some(_) => Err(wrong(name, "a short text without control characters")),
    }
}

/// The name of a token without a `jti`: of what is signed, not of the signature, since an ES256
/// signature can be turned into another valid one by whoever holds it.
fn fingerprint(signed: &[u8]) -> Arc<str> {
    let mut id = String::from("sha256:");
    for byte in digest(&SHA256, signed).as_ref() {
        // Writing to a String does not fail.
        let _ = write!(id, "{byte:02x}");
    }
    id.into()
}

/// The groups that a claim lists, or the one that it names. Escaped as other claims are.
pub(crate) fn groups(claims: &Map<String, Value>, name: &str) -> Result<Vec<Arc<str>>, TokenError> {
    let group = |value: &Value| match value {
        Value::String(group) if (1..=VALUE_BYTES_MAX).contains(&group.len()) => Ok(escape(group)),
        _ => Err(wrong(name, "names of groups, at most 256 bytes each")),
    };
    match claims.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) if all.len() <= GROUPS_MAX => all.iter().map(group).collect(),
        Some(Value::Array(_)) => Err(wrong(name, "at most 512 groups")),
        Some(one) => Ok(vec![group(one)?]),
    }
}
