//! What was decided about an operation, and why.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The verdict as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may pass.
    Allow,
    /// It may not.
    Deny,
}

impl Verdict {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        }
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
}

impl Decision {
    /// May the operation go upstream?
    #[must_use]
    pub fn passes(&self) -> bool {
        self.verdict == Verdict::Allow || self.mode != Mode::Enforce
    }
}
