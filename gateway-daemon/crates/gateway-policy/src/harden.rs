//! What `gateway run` takes from a command before it starts.

/// One measure. In the order in which they are applied: each may need what a later one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Sockets that were opened outside do not follow inside.
    CloseSockets,
    /// No program gains privileges by being executed: `sudo` does not work.
    NoNewPrivs,
    /// System calls by which traffic could go around the hooks are refused.
    Seccomp,
    /// No capability is left, nor can one be gained.
    DropCapabilities,
}

impl Measure {
    /// All of them, in their order.
    pub const ALL: [Measure; 4] = [
        Measure::CloseSockets,
        Measure::NoNewPrivs,
        Measure::Seccomp,
        Measure::DropCapabilities,
    ];

    /// The word in policies, and between the daemon and `gateway run`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Measure::CloseSockets => "close-sockets",
            Measure::NoNewPrivs => "no-new-privs",
            Measure::Seccomp => "seccomp",
            Measure::DropCapabilities => "drop-capabilities",
        }
    }

    /// The measure of a word.
    #[must_use]
    pub fn named(name: &str) -> Option<Measure> {
        Measure::ALL
            .into_iter()
            .find(|measure| measure.name() == name)
    }
}

/// What is applied where a policy does not say.
pub(crate) fn by_default() -> Vec<Measure> {
    vec![Measure::CloseSockets]
}
