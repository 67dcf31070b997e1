//! What a policy says about the way to a destination: who encrypts it, and who is believed.
use std::fmt;
use std::sync::Arc;

/// What a client is answered that asks for TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientTls {
    /// What the upstream answers the same question.
    #[default]
    AsUpstream,
    /// Yes, whatever the upstream speaks.
    Offer,
    /// No, whatever the upstream speaks.
    Disable,
    /// Nothing by the gateway: the client's TLS goes through as it is, so it is opaque.
    Opaque,
}

impl ClientTls {
    /// All of them.
    pub const ALL: [ClientTls; 4] = [
        ClientTls::AsUpstream,
        ClientTls::Offer,
        ClientTls::Disable,
        ClientTls::Opaque,
    ];

    /// The word of policies.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            ClientTls::AsUpstream => "as-upstream",
            ClientTls::Offer => "offer",
            ClientTls::Disable => "disable",
            ClientTls::Opaque => "opaque",
        }
    }
}

/// How an upstream is spoken to. The words are those of libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamTls {
    /// As `verify-full` where the upstream offers TLS, else in the clear.
    #[default]
    WhereOffered,
    /// In the clear.
    Disable,
    /// TLS with anybody.
    Require,
    /// TLS with a certificate of a trusted authority, for whatever name.
    VerifyCa,
    /// TLS with a certificate of a trusted authority for the destination's name or address.
    VerifyFull,
}

impl UpstreamTls {
    /// Those that a policy can ask for by a word. The default has none.
    pub const NAMED: [UpstreamTls; 4] = [
        UpstreamTls::Disable,
        UpstreamTls::Require,
        UpstreamTls::VerifyCa,
        UpstreamTls::VerifyFull,
    ];

    /// The word of policies.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            UpstreamTls::WhereOffered => "verify-full where it is offered",
            UpstreamTls::Disable => "disable",
            UpstreamTls::Require => "require",
            UpstreamTls::VerifyCa => "verify-ca",
            UpstreamTls::VerifyFull => "verify-full",
        }
    }

    /// May bytes go to an upstream that does not offer TLS?
    #[must_use]
    pub const fn allows_clear(self) -> bool {
        matches!(self, UpstreamTls::WhereOffered | UpstreamTls::Disable)
    }

    /// Where TLS is spoken: is the upstream's certificate verified?
    #[must_use]
    pub const fn verifies(self) -> bool {
        !matches!(self, UpstreamTls::Require | UpstreamTls::Disable)
    }
}

impl fmt::Display for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a policy says about the way to a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkTerms {
    /// The name of the resource whose terms they are; empty: of none.
    pub resource: Arc<str>,
    /// Towards the client.
    pub client: ClientTls,
    /// Towards the upstream.
    pub upstream: UpstreamTls,
    /// The absolute path of the PEM file with the authorities that are believed; `None`: those of
    /// the system.
    pub authorities: Option<Arc<str>>,
    /// The name that the upstream's certificate has to be for, when the policy knows it.
    pub name: Option<Arc<str>>,
    /// The name of the credential that the gateway logs in with, in place of the client.
    pub credential: Option<Arc<str>>,
}
