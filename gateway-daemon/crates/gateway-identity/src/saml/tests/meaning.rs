//! What a well signed assertion says, and whether that is enough.
use super::*;
use crate::TokenError;

/// The variant alone, without what it quotes.
fn refused(idp: &Idp, response: &str) -> String {
    let error = idp.verify(response).expect_err(response);
    assert!(!error.to_string().contains("alice"), "{error}");
    error.to_string()
}

#[test]
fn an_honest_one_is_taken() {
    let idp = Idp::new();
    let verified = idp.verify(&idp.honest()).unwrap();
    assert_eq!(&*verified.principal.id, "user:alice@acme.example");
    assert_eq!(
        verified.principal.assurance,
        gateway_core::Assurance::Verified
    );
    assert_eq!((&*verified.issuer, &*verified.id), (ENTITY, "_a1"));
    assert_eq!(
        verified.expires,
        time("2026-06-01T12:06:00Z"),
        "the clock's allowance included"
    );
    // Response signed; both signed.
    let response = idp.signed(&Idp::response(&Idp::assertion()), "_r1");
    assert_eq!(idp.verify(&response).as_ref(), Ok(&verified));
    let signed = idp.signed(&Idp::assertion(), "_a1");
    let both = idp.signed(&Idp::response(&signed), "_r1");
    assert_eq!(idp.verify(&both).as_ref(), Ok(&verified));
    // Of two signatures both count.
    for (what, instead) in [
        (
            "Version=\"2.0\"><saml:Issuer xmlns",
            "Version=\"2.0\"> <saml:Issuer xmlns",
        ),
        ("_a1\" I", "_a2\" I"),
    ] {
        assert!(both.contains(what));
        assert!(idp.verify(&both.replace(what, instead)).is_err(), "{what}");
    }
}

#[test]
fn it_is_good_from_its_time_to_its_time_give_or_take_a_minute() {
    let idp = Idp::new();
    let at = |text: &str| {
        providers(&idp.pem)
            .verify(&idp.honest(), time(text))
            .map(drop)
    };
    let early = SamlError::NotYet("IssueInstant");
    let late = SamlError::Expired("NotOnOrAfter of its Conditions");
    assert_eq!(at("2026-06-01T11:57:59Z"), Err(early));
    assert_eq!(at("2026-06-01T11:58:00Z"), Ok(()));
    assert_eq!(at("2026-06-01T12:05:59Z"), Ok(()));
    assert_eq!(at("2026-06-01T12:06:00Z"), Err(late));
    assert!(at("1970-01-01T00:00:00Z").is_err());
    // And it can never be bound with an expiry that is over.
    let last = providers(&idp.pem).verify(&idp.honest(), time("2026-06-01T12:05:59Z"));
    assert!(last.unwrap().expires > time("2026-06-01T12:05:59Z"));
}

