//! Every limit of the proxy, in one place.
use std::time::Duration;

/// What the proxy may take, and how long it waits. The daemon maps its configuration onto it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Sessions at once. Above it, connections are reset (`limits.sessions`).
    pub sessions: usize,
    /// Worker threads. 0: one per core. Half as many need fewer wake-ups per exchange at a few
    /// clients, but on a busy host a lone worker gets the share of a lone thread: at 32 clients on
    /// two cores, two workers were a sixth faster than one.
    pub workers: usize,
    /// How long an upstream may take to accept.
    pub dial: Duration,
    /// How long the two sides may take, from the first byte of either, to say enough for a
    /// protocol to be recognised. A link on which nobody speaks waits for as long as they like:
    /// nothing passes on it, and who speaks late is still understood.
    pub recognise: Duration,
    /// How many bytes of each side are looked at to recognise a protocol.
    pub opening_bytes_max: usize,
    /// How long a client whose `connect` was refused has to say what it speaks, so that it can be
    /// told in its own words.
    pub refusal: Duration,
    /// How long the last bytes of a session may take to leave.
    pub linger: Duration,
    /// An opaque session that moves no byte for this long is ended. `None`: never.
    pub opaque_idle: Option<Duration>,
    /// How long a server may take to answer a question.
    pub answer: Duration,
    /// Questions of one session that may wait for their answers at once.
    pub pending: usize,
    /// After so long without a question what a process asks a server is another session.
    pub questions_idle: Duration,
    /// A flow of datagrams that moves none for this long is over.
    pub datagrams_idle: Duration,
}

impl Default for ProxyLimits {
    fn default() -> ProxyLimits {
        ProxyLimits {
            sessions: 20_000,
            workers: 0,
            dial: Duration::from_secs(10),
            recognise: Duration::from_secs(3),
            opening_bytes_max: 16 * 1024,
            refusal: Duration::from_secs(1),
            linger: Duration::from_secs(5),
            opaque_idle: None,
            answer: Duration::from_secs(5),
            pending: 64,
            questions_idle: Duration::from_secs(10),
            datagrams_idle: Duration::from_secs(60),
        }
    }
}
