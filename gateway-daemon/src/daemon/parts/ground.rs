//! What is made before the kernel half: directories, the socket, the policies, the journal.
use super::super::handover::{Held, Predecessor};
use super::super::state::{State, make_directory};
use crate::config::Config;
use crate::exit::Failure;
use crate::terminal::moment;
use crate::wiring::archive::JournalArchive;
use crate::wiring::people::People;
use crate::wiring::saml;
use crate::wiring::webhooks::webhooks;
use gateway_approvals::Webhook;
use gateway_control::ControlSocket;
use gateway_credentials::{KeyPlace, Store, Vault};
use gateway_identity::{Directory, Revocations, SamlProviders, Scim};
use gateway_policy::Policies;
use gateway_recording::{Durability, Indexer, Journal, JournalError, JournalOptions, Reader};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A segment holds at least this, in bytes.
const SEGMENT_BYTES_MIN: usize = 64 << 20;
/// What a record has around its longest statement, in bytes.
const RECORD_BYTES_MORE: usize = 32 << 20;

/// What stands when the kernel half comes.
pub(super) struct Ground {
    pub(super) state: State,
    pub(super) socket: ControlSocket,
    pub(super) policies: Arc<Policies>,
    pub(super) people: Arc<People>,
    pub(super) scim: Option<Arc<Scim>>,
    pub(super) saml: Arc<SamlProviders>,
    pub(super) vault: Arc<Vault>,
    pub(super) webhooks: Vec<Webhook>,
    pub(super) journal: Arc<Journal>,
    /// The daemon that hands over, while it drains.
    pub(super) predecessor: Option<Arc<Predecessor>>,
    pub(super) archive: Arc<JournalArchive>,
    pub(super) notes: Vec<String>,
}

/// Makes it, or says what is wrong; with what another daemon hands over.
pub(super) fn lay_ground(
    config: &Config,
    handed: Option<(OwnedFd, Held)>,
) -> Result<Ground, Failure> {
    let few = raise_descriptors(config.limits.descriptors());
    let (state, held) = match handed {
        Some((lock, held)) => (State::take_over(&config.state_dir, lock)?, Some(held)),
        None => (State::open(&config.state_dir)?, None),
    };
    if let Some(above) = config.control_socket.parent() {
        make_directory(above, 0o755)?;
    }
    let socket = ControlSocket::bind(&config.control_socket)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if config.file.is_none() {
        // Without a configuration there may be no policies either: nothing is governed then.
        make_directory(&config.policy_dir, 0o755)?;
    }
    let saml = saml::providers(&config.saml).map_err(Failure::usage)?;
    let vault = Arc::new(vault(config));
    let webhooks = webhooks(config, &vault)?;
    let scim = scim(config)?;
    let people = Arc::new(people(config, scim.clone())?);
    let clock: gateway_policy::Clock = Arc::new(moment::now);
    let policies = Policies::open(&config.policy_dir, &config.state_dir, clock)
        .map_err(|error| Failure::usage(error.to_string()))?;
    // As early as can be: records of the daemon that hands over wait for it.
    let (journal, predecessor, mut notes) = open_journal(config, held)?;
    notes.extend(few);
    let reader = Reader::open(config.journal_dir())
        .map_err(|error| Failure::no(format!("the journal cannot be read: {error}")))?;
    let indexer = Indexer::start(config.state_dir.join("index"), reader.clone())?;
    let archive = Arc::new(JournalArchive::of_daemon(reader, indexer));
    if policies.set().is_empty() {
        notes.push(format!(
            "no policies in {}: nothing is governed",
            config.policy_dir.display()
        ));
    }
    let policies = Arc::new(policies);
    Ok(Ground {
        state,
        socket,
        policies,
        people,
        scim,
        saml,
        vault,
        webhooks,
        journal,
        predecessor,
        archive,
        notes,
    })
}

/// What an identity provider wrote counts for as long as it is there, also when it is not served
/// any more: to turn SCIM off must not let anybody back in.
fn scim(config: &Config) -> Result<Option<Arc<Scim>>, Failure> {
    let served = config
        .remote
        .as_ref()
        .filter(|remote| remote.scim_token_file.is_some());
    if served.is_none() && !Scim::is_in(&config.state_dir) {
        return Ok(None);
    }
    let base = served.map_or_else(String::new, |remote| format!("{}/scim/v2", remote.url));
    let nonce = getrandom::u64().map_err(|error| Failure::no(format!("no randomness: {error}")))?;
    let scim = Scim::open(&config.state_dir, &base, nonce)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(Arc::new(scim)))
}

/// Whoever left must not be forgotten: what cannot be read now keeps the daemon from starting.
fn people(config: &Config, scim: Option<Arc<Scim>>) -> Result<People, Failure> {
    let directory = Directory::open(config.directory.as_deref(), scim)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let revocations =
        Revocations::open(&config.state_dir).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(People {
        directory,
        revocations,
        roles: config.roles.clone(),
    })
}

/// Nothing is read until a credential is asked for.
fn vault(config: &Config) -> Vault {
    let keys = KeyPlace::of_process(config.credentials.key_file.clone());
    Vault::new(Store::new(config.credentials.file.clone(), keys))
}

type Opened = (Arc<Journal>, Option<Arc<Predecessor>>, Vec<String>);

fn open_journal(config: &Config, held: Option<Held>) -> Result<Opened, Failure> {
    let seed = getrandom::u64().map_err(|error| Failure::no(format!("no randomness: {error}")))?;
    let mut options = JournalOptions::new(config.journal_dir(), Arc::new(moment::now), seed);
    let longest = config
        .limits
        .statement_bytes
        .saturating_add(RECORD_BYTES_MORE);
    options.segment_bytes = longest.max(SEGMENT_BYTES_MIN) as u64;
    options.wait_max = config.limits.journal_wait;
    options.durability = match config.durability {
        time if time.is_zero() => Durability::Always,
        time => Durability::Within(time),
    };
    let (lock, held) = match held.map(Held::split) {
        Some((lock, held)) => (Some(lock), Some(held)),
        None => (None, None),
    };
    let opened = match lock {
        Some(lock) => Journal::take_over(options, lock),
        None => Journal::open(options),
    };
    let (journal, recovered) = opened.map_err(journal_failure)?;
    let journal = Arc::new(journal);
    let predecessor = held.map(|held| Predecessor::follow(held, &journal));
    let mut notes = Vec::new();
    if !recovered.is_clean() {
        tracing::warn!(%recovered, "the journal was not closed cleanly");
        notes.push(format!("the journal: {recovered}"));
    }
    Ok((journal, predecessor.transpose()?, notes))
}

fn journal_failure(error: JournalError) -> Failure {
    match &error {
        JournalError::Full { .. } => Failure::no(format!(
            "{error}; free some space, or put state_dir elsewhere"
        )),
        JournalError::Io { .. } => Failure::no(error.to_string()),
        _ => Failure::usage(error.to_string()),
    }
}

/// Sessions need descriptors; root may have as many as the kernel allows.
fn raise_descriptors(wanted: u64) -> Option<String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return None;
    }
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let note = format!("{hard} descriptors are allowed; limits.sessions may need {wanted}");
    tracing::warn!("{note}");
    Some(note)
}
