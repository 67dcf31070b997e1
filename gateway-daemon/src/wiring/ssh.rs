//! Logins by SSH (`gateway ssh-session`): the connection of sshd becomes a tree, bound to who
//! logged in, before anything of theirs runs.
//!
//! Who asks is a child of sshd's process for that connection, and says what PAM was told. It is
//! believed because of where it stands, not because of what it says: nothing of it is governed, and
//! its parent is root and executes sshd. Whatever a job does, its processes are governed; so no
//! copy of sshd, no configuration of its own and no other parent helps it (docs/decisions/0011).
mod origin;
mod sshd;

use super::acts::Acts;
use super::before::Beginning;
use super::callers::{TaggedCallers, unified_cgroup};
use super::clock;
use super::identity::Principals;
use crate::config::Ssh;
use crate::exit::Failure;
use gateway_control::view::SshSessionView;
use gateway_control::{Caller, Peer, SshSession, SshSessionError, SshSessions};
use gateway_core::{Assurance, Principal, TreeId};
use gateway_identity::{Bound, SshLogin, SshNames};
use gateway_lineage::{Event, ProcessKey, RootedBy};
use sshd::Sshd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// How much of the client's address or name is recorded, in characters.
const HOST_CHARACTERS_MAX: usize = 256;

/// Takes over the connections of sshd.
pub(crate) struct SshLogins {
    daemons: Vec<PathBuf>,
    names: SshNames,
    policy: Option<String>,
    callers: Arc<TaggedCallers>,
    principals: Arc<Principals>,
    acts: Acts,
}

fn refused(reason: impl ToString) -> SshSessionError {
    SshSessionError::Refused(reason.to_string())
}

fn failed(reason: impl ToString) -> SshSessionError {
    SshSessionError::Failed(reason.to_string())
}

impl SshLogins {
    pub(crate) fn new(
        ssh: &Ssh,
        callers: Arc<TaggedCallers>,
        principals: Arc<Principals>,
        acts: Acts,
    ) -> Result<SshLogins, Failure> {
        let names = SshNames::new(&ssh.principal, ssh.by_key_id);
        Ok(SshLogins {
            daemons: ssh.daemons.clone(),
            names: names.map_err(|error| Failure::usage(format!("ssh.principal: {error}")))?,
            policy: ssh.policy.clone(),
            callers,
            principals,
            acts,
        })
    }

    fn take_over(
        &self,
        peer: &Arc<Peer>,
        login: &SshSession,
    ) -> Result<SshSessionView, SshSessionError> {
        let sshd = Sshd::behind(peer, &self.daemons).map_err(SshSessionError::NotSshd)?;
        let said = SshLogin::read(&login.user, &login.auth_info).map_err(refused)?;
        let principal = self.names.principal(&said).map_err(refused)?;
        let people = &self.callers.people;
        // Also as the kernel would call them: the directory may know them by that alone.
        let local = Principal {
            id: format!("local:{}", login.user).into(),
            assurance: Assurance::Kernel,
            groups: Vec::new(),
        };
        if let Some(barred) = [&principal, &local]
            .iter()
            .find(|who| people.is_barred(who))
        {
            return Err(refused(format!("{} is offboarded or revoked", barred.id)));
        }
        if origin::is_ours(sshd.process()).map_err(failed)? {
            return Err(refused(
                "the connection comes through the gateway, so somebody governed is behind it, and \
                 who that is would be lost",
            ));
        }
        let (policy, slot) = self.policy_for(login)?;
        let (tree, root) = self.govern(&sshd, peer, slot)?;
        self.bind(tree, root, &principal, peer, &proof(&said, login))?;
        Ok(SshSessionView {
            principal: people.enrich(&principal),
            tree,
            policy,
        })
    }

    fn policy_for(&self, login: &SshSession) -> Result<(Arc<str>, u32), SshSessionError> {
        let named = login.policy.as_ref().or(self.policy.as_ref());
        let name: Arc<str> = named.map(|name| name.as_str().into()).ok_or_else(|| {
            refused("no policy is named (--policy in the PAM file, or [ssh] policy)")
        })?;
        let slot = self.callers.governance.slot_of(&name);
        let slot = slot.ok_or_else(|| refused(format!("no policy named {name:?} is in force")))?;
        Ok((name, slot))
    }

