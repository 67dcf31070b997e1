//! `[[saml]]`.
use super::independent::fixture;
use super::*;
use crate::{SamlFault, TemplateError};

#[test]
fn certificates_are_read_and_weak_ones_refused() {
    for name in ["rsa.crt", "p256.crt", "p384.crt", "v1.crt"] {
        providers(&fixture(name));
    }
    let fault = |pem: &str| {
        let made = SamlProviders::new(vec![(configuration(), pem.into())]);
        match made.expect_err(pem).fault {
            SamlFault::Certificate(text) => text,
            other => panic!("{other:?}"),
        }
    };
    assert!(fault(&fixture("weak.crt")).contains("2048"));
    assert!(fault(&fixture("p521.crt")).contains("P-384"));
    assert!(fault("").contains("PEM"));
    fault("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fault("-----BEGIN CERTIFICATE-----\n");
    let many = fixture("p256.crt").repeat(17);
    assert!(fault(&many).contains("16"));
}

#[test]
fn mistakes_are_named() {
    let fault = |change: &dyn Fn(&mut SamlConfig)| {
        let mut config = configuration();
        change(&mut config);
        config.check(&[]).expect_err("a mistake").fault
    };
    assert_eq!(fault(&|it| it.name.clear()), SamlFault::Empty("name"));
    assert_eq!(
        fault(&|it| it.entity_id.clear()),
        SamlFault::Empty("entity_id")
    );
    assert_eq!(
        fault(&|it| it.audience.clear()),
        SamlFault::Empty("audience")
    );
    assert_eq!(fault(&|it| it.groups.clear()), SamlFault::Empty("groups"));
    assert_eq!(
        fault(&|it| it.recipient = Some(String::new())),
        SamlFault::Empty("recipient")
    );
    assert_eq!(
        fault(&|it| it.certificate = Some(Certificates::Several(vec![]))),
        SamlFault::Keys
    );
    assert_eq!(fault(&|it| it.certificate = None), SamlFault::Keys);
    assert_eq!(
        fault(&|it| it.metadata = Some("/m".into())),
        SamlFault::Keys
    );
    assert_eq!(
        fault(&|it| it.principal = "group:{name_id}".into()),
        SamlFault::Template(TemplateError::Reserved("group:"))
    );
    let pem = fixture("rsa.crt");
    let twice = |other: SamlConfig| {
        let both = vec![
            (configuration(), pem.clone().into()),
            (other, pem.clone().into()),
        ];
        SamlProviders::new(both).expect_err("twice").fault
    };
    assert_eq!(twice(configuration()), SamlFault::Twice("name"));
    let other = SamlConfig {
        name: "other".into(),
        ..configuration()
    };
    assert_eq!(twice(other), SamlFault::Twice("entity_id"));
}

#[test]
fn each_provider_speaks_for_itself() {
    let (one, other) = (Idp::new(), Idp::new());
    let config = SamlConfig {
        name: "other".into(),
        entity_id: "https://other.example".into(),
        ..configuration()
    };
    let both = vec![
        (configuration(), one.pem.clone().into()),
        (config, other.pem.clone().into()),
    ];
    let both = SamlProviders::new(both).unwrap();
    assert!(both.verify(&one.honest(), noon()).is_ok());
    // The other one's key, with this one's name; and its own name within.
    assert_eq!(
        both.verify(&other.honest(), noon()),
        Err(SamlError::Signature)
    );
    let own = Idp::assertion().replace(ENTITY, "https://other.example");
    let own = other.signed(&own, "_a1");
    assert!(
        both.verify(
            &Idp::response(&own).replacen(ENTITY, "https://other.example", 1),
            noon()
        )
        .is_ok()
    );
    let mixed = both.verify(&Idp::response(&own), noon());
    assert!(
        matches!(mixed, Err(SamlError::Mismatch { .. })),
        "{mixed:?}"
    );
    let unknown = one.saying(ENTITY, "https://nobody.example");
    let unknown = both.verify(&unknown, noon());
    assert_eq!(
        unknown,
        Err(SamlError::UnknownIssuer("https://nobody.example".into()))
    );
}

/// Metadata with a key for each of these uses; no use is for all.
fn metadata(entity_id: &str, keys: &[(&str, &str)]) -> String {
    let key = |(usage, certificate): &(&str, &str)| {
        let pem = fixture(certificate);
        let lines = pem.lines().filter(|line| !line.contains("---"));
        let base64: Vec<&str> = lines.collect();
        format!(
            "<md:KeyDescriptor{usage}><ds:KeyInfo><ds:X509Data><ds:X509Certificate>\n{}\n\
             </ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
            base64.join("\n")
        )
    };
    let keys: String = keys.iter().map(key).collect();
    format!(
        "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" entityID=\"{entity_id}\">\
         <md:IDPSSODescriptor>{keys}</md:IDPSSODescriptor></md:EntityDescriptor>"
    )
}

#[test]
fn metadata_says_which_keys_are_for_signing() {
    let made = |metadata: &str| {
        let config = SamlConfig {
            certificate: None,
            metadata: Some("/unread".into()),
            ..configuration()
        };
        SamlProviders::new(vec![(config, metadata.into())]).map_err(|error| error.fault)
    };
    let document = fixture("samlp-assertion.xml");
    let verify = |keys: &[(&str, &str)]| {
        let providers = made(&metadata(ENTITY, keys)).unwrap();
        providers
            .verify(&document, super::independent::made(&document))
            .map(drop)
    };
    let (signing, encryption) = (" use=\"signing\"", " use=\"encryption\"");
    assert_eq!(verify(&[(signing, "rsa.crt")]), Ok(()));
    assert_eq!(verify(&[("", "rsa.crt")]), Ok(()));
    assert_eq!(
        verify(&[(signing, "other.crt"), (signing, "rsa.crt")]),
        Ok(())
    );
    let refused = verify(&[(signing, "other.crt"), (encryption, "rsa.crt")]);
    assert_eq!(refused, Err(SamlError::Signature));

    let fault = |text: &str| match made(text).expect_err(text) {
        SamlFault::Metadata(text) | SamlFault::Certificate(text) => text,
        other => panic!("{other:?}"),
    };
    let key = [(signing, "rsa.crt")];
    assert!(fault(&metadata("https://other.example", &key)).contains("other.example"));
    assert!(fault(&metadata(ENTITY, &[(encryption, "rsa.crt")])).contains("for signing"));
    assert!(fault(&metadata(ENTITY, &[(signing, "weak.crt")])).contains("2048"));
    assert!(fault(&metadata(ENTITY, &key).replace("IDPSSO", "SPSSO")).contains("for signing"));
    assert!(
        fault(&metadata(ENTITY, &key).replace("Certificate>\n", "Certificate>*"))
            .contains("base64")
    );
    fault(&format!("<!DOCTYPE a>{}", metadata(ENTITY, &key)));
    assert!(fault("<a/>").contains("EntityDescriptor"));
    fault("");
}
