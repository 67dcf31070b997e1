//! The identity provider of the tests, which signs whatever it is told to; and what is common.
use super::{Certificates, SamlConfig, SamlError, SamlProviders};
use crate::token::VerifiedToken;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway_core::Timestamp;

mod config;
mod independent;
mod meaning;
mod properties;
mod wrapping;

const ENTITY: &str = "https://idp.acme.example/metadata";
const AUDIENCE: &str = "https://gateway.acme.example/saml";
const RECIPIENT: &str = "https://gateway.acme.example/acs";
const SECOND: u64 = 1_000_000_000;

fn configuration() -> SamlConfig {
    SamlConfig {
        name: "acme".into(),
        entity_id: ENTITY.into(),
        certificate: Some(Certificates::One("/unread".into())),
        metadata: None,
        audience: AUDIENCE.into(),
        recipient: Some(RECIPIENT.into()),
        principal: "user:{name_id}".into(),
        groups: "groups".into(),
    }
}

fn providers(pem: &str) -> SamlProviders {
    providers_with(configuration(), pem)
}

fn providers_with(config: SamlConfig, pem: &str) -> SamlProviders {
    SamlProviders::new(vec![(config, pem.into())]).unwrap()
}

fn time(text: &str) -> Timestamp {
    let moment: jiff::Timestamp = text.parse().unwrap();
    Timestamp(u64::try_from(moment.as_nanosecond()).unwrap())
}

/// A moment in the life of what [`Idp::assertion`] says.
fn noon() -> Timestamp {
    time("2026-06-01T12:00:00Z")
}

/// Signs with a key of its own what is handed to it as canonical XML: nothing of what is tested
/// has a part in that. The documents of [`independent`] show that others do it alike.
struct Idp {
    key: EcdsaKeyPair,
    pem: String,
}

impl Idp {
    fn new() -> Idp {
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["idp.acme.example".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&pair).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der());
        Idp {
            key: key.unwrap(),
            pem: format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(certificate.der())
            ),
        }
    }

    /// An honest assertion, in canonical form. Good from 11:59 to 12:05.
    fn assertion() -> String {
        format!(
            "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_a1\" \
             IssueInstant=\"2026-06-01T11:59:00Z\" Version=\"2.0\">\
             <saml:Issuer>{ENTITY}</saml:Issuer>\
             <saml:Subject><saml:NameID>alice@acme.example</saml:NameID>\
             <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml:SubjectConfirmationData NotOnOrAfter=\"2026-06-01T12:05:00Z\" \
             Recipient=\"{RECIPIENT}\"></saml:SubjectConfirmationData>\
             </saml:SubjectConfirmation></saml:Subject>\
             <saml:Conditions NotBefore=\"2026-06-01T11:59:00Z\" \
             NotOnOrAfter=\"2026-06-01T12:05:00Z\"><saml:AudienceRestriction>\
             <saml:Audience>{AUDIENCE}</saml:Audience></saml:AudienceRestriction>\
             </saml:Conditions><saml:AuthnStatement AuthnInstant=\"2026-06-01T11:59:00Z\" \
             SessionNotOnOrAfter=\"2026-06-01T20:00:00Z\"></saml:AuthnStatement>\
             <saml:AttributeStatement><saml:Attribute Name=\"email\"><saml:AttributeValue>\
             alice@acme.example</saml:AttributeValue></saml:Attribute>\
             <saml:Attribute Name=\"groups\"><saml:AttributeValue>dba</saml:AttributeValue>\
             <saml:AttributeValue>staff</saml:AttributeValue></saml:Attribute>\
             </saml:AttributeStatement></saml:Assertion>"
        )
    }

    /// The element with this ID and a signature behind its first Issuer.
    fn signed(&self, canonical: &str, id: &str) -> String {
        let value = STANDARD.encode(digest(&SHA256, canonical.as_bytes()));
        let info = format!(
            "<ds:SignedInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\
             <ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\">\
             </ds:CanonicalizationMethod><ds:SignatureMethod \
             Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256\">\
             </ds:SignatureMethod><ds:Reference URI=\"#{id}\"><ds:Transforms><ds:Transform \
             Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>\
             <ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></ds:Transform>\
             </ds:Transforms><ds:DigestMethod \
             Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></ds:DigestMethod>\
             <ds:DigestValue>{value}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        );
        self.signed_with(canonical, &info)
    }

    fn signed_with(&self, canonical: &str, info: &str) -> String {
        let signature = self.key.sign(&SystemRandom::new(), info.as_bytes());
        let signature = STANDARD.encode(signature.unwrap());
        // Canonical by itself, it says its namespace; within the signature it has it from there.
        let info = info.replacen(" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"", "", 1);
        let signature = format!(
            "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">{info}\
             <ds:SignatureValue>{signature}</ds:SignatureValue></ds:Signature>"
        );
        canonical.replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1)
    }

    /// A response around an assertion, in canonical form when that is.
    fn response(assertion: &str) -> String {
        format!(
            "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
             Destination=\"{RECIPIENT}\" ID=\"_r1\" IssueInstant=\"2026-06-01T11:59:00Z\" \
             Version=\"2.0\"><saml:Issuer xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
             {ENTITY}</saml:Issuer><samlp:Status><samlp:StatusCode \
             Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"></samlp:StatusCode>\
             </samlp:Status>{assertion}</samlp:Response>"
        )
    }

    /// An honest response whose assertion is signed.
    fn honest(&self) -> String {
        Idp::response(&self.signed(&Idp::assertion(), "_a1"))
    }

    /// The same with something else in the assertion, which is signed too.
    fn saying(&self, what: &str, instead: &str) -> String {
        let assertion = Idp::assertion();
        assert!(assertion.contains(what), "{what}");
        Idp::response(&self.signed(&assertion.replace(what, instead), "_a1"))
    }

    fn verify(&self, response: &str) -> Result<VerifiedToken, SamlError> {
        providers(&self.pem).verify(response, noon())
    }
}
