//! Puts the caller of `gateway run` into a tree of its own, before it becomes the command.
use super::before::Beginning;
use super::callers::TaggedCallers;
use super::cgroups::RunCgroups;
use super::clock;
use super::identity::Principals;
use super::namespaces::Namespaces;
use gateway_control::view::RunView;
use gateway_control::{Launcher, Peer, RunError, Standing};
use gateway_core::TreeId;
use gateway_identity::VerifiedToken;
use gateway_lineage::{Event, Forest, ProcessKey, RootedBy};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Starts trees.
pub(crate) struct TreeLauncher {
    pub(crate) callers: Arc<TaggedCallers>,
    pub(crate) forest: Arc<Forest>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) runs: Arc<RunCgroups>,
    pub(crate) namespaces: Arc<Namespaces>,
}

/// Lets a failure of the file system and of the kernel half meet in one type.
struct Failed(RunError);

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed(RunError::Failed(format!(
            "no cgroup for the command: {error}"
        )))
    }
}

impl TreeLauncher {
    /// A governed caller stays where it is. Asking for another policy is not a way out of its own.
    fn stay(&self, peer: &Peer, tree: TreeId, policy: Option<&str>) -> Result<RunView, RunError> {
        let tag = self
            .callers
            .tag_of(peer)
            .map_err(|error| RunError::Failed(error.to_string()))?;
        let slot = tag
            .ok_or_else(|| RunError::Failed("the caller has exited".to_owned()))?
            .slot;
        let own = self
            .callers
            .governance
            .policy_of(slot)
            .unwrap_or_else(|| "unknown".into());
        if let Some(asked) = policy.filter(|asked| **asked != *own) {
            return Err(RunError::Governed(format!(
                "the caller is in tree {tree} under policy {own:?} already and stays there: \
                 it cannot be put under policy {asked:?}"
            )));
        }
        Ok(RunView {
            tree,
            harden: self.harden(&own)?,
            policy: own,
            stayed: true,
        })
    }

    fn verify(&self, token: &str) -> Result<VerifiedToken, RunError> {
        let verified = self.principals.tokens().verify(token);
        verified.map_err(RunError::Token)
    }

    /// From now on the tree is that of the token's principal, or has it as a delegate.
    fn bind(
        &self,
        tree: TreeId,
        process: ProcessKey,
        token: &VerifiedToken,
    ) -> Result<(), RunError> {
        let bound = self.principals.tokens().present(tree, process, token);
        bound.map_err(RunError::Token)
    }

    fn policy_for(&self, peer: &Peer, asked: Option<&str>) -> Result<(Arc<str>, u32), RunError> {
        let governance = &self.callers.governance;
        let name: Arc<str> = match asked {
            Some(asked) => asked.into(),
            None => self.callers.policy_by_cgroup(peer).ok_or_else(|| {
                let why = "no policy governs the caller's cgroup, and none is named (--policy)";
                RunError::NoPolicy(why.to_owned())
            })?,
        };
        let slot = governance
            .slot_of(&name)
            .ok_or_else(|| RunError::NoPolicy(format!("no policy named {name:?} is in force")))?;
        Ok((name, slot))
    }

    /// What the policy takes from a command.
    fn harden(&self, policy: &str) -> Result<Vec<String>, RunError> {
        let set = self.callers.governance.policies().set();
        let policy = set.policy(policy).ok_or_else(|| {
            RunError::NoPolicy(format!("no policy named {policy:?} is in force any more"))
        })?;
        let measures = policy.harden().iter();
        Ok(measures.map(|measure| measure.name().to_owned()).collect())
    }

    /// Tags the process, and sees to it that it was the caller all the while.
    fn govern(
        &self,
        peer: &Peer,
        slot: u32,
        cgroup: &Path,
    ) -> Result<(TreeId, ProcessKey), Failed> {
        let failed = |reason: String| Failed(RunError::Failed(reason));
        let capture = &self.callers.capture;
        let tree = capture
            .govern(peer.pid, slot)
            .map_err(|error| failed(error.to_string()))?;
        let tag = self
            .callers
            .tag_of(peer)
            .map_err(|error| failed(error.to_string()))?;
        let tag = tag.filter(|tag| tag.tree == tree && peer.alive());
        let tag = tag.ok_or_else(|| failed("the caller has exited".to_owned()))?;
        self.forest.observe(&Event::Rooted {
            time: clock::since_boot(),
            key: ProcessKey::new(tag.pid, tag.start),
            tree,
            policy_slot: tag.slot,
            uid: peer.uid,
            cgroup_id: std::fs::metadata(cgroup)?.ino(),
            how: RootedBy::Run,
        });
        self.principals.rooted(tree, tag.pid, tag.start, peer.uid);
        self.callers.before.began(tree, Beginning::Run);
        Ok((tree, ProcessKey::new(tag.pid, tag.start)))
    }
}

impl Launcher for TreeLauncher {
    fn run(
        &self,
        peer: &Peer,
        standing: Standing,
        policy: Option<&str>,
        token: Option<&str>,
    ) -> Result<RunView, RunError> {
        let token = token.map(|token| self.verify(token)).transpose()?;
        if let Standing::Governed(tree) = standing {
            let view = self.stay(peer, tree, policy)?;
            if let Some(token) = &token {
                let tag = self.callers.tag_of(peer);
                let tag = tag.ok().flatten().filter(|tag| tag.tree == tree);
                let tag =
                    tag.ok_or_else(|| RunError::Failed("the caller has exited".to_owned()))?;
                self.bind(tree, ProcessKey::new(tag.pid, tag.start), token)?;
            }
            return Ok(view);
        }
        let (policy, slot) = self.policy_for(peer, policy)?;
        let harden = self.harden(&policy)?;
        let govern = |cgroup: &Path| {
            let (tree, process) = self.govern(peer, slot, cgroup)?;
            if let Some(token) = &token {
                self.bind(tree, process, token).map_err(Failed)?;
            }
            Ok(tree)
        };
        let entered = self.runs.enter(peer.pid, peer.start_ticks, govern);
        let tree = entered.map_err(|Failed(error)| error)?;
        self.namespaces.wait_for(peer.pid);
        tracing::info!(%tree, policy = %policy, pid = peer.pid, uid = peer.uid, "a command is governed");
        Ok(RunView {
            tree,
            policy,
            stayed: false,
            harden,
        })
    }
}
