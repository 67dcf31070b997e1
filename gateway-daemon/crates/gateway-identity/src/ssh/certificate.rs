//! Certificates of OpenSSH (PROTOCOL.certkeys): what is in them, not whether they are good, which
//! sshd has judged.
//!
//! Of the crates that read them, ssh-key 0.6 refuses those without an end ("forever", what
//! ssh-keygen makes when nobody says otherwise), and 0.7 is not out. What is needed is little.

/// What the names of all kinds of certificates end with.
const SUFFIX: &str = "-cert-v01@openssh.com";
/// `SSH2_CERT_TYPE_USER`.
const OF_USER: u32 = 1;

/// Is this a kind of certificate, and not of plain keys?
pub(super) fn is_kind(kind: &str) -> bool {
    kind.ends_with(SUFFIX)
}

/// What matters of a certificate.
pub(super) struct Certificate<'a> {
    pub(super) of_user: bool,
    pub(super) key_id: String,
    /// The blob that the key has without a certificate.
    pub(super) key: Vec<u8>,
    /// The blob of the key that signed it.
    pub(super) authority: &'a [u8],
}

impl Certificate<'_> {
    /// Reads a certificate to its last byte. `None`: it is none, or of a kind that is not known.
    pub(super) fn read(blob: &[u8]) -> Option<Certificate<'_>> {
        let mut rest = blob;
        let kind = std::str::from_utf8(string(&mut rest)?).ok()?;
        let kind = kind.strip_suffix(SUFFIX)?;
        let (plain_kind, fields) = plain(kind)?;
        let _nonce = string(&mut rest)?;
        let mut key = Vec::new();
        put(&mut key, plain_kind.as_bytes())?;
        for _ in 0..fields {
            put(&mut key, string(&mut rest)?)?;
        }
        let _serial = take::<8>(&mut rest)?;
        let of_user = u32::from_be_bytes(take::<4>(&mut rest)?) == OF_USER;
        let key_id = std::str::from_utf8(string(&mut rest)?).ok()?.to_owned();
        let _names = string(&mut rest)?;
        let _not_before = take::<8>(&mut rest)?;
        let _not_after = take::<8>(&mut rest)?;
        let _critical = string(&mut rest)?;
        let _extensions = string(&mut rest)?;
        let _reserved = string(&mut rest)?;
        let authority = string(&mut rest)?;
        let _signature = string(&mut rest)?;
        rest.is_empty().then_some(Certificate {
            of_user,
            key_id,
            key,
            authority,
        })
    }
}

/// What the key is called without a certificate, and of how many fields it is made.
fn plain(kind: &str) -> Option<(&'static str, usize)> {
    Some(match kind {
        "ssh-ed25519" => ("ssh-ed25519", 1),
        "ssh-rsa" => ("ssh-rsa", 2),
        "ssh-dss" => ("ssh-dss", 4),
        "ecdsa-sha2-nistp256" => ("ecdsa-sha2-nistp256", 2),
        "ecdsa-sha2-nistp384" => ("ecdsa-sha2-nistp384", 2),
        "ecdsa-sha2-nistp521" => ("ecdsa-sha2-nistp521", 2),
        "sk-ssh-ed25519" => ("sk-ssh-ed25519@openssh.com", 2),
        "sk-ecdsa-sha2-nistp256" => ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
        _ => return None,
    })
}

/// A string of RFC 4251, section 5: its length in four bytes, and its bytes.
pub(super) fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(u32::from_be_bytes(take::<4>(rest)?)).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

fn take<const COUNT: usize>(rest: &mut &[u8]) -> Option<[u8; COUNT]> {
    let (bytes, behind) = rest.split_first_chunk::<COUNT>()?;
    *rest = behind;
    Some(*bytes)
}

fn put(blob: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    blob.extend(u32::try_from(bytes.len()).ok()?.to_be_bytes());
    blob.extend(bytes);
    Some(())
}
