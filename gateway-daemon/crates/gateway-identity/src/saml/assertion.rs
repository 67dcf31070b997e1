//! What a verified assertion must say before it counts (SAML Core 2.0, section 2; Profiles 2.0,
//! section 4.1.4).
use super::config::Provider;
use super::document::{ASSERTION, Element, PROTOCOL, parse_verified};
use super::error::SamlError;
use super::signature::ID_BYTES_MAX;
use crate::token::{TokenError, VerifiedToken, groups, shown};
use gateway_core::{Assurance, Principal, Timestamp};
use serde_json::{Map, Value};
use std::sync::Arc;

/// How far a provider's clock may be from ours, either way, in nanoseconds.
const SKEW_NANOS: u64 = 60 * 1_000_000_000;
const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
/// The name under which templates find the subject's name.
const NAME_ID: &str = "name_id";
/// How many attributes an assertion may have.
const ATTRIBUTES_MAX: usize = 512;

/// The envelope. Where only the assertion is signed it proves nothing, and can only refuse.
pub(super) fn judge_response(
    response: Element<'_, '_>,
    provider: &Provider,
) -> Result<(), SamlError> {
    expect("Response's Version", "2.0", response.required("Version")?)?;
    let status = response.child(PROTOCOL, "Status")?;
    let code = status.child(PROTOCOL, "StatusCode")?.required("Value")?;
    if code != SUCCESS {
        return Err(SamlError::Status(shown(code)));
    }
    if let Some(issuer) = response.child_or_none(ASSERTION, "Issuer")? {
        expect("Response's Issuer", &provider.entity_id, &issuer.text()?)?;
    }
    if let (Some(expected), Some(found)) = (&provider.recipient, response.attribute("Destination"))
    {
        expect("Destination", expected, found)?;
    }
    Ok(())
}

/// The bytes of an assertion whose own signature was verified.
pub(super) fn judge_alone(
    verified: &[u8],
    provider: &Provider,
    now: Timestamp,
) -> Result<VerifiedToken, SamlError> {
    let tree = parse_verified(verified)?;
    judge(Element::root(&tree), provider, now)
}

/// An assertion that was read from verified bytes.
pub(super) fn judge(
    assertion: Element<'_, '_>,
    provider: &Provider,
    now: Timestamp,
) -> Result<VerifiedToken, SamlError> {
    assertion.must_be(ASSERTION, "Assertion")?;
    expect("Assertion's Version", "2.0", assertion.required("Version")?)?;
    let id = assertion.required("ID")?;
    if !(1..=ID_BYTES_MAX).contains(&id.len()) || id.contains(char::is_control) {
        return Err(SamlError::malformed("expected an ID of 1 to 256 bytes"));
    }
    let issuer = assertion.child(ASSERTION, "Issuer")?.text()?;
    expect("Assertion's Issuer", &provider.entity_id, &issuer)?;
    let clock = Clock { now };
    clock.has_begun(assertion, "IssueInstant", "IssueInstant")?;
    assertion.required("IssueInstant")?;

    let conditions = judge_conditions(assertion.child(ASSERTION, "Conditions")?, provider, clock)?;
    let subject = assertion.child(ASSERTION, "Subject")?;
    let confirmed = judge_confirmations(subject, provider, clock)?;
    let session = judge_statements(assertion, clock)?;
    let last = conditions.min(confirmed).min(session);

    let name = subject.child(ASSERTION, "NameID")?;
    let name_text = name.text()?;
    let claims = claims(assertion, name, &name_text)?;
    let principal = Principal {
        id: provider.template.fill(&claims).map_err(SamlError::Claims)?,
        assurance: Assurance::Verified,
        groups: groups(&claims, &provider.groups).map_err(SamlError::Claims)?,
    };
    Ok(VerifiedToken {
        principal,
        issuer: Arc::clone(&provider.entity_id),
        id: id.into(),
        expires: Timestamp(last.0.saturating_add(SKEW_NANOS)),
        subject: shown(&name_text).into(),
    })
}