#[test]
fn each_part_is_needed_and_must_fit() {
    let idp = Idp::new();
    let bounds = "NotBefore=\"2026-06-01T11:59:00Z\" NotOnOrAfter=\"2026-06-01T12:05:00Z\"";
    let confirmed = "NotOnOrAfter=\"2026-06-01T12:05:00Z\" Recipient";
    let audience = format!("<saml:Audience>{AUDIENCE}</saml:Audience>");
    let recipient = format!(" Recipient=\"{RECIPIENT}\"");
    let bearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
    let session = "SessionNotOnOrAfter=\"2026-06-01T20:00:00Z\"";
    let statement = "<saml:AuthnStatement AuthnInstant=\"2026-06-01T11:59:00Z\" \
                     SessionNotOnOrAfter=\"2026-06-01T20:00:00Z\"></saml:AuthnStatement>";
    let cases: &[(&str, &str, &str)] = &[
        (
            bounds,
            "NotBefore=\"2026-06-01T12:01:01Z\" NotOnOrAfter=\"2026-06-01T12:05:00Z\"",
            "from the future, by the NotBefore",
        ),
        (
            bounds,
            "NotBefore=\"2026-06-01T11:59:00Z\"",
            "has no NotOnOrAfter",
        ),
        (
            bounds,
            "NotOnOrAfter=\"2026-06-01T11:59:00Z\"",
            "expired, by the NotOnOrAfter of its Conditions",
        ),
        (
            bounds,
            "NotOnOrAfter=\"2026-06-01T14:05:00+02:00\"",
            "expected a time in UTC",
        ),
        (
            bounds,
            "NotOnOrAfter=\"tomorrow\"",
            "expected a time in UTC",
        ),
        (
            bounds,
            "NotOnOrAfter=\"1969-06-01T12:05:00Z\"",
            "expected a time in UTC",
        ),
        (
            "saml:Conditions",
            "saml:Unconditional",
            "exactly one Conditions",
        ),
        (
            &audience,
            "<saml:Audience>https://other.example</saml:Audience>",
            "not made out to the audience",
        ),
        (&audience, "", "but to nobody"),
        (
            "saml:AudienceRestriction",
            "saml:ProxyRestriction",
            "but to nobody",
        ),
        (
            "saml:AudienceRestriction",
            "saml:DelegationRestriction",
            "unknown condition",
        ),
        (
            "<saml:AudienceRestriction>",
            "<saml:AudienceRestriction><saml:Audience>https://other.example</saml:Audience></saml:AudienceRestriction><saml:AudienceRestriction>",
            "not made out to the audience",
        ),
        (confirmed, "Recipient", "has no NotOnOrAfter"),
        (
            confirmed,
            "NotOnOrAfter=\"2026-06-01T11:58:00Z\" Recipient",
            "no SubjectConfirmation of the assertion does: the assertion has expired",
        ),
        (
            confirmed,
            "NotBefore=\"2026-06-01T12:02:00Z\" NotOnOrAfter=\"2026-06-01T12:05:00Z\" Recipient",
            "from the future",
        ),
        (&recipient, "", "has no Recipient"),
        (
            RECIPIENT,
            "https://other.example/acs",
            "the Recipient of the SAML response is \"https://other.example/acs\"",
        ),
        (
            bearer,
            "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key",
            "SubjectConfirmation's Method",
        ),
        ("saml:SubjectConfirmation ", "saml:Unconfirmed ", ""),
        (
            session,
            "SessionNotOnOrAfter=\"2026-06-01T11:58:59Z\"",
            "expired, by the SessionNotOnOrAfter",
        ),
        (statement, "", "exactly one AuthnStatement"),
        (
            "AuthnInstant=\"2026-06-01T11:59:00Z\"",
            "AuthnInstant=\"2026-06-01T12:02:00Z\"",
            "by the AuthnInstant",
        ),
        ("Version=\"2.0\"", "Version=\"1.1\"", "Assertion's Version"),
        (
            " IssueInstant=\"2026-06-01T11:59:00Z\"",
            "",
            "has no IssueInstant",
        ),
        (
            "<saml:NameID>alice@acme.example</saml:NameID>",
            "",
            "exactly one NameID",
        ),
        (
            "<saml:NameID>alice@acme.example</saml:NameID>",
            "<saml:NameID></saml:NameID>",
            "`name_id`",
        ),
        (
            "<saml:NameID>",
            "<saml:NameID>root</saml:NameID><saml:NameID>",
            "exactly one NameID in the Subject of the SAML response, found 2",
        ),
        (
            "<saml:NameID>",
            "<saml:NameID><xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"file:///etc/passwd\"></xi:include>",
            "expected only text",
        ),
        (
            "<saml:NameID>",
            "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:transient\">",
            "no `name_id`",
        ),
        (
            "<saml:AttributeValue>dba</saml:AttributeValue>",
            "<saml:AttributeValue><a></a></saml:AttributeValue>",
            "names of groups",
        ),
    ];
    for (what, instead, expected) in cases {
        if what.starts_with("saml:SubjectConfirmation ") {
            // Both tags.
            let assertion = Idp::assertion()
                .replace("saml:SubjectConfirmation ", "saml:Unconfirmed ")
                .replace("/saml:SubjectConfirmation>", "/saml:Unconfirmed>");
            let response = Idp::response(&idp.signed(&assertion, "_a1"));
            assert!(refused(&idp, &response).contains("there is none"));
            continue;
        }
        let said = refused(&idp, &idp.saying(what, instead));
        assert!(said.contains(expected), "{instead}: {said}");
    }
}

