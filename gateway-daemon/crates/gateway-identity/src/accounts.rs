//! The directory of local users: whatever the host's name service is set up to ask.

/// The directory could not be asked. Not the same as a user that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user {uid} could not be looked up: {reason}")]
pub struct AccountsError {
    /// Who was asked for.
    pub uid: u32,
    /// What the name service said.
    pub reason: String,
}

/// Names users. May block for long: a name service can be at the other end of a network.
pub trait Accounts: Send + Sync {
    /// The login name of a user; `None` when there is no such user.
    ///
    /// # Errors
    /// The directory could not be asked.
    fn name_of(&self, uid: u32) -> Result<Option<String>, AccountsError>;
}

/// The host's name service, through `getpwuid_r`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn name_of(&self, uid: u32) -> Result<Option<String>, AccountsError> {
        match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
            Ok(user) => Ok(user.map(|user| user.name)),
            Err(error) => Err(AccountsError {
                uid,
                reason: error.desc().to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_knows_root_and_not_everybody() {
        assert_eq!(SystemAccounts.name_of(0), Ok(Some("root".to_owned())));
        // Not -1 and not -2, which some hosts name.
        assert_eq!(SystemAccounts.name_of(u32::MAX - 12_345), Ok(None));
    }
}