fn expect(what: &'static str, expected: &str, found: &str) -> Result<(), SamlError> {
    match found == expected {
        true => Ok(()),
        false => Err(SamlError::Mismatch {
            what,
            expected: expected.to_owned(),
            found: shown(found),
        }),
    }
}

/// What time it is, give or take.
#[derive(Clone, Copy)]
struct Clock {
    now: Timestamp,
}

impl Clock {
    /// Is the moment in this attribute not in the future? No attribute, no such bound.
    fn has_begun(
        self,
        element: Element<'_, '_>,
        attribute: &'static str,
        what: &'static str,
    ) -> Result<(), SamlError> {
        let Some(from) = element.attribute(attribute) else {
            return Ok(());
        };
        match moment(from, attribute)?.0 > self.now.0.saturating_add(SKEW_NANOS) {
            true => Err(SamlError::NotYet(what)),
            false => Ok(()),
        }
    }

    /// The moment in this attribute, if it is in the future.
    fn not_over(
        self,
        element: Element<'_, '_>,
        attribute: &'static str,
        what: &'static str,
    ) -> Result<Timestamp, SamlError> {
        let until = moment(element.required(attribute)?, attribute)?;
        match until.0.saturating_add(SKEW_NANOS) <= self.now.0 {
            true => Err(SamlError::Expired(what)),
            false => Ok(until),
        }
    }
}

/// A moment in UTC (Core, section 1.3.3).
fn moment(text: &str, attribute: &'static str) -> Result<Timestamp, SamlError> {
    const BYTES_MAX: usize = 40;
    let utc = text.len() <= BYTES_MAX && text.contains('T') && text.ends_with('Z');
    let parsed = text.parse::<jiff::Timestamp>().ok().filter(|_| utc);
    let nanos = parsed.and_then(|moment| u64::try_from(moment.as_nanosecond()).ok());
    nanos.map(Timestamp).ok_or_else(|| {
        SamlError::malformed(format!(
            "expected a time in UTC, such as 2026-01-31T12:00:00Z, as its {attribute}"
        ))
    })
}

/// When they end. A condition that is not understood makes an assertion worth nothing (Core,
/// section 2.5.1.1).
fn judge_conditions(
    conditions: Element<'_, '_>,
    provider: &Provider,
    clock: Clock,
) -> Result<Timestamp, SamlError> {
    clock.has_begun(conditions, "NotBefore", "NotBefore of its Conditions")?;
    let until = clock.not_over(conditions, "NotOnOrAfter", "NotOnOrAfter of its Conditions")?;
    let mut restricted = false;
    for condition in conditions.elements() {
        if condition.is(ASSERTION, "AudienceRestriction") {
            judge_audience(condition, provider)?;
            restricted = true;
        } else if !condition.is(ASSERTION, "OneTimeUse")
            && !condition.is(ASSERTION, "ProxyRestriction")
        {
            return Err(SamlError::Unsupported("unknown condition"));
        }
    }
    match restricted {
        true => Ok(until),
        false => Err(SamlError::Audience {
            expected: provider.audience.clone(),
            found: "nobody".to_owned(),
        }),
    }
}

/// One of its audiences must be ours; and that in each of several restrictions.
fn judge_audience(restriction: Element<'_, '_>, provider: &Provider) -> Result<(), SamlError> {
    let mut found = Vec::new();
    for audience in restriction.children(ASSERTION, "Audience") {
        let audience = audience.text()?;
        if audience == provider.audience {
            return Ok(());
        }
        found.push(format!("\"{}\"", shown(&audience)));
    }
    found.truncate(4);
    Err(SamlError::Audience {
        expected: provider.audience.clone(),
        found: match found.is_empty() {
            true => "nobody".to_owned(),
            false => found.join(", "),
        },
    })
}

