//! `gateway credentials`, as it is meant.
use super::{Command, usage};
use crate::args::{AddCredentialArguments, CredentialKind, CredentialsArguments};
use crate::exit::Failure;
use gateway_credentials::{Kind, Name};

/// What is to be done with the credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    Add(AddCredential),
    List { json: bool },
    Remove { name: Name },
}

/// A credential whose value comes on standard input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AddCredential {
    pub(crate) name: Name,
    pub(crate) user: Option<String>,
    pub(crate) kind: Kind,
    /// Put it in the place of one that has the name already.
    pub(crate) replace: bool,
}

pub(super) fn validate(written: CredentialsArguments) -> Result<Command, Failure> {
    Ok(Command::Credentials(match written {
        CredentialsArguments::Add(add) => Credentials::Add(validate_add(add)?),
        CredentialsArguments::List(list) => Credentials::List { json: list.json },
        CredentialsArguments::Remove(remove) => Credentials::Remove {
            name: validate_name(&remove.name)?,
        },
    }))
}

fn validate_add(add: AddCredentialArguments) -> Result<AddCredential, Failure> {
    let kind = match add.kind {
        CredentialKind::Password => Kind::Password,
        CredentialKind::Certificate => Kind::Certificate,
        CredentialKind::Secret => Kind::Secret,
    };
    if kind == Kind::Secret && add.user.is_some() {
        let reason = "--user: nobody logs in with a secret";
        return Err(usage("credentials add", reason));
    }
    Ok(AddCredential {
        name: validate_name(&add.name)?,
        user: add.user,
        kind,
        replace: add.replace,
    })
}

/// The name is not repeated: it may be a value that was given in the wrong place.
fn validate_name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|error| usage("credentials", error))
}