#[test]
fn of_several_confirmations_one_must_do() {
    let idp = Idp::new();
    let other = "<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:sender-vouches\">\
                 </saml:SubjectConfirmation><saml:SubjectConfirmation ";
    assert!(
        idp.verify(&idp.saying("<saml:SubjectConfirmation ", other))
            .is_ok()
    );
}

#[test]
fn without_a_recipient_in_the_configuration_it_may_be_any() {
    let idp = Idp::new();
    let config = SamlConfig {
        recipient: None,
        ..configuration()
    };
    let any = providers_with(config, &idp.pem);
    let elsewhere = idp.saying(RECIPIENT, "https://other.example/acs");
    assert!(any.verify(&elsewhere, noon()).is_ok());
}

#[test]
fn the_envelope_must_fit_too() {
    let idp = Idp::new();
    let honest = idp.honest();
    for (what, instead, expected) in [
        (
            "status:Success",
            "status:Requester",
            "status \"urn:oasis:names:tc:SAML:2.0:status:Requester\", expected Success",
        ),
        (
            "Destination=\"https://gateway.acme.example/acs\"",
            "Destination=\"https://other.example\"",
            "the Destination of the SAML response is",
        ),
        (
            "SAML:2.0:protocol",
            "SAML:1.1:protocol",
            "expected Response of urn",
        ),
        ("samlp:Status>", "samlp:State>", "exactly one Status"),
        (
            "SAML:2.0:assertion\">https://idp.acme.example/metadata<",
            "SAML:2.0:assertion\">https://other.example<",
            "Response's Issuer",
        ),
        ("ID=\"_r1\"", "ID=\"_a1\"", "the same ID"),
        ("ID=\"_r1\"", "ID=\"_r1\" xml:id=\"_a1\"", "the same ID"),
    ] {
        assert!(honest.contains(what), "{what}");
        let said = refused(&idp, &honest.replace(what, instead));
        assert!(said.contains(expected), "{instead}: {said}");
        // The same where it is what is signed.
        let response = Idp::response(&Idp::assertion()).replace(what, instead);
        let said = refused(
            &idp,
            &idp.signed(
                &response,
                if instead.contains("_a1\"") {
                    "_a1"
                } else {
                    "_r1"
                },
            ),
        );
        assert!(said.contains(expected), "{instead}: {said}");
    }
    assert_eq!(
        idp.verify(&Idp::response(&Idp::assertion())),
        Err(SamlError::NotSigned)
    );
    // Nobody asked, and nobody is asked.
    assert!(
        idp.verify(&honest.replace(" ID=\"_r1\"", " ID=\"_r1\" InResponseTo=\"_x\""))
            .is_ok()
    );
}

