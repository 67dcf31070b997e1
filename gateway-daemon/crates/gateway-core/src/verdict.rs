//! What was decided about an operation, and why.
use crate::mask::Masks;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The verdict as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may pass.
    Allow,
    /// It may not.
    Deny,
    /// A human is asked. In the record of an operation that waits; nobody has answered yet.
    Hold,
    /// It was held, and may pass.
    Approved,
    /// It was held, and may not: somebody said no, or the session ended first.
    Denied,
    /// It was held, and nobody answered in time.
    Expired,
}

impl Verdict {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::Hold => "hold",
            Verdict::Approved => "approved",
            Verdict::Denied => "denied",
            Verdict::Expired => "expired",
        }
    }

    /// May the operation pass, where the policy enforces?
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Verdict::Allow | Verdict::Approved)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a policy is applied.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Record only.
    Observe,
    /// Record what enforce would do; refuse nothing.
    Shadow,
    /// Refuse what the policy denies.
    #[default]
    Enforce,
}

impl Mode {
    /// The name used in policies and in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Shadow => "shadow",
            Mode::Enforce => "enforce",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the kernel half has to know of a policy beside its mode and its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Posture {
    /// Who may connect to what its trees listen on.
    pub inbound: Inbound,
    /// How long the daemon has to be silent before its trees pass uninspected. `None`: they never
    /// do.
    pub allow_after: Option<Duration>,
    /// It has resources for datagrams, so these are brought to the gateway; else they are refused
    /// at once.
    pub datagrams: bool,
}

/// Who may connect to what a tree listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inbound {
    /// The tree itself.
    #[default]
    OwnTree,
    /// Anybody.
    Any,
}

impl Inbound {
    /// Both, the default first.
    pub const ALL: [Inbound; 2] = [Inbound::OwnTree, Inbound::Any];

    /// The name used in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Inbound::OwnTree => "own-tree",
            Inbound::Any => "any",
        }
    }
}

/// The answer of a [`Judge`](crate::Judge).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the rules say, whatever the mode. In mode observe it is always [`Verdict::Allow`].
    pub verdict: Verdict,
    /// The mode of the policy that decided.
    pub mode: Mode,
    /// The catalogue name of the destination, or `host:port`.
    pub resource: Arc<str>,
    /// The rule that decided; `None` when the default did.
    pub rule: Option<Arc<str>>,
    /// What the rule says to the client.
    pub message: Option<Arc<str>>,
    /// On which terms it is held, when the verdict is [`Verdict::Hold`].
    pub hold: Option<Arc<HoldTerms>>,
    /// What the policy calls sensitive in its answer. `None`: nothing.
    pub masks: Option<Arc<dyn Masks>>,
    /// How many bytes of its answer are to be kept, in mode observe too; 0: none. `None`: the
    /// policy keeps no answers at all.
    pub answers: Option<u32>,
    /// It depends on nothing but the subject, the destination and the shape of the operation: it
    /// is the decision about the next one of this shape too.
    pub stable: bool,
}

impl Decision {
    /// May the operation go upstream without asking anybody?
    #[must_use]
    pub fn passes(&self) -> bool {
        self.verdict.passes() || self.mode != Mode::Enforce
    }
}

/// On which terms an operation is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldTerms {
    /// The rules that hold it. Each has to be satisfied.
    pub rules: Vec<HoldRule>,
    /// How long it waits: the shortest that a rule says.
    pub timeout: Duration,
    /// How far an approval reaches: the least that a rule says.
    pub grant: Grant,
}

impl HoldTerms {
    /// The terms where both have to be satisfied.
    #[must_use]
    pub fn and(&self, other: &HoldTerms) -> HoldTerms {
        let rules = self.rules.iter().chain(&other.rules);
        HoldTerms {
            rules: rules.cloned().collect(),
            timeout: self.timeout.min(other.timeout),
            grant: self.grant.min(other.grant),
        }
    }
}

/// A rule that holds an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRule {
    /// Its name.
    pub rule: Arc<str>,
    /// Patterns over principals and `group:NAME`: who may answer.
    pub approvers: Vec<Arc<str>>,
}

/// How far an approval reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grant {
    /// This one operation.
    Once,
    /// Operations under the same rules, by the same tree, on the same resource, until it ends.
    Until(Duration),
}