    /// Tags the process of sshd, and sees to it that it was the same one all the while.
    fn govern(
        &self,
        sshd: &Sshd,
        peer: &Peer,
        slot: u32,
    ) -> Result<(TreeId, ProcessKey), SshSessionError> {
        let capture = &self.callers.capture;
        let tag_of_sshd = || {
            let tags = capture.tags().map_err(failed)?;
            let mut tags = tags.into_iter();
            Ok(tags.find(|tag| tag.pid == sshd.pid() && sshd.started_at(tag.start)))
        };
        if tag_of_sshd()?.is_some() {
            let reason = "sshd's process for this connection is governed already";
            return Err(SshSessionError::NotSshd(reason.to_owned()));
        }
        let cgroup_id = self.cgroup_id(peer);
        let tree = capture.govern(sshd.pid(), slot).map_err(failed)?;
        let tag = tag_of_sshd()?.filter(|tag| tag.tree == tree && tag.parent.is_none());
        let tag = tag.filter(|_| peer.alive() && sshd.is_parent_of(peer));
        let tag = tag.ok_or_else(|| failed("the connection has ended"))?;
        let root = ProcessKey::new(tag.pid, tag.start);
        self.callers.forest.observe(&Event::Rooted {
            time: clock::since_boot(),
            key: root,
            tree,
            policy_slot: tag.slot,
            uid: 0,
            cgroup_id,
            how: RootedBy::Run,
        });
        self.principals.rooted(tree, tag.pid, tag.start, 0);
        self.callers.before.began(tree, Beginning::Seen);
        Ok((tree, root))
    }

    /// Of the caller, which is where its parent is; 0 when it cannot be told.
    fn cgroup_id(&self, peer: &Peer) -> u64 {
        const BYTES_MAX: u64 = 64 * 1024;
        let path = peer.read("cgroup", BYTES_MAX).ok();
        let path = path.and_then(|text| unified_cgroup(&text));
        let directory = path.map(|path| self.callers.capture.root().mount.join(path));
        let directory = directory.and_then(|directory| std::fs::metadata(directory).ok());
        directory.map_or(0, |directory| directory.ino())
    }

    /// Recorded first, then done.
    fn bind(
        &self,
        tree: TreeId,
        root: ProcessKey,
        principal: &Principal,
        peer: &Arc<Peer>,
        proof: &str,
    ) -> Result<(), SshSessionError> {
        let tokens = self.principals.tokens();
        let found = tokens.may_sign_in(tree, root, principal).map_err(refused)?;
        if found == Bound::Again {
            return Ok(());
        }
        let caller = Caller::Local(Arc::clone(peer));
        let target = tree.to_string();
        let recorded = self.acts.record(
            "ssh-login",
            &principal.id,
            &caller,
            Some(&target),
            Some(proof),
        );
        recorded.map_err(failed)?;
        tokens.log_in(tree, root, principal).map_err(refused)?;
        Ok(())
    }
}

/// How the user was authenticated, and from where, in one line.
fn proof(said: &SshLogin, login: &SshSession) -> String {
    let host = login.host.as_deref().unwrap_or("an unknown host");
    let host: String = host.chars().take(HOST_CHARACTERS_MAX).collect();
    format!("{said}, from {}", host.escape_default())
}

impl SshSessions for SshLogins {
    fn open(
        &self,
        peer: &Arc<Peer>,
        login: &SshSession,
    ) -> Result<SshSessionView, SshSessionError> {
        let opened = self.take_over(peer, login);
        match &opened {
            Ok(view) => tracing::info!(
                tree = %view.tree, principal = %view.principal.id, policy = %view.policy,
                "an SSH login is governed"
            ),
            Err(error) => {
                tracing::warn!(pid = peer.pid, uid = peer.uid, %error, "an SSH login is refused");
            }
        }
        opened
    }
}