/// When the latest confirmation that does ends: whoever bears the assertion may present it here.
fn judge_confirmations(
    subject: Element<'_, '_>,
    provider: &Provider,
    clock: Clock,
) -> Result<Timestamp, SamlError> {
    let mut refused = "there is none".to_owned();
    let mut confirmed: Option<Timestamp> = None;
    for confirmation in subject.children(ASSERTION, "SubjectConfirmation") {
        match judge_confirmation(confirmation, provider, clock) {
            Ok(until) => confirmed = confirmed.max(Some(until)),
            Err(error) => refused = error.to_string(),
        }
    }
    confirmed.ok_or(SamlError::Confirmation(refused))
}

/// `InResponseTo` is not looked at: nobody here asked for anything. `Address` neither: it is the
/// browser's, which may be on another host.
fn judge_confirmation(
    confirmation: Element<'_, '_>,
    provider: &Provider,
    clock: Clock,
) -> Result<Timestamp, SamlError> {
    let method = confirmation.required("Method")?;
    expect("SubjectConfirmation's Method", BEARER, method)?;
    let data = confirmation.child(ASSERTION, "SubjectConfirmationData")?;
    clock.has_begun(
        data,
        "NotBefore",
        "NotBefore of its SubjectConfirmationData",
    )?;
    let what = "NotOnOrAfter of its SubjectConfirmationData";
    let until = clock.not_over(data, "NotOnOrAfter", what)?;
    if let Some(expected) = &provider.recipient {
        expect("Recipient", expected, data.required("Recipient")?)?;
    }
    Ok(until)
}

/// When the session at the provider ends, of which there must be one: an assertion that speaks of
/// somebody's attributes alone does not say that they were there.
fn judge_statements(assertion: Element<'_, '_>, clock: Clock) -> Result<Timestamp, SamlError> {
    let mut until = Timestamp(u64::MAX);
    let mut found = 0;
    for statement in assertion.children(ASSERTION, "AuthnStatement") {
        found += 1;
        clock.has_begun(statement, "AuthnInstant", "AuthnInstant")?;
        if statement.attribute("SessionNotOnOrAfter").is_some() {
            let session =
                clock.not_over(statement, "SessionNotOnOrAfter", "SessionNotOnOrAfter")?;
            until = until.min(session);
        }
    }
    match found {
        0 => Err(SamlError::Count {
            expected: "AuthnStatement",
            parent: assertion.name(),
            found,
        }),
        _ => Ok(until),
    }
}

/// The attributes by their `Name`, and the subject's name as `name_id`. One value is a text,
/// several are a list; what is no text is something that no template and no group takes.
fn claims(
    assertion: Element<'_, '_>,
    name: Element<'_, '_>,
    name_text: &str,
) -> Result<Map<String, Value>, SamlError> {
    let mut claims: Map<String, Value> = Map::new();
    let statements = assertion.children(ASSERTION, "AttributeStatement");
    let attributes = statements.flat_map(|it| it.children(ASSERTION, "Attribute"));
    for (count, attribute) in attributes.enumerate() {
        if count == ATTRIBUTES_MAX {
            return Err(SamlError::malformed(format!(
                "more than {ATTRIBUTES_MAX} attributes"
            )));
        }
        let values = attribute.children(ASSERTION, "AttributeValue");
        let values =
            values.map(|value| value.text().map_or_else(|_| Map::new().into(), Value::from));
        let kept = claims
            .entry(attribute.required("Name")?)
            .or_insert(Value::Null);
        for value in values {
            *kept = match kept.take() {
                Value::Null => value,
                Value::Array(mut all) => {
                    all.push(value);
                    all.into()
                }
                one => vec![one, value].into(),
            };
        }
    }
    if name_text.is_empty() || name_text.contains(char::is_control) {
        return Err(SamlError::Claims(TokenError::Claim {
            name: NAME_ID.to_owned(),
            expected: "a short text without control characters",
        }));
    }
    // No attribute stands for the subject's name. A transient name is another one each time, and
    // may be somebody else's tomorrow.
    claims.remove(NAME_ID);
    if name.attribute("Format") != Some(TRANSIENT) {
        claims.insert(NAME_ID.to_owned(), name_text.into());
    }
    Ok(claims)
}
