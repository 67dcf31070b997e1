//! XML signatures, of the one form that SAML allows (Core, section 5.4) and a little less: exactly
//! one reference, to the element that the signature stands in; exclusive canonicalisation without
//! comments; SHA-2. What is not expected is an error.
use super::document::{DSIG, Element, base64, parse_verified};
use super::error::SamlError;
use super::keys::{Keys, Method};
use crate::token::shown;
use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512, digest};
use ua_cryptography_xml_c14n::{Algorithm, canonicalize};

const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const DIGESTS: [(&str, &digest::Algorithm); 3] = [
    ("http://www.w3.org/2001/04/xmlenc#sha256", &SHA256),
    ("http://www.w3.org/2001/04/xmldsig-more#sha384", &SHA384),
    ("http://www.w3.org/2001/04/xmlenc#sha512", &SHA512),
];
/// Prefixes that a canonicalisation is to keep.
const PREFIXES_MAX: usize = 32;
/// What an ID may be long, in bytes.
pub(super) const ID_BYTES_MAX: usize = 256;

/// What the element's own signature covers, as the bytes that were hashed. `None`: it has none.
///
/// # Errors
/// It has one that is not good, or is not of the form that is taken.
pub(super) fn verify(element: Element<'_, '_>, keys: &Keys) -> Result<Option<Vec<u8>>, SamlError> {
    let Some(signature) = element.child_or_none(DSIG, "Signature")? else {
        return Ok(None);
    };
    for part in signature.elements() {
        let known = ["SignedInfo", "SignatureValue", "KeyInfo"];
        if !known.iter().any(|name| part.is(DSIG, name)) {
            return Err(SamlError::form(format!("unexpected {}", part.name())));
        }
    }
    let info = signature.child(DSIG, "SignedInfo")?;
    let value = signature.child(DSIG, "SignatureValue")?.0;
    let value = Element(value).text()?;
    let value = base64(&value).ok_or_else(|| SamlError::form("SignatureValue is not base64"))?;

    // From here on only what is signed is read: first it is made into bytes, then those are.
    let method = info.child(DSIG, "CanonicalizationMethod")?;
    let prefixes = exclusive(method)?;
    let canonical_info = canonicalize(info.0, Algorithm::Exclusive, &prefixes, None);
    let tree = parse_verified(&canonical_info)?;
    let info = SignedInfo::read(Element::root(&tree), element)?;
    keys.verify(info.method, &canonical_info, &value)?;

    let canonical = canonicalize(
        element.0,
        Algorithm::Exclusive,
        &info.prefixes,
        Some(signature.0),
    );
    if digest(info.digest, &canonical).as_ref() != info.value {
        return Err(SamlError::Digest(match element.0.tag_name().name() {
            "Assertion" => "assertion",
            _ => "response",
        }));
    }
    Ok(Some(canonical))
}

/// What is signed.
struct SignedInfo<'a> {
    method: Method,
    digest: &'static digest::Algorithm,
    value: Vec<u8>,
    prefixes: Vec<&'a str>,
}

impl<'a> SignedInfo<'a> {
    /// Reads it, strictly, as one that refers to `element`.
    fn read(info: Element<'a, '_>, element: Element<'_, '_>) -> Result<SignedInfo<'a>, SamlError> {
        if !info.is(DSIG, "SignedInfo") {
            return Err(SamlError::form("expected SignedInfo"));
        }
        let [canonicalization, method, reference] = sequence(
            info,
            ["CanonicalizationMethod", "SignatureMethod", "Reference"],
        )?;
        exclusive(canonicalization)?;
        // A length to which the check is cut, for example.
        sequence(method, [])?;
        let method = Method::of(method.required("Algorithm")?)?;

        let id = element.required("ID")?;
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(SamlError::form("expected an ID of 1 to 256 bytes"));
        }
        let target = reference.required("URI")?;
        if target.strip_prefix('#') != Some(id) {
            return Err(SamlError::form(format!(
                "it refers to \"{}\", expected the {} that it stands in",
                shown(target),
                element.name()
            )));
        }
        let [transforms, digest, value] =
            sequence(reference, ["Transforms", "DigestMethod", "DigestValue"])?;
        let [enveloped, exclusively] = sequence(transforms, ["Transform", "Transform"])?;
        expect_algorithm(enveloped, ENVELOPED)?;
        sequence(enveloped, [])?;
        sequence(digest, [])?;
        let value = base64(&value.text()?);
        Ok(SignedInfo {
            method,
            digest: digest_of(digest.required("Algorithm")?)?,
            value: value.ok_or_else(|| SamlError::form("DigestValue is not base64"))?,
            prefixes: exclusive(exclusively)?,
        })
    }
}

/// The children of an element, which must be these and no others, in this order.
fn sequence<'a, 'input, const N: usize>(
    element: Element<'a, 'input>,
    names: [&'static str; N],
) -> Result<[Element<'a, 'input>; N], SamlError> {
    let found: Vec<Element<'a, 'input>> = element.elements().collect();
    let fits = found.len() == N
        && found
            .iter()
            .zip(names)
            .all(|(child, name)| child.is(DSIG, name));
    let found = <[Element<'a, 'input>; N]>::try_from(found).ok();
    found.filter(|_| fits).ok_or_else(|| {
        SamlError::form(format!(
            "expected {} in its {}",
            match N {
                0 => "nothing".to_owned(),
                _ => names.join(", "),
            },
            element.name()
        ))
    })
}

fn expect_algorithm(element: Element<'_, '_>, expected: &'static str) -> Result<(), SamlError> {
    match element.required("Algorithm")? {
        found if found == expected => Ok(()),
        found => Err(SamlError::form(format!(
            "the {} is \"{}\", expected {expected}",
            element.name(),
            shown(found)
        ))),
    }
}

/// Exclusive canonicalisation, and the prefixes that it is to keep.
fn exclusive<'a>(element: Element<'a, '_>) -> Result<Vec<&'a str>, SamlError> {
    expect_algorithm(element, EXCLUSIVE)?;
    let mut children = element.elements();
    let Some(inclusive) = children.next() else {
        return Ok(Vec::new());
    };
    if children.next().is_some() || !inclusive.is(EXCLUSIVE, "InclusiveNamespaces") {
        return Err(SamlError::form(format!(
            "expected at most InclusiveNamespaces in its {}",
            element.name()
        )));
    }
    let list = inclusive.required("PrefixList")?;
    let prefixes: Vec<&str> = list.split_ascii_whitespace().collect();
    match prefixes.len() {
        0..=PREFIXES_MAX => Ok(prefixes),
        _ => Err(SamlError::form(format!(
            "expected at most {PREFIXES_MAX} prefixes in its PrefixList"
        ))),
    }
}

fn digest_of(uri: &str) -> Result<&'static digest::Algorithm, SamlError> {
    let found = DIGESTS.iter().find(|(known, _)| *known == uri);
    let found = found.map(|(_, algorithm)| *algorithm);
    found.ok_or_else(|| SamlError::Algorithm {
        what: "DigestMethod",
        found: shown(uri),
        expected: "SHA-256, SHA-384 and SHA-512",
    })
}
