//! The outer form: text, a tree within bounds, and the one assertion in it.
use super::error::SamlError;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::collections::HashSet;
use ua_cryptography_xml_c14n::roxmltree::{Document, Error, Node, ParsingOptions};
use ua_cryptography_xml_c14n::{DocumentError, DocumentText};

/// What a Response may be long, as it is handed over, in bytes. Real ones have 3 to 20 KiB.
pub const RESPONSE_BYTES_MAX: usize = 256 << 10;
/// Nodes of a tree: elements, texts, comments.
const NODES_MAX: u32 = 10_000;
/// How deep elements stand in one another. The parser goes down by recursion.
const DEPTH_MAX: usize = 32;
/// Namespace declarations in all. Some providers repeat two for each value.
const DECLARATIONS_MAX: usize = 4_096;
/// Namespaces that one element knows: each is looked at for each element below it.
const NAMESPACES_MAX: usize = 64;
/// What a namespace and a prefix may be long, in bytes: canonicalisation writes them again and again.
const NAMESPACE_BYTES_MAX: usize = 256;
const PREFIX_BYTES_MAX: usize = 64;
/// Two for each attribute; of one element each is compared with each.
const QUOTES_MAX: usize = 8_192;
/// What a text that counts may be long, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// The namespaces.
pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub(super) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// Base64 as XML documents have it, white space taken out. A stray bit at the end is an error.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.split_ascii_whitespace().collect();
    BASE64.decode(compact).ok()
}

/// The text of the document: UTF-8, with the line ends that XML has.
pub(super) fn decode(response: &str) -> Result<DocumentText, SamlError> {
    if response.len() > RESPONSE_BYTES_MAX {
        return Err(SamlError::TooLarge(response.len()));
    }
    let text = response.trim_start_matches('\u{feff}').trim_ascii();
    let decoded = if text.starts_with('<') {
        DocumentText::decode(text.as_bytes())
    } else {
        let expected = "expected XML, or base64 of it";
        let bytes = base64(text).ok_or_else(|| SamlError::malformed(expected))?;
        // UTF-16 is not for us; what is decoded is what the signature is over.
        let text = String::from_utf8(bytes).map_err(|_| SamlError::malformed(expected))?;
        let text = text.trim_start_matches('\u{feff}').trim_ascii();
        if !text.starts_with('<') {
            return Err(SamlError::malformed(expected));
        }
        DocumentText::decode(text.as_bytes())
    };
    decoded.map_err(|error| SamlError::malformed(error.to_string()))
}

/// A tree of it, without DTD and within bounds.
pub(super) fn parse(text: &DocumentText) -> Result<Document<'_>, SamlError> {
    let written = text.as_str();
    if written.matches("xmlns").count() > DECLARATIONS_MAX {
        return Err(SamlError::malformed("too many namespace declarations"));
    }
    if written.matches(['"', '\'']).count() > QUOTES_MAX {
        return Err(SamlError::malformed("too many attributes"));
    }
    let tree = text.parse().map_err(|error| match error {
        DocumentError::DtdRefused => SamlError::Unsupported("document type declaration"),
        other => SamlError::malformed(position(&other)),
    })?;
    check_bounds(&tree)?;
    Ok(tree)
}

/// The same for bytes that were verified: they came out of a tree, and make one again.
pub(super) fn parse_verified(bytes: &[u8]) -> Result<Document<'_>, SamlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SamlError::malformed("not UTF-8"))?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let tree = Document::parse_with_options(text, options);
    let tree = tree.map_err(|error: Error| SamlError::malformed(position(&error)))?;
    check_bounds(&tree)?;
    Ok(tree)
}

/// The parser quotes what it did not expect; where that stands is enough.
fn position(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let at = text.rsplit_once(" at ").map(|(_, at)| at);
    let at = at.filter(|at| at.chars().all(|c| c.is_ascii_digit() || c == ':'));
    match at {
        Some(at) => format!("it is not well-formed XML at {at}"),
        None => "it is not well-formed XML within the limits".to_owned(),
    }
}

fn check_bounds(tree: &Document<'_>) -> Result<(), SamlError> {
    let mut ids = HashSet::new();
    for (count, node) in tree.descendants().enumerate() {
        if count >= NODES_MAX as usize {
            return Err(SamlError::malformed(format!("more than {NODES_MAX} nodes")));
        }
        if node.is_pi() {
            return Err(SamlError::Unsupported("processing instruction"));
        }
        if node.is_element() && node.ancestors().nth(DEPTH_MAX + 1).is_some() {
            return Err(SamlError::malformed(format!(
                "elements nested deeper than {DEPTH_MAX}"
            )));
        }
        for (count, namespace) in node.namespaces().enumerate() {
            let prefix = namespace.name().unwrap_or_default();
            if count == NAMESPACES_MAX
                || prefix.len() > PREFIX_BYTES_MAX
                || namespace.uri().len() > NAMESPACE_BYTES_MAX
            {
                return Err(SamlError::malformed(
                    "too many namespaces, or too long ones",
                ));
            }
        }
        for attribute in node.attributes() {
            // Whoever takes whatever for an ID, each stands for one element.
            if attribute.name().eq_ignore_ascii_case("id") && !ids.insert(attribute.value()) {
                return Err(SamlError::malformed("two elements have the same ID"));
            }
        }
    }
    Ok(())
}

