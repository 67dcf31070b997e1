//! The trees and lineages that the control API shows: those that live from the lineage itself,
//! those that have ended from the journal.
use super::archive::JournalArchive;
use super::cgroups::RunCgroups;
use super::clock;
use super::governance::Governance;
use super::identity::Principals;
use crate::terminal::moment;
use gateway_control::view::{LineageProcess, LineageView, TreeView};
use gateway_control::{PortError, Target, Trees};
use gateway_core::{Mode, Process, Provenance, SessionId, Subject, TreeId};
use gateway_lineage::{Forest, ProcessKey, TreeSummary};
use gateway_proxy::Proxy;
use std::collections::HashMap;
use std::sync::Arc;

/// Processes of a tree that has ended, put together from its sessions.
const ENDED_PROCESSES_MAX: usize = 10_000;

/// Shows trees.
pub(crate) struct Shown {
    pub(crate) forest: Arc<Forest>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) archive: Arc<JournalArchive>,
    pub(crate) runs: Arc<RunCgroups>,
}

impl Shown {
    fn policy_of(&self, slot: Option<u32>) -> Arc<str> {
        let name = slot.and_then(|slot| self.governance.policy_of(slot));
        name.unwrap_or_else(|| "unknown".into())
    }

    fn mode_of(&self, policy: &str) -> Option<Mode> {
        self.governance
            .policies()
            .set()
            .policy(policy)
            .map(|policy| policy.mode())
    }

    /// In one word: `run`, `ssh`, `cgroup`, `found`, `unknown`.
    fn why(&self, tree: TreeId, root: Option<&Process>) -> &'static str {
        let Some(root) = root else { return "unknown" };
        if self.runs.made(tree, &root.cgroup) {
            return "run";
        }
        if self.principals.tokens().logged_in(tree, root) {
            return "ssh";
        }
        match root.provenance {
            Provenance::Cgroup => "found",
            _ => "cgroup",
        }
    }

    fn view(&self, summary: TreeSummary, sessions: u64) -> TreeView {
        let policy = self.policy_of(summary.policy_slot);
        let root = summary.root;
        TreeView {
            tree: summary.tree,
            mode: self.mode_of(&policy),
            policy,
            principal: self.principals.of_tree(summary.tree, root.as_ref()),
            opened: (summary.since > 0).then(|| moment::rfc3339(clock::at(summary.since))),
            why: self.why(summary.tree, root.as_ref()).to_owned(),
            cgroup: root
                .as_ref()
                .map_or_else(|| "".into(), |root| Arc::clone(&root.cgroup)),
            root,
            processes: summary.alive as u64,
            sessions,
        }
    }

    fn of_process(&self, pid: u32) -> Option<LineageView> {
        let key = self.forest.find_pid(pid)?;
        let lineage = self.forest.lineage_of(key)?;
        let tree = self.forest.tree_of(lineage.tree)?.summary;
        let policy = self.policy_of(tree.policy_slot);
        let (principal, delegates) = self.principals.of(&lineage);
        let why = self.reason(lineage.tree, lineage.root(), &policy);
        let processes = chain(lineage.processes);
        let tree = lineage.tree;
        Some(LineageView {
            tree,
            policy,
            principal,
            delegates,
            why,
            session: None,
            pid: Some(pid),
            processes,
        })
    }

    fn of_tree(&self, tree: TreeId) -> Result<Option<LineageView>, PortError> {
        let Some(view) = self.forest.tree_of(tree) else {
            return self.of_ended_tree(tree);
        };
        let policy = self.policy_of(view.summary.policy_slot);
        let root = view.summary.root.as_ref();
        let places: HashMap<ProcessKey, usize> = view
            .processes
            .iter()
            .enumerate()
            .map(|(place, found)| {
                (
                    ProcessKey::new(found.process.pid, found.process.start),
                    place,
                )
            })
            .collect();
        let parent = |key: Option<ProcessKey>| key.and_then(|key| places.get(&key).copied());
        let principal = self.principals.of_tree(tree, root);
        let why = self.reason(tree, root, &policy);
        let processes = view.processes.iter().map(|found| LineageProcess {
            parent: parent(found.parent),
            process: found.process.clone(),
        });
        let processes = processes.collect();
        let (session, pid, delegates) = (None, None, Vec::new());
        Ok(Some(LineageView {
            tree,
            policy,
            principal,
            delegates,
            why,
            session,
            pid,
            processes,
        }))
    }

    /// A tree of which nothing lives: as much of it as had a session.
    fn of_ended_tree(&self, tree: TreeId) -> Result<Option<LineageView>, PortError> {
        let sessions = self.archive.sessions_of(tree)?;
        let Some(last) = sessions.last() else {
            return Ok(None);
        };
        let (subject, policy) = (
            Arc::clone(&last.opened.subject),
            Arc::clone(&last.opened.policy),
        );
        let mut merged = Merged::default();
        for session in &sessions {
            merged.add(&session.opened.subject.lineage.processes);
        }
        Ok(Some(self.recorded(
            &subject,
            policy,
            None,
            merged.processes,
        )))
    }

    fn of_session(&self, session: SessionId) -> Result<Option<LineageView>, PortError> {
        let Some(view) = self.archive.session_view(session)? else {
            return Ok(None);
        };
        let opened = view.opened;
        let processes = chain(opened.subject.lineage.processes.clone());
        let policy = Arc::clone(&opened.policy);
        Ok(Some(self.recorded(
            &opened.subject,
            policy,
            Some(session),
            processes,
        )))
    }

    fn recorded(
        &self,
        subject: &Subject,
        policy: Arc<str>,
        session: Option<SessionId>,
        processes: Vec<LineageProcess>,
    ) -> LineageView {
        let lineage = &subject.lineage;
        LineageView {
            tree: lineage.tree,
            why: self.reason(lineage.tree, lineage.root(), &policy),
            policy,
            principal: subject.principal.clone(),
            delegates: subject.delegates.clone(),
            session,
            pid: session.and_then(|_| lineage.process().map(|process| process.pid)),
            processes,
        }
    }

    /// In one sentence.
    fn reason(&self, tree: TreeId, root: Option<&Process>, policy: &str) -> String {
        let cgroup = root.map_or("", |root| &root.cgroup);
        match self.why(tree, root) {
            "run" => format!("gateway run started its root under policy {policy}"),
            "ssh" => format!("somebody logged in by SSH, under policy {policy}"),
            "found" => format!(
                "it stood in {cgroup}, which policy {policy} governs, when the gateway came"
            ),
            "cgroup" => format!("its root was in {cgroup}, which policy {policy} governs"),
            _ => format!("governed under policy {policy}; its root is not known any more"),
        }
    }
}

