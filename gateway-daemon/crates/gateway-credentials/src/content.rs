//! What is sealed: all credentials, in postcard's form (<https://postcard.jamesmunns.com>).
use crate::credential::Credential;
use crate::hidden::{self, Hidden};
use crate::name::Name;
use gateway_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// All credentials together, in bytes.
pub(crate) const CONTENT_BYTES_MAX: usize = 16 << 20;

/// The credentials by their names.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Content(pub(crate) BTreeMap<Name, Held>);

/// One of them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Held {
    #[serde(serialize_with = "serialize", deserialize_with = "deserialize")]
    pub(crate) credential: Arc<Credential>,
    pub(crate) added: Timestamp,
    pub(crate) changed: Timestamp,
}

/// What is wrong with the content.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ContentFault {
    TooLarge,
    Malformed,
}

impl Content {
    /// In a buffer that never grows, since one that does leaves copies behind.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, ContentFault> {
        let malformed = |_| ContentFault::Malformed;
        let length = postcard::experimental::serialized_size(self).map_err(malformed)?;
        if length > CONTENT_BYTES_MAX {
            return Err(ContentFault::TooLarge);
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        postcard::to_slice(self, &mut bytes).map_err(malformed)?;
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Content, ContentFault> {
        postcard::from_bytes(bytes).map_err(|_| ContentFault::Malformed)
    }
}

/// As it is written. A mirror, so that a credential itself has no way to be serialised. New kinds
/// are added at the end; their numbers are part of the file.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Credential")]
enum Written {
    Password {
        user: Option<Box<str>>,
        #[serde(with = "hidden")]
        password: Hidden<String>,
    },
    ClientCertificate {
        user: Option<Box<str>>,
        chain_pem: Box<str>,
        #[serde(with = "hidden")]
        key_pem: Hidden<String>,
    },
    Secret {
        #[serde(with = "hidden")]
        bytes: Hidden<Vec<u8>>,
    },
}

fn serialize<S: Serializer>(
    credential: &Arc<Credential>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Written::serialize(credential, serializer)
}

fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Credential>, D::Error> {
    Written::deserialize(deserializer).map(Arc::new)
}