/// The one assertion of a Response. That it is the only one anywhere, and that signatures stand
/// where they may, leaves no room for a second one that somebody else might take for it.
pub(super) fn only_assertion<'a, 'input>(
    response: Element<'a, 'input>,
) -> Result<Element<'a, 'input>, SamlError> {
    response.must_be(PROTOCOL, "Response")?;
    let first = response.children(ASSERTION, "Assertion").next();
    let assertion = first.map(|assertion| assertion.0);
    for element in response.0.descendants().filter(Node::is_element) {
        match element.tag_name().name() {
            "EncryptedAssertion" => return Err(SamlError::Unsupported("EncryptedAssertion")),
            "EncryptedID" | "NewEncryptedID" => {
                return Err(SamlError::Unsupported("EncryptedID"));
            }
            "EncryptedAttribute" => return Err(SamlError::Unsupported("EncryptedAttribute")),
            "EncryptedData" => return Err(SamlError::Unsupported("EncryptedData")),
            "Assertion" if Some(element) != assertion => {
                return Err(SamlError::Unsupported("second Assertion"));
            }
            "Response" if element != response.0 => {
                return Err(SamlError::Unsupported("second Response"));
            }
            "Signature" => {
                let parent = element.parent();
                let placed =
                    parent.is_some() && (parent == Some(response.0) || parent == assertion);
                if !placed || element.tag_name().namespace() != Some(DSIG) {
                    return Err(SamlError::SignaturePlace);
                }
            }
            _ => {}
        }
    }
    response.child(ASSERTION, "Assertion")
}

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a, 'input>(pub(super) Node<'a, 'input>);

impl<'a, 'input> Element<'a, 'input> {
    pub(super) fn root(tree: &'a Document<'input>) -> Element<'a, 'input> {
        Element(tree.root_element())
    }

    pub(super) fn is(self, namespace: &str, name: &str) -> bool {
        self.0.has_tag_name((namespace, name))
    }

    pub(super) fn must_be(self, namespace: &str, name: &'static str) -> Result<(), SamlError> {
        match self.is(namespace, name) {
            true => Ok(()),
            false => Err(SamlError::malformed(format!(
                "expected {name} of {namespace} as its root"
            ))),
        }
    }

    /// For messages. Names of elements are not anybody's secret, but they may be long.
    pub(super) fn name(self) -> String {
        crate::token::shown(self.0.tag_name().name())
    }

    pub(super) fn elements(self) -> impl Iterator<Item = Element<'a, 'input>> {
        self.0.children().filter(Node::is_element).map(Element)
    }

    pub(super) fn children(
        self,
        namespace: &'static str,
        name: &'static str,
    ) -> impl Iterator<Item = Element<'a, 'input>> {
        self.elements()
            .filter(move |child| child.is(namespace, name))
    }

    /// The child of this name, of which there must be one.
    pub(super) fn child(
        self,
        namespace: &'static str,
        name: &'static str,
    ) -> Result<Element<'a, 'input>, SamlError> {
        let found = self.child_or_none(namespace, name)?;
        found.ok_or_else(|| self.count(name, 0))
    }

    /// The child of this name, of which there may be one.
    pub(super) fn child_or_none(
        self,
        namespace: &'static str,
        name: &'static str,
    ) -> Result<Option<Element<'a, 'input>>, SamlError> {
        let mut children = self.children(namespace, name);
        let first = children.next();
        match children.count() {
            0 => Ok(first),
            more => Err(self.count(name, more + 1)),
        }
    }

    fn count(self, expected: &'static str, found: usize) -> SamlError {
        SamlError::Count {
            expected,
            parent: self.name(),
            found,
        }
    }

    /// An attribute without a namespace.
    pub(super) fn attribute(self, name: &str) -> Option<&'a str> {
        self.0
            .attributes()
            .find(|attribute| attribute.namespace().is_none() && attribute.name() == name)
            .map(|attribute| attribute.value())
    }

    pub(super) fn required(self, name: &'static str) -> Result<&'a str, SamlError> {
        self.attribute(name).ok_or_else(|| SamlError::Missing {
            element: self.name(),
            attribute: name,
        })
    }

    /// All of its text, comments left out and not cut at. An element in it is an error.
    pub(super) fn text(self) -> Result<String, SamlError> {
        let mut text = String::new();
        for child in self.0.children() {
            if child.is_comment() {
                continue;
            }
            let part = child.text().filter(|_| child.is_text());
            let part = part.ok_or_else(|| {
                SamlError::malformed(format!("expected only text in its {}", self.name()))
            })?;
            text.push_str(part);
        }
        let text = text.trim_ascii();
        if text.len() > TEXT_BYTES_MAX {
            return Err(SamlError::malformed(format!(
                "expected at most {TEXT_BYTES_MAX} bytes in its {}",
                self.name()
            )));
        }
        Ok(text.to_owned())
    }
}
