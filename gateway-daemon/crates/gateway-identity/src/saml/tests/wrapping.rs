//! Signature wrapping: the signed element is there and good, and another one asks to be taken for
//! it. The eight ways of Somorovsky and others, "On Breaking SAML: Be Whoever You Want to Be"
//! (2012), as the tools that test for them number them; and more.
use super::independent::{fixture, made};
use super::*;

/// The first element of this name, with its tags. It holds no other of that name.
fn element<'a>(document: &'a str, name: &str) -> &'a str {
    let start = document
        .find(&format!("<{name} "))
        .or(document.find(&format!("<{name}>")));
    let rest = &document[start.unwrap()..];
    let end = format!("</{name}>");
    &rest[..rest.find(&end).unwrap() + end.len()]
}

/// Mallory's, under an ID of its own.
fn evil(element: &str, id: &str) -> String {
    let old = format!("ID=\"{id}\"");
    assert!(element.contains(&old) && element.contains("alice@"));
    element
        .replace(&old, "ID=\"_evil\"")
        .replace("alice@", "mallory@")
}

fn id_of(element: &str) -> &str {
    let (_, rest) = element.split_once(" ID=\"").unwrap();
    rest.split_once('"').unwrap().0
}

fn object(content: &str) -> String {
    format!("<Object xmlns=\"http://www.w3.org/2000/09/xmldsig#\">{content}</Object></Signature>")
}

/// The eight ways, for a document whose tags are samlp's.
fn wrapped(assertion_signed: &str, response_signed: &str) -> Vec<String> {
    let mut all = Vec::new();

    // 1 and 2: the response is signed, and inside or beside the signature of another one.
    let signature = element(response_signed, "Signature");
    let bare = response_signed.replace(signature, "");
    let outer = evil(&bare, id_of(response_signed));
    let with = |signature: &str| {
        outer.replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1)
    };
    all.push(with(&signature.replace("</Signature>", &object(&bare))));
    all.push(with(&format!("{bare}{signature}")));

    // 3 to 8: the assertion is.
    let original = element(assertion_signed, "saml:Assertion");
    let signature = element(original, "Signature");
    let bare = original.replace(signature, "");
    let other = evil(&bare, id_of(original));
    let within = |signature: &str| {
        other.replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1)
    };
    let instead = |what: &str| assertion_signed.replace(original, what);
    all.push(instead(&format!("{other}{original}")));
    all.push(instead(&other.replace(
        "</saml:Assertion>",
        &format!("{original}</saml:Assertion>"),
    )));
    all.push(instead(&format!("{}{bare}", within(signature))));
    let embedded = signature.replace("</Signature>", &format!("{bare}</Signature>"));
    all.push(instead(&within(&embedded)));
    all.push(instead(&format!(
        "<samlp:Extensions>{other}</samlp:Extensions>{original}"
    )));
    let in_object = signature.replace("</Signature>", &object(&bare));
    all.push(instead(&within(&in_object)));

    // The same the other way round, and with the original's ID.
    all.push(instead(&format!("{original}{other}")));
    all.push(instead(&format!(
        "{}{original}",
        bare.replace("alice@", "mallory@")
    )));
    let mine = within(signature);
    all.push(instead(&mine));
    all.push(instead(&mine.replace("_evil", id_of(original))));
    all.push(instead(&format!(
        "<samlp:Extensions>{original}</samlp:Extensions>{other}"
    )));
    all.push(instead(&format!(
        "<samlp:Extensions>{signature}</samlp:Extensions>{other}"
    )));
    // The signature of the assertion, for the response; and unsigned with a signed one in Advice.
    all.push(assertion_signed.replace(signature, "").replacen(
        "<samlp:Status>",
        &format!("{signature}<samlp:Status>"),
        1,
    ));
    let advice = format!("<saml:Advice>{original}</saml:Advice><saml:AuthnStatement");
    all.push(instead(&other.replace("<saml:AuthnStatement", &advice)));
    all
}

#[test]
fn no_other_element_is_taken_for_the_signed_one() {
    let (assertion, response) = (
        fixture("samlp-assertion.xml"),
        fixture("samlp-response.xml"),
    );
    let all = wrapped(&assertion, &response);
    assert_eq!(all.len(), 16);
    for (number, document) in all.iter().enumerate() {
        let parsed = ua_cryptography_xml_c14n::roxmltree::Document::parse(document);
        assert!(parsed.is_ok(), "{number}: {parsed:?}");
        let verified = providers(&fixture("rsa.crt")).verify(document, made(&assertion));
        let error = verified.expect_err(&number.to_string());
        assert!(!error.to_string().contains("mallory"), "{error}");
    }
}

