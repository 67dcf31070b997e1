//! People: what the directory says of a principal, who is revoked, and who calls.
use super::identity::Principals;
use crate::config::Roles;
use gateway_control::{Caller, Peer, PortError, Role, roles};
use gateway_core::ports::Case;
use gateway_core::{
    Assurance, Decision, Destination, Judge, LinkTerms, Mode, Principal, Subject, TreeId, Verdict,
};
use gateway_identity::{
    Accounts, Directory, Revocations, Status, SystemAccounts, UNSET_LOGIN_UID, canonical, local_id,
};
use gateway_policy::speaks_of;
use std::io::ErrorKind;
use std::sync::Arc;

/// Who is who.
pub(crate) struct People {
    pub(crate) directory: Directory,
    pub(crate) revocations: Revocations,
    pub(crate) roles: Roles,
}

impl People {
    /// A principal with the groups that it has now.
    pub(crate) fn enrich(&self, principal: &Principal) -> Principal {
        self.directory.enrich(principal)
    }

    /// Why a subject may do nothing at all.
    fn barred(&self, subject: &Subject) -> Option<String> {
        let of_directory = self.directory.offboarded(subject);
        if let Some(principal) = of_directory {
            return Some(format!("{} is offboarded", principal.id));
        }
        let mut all = std::iter::once(&subject.principal).chain(&subject.delegates);
        let revoked = all.find(|principal| self.is_revoked(principal))?;
        Some(format!("{} is revoked", revoked.id))
    }

    /// By the name that it has, or by the one that the directory gives to it.
    fn is_revoked(&self, principal: &Principal) -> bool {
        if self.revocations.contains(&principal.id) {
            return true;
        }
        let user = self.directory.lookup(&principal.id).user;
        user.is_some_and(|user| self.revocations.contains(&user))
    }

    /// Are these two one person? Names of users are the same whatever their case.
    pub(crate) fn same(&self, one: &Principal, other: &Principal) -> bool {
        let user = |principal: &Principal| {
            let found = self.directory.lookup(&principal.id).user;
            canonical(&found.unwrap_or_else(|| Arc::clone(&principal.id)))
        };
        user(one) == user(other)
    }

    /// The names under which a person is revoked: the one that was given, and the user that the
    /// directory knows by it.
    pub(crate) fn names_of(&self, principal: &str) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = vec![principal.into()];
        names.extend(self.directory.lookup(principal).user);
        names.dedup();
        names
    }

    /// May this principal answer where these patterns name it? Asked about earlier answers too:
    /// who left since approves nothing any more.
    pub(crate) fn may_approve(&self, patterns: &[Arc<str>], principal: &Principal) -> bool {
        !self.is_barred(principal) && speaks_of(patterns, principal)
    }

    /// Changes whenever an answer of this could.
    fn generation(&self) -> u64 {
        self.directory
            .generation()
            .wrapping_add(self.revocations.generation())
    }

    /// Who a caller is, with the groups that they have now: by the kernel's word, or by the token
    /// that they signed in with.
    pub(crate) fn who(&self, caller: &Caller) -> Result<Principal, PortError> {
        match caller {
            Caller::Local(peer) => self.caller(peer),
            Caller::Remote(remote) => Ok(self.enrich(&remote.principal)),
        }
    }

    /// May they act at all? Somebody who left may not, whatever they signed in with before.
    pub(crate) fn acting(&self, caller: &Caller) -> Result<Principal, PortError> {
        let who = self.who(caller)?;
        match self.is_barred(&who) {
            true => Err(PortError(format!("{} is offboarded or revoked", who.id))),
            false => Ok(who),
        }
    }

    pub(crate) fn is_barred(&self, principal: &Principal) -> bool {
        self.directory.lookup(&principal.id).status == Status::Offboarded
            || self.is_revoked(principal)
    }

    /// Whom the kernel says a caller is: its user; for root the user who logged in and became it.
    ///
    /// The login uid of others does not count: in a process where it is not set, its own user can
    /// set it to anything.
    pub(crate) fn caller(&self, peer: &Peer) -> Result<Principal, PortError> {
        let uid = match peer.uid {
            0 => login_uid(peer)?.unwrap_or(0),
            uid => uid,
        };
        let name = SystemAccounts
            .name_of(uid)
            .map_err(|error| PortError(error.to_string()))?;
        let local = local_id(uid, name.as_deref());
        let user = self.directory.lookup(&local).user;
        Ok(self.enrich(&Principal {
            id: user.unwrap_or_else(|| local.into()),
            assurance: Assurance::Kernel,
            groups: Vec::new(),
        }))
    }

    /// What a caller may do: by its user, and by the groups that the directory gives to it.
    pub(crate) fn role_of(&self, peer: &Peer) -> Role {
        let by_user = roles::role_of(peer.uid, peer.gid);
        if by_user == Role::Admin || self.roles.is_empty() {
            return by_user;
        }
        match self.caller(peer) {
            Ok(principal) => by_user.max(self.role_of_principal(&principal)),
            Err(error) => {
                tracing::warn!(pid = peer.pid, %error, "a caller's roles cannot be told");
                by_user
            }
        }
    }

    /// The strongest role that the configuration gives to a principal.
    pub(crate) fn role_of_principal(&self, principal: &Principal) -> Role {
        if self.is_barred(principal) {
            return Role::None;
        }
        let roles = [
            (&self.roles.admin, Role::Admin),
            (&self.roles.responder, Role::Responder),
            (&self.roles.viewer, Role::Reader),
            (&self.roles.approver, Role::Approver),
        ];
        let mut given = roles.into_iter();
        let given = given.find(|(patterns, _)| speaks_of(patterns, principal));
        given.map_or(Role::None, |(_, role)| role)
    }
}

