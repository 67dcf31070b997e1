//! The gateway's own certificate authority, by which clients believe it in an upstream's place.
//!
//! A directory holds `ca.key` (PKCS #8, readable by its owner alone), `ca.pem`, its certificate,
//! and after a rotation `previous.pem`, which clients go on to believe until it is exported anew.
//! Everything else follows from the key: whoever has it can issue, so it never leaves the host.
use gateway_files::Lasting;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use zeroize::Zeroizing;

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";
const PREVIOUS: &str = "previous.pem";
/// How long the authority's own certificate is valid.
const VALID: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Clocks of clients may be behind.
const SKEW: Duration = Duration::from_secs(3600);
/// How long a certificate is valid that is issued to stand for a destination.
pub(super) const LEAF_VALID: Duration = Duration::from_secs(86_400);

/// The authority could not be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Others than its owner can read the key, so it may be in other hands.
    #[error("{}: it belongs to uid {owner} and has the mode {mode:04o}; expected a file of whoever runs this, with 0600, and `gateway trust rotate --compromised` if somebody may have read it", path.display())]
    Open {
        /// The key's file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// What is in a file is not what should be there.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        what: String,
    },
}

/// The key and the certificate that go with each other.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// The key of all leaves: they are for one place, and do not outlive this process.
    leaf_key: KeyPair,
}

impl Authority {
    /// Opens the authority of a directory, or makes one where there is none.
    ///
    /// # Errors
    /// A file cannot be read or written, is open to others, or is damaged. One that is there is
    /// never replaced: clients believe it.
    pub fn open_or_make(directory: &Path) -> Result<Authority, AuthorityError> {
        let _lock = lock(directory)?;
        if !directory.join(KEY).exists() && !directory.join(CERTIFICATE).exists() {
            make(directory)?;
        }
        Authority::open(directory)
    }

    /// Opens the authority of a directory.
    ///
    /// # Errors
    /// As [`Authority::open_or_make`], and when there is none.
    pub fn open(directory: &Path) -> Result<Authority, AuthorityError> {
        let path = directory.join(KEY);
        let text = read_own(&path)?;
        let key = KeyPair::from_pem(&text).map_err(|_| {
            let what = "no private key in PEM form (PKCS #8) that can be used".to_owned();
            AuthorityError::Content { path, what }
        })?;
        let path = directory.join(CERTIFICATE);
        let text = fs::read(&path).map_err(|error| file(&path, error))?;
        let certificate = only_certificate(&path, &text)?;
        let broken = |what: String| AuthorityError::Content {
            path: path.clone(),
            what,
        };
        let leaf_key = KeyPair::generate().map_err(|error| broken(error.to_string()))?;
        let authority = Authority {
            issuer: Issuer::new(parameters(&key, SystemTime::now()), key),
            certificate,
            leaf_key,
        };
        authority.prove().map_err(broken)?;
        Ok(authority)
    }

    /// Does what it issues count for those who believe its certificate?
    fn prove(&self) -> Result<(), String> {
        let name = "gateway.invalid";
        let san = SanType::DnsName(name.try_into().map_err(|_| "no name".to_owned())?);
        let now = SystemTime::now();
        let (chain, _) = self
            .issue(vec![san], now)
            .map_err(|error| error.to_string())?;
        super::upstream::is_believed(&chain, &self.certificate, name)
            .map_err(|error| format!("it is not the certificate of {KEY}, or not valid ({error})"))
    }

    /// A certificate for these names and addresses, from now on, with its key.
    pub(super) fn issue(
        &self,
        names: Vec<SanType>,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "issued by the gateway of this host");
        parameters.subject_alt_names = names;
        // All have one key, of which a number would be made otherwise: the same for all.
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
        parameters.serial_number = Some(SerialNumber::from_slice(&serial));
        parameters.not_before = OffsetDateTime::from(now - SKEW);
        parameters.not_after = OffsetDateTime::from(now + LEAF_VALID);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let leaf = parameters.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der());
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        Ok((chain, key.into()))
    }
}

