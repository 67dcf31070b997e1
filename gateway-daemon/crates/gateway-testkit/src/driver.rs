//! Runs a session without sockets: bytes in on either side, bytes out on either side.
use gateway_core::Governor;
use gateway_protocol::relay::turn::{self, Outputs};
use gateway_protocol::{ProtocolError, Session, Side};

/// A session, its gate, and what it sent so far. Keeps what the session did not use, and offers
/// it again with more behind it, as the relay does.
pub struct SessionDriver {
    session: Box<dyn Session>,
    governor: Governor,
    held_client: Vec<u8>,
    held_upstream: Vec<u8>,
    outputs: Outputs,
    /// What went to the client, and was not taken by [`SessionDriver::take_client`].
    pub to_client: Vec<u8>,
    /// What went upstream, and was not taken by [`SessionDriver::take_upstream`].
    pub to_upstream: Vec<u8>,
    /// The session asked for the end.
    pub closed: bool,
    /// The error that the session ended with.
    pub error: Option<ProtocolError>,
}

impl SessionDriver {
    /// Puts a session behind its gate.
    #[must_use]
    pub fn new(session: Box<dyn Session>, governor: Governor) -> SessionDriver {
        SessionDriver {
            session,
            governor,
            held_client: Vec::new(),
            held_upstream: Vec::new(),
            outputs: Outputs::default(),
            to_client: Vec::new(),
            to_upstream: Vec::new(),
            closed: false,
            error: None,
        }
    }

    /// The gate, to look at.
    #[must_use]
    pub const fn governor(&self) -> &Governor {
        &self.governor
    }

    /// Did it end, by its own wish or by an error?
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.closed || self.error.is_some()
    }

    /// Bytes from the client. Ignored when the session has ended.
    pub fn client(&mut self, bytes: &[u8]) -> &mut SessionDriver {
        self.receive(Side::Client, bytes)
    }

    /// Bytes from the upstream. Ignored when the session has ended.
    pub fn upstream(&mut self, bytes: &[u8]) -> &mut SessionDriver {
        self.receive(Side::Upstream, bytes)
    }

    /// Bytes from one side. Ignored when the session has ended.
    pub fn receive(&mut self, from: Side, bytes: &[u8]) -> &mut SessionDriver {
        if self.ended() {
            return self;
        }
        let mut input = std::mem::take(self.held(from));
        input.extend_from_slice(bytes);
        let session = &mut *self.session;
        let result = turn::receive(session, from, &input, &mut self.governor, &mut self.outputs);
        self.collect(&input);
        match result {
            Ok(used) => *self.held(from) = input.split_off(used),
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// The last byte of one side has come. Ignored when the session has ended.
    pub fn finish(&mut self, from: Side) -> &mut SessionDriver {
        if self.ended() {
            return self;
        }
        let unused = self.held(from).len();
        let session = &mut *self.session;
        let result = turn::finish(session, from, unused, &mut self.governor, &mut self.outputs);
        self.collect(&[]);
        self.error = result.err();
        self
    }

    /// Takes what went to the client since the last call.
    pub fn take_client(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_client)
    }

    /// Takes what went upstream since the last call.
    pub fn take_upstream(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_upstream)
    }

    /// How many bytes of a side wait for the rest of their frame.
    pub fn held_len(&mut self, from: Side) -> usize {
        self.held(from).len()
    }

    const fn held(&mut self, side: Side) -> &mut Vec<u8> {
        match side {
            Side::Client => &mut self.held_client,
            Side::Upstream => &mut self.held_upstream,
        }
    }

    fn collect(&mut self, input: &[u8]) {
        self.to_client.extend(self.outputs.to_client.to_vec(input));
        self.to_upstream
            .extend(self.outputs.to_upstream.to_vec(input));
        self.closed |= self.outputs.close;
    }
}
