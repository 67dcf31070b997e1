//! What a user may do outside of every tree: root administers, one group reads.
use crate::ports::Role;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;

/// The group whose members may look.
pub const READERS: &str = "gateway";

/// Asks the user database. The uid and gid are those of the moment of the connect, so a caller
/// that executes something with more rights afterwards gains nothing. May block.
#[must_use]
pub fn role_of(uid: u32, gid: u32) -> Role {
    if uid == 0 {
        return Role::Admin;
    }
    let Ok(Some(readers)) = Group::from_name(READERS) else {
        return Role::None;
    };
    if readers.gid == Gid::from_raw(gid) {
        return Role::Reader;
    }
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else {
        return Role::None;
    };
    let Ok(name) = CString::new(user.name) else {
        return Role::None;
    };
    match getgrouplist(&name, user.gid) {
        Ok(groups) if groups.contains(&readers.gid) => Role::Reader,
        _ => Role::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_administers_and_nobody_does_nothing() {
        assert_eq!(role_of(0, 0), Role::Admin);
        assert_eq!(role_of(0, 65534), Role::Admin);
        assert_eq!(role_of(65534, 65534), Role::None);
        assert_eq!(
            role_of(4_000_000_000, 4_000_000_000),
            Role::None,
            "a user that is not there"
        );
    }
}
