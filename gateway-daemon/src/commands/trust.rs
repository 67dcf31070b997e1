//! `gateway trust`: the authority by which clients believe the gateway in an upstream's place.
use super::refuse_governed;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::screen::print;
use gateway_proxy::tls::authority::{self, Authority, AuthorityError, Previous};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a distribution keeps what its administrator believes, and how it learns of a change.
struct Store {
    directory: &'static str,
    file: &'static str,
    refresh: &'static [&'static str],
}

/// Debian and those after it, Red Hat and those after it.
const STORES: [Store; 2] = [
    Store {
        directory: "/usr/local/share/ca-certificates",
        file: "gateway-ca.crt",
        refresh: &["update-ca-certificates"],
    },
    Store {
        directory: "/etc/pki/ca-trust/source/anchors",
        file: "gateway-ca.pem",
        refresh: &["update-ca-trust", "extract"],
    },
];

/// Prints the certificates in PEM form.
pub(crate) fn export(config: &Config) -> Result<Exit, Failure> {
    print(bundle(config)?.trim_end())?;
    Ok(Exit::Done)
}

/// Makes the programs of this host believe the gateway that ask the system whom to believe.
pub(crate) fn install(config: &Config) -> Result<Exit, Failure> {
    refuse_governed(config)?;
    let bundle = bundle(config)?;
    let store = STORES
        .iter()
        .find(|store| Path::new(store.directory).is_dir())
        .ok_or_else(|| {
            let places = STORES.map(|store| store.directory).join(" nor ");
            Failure::no(format!(
                "this system keeps what it believes neither in {places}: `gateway trust export` \
                 prints what has to be put where it does"
            ))
        })?;
    let file = PathBuf::from(store.directory).join(store.file);
    fs::write(&file, bundle)
        .map_err(|error| Failure::no(format!("{}: {error}", file.display())))?;
    refresh(store)?;
    print(&format!("{}: believed by this system now", file.display()))?;
    Ok(Exit::Done)
}

/// Makes another authority. The one before goes on to be exported unless its key may be in other
/// hands, and a daemon that runs goes on with it until it is restarted.
pub(crate) fn rotate(config: &Config, compromised: bool) -> Result<Exit, Failure> {
    require_root()?;
    refuse_governed(config)?;
    let previous = match compromised {
        true => Previous::Forgotten,
        false => Previous::Believed,
    };
    authority::rotate(&config.tls_dir(), previous).map_err(failure)?;
    print(
        "a new authority was made: give it to clients (`gateway trust install`, `gateway trust \
         export`), then restart the daemon",
    )?;
    Ok(Exit::Done)
}

fn bundle(config: &Config) -> Result<String, Failure> {
    require_root()?;
    let directory = config.tls_dir();
    Authority::open_or_make(&directory).map_err(failure)?;
    authority::export(&directory).map_err(failure)
}

fn require_root() -> Result<(), Failure> {
    match nix::unistd::geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::not_permitted(
            "gateway trust has to be started by root, to whom the authority belongs",
        )),
    }
}

fn failure(error: AuthorityError) -> Failure {
    Failure::no(format!("the gateway's authority: {error}"))
}

fn refresh(store: &Store) -> Result<(), Failure> {
    let Some((program, arguments)) = store.refresh.split_first() else {
        return Ok(());
    };
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.map_err(|error| Failure::no(format!("{program}: {error}")))?;
    if ran.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ran.stderr);
    Err(Failure::no(format!(
        "{program}: {}: {}",
        ran.status,
        words.trim()
    )))
}