/// The certificates in PEM form that clients have to believe: of the authority, and of the one
/// before it.
///
/// # Errors
/// They cannot be read.
pub fn export(directory: &Path) -> Result<String, AuthorityError> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).map_err(|error| file(&path, error))
    };
    let mut bundle = read(CERTIFICATE)?;
    match read(PREVIOUS) {
        Ok(previous) => bundle += &previous,
        Err(AuthorityError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(bundle)
}

/// What becomes of the authority that is rotated away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// Clients go on to be told of it, until the next rotation.
    Believed,
    /// Its key may be in other hands: nobody is told of it any more.
    Forgotten,
}

/// Makes another authority. A daemon that runs goes on with the old one until it is restarted.
///
/// # Errors
/// A file cannot be written.
pub fn rotate(directory: &Path, previous: Previous) -> Result<(), AuthorityError> {
    let _lock = lock(directory)?;
    let (certificate, kept) = (directory.join(CERTIFICATE), directory.join(PREVIOUS));
    let moved = match previous {
        Previous::Believed => fs::read(&certificate).map(Some),
        Previous::Forgotten => fs::remove_file(&kept).map(|()| None),
    };
    match moved {
        Ok(Some(certificate)) => write(&kept, &certificate, 0o644)?,
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file(&certificate, error)),
    }
    make(directory)
}

/// One process at a time makes files here. Released when it is dropped.
fn lock(directory: &Path) -> Result<File, AuthorityError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|error| file(directory, error))?;
    let locked = File::open(directory).and_then(|lock| lock.lock().map(|()| lock));
    locked.map_err(|error| file(directory, error))
}

/// Reads a file that nobody but its owner, who runs this, can read.
fn read_own(path: &Path) -> Result<Zeroizing<String>, AuthorityError> {
    let mut opened = File::open(path).map_err(|error| file(path, error))?;
    let metadata = opened.metadata().map_err(|error| file(path, error))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != nix::unistd::geteuid().as_raw() || mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(AuthorityError::Open { path, owner, mode });
    }
    let mut text = Zeroizing::new(String::new());
    let read = opened.read_to_string(&mut text);
    read.map_err(|error| file(path, error))?;
    Ok(text)
}

fn make(directory: &Path) -> Result<(), AuthorityError> {
    let path = directory.join(CERTIFICATE);
    let failed = |error: rcgen::Error| AuthorityError::Content {
        path: path.clone(),
        what: error.to_string(),
    };
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = parameters(&key, SystemTime::now())
        .self_signed(&key)
        .map_err(failed)?;
    // The key last: a certificate without its key is noticed, a key without its certificate too.
    let pem = certificate.pem().replace("\r\n", "\n");
    write(&path, pem.as_bytes(), 0o644)?;
    write(&directory.join(KEY), key.serialize_pem().as_bytes(), 0o600)
}

/// All but the times follows from the key, so an issuer needs nothing else to be remembered.
fn parameters(key: &KeyPair, now: SystemTime) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let digest = parameters.key_identifier(key);
    let short: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, format!("gateway CA {short}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = OffsetDateTime::from(now - SKEW);
    parameters.not_after = OffsetDateTime::from(now + VALID);
    parameters
}

fn only_certificate(path: &Path, text: &[u8]) -> Result<CertificateDer<'static>, AuthorityError> {
    use rustls::pki_types::pem::PemObject;
    let mut found = CertificateDer::pem_slice_iter(text);
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        _ => Err(AuthorityError::Content {
            path: path.to_owned(),
            what: "expected exactly one certificate in PEM form".to_owned(),
        }),
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let written = gateway_files::replace(path, mode, Lasting::Disk, &[bytes]);
    written.map(drop).map_err(|error| file(path, error))
}

fn file(path: &Path, error: io::Error) -> AuthorityError {
    AuthorityError::File {
        path: path.to_owned(),
        error,
    }
}
