//! Whatever is done to a good response: it proves what it proved, or nothing; and nothing panics.
use super::independent::{fixture, made};
use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

/// A change of a document.
#[derive(Clone, Debug)]
enum Change {
    /// A byte that is another one.
    Byte(usize, char),
    /// A part that is not there any more.
    Cut(usize, usize),
    /// A part that is there once more, somewhere else.
    Copy(usize, usize, usize),
    /// The same for whole tags, by number.
    Tags(usize, usize, usize),
    CutTags(usize, usize),
    /// Something that a document may have.
    Insert(usize, usize),
    /// A name that is another one.
    Rename(usize),
}

const PIECES: [&str; 14] = [
    "<!---->",
    "<![CDATA[x]]>",
    "<?x?>",
    "&#13;",
    "&#10;",
    " ",
    "\r\n",
    "\u{a0}",
    " xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\"",
    " xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:protocol\"",
    "<saml:NameID xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">mallory</saml:NameID>",
    "<Object xmlns=\"http://www.w3.org/2000/09/xmldsig#\">",
    "</Object>",
    "mallory",
];
const RENAMED: [(&str, &str); 6] = [
    ("alice", "mallory"),
    ("staff", "admin"),
    ("ID=", "Id="),
    ("saml:", "samlp:"),
    ("Assertion", "Response"),
    ("sha256", "sha1"),
];

fn change() -> impl Strategy<Value = Change> {
    let place = 0..100_000usize;
    prop_oneof![
        (place.clone(), any::<char>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (place.clone(), 0..400usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (place.clone(), 0..4000usize, place.clone()).prop_map(|(a, b, c)| Change::Copy(a, b, c)),
        (place.clone(), 0..40usize, place.clone()).prop_map(|(a, b, c)| Change::Tags(a, b, c)),
        (place.clone(), 0..40usize).prop_map(|(a, b)| Change::CutTags(a, b)),
        (place.clone(), place).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (0..RENAMED.len()).prop_map(Change::Rename),
    ]
}

fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at % (text.len() + 1))
}

fn apply(text: &str, change: &Change) -> String {
    let tags: Vec<usize> = text
        .match_indices('<')
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let tag = |number: usize| tags[number % tags.len()];
    let insert = |at: usize, piece: &str| format!("{}{piece}{}", &text[..at], &text[at..]);
    match *change {
        Change::Byte(at, byte) => {
            let at = boundary(text, at);
            let mut rest = text[at..].chars();
            rest.next();
            format!("{}{byte}{}", &text[..at], rest.as_str())
        }
        Change::Cut(at, length) => {
            let at = boundary(text, at);
            let end = text.floor_char_boundary((at + length).min(text.len()));
            format!("{}{}", &text[..at], &text[end.max(at)..])
        }
        Change::Copy(at, length, to) => {
            let at = boundary(text, at);
            let end = text
                .floor_char_boundary((at + length).min(text.len()))
                .max(at);
            insert(boundary(text, to), &text[at..end])
        }
        Change::Tags(from, count, to) => {
            let (start, end) = (
                tag(from),
                tag((from % tags.len() + count).min(tags.len() - 1)),
            );
            insert(tag(to), &text[start..end.max(start)])
        }
        Change::CutTags(from, count) => {
            let (start, end) = (
                tag(from),
                tag((from % tags.len() + count).min(tags.len() - 1)),
            );
            format!("{}{}", &text[..start], &text[end.max(start)..])
        }
        Change::Insert(at, piece) => insert(boundary(text, at), PIECES[piece % PIECES.len()]),
        Change::Rename(number) => {
            let (what, instead) = RENAMED[number];
            text.replacen(what, instead, 1)
        }
    }
}

static DOCUMENTS: LazyLock<Vec<(String, Timestamp, VerifiedToken)>> = LazyLock::new(|| {
    let names = [
        "samlp-assertion.xml",
        "samlp-response.xml",
        "samlp-both.xml",
        "pysaml2-both.xml",
    ];
    let documents = names.map(|name| {
        let document = fixture(name);
        let now = made(&document);
        let verified = PROVIDERS.verify(&document, now).unwrap();
        (document, now, verified)
    });
    documents.into()
});
static PROVIDERS: LazyLock<SamlProviders> = LazyLock::new(|| providers(&fixture("rsa.crt")));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_change_makes_somebody_else(
        which in 0..4usize,
        changes in prop::collection::vec(change(), 1..4),
        posted in any::<bool>(),
    ) {
        let (document, now, verified) = &DOCUMENTS[which];
        let changed = changes.iter().fold(document.clone(), |text, change| apply(&text, change));
        let handed = if posted { STANDARD.encode(&changed) } else { changed };
        if let Ok(found) = PROVIDERS.verify(&handed, *now) {
            prop_assert_eq!(&found, verified);
        }
    }

    #[test]
    fn what_is_no_document_is_refused(text in "(?s).{0,200}") {
        prop_assert!(PROVIDERS.verify(&text, noon()).is_err());
    }

    /// Marks of XML, in any order.
    #[test]
    fn what_looks_like_one_is_refused(
        parts in prop::collection::vec(prop::sample::select(vec![
            "<", ">", "</", "/>", "\"", "=", " ", "a", "a:b", "<a>", "</a>", "xmlns", "xmlns:a=\"b\"",
            "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<!DOCTYPE", "&amp;", "&#x0;", "ID=\"x\"",
            "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">",
            "</samlp:Response>", "<Assertion xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">",
            "</Assertion>", "<Issuer>https://idp.acme.example/metadata</Issuer>",
            "<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\">", "</Signature>",
        ]), 0..40),
    ) {
        prop_assert!(PROVIDERS.verify(&parts.concat(), noon()).is_err());
    }
}