/// Root first, each the parent of the next.
fn chain(processes: Vec<Process>) -> Vec<LineageProcess> {
    let linked = processes.into_iter().enumerate();
    linked
        .map(|(place, process)| LineageProcess {
            process,
            parent: place.checked_sub(1),
        })
        .collect()
}

/// Chains put together into a tree.
#[derive(Default)]
struct Merged {
    processes: Vec<LineageProcess>,
    places: HashMap<(u32, u64), usize>,
}

impl Merged {
    fn add(&mut self, chain: &[Process]) {
        let mut parent = None;
        for process in chain {
            let key = (process.pid, process.start);
            let place = match self.places.get(&key) {
                Some(place) => *place,
                None if self.processes.len() >= ENDED_PROCESSES_MAX => return,
                None => {
                    self.places.insert(key, self.processes.len());
                    self.processes.push(LineageProcess {
                        process: process.clone(),
                        parent,
                    });
                    self.processes.len() - 1
                }
            };
            parent = Some(place);
        }
    }
}

impl Trees for Shown {
    fn trees(&self, only: Option<TreeId>) -> Vec<TreeView> {
        let mut sessions: HashMap<TreeId, u64> = HashMap::new();
        for session in self.proxy.sessions() {
            *sessions.entry(session.tree).or_default() += 1;
        }
        let trees = self.forest.trees().into_iter();
        trees
            .filter(|tree| only.map_or(tree.alive > 0, |only| only == tree.tree))
            .map(|tree| {
                let count = sessions.get(&tree.tree).copied().unwrap_or(0);
                self.view(tree, count)
            })
            .collect()
    }

    fn lineage(&self, of: Target) -> Result<Option<LineageView>, PortError> {
        match of {
            Target::Process(pid) => Ok(self.of_process(pid)),
            Target::Tree(tree) => self.of_tree(tree),
            Target::Session(session) => self.of_session(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Process {
        Process {
            pid,
            start: u64::from(pid),
            exe: "/bin/sh".into(),
            argv: Vec::new(),
            uid: 0,
            cwd: None,
            cgroup: "a".into(),
            container: None,
            provenance: Provenance::Kernel,
            argv_cut: false,
            exited: true,
        }
    }

    #[test]
    fn chains_of_one_tree_share_their_beginning() {
        let mut merged = Merged::default();
        merged.add(&[process(1), process(2), process(3)]);
        merged.add(&[process(1), process(2), process(4)]);
        merged.add(&[process(1), process(5)]);
        let shape: Vec<_> = merged
            .processes
            .iter()
            .map(|p| (p.process.pid, p.parent))
            .collect();
        assert_eq!(
            shape,
            [
                (1, None),
                (2, Some(0)),
                (3, Some(1)),
                (4, Some(1)),
                (5, Some(0))
            ]
        );
    }
}
