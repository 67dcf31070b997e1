//! An issuer's keys (RFC 7517), each good for the one algorithm that its own form allows.
use super::jws::{Jws, decode};
use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

/// How many keys an issuer may have; with more, the whole list is refused.
pub const KEYS_MAX: usize = 100;
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// What a key can verify. The key decides, never the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    pub(super) fn is_name(name: &str) -> bool {
        [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
            .iter()
            .any(|algorithm| algorithm.name() == name)
    }
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    /// Or why it is not used.
    material: Result<Material, &'static str>,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// What the keys say to a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is signed by one of them.
    Signed,
    /// There is no such key.
    NoKey,
    /// There is, and it is not used, for this reason.
    Refused(&'static str),
    /// There is, for another algorithm.
    AnotherAlgorithm(&'static str),
    /// There is, and it did not sign this.
    Forged,
}

/// One key as it is written. Private members, were they there, are not looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a key set document. What is not a signature key of a known kind is passed over, as
    /// RFC 7517 section 5 asks for.
    pub(super) fn parse(document: &[u8]) -> Result<KeySet, String> {
        let jwks: Jwks = serde_json::from_slice(document)
            .map_err(|error| format!("not a key set: {}", super::shown(&error.to_string())))?;
        if jwks.keys.len() > KEYS_MAX {
            let count = jwks.keys.len();
            return Err(format!("{count} keys, at most {KEYS_MAX} are expected"));
        }
        let jwks = jwks.keys.into_iter();
        let keys = jwks.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys = keys.map(|jwk| Key {
            material: jwk.material(),
            kid: jwk.kid,
        });
        Ok(KeySet {
            keys: keys.collect(),
        })
    }

    /// Did one of these keys sign this? A token that names no key is tried with all of its kind.
    pub(super) fn check(&self, jws: &Jws<'_>) -> Check {
        let mut worst = Check::NoKey;
        for key in &self.keys {
            if jws.header.kid.is_some() && key.kid != jws.header.kid {
                continue;
            }
            let found = match &key.material {
                Err(reason) => Check::Refused(reason),
                Ok(material) if material.algorithm().name() != jws.header.alg => {
                    Check::AnotherAlgorithm(material.algorithm().name())
                }
                Ok(material) if material.signed(jws.signed, &jws.signature) => {
                    return Check::Signed;
                }
                Ok(_) => Check::Forged,
            };
            if worst != Check::Forged {
                worst = found;
            }
        }
        worst
    }
}

impl Jwk {
    fn material(&self) -> Result<Material, &'static str> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures");
        }
        let operations = self.key_ops.as_deref();
        if operations.is_some_and(|all| !all.iter().any(|one| one == "verify")) {
            return Err("it is not for verifying");
        }
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => self.rsa()?,
            ("EC", Some("P-256")) => self.p256()?,
            ("OKP", Some("Ed25519")) => Material::Ed25519(exactly_32(self.x.as_deref())?),
            _ => return Err("it is neither RSA nor on P-256 or Ed25519"),
        };
        match self.alg.as_deref() {
            Some(alg) if alg != material.algorithm().name() => Err("it is for another algorithm"),
            _ => Ok(material),
        }
    }

    fn rsa(&self) -> Result<Material, &'static str> {
        let (n, e) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if bits < RSA_BITS_MIN {
            return Err("RSA keys of less than 2048 bits are not used");
        }
        if bits > RSA_BITS_MAX {
            return Err("RSA keys of more than 8192 bits are not used");
        }
        Ok(Material::Rsa { n, e })
    }

    fn p256(&self) -> Result<Material, &'static str> {
        // The uncompressed form (SEC 1, 2.3.3). That it is on the curve is checked with each use.
        let mut point = vec![4];
        point.extend(exactly_32(self.x.as_deref())?);
        point.extend(exactly_32(self.y.as_deref())?);
        Ok(Material::P256(point))
    }
}

/// A number without zeros in front, which some issuers write.
fn number(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let bytes = text.and_then(|text| decode(text).ok()).unwrap_or_default();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let number = bytes.get(zeros..).unwrap_or_default();
    if number.is_empty() {
        return Err("a number of it is missing, or is not base64url");
    }
    Ok(number.to_vec())
}

fn exactly_32(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    match text.and_then(|text| decode(text).ok()) {
        Some(bytes) if bytes.len() == 32 => Ok(bytes),
        _ => Err("its point is not 32 bytes of base64url for each coordinate"),
    }
}

impl Material {
    const fn algorithm(&self) -> Algorithm {
        match self {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let checked = match self {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature)
            }
        };
        checked.is_ok()
    }
}