/// The user who logged in and became root; `None` when nobody did, or the kernel does not say.
fn login_uid(peer: &Peer) -> Result<Option<u32>, PortError> {
    let text = match peer.read("loginuid", 32) {
        Ok(text) => text,
        // A kernel without audit; or the caller has exited, which says no more about it.
        Err(error) if error.kind() == ErrorKind::NotFound && peer.alive() => return Ok(None),
        Err(error) => return Err(PortError(format!("the caller's login: {error}"))),
    };
    let uid: u32 = text
        .trim()
        .parse()
        .map_err(|_| PortError("the caller's login cannot be read".to_owned()))?;
    Ok((uid != UNSET_LOGIN_UID).then_some(uid))
}

/// The policies, with who may do nothing at all as it is known now. Groups are those that a
/// session began with.
pub(crate) struct PeopleJudge {
    pub(crate) inner: Arc<dyn Judge>,
    pub(crate) people: Arc<People>,
    pub(crate) principals: Arc<Principals>,
}

impl Judge for PeopleJudge {
    fn generation(&self) -> u64 {
        self.inner
            .generation()
            .wrapping_add(self.people.generation())
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        self.bar(case, self.inner.decide(case))
    }

    fn terms(&self, policy: &str, destination: &Destination) -> Arc<LinkTerms> {
        self.inner.terms(policy, destination)
    }
}

impl PeopleJudge {
    /// Whatever was presented in a tree, the user whose tree it is must not have left.
    fn barred_user(&self, tree: TreeId) -> Option<String> {
        let user = self.principals.described_by_kernel(tree)?;
        let barred = self.people.is_barred(&user);
        barred.then(|| format!("{} is offboarded or revoked", user.id))
    }

    /// Whoever is barred is denied, whatever the rules say. Observe only records.
    fn bar(&self, case: &Case<'_>, decision: Decision) -> Decision {
        if decision.mode == Mode::Observe {
            return decision;
        }
        let barred = self.people.barred(case.subject);
        match barred.or_else(|| self.barred_user(case.subject.lineage.tree)) {
            None => decision,
            Some(message) => Decision {
                verdict: Verdict::Deny,
                rule: None,
                message: Some(message.into()),
                hold: None,
                stable: true,
                ..decision
            },
        }
    }
}