/// What keeps them out is not only that there is one assertion. Here there is one, it is good, and
/// whatever stands around it is somebody else's.
#[test]
fn what_is_around_the_signed_one_says_nothing() {
    let document = fixture("samlp-assertion.xml");
    let around = document.replacen(
        "<samlp:Status>",
        "<samlp:Extensions><saml:NameID xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
         mallory</saml:NameID></samlp:Extensions><samlp:Status>",
        1,
    );
    assert_ne!(around, document);
    let verified = providers(&fixture("rsa.crt")).verify(&around, made(&document));
    assert_eq!(&*verified.unwrap().principal.id, "user:alice@acme.example");
}

#[test]
fn only_the_expected_form_of_a_signature_is_taken() {
    let idp = Idp::new();
    let assertion = Idp::assertion();
    let honest = idp.signed(&assertion, "_a1");
    let info = element(&honest, "ds:SignedInfo").replace(
        "<ds:SignedInfo>",
        "<ds:SignedInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">",
    );
    let good = idp.signed_with(&assertion, &info);
    assert!(idp.verify(&Idp::response(&good)).is_ok());
    let reference =
        &info[info.find("<ds:Reference").unwrap()..info.find("</ds:SignedInfo>").unwrap()];
    for (what, instead) in [
        (
            "</ds:SignatureMethod>",
            "<ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>",
        ),
        ("<ds:Reference URI=\"#_a1\">", "<ds:Reference>"),
        ("URI=\"#_a1\"", "URI=\"\""),
        ("URI=\"#_a1\"", "URI=\"_a1\""),
        ("URI=\"#_a1\"", "URI=\"#_r1\""),
        ("URI=\"#_a1\"", "URI=\"https://idp.acme.example/#_a1\""),
        ("URI=\"#_a1\"", "URI=\"#xpointer(/)\""),
        (reference, ""),
        ("</ds:Reference>", &format!("</ds:Reference>{reference}")),
        ("ecdsa-sha256", "ecdsa-sha1"),
        ("ecdsa-sha256", "hmac-sha256"),
        ("ecdsa-sha256", "rsa-sha256"),
        ("ecdsa-sha256", "ecdsa-sha384"),
        ("xmlenc#sha256", "xmldsig-more#sha224"),
        ("xmlenc#sha256", "xmlenc#sha512"),
        (
            "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
            "http://www.w3.org/TR/1999/REC-xslt-19991116",
        ),
        (
            "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
            "http://www.w3.org/TR/1999/REC-xpath-19991116",
        ),
        (
            "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
            "http://www.w3.org/2000/09/xmldsig#base64",
        ),
        (
            "#\"></ds:CanonicalizationMethod>",
            "#WithComments\"></ds:CanonicalizationMethod>",
        ),
        (
            "#\"></ds:CanonicalizationMethod>",
            "#\"><ds:Other></ds:Other></ds:CanonicalizationMethod>",
        ),
    ] {
        assert!(info.contains(what), "{what}");
        let document =
            Idp::response(&idp.signed_with(&assertion, &info.replacen(what, instead, 1)));
        let error = idp.verify(&document).expect_err(instead);
        assert!(
            matches!(
                error,
                SamlError::SignatureForm(_)
                    | SamlError::Algorithm { .. }
                    | SamlError::NoKey(_)
                    | SamlError::Missing { .. }
                    | SamlError::Digest(_)
            ),
            "{instead}: {error:?}"
        );
    }
    // A second signature, a stranger in it, one that is not base64, one of another document.
    let response = Idp::response(&good);
    let signature = element(&response, "ds:Signature").to_owned();
    let twice = response.replace(&signature, &format!("{signature}{signature}"));
    assert!(matches!(idp.verify(&twice), Err(SamlError::Count { .. })));
    let stranger = response.replace("</ds:Signature>", "<ds:Object></ds:Object></ds:Signature>");
    assert!(matches!(
        idp.verify(&stranger),
        Err(SamlError::SignatureForm(_))
    ));
    let broken = response.replace("<ds:SignatureValue>", "<ds:SignatureValue>*");
    assert!(matches!(
        idp.verify(&broken),
        Err(SamlError::SignatureForm(_))
    ));
    let value = element(&response, "ds:SignatureValue").to_owned();
    let empty = response.replace(&value, "<ds:SignatureValue></ds:SignatureValue>");
    assert_eq!(idp.verify(&empty), Err(SamlError::Signature));
    let elsewhere = response
        .replace(&signature, "")
        .replace("<saml:Subject>", &format!("<saml:Subject>{signature}"));
    assert_eq!(idp.verify(&elsewhere), Err(SamlError::SignaturePlace));
}
