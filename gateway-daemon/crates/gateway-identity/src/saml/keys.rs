//! A provider's pinned keys, each good for the algorithms that its own kind allows. Which one
//! signed is not said by the message: all of the kind are tried.
use super::config::SamlFault;
use super::error::SamlError;
use crate::token::shown;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// How many certificates a provider may have: the one in use and those before and after it.
pub const CERTIFICATES_MAX: usize = 16;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// A key of 2048 bits, as PKCS #1 writes it, is a little longer than this, in bytes.
const RSA_BYTES_MIN: usize = 256;
const RSA_BYTES_MAX: usize = 1100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
}

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    RsaSha256,
    RsaSha384,
    RsaSha512,
    EcdsaSha256,
    EcdsaSha384,
}

impl Method {
    /// By its URI (RFC 9231). SHA-1 and everything with a shared key is not among them.
    pub(super) fn of(uri: &str) -> Result<Method, SamlError> {
        let known = uri.strip_prefix("http://www.w3.org/2001/04/xmldsig-more#");
        match known {
            Some("rsa-sha256") => Ok(Method::RsaSha256),
            Some("rsa-sha384") => Ok(Method::RsaSha384),
            Some("rsa-sha512") => Ok(Method::RsaSha512),
            Some("ecdsa-sha256") => Ok(Method::EcdsaSha256),
            Some("ecdsa-sha384") => Ok(Method::EcdsaSha384),
            _ => Err(SamlError::Algorithm {
                what: "SignatureMethod",
                found: shown(uri),
                expected: "RSA with SHA-256, SHA-384 or SHA-512, and ECDSA with SHA-256 or SHA-384",
            }),
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Method::RsaSha256 | Method::RsaSha384 | Method::RsaSha512 => Kind::Rsa,
            Method::EcdsaSha256 => Kind::P256,
            Method::EcdsaSha384 => Kind::P384,
        }
    }

    const fn needs(self) -> &'static str {
        match self.kind() {
            Kind::Rsa => "RSA",
            Kind::P256 => "ECDSA with SHA-256 (P-256)",
            Kind::P384 => "ECDSA with SHA-384 (P-384)",
        }
    }

    /// RFC 4050 and XML Signature 1.1 write ECDSA signatures as r and s, not in DER.
    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Method::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
            Method::RsaSha384 => &RSA_PKCS1_2048_8192_SHA384,
            Method::RsaSha512 => &RSA_PKCS1_2048_8192_SHA512,
            Method::EcdsaSha256 => &ECDSA_P256_SHA256_FIXED,
            Method::EcdsaSha384 => &ECDSA_P384_SHA384_FIXED,
        }
    }
}

/// A provider's keys.
#[derive(Debug)]
pub(super) struct Keys(Vec<(Kind, Vec<u8>)>);

impl Keys {
    /// The keys of certificates in PEM. What else the certificates say is not looked at: they are
    /// pinned, so neither their dates nor who issued them make them better or worse.
    pub(super) fn parse(pem: &[u8]) -> Result<Keys, SamlFault> {
        let mut keys = Keys(Vec::new());
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| SamlFault::Certificate(error.to_string()))?;
            keys.add(&der)?;
        }
        match keys.0.is_empty() {
            true => Err(SamlFault::Certificate("expected one in PEM".to_owned())),
            false => Ok(keys),
        }
    }

    /// The keys of certificates in DER, of which there is at least one.
    pub(super) fn of(certificates: &[Vec<u8>]) -> Result<Keys, SamlFault> {
        let mut keys = Keys(Vec::new());
        for der in certificates {
            keys.add(der)?;
        }
        Ok(keys)
    }

    fn add(&mut self, der: &[u8]) -> Result<(), SamlFault> {
        if self.0.len() == CERTIFICATES_MAX {
            let text = format!("more than {CERTIFICATES_MAX} of them");
            return Err(SamlFault::Certificate(text));
        }
        let certificate = Certificate::from_der(der)
            .map_err(|error| SamlFault::Certificate(error.to_string()))?;
        let key = key_of(certificate.tbs_certificate().subject_public_key_info())?;
        self.0.push(key);
        Ok(())
    }

    pub(super) fn verify(
        &self,
        method: Method,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SamlError> {
        let fits = |(kind, _): &&(Kind, Vec<u8>)| *kind == method.kind();
        if !self.0.iter().any(|key| fits(&key)) {
            return Err(SamlError::NoKey(method.needs()));
        }
        let signed = self.0.iter().filter(fits).any(|(_, key)| {
            let key = UnparsedPublicKey::new(method.algorithm(), key);
            key.verify(message, signature).is_ok()
        });
        match signed {
            true => Ok(()),
            false => Err(SamlError::Signature),
        }
    }
}

fn key_of(info: &SubjectPublicKeyInfoOwned) -> Result<(Kind, Vec<u8>), SamlFault> {
    let unfit = |text: &str| SamlFault::Certificate(text.to_owned());
    let bits = info.subject_public_key.as_bytes();
    let key = bits.ok_or_else(|| unfit("its key is cut"))?.to_vec();
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let kind = match (info.algorithm.oid, curve) {
        (RSA, _) if key.len() <= RSA_BYTES_MIN => {
            return Err(unfit("RSA keys of less than 2048 bits are not used"));
        }
        (RSA, _) if key.len() > RSA_BYTES_MAX => {
            return Err(unfit("RSA keys of more than 8192 bits are not used"));
        }
        (RSA, _) => Kind::Rsa,
        (ELLIPTIC, Some(P256)) => Kind::P256,
        (ELLIPTIC, Some(P384)) => Kind::P384,
        _ => return Err(unfit("its key is neither RSA nor on P-256 or P-384")),
    };
    Ok((kind, key))
}
