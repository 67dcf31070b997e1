//! Documents that other implementations made (`fixtures/make.sh`), at the time when they did.
use super::*;
use crate::TokenError;
use std::path::Path;

pub(super) fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/saml/tests/fixtures");
    std::fs::read_to_string(path.join(name)).unwrap()
}

/// A second after the document was made.
pub(super) fn made(document: &str) -> Timestamp {
    let (_, rest) = document.split_once("IssueInstant=\"").unwrap();
    let made = time(rest.split_once('"').unwrap().0);
    Timestamp(made.0 + SECOND)
}

fn verify(document: &str, certificates: &[&str]) -> Result<VerifiedToken, SamlError> {
    let pem: String = certificates.iter().map(|name| fixture(name)).collect();
    providers(&pem).verify(document, made(document))
}

#[test]
fn what_others_sign_is_taken() {
    for (name, certificate) in [
        ("samlp-assertion.xml", "rsa.crt"),
        ("samlp-response.xml", "rsa.crt"),
        ("samlp-both.xml", "rsa.crt"),
        ("pysaml2-assertion.xml", "rsa.crt"),
        ("pysaml2-response.xml", "rsa.crt"),
        ("pysaml2-both.xml", "rsa.crt"),
        ("xmlsec-rsa384.xml", "rsa.crt"),
        ("xmlsec-prefixes.xml", "rsa.crt"),
        ("xmlsec-p256.xml", "p256.crt"),
        ("signxml-p256.xml", "p256.crt"),
        ("signxml-p384.xml", "p384.crt"),
    ] {
        let document = fixture(name);
        let verified = verify(&document, &[certificate]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(&*verified.principal.id, "user:alice@acme.example", "{name}");
        let groups: Vec<&str> = verified.principal.groups.iter().map(|it| &**it).collect();
        assert_eq!(groups, ["dba", "staff%20%26%20friends"], "{name}");
        assert_eq!(&*verified.issuer, ENTITY, "{name}");
        assert_eq!(&*verified.subject, "alice@acme.example", "{name}");
        assert!(document.contains(&format!("ID=\"{}\"", verified.id)));
        let lifetime = verified.expires.0 - made(&document).0;
        assert!(
            (355 * SECOND..=365 * SECOND).contains(&lifetime),
            "{name}: {lifetime}"
        );

        // As a browser posts it, with line ends or without.
        for posted in [
            STANDARD.encode(&document),
            STANDARD
                .encode(&document)
                .as_bytes()
                .chunks(76)
                .fold(String::new(), |lines, line| {
                    lines + std::str::from_utf8(line).unwrap() + "\r\n"
                }),
        ] {
            let again = providers(&fixture(certificate)).verify(&posted, made(&document));
            assert_eq!(again.as_ref(), Ok(&verified), "{name}");
        }

        // Any of several certificates; and another one's does not do.
        let all = ["other.crt", "p256.crt", "p384.crt", "rsa.crt"];
        assert_eq!(verify(&document, &all).as_ref(), Ok(&verified), "{name}");
        let refused = verify(&document, &["other.crt"]);
        assert!(
            matches!(refused, Err(SamlError::Signature | SamlError::NoKey(_))),
            "{name}: {refused:?}"
        );

        // Every letter of what is signed counts.
        let forged = document.replacen(">alice@", ">malice@", 1);
        let refused = verify(&forged, &[certificate]);
        assert!(
            matches!(refused, Err(SamlError::Digest(_))),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn what_is_signed_with_the_right_key_in_a_wrong_way_is_refused() {
    type Fits = fn(&SamlError) -> bool;
    let form: Fits = |error| matches!(error, SamlError::SignatureForm(_));
    let algorithm: Fits = |error| matches!(error, SamlError::Algorithm { .. });
    let cases: [(&str, Fits); 15] = [
        ("samlp-sha1.xml", algorithm),
        ("digest-sha1.xml", algorithm),
        ("hmac.xml", algorithm),
        ("p521.xml", algorithm),
        ("p256-sha384.xml", |error| {
            matches!(error, SamlError::Signature)
        }),
        ("twice.xml", form),
        ("whole.xml", form),
        ("xpointer.xml", form),
        ("inclusive.xml", form),
        ("inclusive-info.xml", form),
        ("comments.xml", form),
        ("no-transform.xml", form),
        ("third-transform.xml", form),
        ("object.xml", form),
        ("unsigned.xml", |error| *error == SamlError::NotSigned),
    ];
    for (name, fits) in cases {
        let document = fixture(name);
        let error = verify(&document, &["rsa.crt", "p256.crt", "p384.crt"]).expect_err(name);
        assert!(fits(&error), "{name}: {error:?}");
        assert!(!error.to_string().contains("alice"), "{name}: {error}");
    }
}

#[test]
fn the_key_in_the_message_is_not_looked_at() {
    // Signed by somebody else, who says so.
    let document = fixture("samlp-assertion.xml");
    let other: String = fixture("other.crt")
        .lines()
        .filter(|line| !line.contains("---"))
        .collect();
    let (before, rest) = document.split_once("X509Certificate>").unwrap();
    let (_, after) = rest.split_once("</").unwrap();
    let with_other = format!("{before}X509Certificate>{other}</{after}");
    assert!(
        verify(&with_other, &["rsa.crt"]).is_ok(),
        "it says nothing, true or not"
    );
    assert_eq!(
        verify(&with_other, &["other.crt"]),
        Err(SamlError::Signature)
    );
}

/// A comment is not signed, and whoever adds one must not cut a name short with it.
#[test]
fn a_comment_does_not_cut_a_name() {
    for name in [
        "samlp-assertion.xml",
        "pysaml2-both.xml",
        "samlp-response.xml",
    ] {
        let document = fixture(name);
        for commented in [
            document.replace(">alice@acme.example<", ">alice@acme<!-- cut -->.example<"),
            document.replace(">alice@acme.example<", "><!-- cut -->alice@acme.example<"),
            document.replace(">alice@acme.example<", ">alice@acme.example<!-- cut --><"),
            document
                .replace("<", "<!-- everywhere --><")
                .replacen("<!-- everywhere -->", "", 2),
        ] {
            assert_ne!(commented, document);
            match verify(&commented, &["rsa.crt"]) {
                Ok(verified) => assert_eq!(&*verified.principal.id, "user:alice@acme.example"),
                // In the name of a digest, or in a tag.
                Err(error) => assert!(matches!(error, SamlError::Malformed(_)), "{error:?}"),
            }
        }
    }
}

#[test]
fn attributes_make_names_too() {
    let document = fixture("samlp-assertion.xml");
    let of = |principal: &str, groups: &str| {
        let config = SamlConfig {
            principal: principal.into(),
            groups: groups.into(),
            ..configuration()
        };
        let verified =
            providers_with(config, &fixture("rsa.crt")).verify(&document, made(&document));
        verified.map(|it| (it.principal.id.to_string(), it.principal.groups.len()))
    };
    assert_eq!(
        of("user:{email}", "none"),
        Ok(("user:alice@acme.example".into(), 0))
    );
    let given = "user:{http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname}";
    assert_eq!(
        of(given, "email"),
        Ok(("user:Alice%20%3Cthe%20first%3E".into(), 1))
    );
    assert!(matches!(
        of("user:{groups}", "groups"),
        Err(SamlError::Claims(TokenError::Claim { .. }))
    ));
    assert_eq!(
        of("user:{uid}", "groups"),
        Err(SamlError::Claims(TokenError::MissingClaim("uid".into())))
    );
}
