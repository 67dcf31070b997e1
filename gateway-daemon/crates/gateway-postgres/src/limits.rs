//! What one session may cost, in one place.

/// The limits of the PostgreSQL sessions of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest Query or Parse, in bytes. Each is held whole to be judged.
    pub statement_bytes: usize,
    /// The longest Bind or FunctionCall, in bytes. Each is held whole.
    pub bind_bytes: usize,
    /// The longest message of the upstream that is looked into (errors, tags, settings), in bytes.
    pub control_bytes: usize,
    /// How many requests may wait for their answers.
    pub pipeline: usize,
    /// How many named prepared statements a session may have.
    pub prepared_statements: usize,
    /// How much memory a session may hold for its client, in bytes: the text of its prepared
    /// statements, the recorded values of its named portals, and what open requests may change.
    pub held_bytes: usize,
    /// How many named portals a session may have.
    pub portals: usize,
    /// How much of one bind value is recorded, in bytes.
    pub parameter_bytes: usize,
    /// How much of all bind values of one operation is recorded, in bytes.
    pub parameters_bytes: usize,
    /// How many cancel keys may be out, over all sessions. One per session.
    pub cancel_keys: usize,
    /// The longest row of which a value may have to be masked, in bytes. Each is held whole.
    pub masked_row_bytes: usize,
    /// How many statements the classifier remembers, over all sessions.
    pub classifications: usize,
}

impl Limits {
    /// The longest frame that is ever held whole, in bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.statement_bytes
            .max(self.bind_bytes)
            .max(self.control_bytes)
            .max(self.masked_row_bytes)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            statement_bytes: 64 << 20,
            bind_bytes: 256 << 20,
            control_bytes: 16 << 20,
            pipeline: 1_000_000,
            prepared_statements: 16_384,
            held_bytes: 192 << 20,
            portals: 16_384,
            parameter_bytes: 1 << 10,
            parameters_bytes: 16 << 10,
            cancel_keys: 20_000,
            masked_row_bytes: 16 << 20,
            classifications: 16_384,
        }
    }
}
