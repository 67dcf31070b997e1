//! Whose tree is it, and how sure are we?
//!
//! First form: the kernel's word. The principal of a tree is the login uid of the process at its
//! root, which survives sudo, su and setsid, or else the uid of that process: `local:alice`, with
//! [`gateway_core::Assurance::Kernel`]. It is read once, when the tree is rooted, and stays.
//!
//! | What the kernel says | Principal |
//! |---|---|
//! | login uid 1000, uid 0 (alice called sudo) | `local:alice` |
//! | no login uid, uid 1000 | `local:alice` |
//! | uid 0 | `local:root`, by whatever name the directory gives it |
//! | a uid that the directory does not know, or cannot be asked about | `local:#1000` |
//! | 65534, which the kernel shows for a user it cannot map | as any other: `local:nobody` |
//! | a login uid that cannot be read, though the root is there | `unknown` |
//! | 4294967295, which is no user | `unknown` |
//!
//! What a login uid is worth: once set it can only be changed with CAP_AUDIT_CONTROL, but a process
//! in which it is *unset*, as in most services, may set it to whatever it likes. It is therefore
//! taken from the kernel half's report where that has it ([`Root::login_uid`]), and else read as
//! soon as the tree is rooted. A service outside of every governed tree can still set its own
//! before it becomes a root: that is why this is not called verified.
//!
//! Second form: an issuer's word. A process presents a signed token ([`Issuers`]), and from then
//! on it and its descendants stand under the principal that the token proves ([`Bindings`]), with
//! [`gateway_core::Assurance::Verified`]; what the kernel says then only described the tree. An
//! assertion that a SAML identity provider signed ([`SamlProviders`]) does the same.
//!
//! Third form: the word of sshd, which has authenticated whoever logs in ([`SshLogin`],
//! [`SshNames`]). Whether it is sshd that speaks, the daemon's wiring judges.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod accounts;
mod bindings;
mod ci;
mod directory;
mod identities;
mod local;
mod login;
mod revocations;
mod saml;
mod ssh;
mod state;
mod token;

pub use accounts::{Accounts, AccountsError, SystemAccounts};
pub use bindings::{
    BINDINGS_MAX, BINDINGS_PER_PROCESS_MAX, BINDINGS_PER_TREE_MAX, BindError, Binding, BindingFile,
    BindingNote, Bindings, Bound, ProcessKey, TOKENS_MAX,
};
pub use ci::CiSystem;
pub use directory::{
    Diagnostic, Directory, DirectoryError, DirectoryFile, Entry, Scim, ScimRequest, ScimResponse,
    ScimStoreError, Status,
};
pub use identities::{Identities, Root, TREES_MAX, identify};
pub use local::local_id;
pub use login::{LoginUid, LoginUids, SystemLoginUids, UNSET_LOGIN_UID};
pub use revocations::{REVOCATIONS_MAX, RevocationError, Revocations, canonical};
pub use saml::{
    CERTIFICATES_MAX, Certificates, RESPONSE_BYTES_MAX, SamlConfig, SamlConfigError, SamlError,
    SamlFault, SamlProviders,
};
pub use ssh::{
    AUTH_INFO_BYTES_MAX, SshError, SshKey, SshLogin, SshMethod, SshNames, SshTemplateError,
};
pub use state::{IdentityFile, IdentityNote};
pub use token::{
    AuthoritiesError, Authorization, DOCUMENT_BYTES_MAX, Device, ENVIRONMENT_BYTES_MAX, Fetch,
    FetchError, HttpFetch, IdToken, IssuerConfig, IssuerError, IssuerFault, Issuers, KEYS_MAX,
    Posted, SignInClient, SignInError, TOKEN_BYTES_MAX, TemplateError, TokenError, UrlError,
    VerifiedToken, environment,
};