#[test]
fn what_is_encrypted_is_refused_by_name() {
    let idp = Idp::new();
    let encrypted = Idp::response(
        "<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
         </saml:EncryptedAssertion>",
    );
    let said = refused(&idp, &encrypted);
    assert!(said.contains("EncryptedAssertion"), "{said}");
    let beside = idp.honest().replace("</samlp:Response>", "<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"></saml:EncryptedAssertion></samlp:Response>");
    assert_eq!(
        idp.verify(&beside),
        Err(SamlError::Unsupported("EncryptedAssertion"))
    );
    for name in ["EncryptedID", "EncryptedAttribute"] {
        let said = refused(
            &idp,
            &idp.saying(
                "</saml:Subject>",
                &format!("</saml:Subject><saml:{name}></saml:{name}>"),
            ),
        );
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn names_are_not_taken_from_attributes_of_the_same_name() {
    let idp = Idp::new();
    let mallory = "<saml:Attribute Name=\"name_id\"><saml:AttributeValue>mallory</saml:AttributeValue></saml:Attribute><saml:Attribute Name=\"email\">";
    let response = idp.saying("<saml:Attribute Name=\"email\">", mallory);
    assert_eq!(
        &*idp.verify(&response).unwrap().principal.id,
        "user:alice@acme.example"
    );
    // Twice the same attribute is one with two values, and no name.
    let twice = "<saml:Attribute Name=\"email\"><saml:AttributeValue>mallory</saml:AttributeValue></saml:Attribute><saml:Attribute Name=\"email\">";
    let response = idp.saying("<saml:Attribute Name=\"email\">", twice);
    let config = SamlConfig {
        principal: "user:{email}".into(),
        ..configuration()
    };
    let refused = providers_with(config, &idp.pem).verify(&response, noon());
    assert!(
        matches!(refused, Err(SamlError::Claims(TokenError::Claim { .. }))),
        "{refused:?}"
    );
    // What would be another kind of principal is only text.
    let hostile = idp.saying(
        "<saml:NameID>alice@acme.example<",
        "<saml:NameID>x:*\u{e4}<",
    );
    assert_eq!(
        &*idp.verify(&hostile).unwrap().principal.id,
        "user:x%3A%2A%C3%A4"
    );
}

#[test]
fn documents_that_are_none_are_refused() {
    let idp = Idp::new();
    let honest = idp.honest();
    let doctype = |text: &str| format!("<!DOCTYPE r {text}>{honest}");
    let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
    let very_deep = format!("{}{}", "<a>".repeat(30_000), "</a>".repeat(30_000));
    let inside = |extra: &str| honest.replace("<samlp:Status>", &format!("{extra}<samlp:Status>"));
    let namespaces: String = (0..5000).map(|n| format!(" xmlns:n{n}=\"u{n}\"")).collect();
    let some: String = (0..65).map(|n| format!(" xmlns:n{n}=\"u{n}\"")).collect();
    let attributes: String = (0..9000).map(|n| format!(" a{n}=\"\"")).collect();
    let long = format!(" xmlns:n=\"{}\"", "u".repeat(300));
    let cases = [
        (String::new(), "expected XML, or base64 of it"),
        ("!".into(), "expected XML, or base64 of it"),
        ("aGVsbG8=".into(), "expected XML, or base64 of it"),
        (
            STANDARD.encode([0xff, 0xfe, b'<', 0]),
            "expected XML, or base64 of it",
        ),
        ("<".into(), "not well-formed"),
        ("<a/>".into(), "expected Response of urn"),
        (Idp::assertion(), "expected Response of urn"),
        (" ".repeat(256 << 10) + &honest, "bytes, at most 262144"),
        (doctype(""), "document type declaration"),
        (
            doctype("[<!ENTITY a \"alice\">]"),
            "document type declaration",
        ),
        (
            doctype("SYSTEM \"file:///etc/passwd\""),
            "document type declaration",
        ),
        (honest.replace("alice@", "&alice;"), "not well-formed"),
        (
            inside("<?xml-stylesheet href=\"x\"?>"),
            "processing instruction",
        ),
        (format!("{honest}<?x y?>"), "processing instruction"),
        (inside(&deep), "nested deeper than 32"),
        (inside(&very_deep), "not well-formed"),
        (inside(&"<a/>".repeat(10_001)), "more than 10000 nodes"),
        (
            inside(&format!("<a{namespaces}/>")),
            "too many namespace declarations",
        ),
        (inside(&format!("<a{some}/>")), "too many namespaces"),
        (inside(&format!("<a{long}/>")), "too many namespaces"),
        (inside(&format!("<a{attributes}/>")), "too many attributes"),
        (inside("<a x=\"1\" x=\"2\"/>"), "not well-formed"),
    ];
    for (document, expected) in cases {
        let shown: String = document.chars().take(80).collect();
        let error = idp.verify(&document).expect_err(&shown).to_string();
        assert!(error.contains(expected), "{shown}: {error}");
        assert!(!error.contains("alice"), "{error}");
    }
    // None of the above is refused for something else.
    assert!(idp.verify(&inside("<a/>")).is_ok());
    assert!(
        idp.verify(&format!("\u{feff}<?xml version=\"1.0\"?>{honest}\n"))
            .is_ok()
    );
    assert!(idp.verify(&honest.replace('\n', "\r\n")).is_ok());
}
