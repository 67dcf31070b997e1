//! A connection whose StartupMessage went upstream: what both directions share.
use super::login::Login;
use super::masking::{Masking, View};
use super::names::Names;
use super::pipeline::Pipeline;
use super::queue::Queue;
use super::recording::{Keeping, Recording};
use super::refusal::{self, Wording};
use super::request::Upward;
use super::settings::Settings;
use super::statement::{Held, Portal, Share, Statement};
use crate::Shared;
use crate::cancel::{CancelKey, Origin};
use crate::codec::response::Transaction;
use crate::codec::{Header, frame, header};
use crate::error::Error;
use crate::interpret::Classification;
use crate::interpret::flow::Flow;
use crate::mask::store::Database;
use gateway_core::mask::FieldCounts;
use gateway_core::{Clearance, OperationId, Parameter};
use gateway_protocol::{Effects, ProtocolError, Side};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// What becomes of the bytes at the front of the input.
#[derive(Debug)]
pub(super) enum Step {
    /// So many go on as they are.
    Pass(usize),
    /// The same, under a clearance of their own.
    Cleared(usize, Clearance),
    /// The same, and these go before it.
    Behind(usize, Clearance, Vec<u8>),
    /// So many do not go on; what was made of them goes in their place.
    Made(usize),
    /// The catalogue has to be asked for first.
    Load,
    /// The search path has to be asked for first.
    AskPath,
    /// What is before it has to be answered first; `flush`: the upstream is told to.
    Await { flush: bool },
    /// So many do not go on; these go in their place.
    Replace(usize, Vec<u8>),
    /// So many do not go on.
    Drop(usize),
    /// The frame is not whole yet.
    Wait,
}

impl Step {
    /// Do the bytes stay where they are, to be looked at again?
    pub(super) const fn stays(&self) -> bool {
        matches!(
            self,
            Step::Wait | Step::Load | Step::AskPath | Step::Await { .. }
        )
    }

    /// A message that goes on as it is, or with what is `covered` in its place.
    pub(super) fn covered(size: usize, covered: Option<Vec<u8>>) -> Step {
        match covered {
            Some(covered) => Step::Replace(size, covered),
            None => Step::Pass(size),
        }
    }

    /// A request that was cleared, with what goes before it.
    pub(super) fn cleared(size: usize, clearance: Clearance, before: Option<Vec<u8>>) -> Step {
        match before {
            None => Step::Cleared(size, clearance),
            Some(before) => Step::Behind(size, clearance, before),
        }
    }
}

/// Why a message of the upstream ends the session.
#[derive(Debug)]
pub(super) enum Fault {
    /// It shows what the client did wrong, and the client is told.
    Client(Error),
    /// It is wrong itself.
    Upstream(Error),
    /// Nothing more may happen, and these are the last words to the client.
    Farewell(Vec<u8>, ProtocolError),
    /// Nothing more may happen.
    Final(ProtocolError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Upstream(error)
    }
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Fault {
        Fault::Final(error)
    }
}

/// Copy data, as the first request of the pipeline moves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Copy {
    #[default]
    None,
    /// To the client.
    Out,
    /// From the client; `ended` when the client has said that it was all.
    In { ended: bool },
    /// Both, as replication does.
    Both { ended: bool },
}

/// What has been answered to the first request of the pipeline so far.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// By the tags of its commands.
    pub(super) rows: Option<u64>,
    pub(super) data_rows: u64,
    pub(super) bytes: u64,
    pub(super) error: Option<Arc<str>>,
    pub(super) masked: FieldCounts,
    pub(super) disclosed: FieldCounts,
    /// The upstream could not even parse it.
    pub(super) is_syntax_error: bool,
    /// The refusal was worded.
    pub(super) refused: bool,
    pub(super) copy: Copy,
    /// Copy data belongs to it.
    pub(super) copied: bool,
    /// How many of its statements were answered; of a function call, whether it was.
    pub(super) statements: usize,
}

/// What a request changes, when it goes well.
#[derive(Debug)]
pub(super) enum Change {
    Statement(super::names::Name),
    Portal(super::names::Name),
    /// What a statement does besides its effects.
    Session {
        /// `None`: it cannot be read.
        meaning: Option<Arc<Classification>>,
        /// The names that it prepares or deallocates, in their order.
        names: Vec<super::names::Name>,
        _share: Share,
    },
}

/// The rest of a frame that does not have to be whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rest {
    pub(super) bytes: usize,
    pub(super) drop: bool,
}

impl Rest {
    /// Takes what there is of it.
    fn step(&mut self, available: usize) -> Option<Step> {
        if self.bytes == 0 {
            return None;
        }
        let taken = self.bytes.min(available);
        self.bytes -= taken;
        Some(if self.drop {
            Step::Drop(taken)
        } else {
            Step::Pass(taken)
        })
    }

    /// Begins a frame that passes, or is dropped, in whatever pieces it comes.
    pub(super) fn begin(&mut self, size: usize, available: usize, drop: bool) -> Step {
        let taken = size.min(available);
        *self = Rest {
            bytes: size - taken,
            drop,
        };
        if drop {
            Step::Drop(taken)
        } else {
            Step::Pass(taken)
        }
    }
}

/// The body of a frame that has to be whole; `None` when it is not yet.
///
/// # Errors
/// It is larger than its limit.
pub(super) fn whole<'a>(
    header: Header,
    bytes: &'a [u8],
    limit: usize,
    name: &'static str,
) -> Result<Option<&'a [u8]>, Error> {
    if header.size > limit {
        let (size, limit) = (header.size as u64, limit as u64);
        return Err(Error::TooLarge { size, limit, name });
    }
    Ok(bytes.get(crate::codec::HEADER_BYTES..header.size))
}

/// The session from its StartupMessage on.
pub(super) struct Serving {
    pub(super) shared: Arc<Shared>,
    pub(super) origin: Origin,
    /// The clearance of `authenticate`, under which bytes go that ask for nothing by themselves.
    pub(super) admitted: Clearance,
    /// The database that the client asked for.
    pub(super) database: Arc<Database>,
    /// Present until the upstream is ready for the first query.
    pub(super) login: Option<Login>,
    pub(super) up: Upward,
    pub(super) down: Rest,
    pub(super) pipeline: Pipeline,
    pub(super) reply: Reply,
    /// Refusals that are still to be worded, in the order of their requests.
    pub(super) refusals: Queue<Wording>,
    /// Statements that are being described, in the order of their requests.
    pub(super) described: Queue<Weak<Statement>>,
    /// What requests without an answer change, in their order.
    pub(super) changes: Queue<Change>,
    pub(super) statements: Names<Arc<Statement>>,
    pub(super) portals: Names<Portal>,
    pub(super) held: Held,
    /// The statement that the unnamed one was last, for clients that send it again and again.
    pub(super) last_unnamed: Option<Arc<Statement>>,
    /// Memory for values, to be used again.
    pub(super) spare: Vec<Parameter>,
    pub(super) settings: Settings,
    /// What the gateway has asked last is the search path.
    pub(super) path_asked: bool,
    /// What it has answered so far.
    pub(super) path_told: Vec<Option<String>>,
    /// How often that was cancelled.
    pub(super) path_tries: u8,
    /// As the upstream said last.
    pub(super) transaction: Transaction,
    /// What the policy says about the answers to come, in the order of their requests.
    pub(super) views: Queue<Arc<View>>,
    /// The text that was looked at last makes something of the name of a cursor.
    pub(super) cursor_flow: Option<Arc<Flow>>,
    /// Present once the policy calls something sensitive.
    pub(super) masking: Option<Box<Masking>>,
    /// How the answer to what was looked at last is to be kept, when it is sent.
    pub(super) looked: Option<Keeping>,
    /// How the answers to come are to be kept, in the order of their requests.
    pub(super) keepings: Queue<Keeping>,
    /// What is kept of the answer that comes.
    pub(super) recording: Option<Box<Recording>>,
    /// Where rows are rewritten.
    pub(super) made: Vec<u8>,
    pub(super) cancel: Option<CancelKey>,
    /// The process of the server that serves this session, as it says.
    pub(super) process: Option<u32>,
    /// The upstream said that it closes.
    pub(super) upstream_leaves: bool,
}

/// A larger buffer for rewritten rows is given back.
const MADE_KEPT_MAX: usize = 64 * 1024;

/// The part of the input that goes on as it is, and was not handed over yet.
struct Run {
    start: usize,
    end: usize,
}

impl Run {
    fn take(&mut self) -> Range<usize> {
        let range = self.start..self.end;
        self.start = self.end;
        range
    }

    fn skip(&mut self, count: usize) {
        self.end += count;
        self.start = self.end;
    }
}

impl Serving {
    pub(super) fn new(
        shared: Arc<Shared>,
        origin: Origin,
        admitted: Clearance,
        login: Login,
        database: &[u8],
    ) -> Serving {
        Serving {
            database: Arc::new(Database {
                address: origin.destination,
                name: database.into(),
            }),
            views: Queue::default(),
            cursor_flow: None,
            masking: None,
            looked: None,
            keepings: Queue::default(),
            recording: None,
            transaction: Transaction::Idle,
            made: Vec::new(),
            shared,
            origin,
            admitted,
            login: Some(login),
            up: Upward::default(),
            down: Rest::default(),
            pipeline: Pipeline::default(),
            reply: Reply::default(),
            refusals: Queue::default(),
            described: Queue::default(),
            changes: Queue::default(),
            statements: Names::default(),
            portals: Names::default(),
            held: Held::default(),
            last_unnamed: None,
            spare: Vec::new(),
            settings: Settings::new(),
            path_asked: false,
            path_told: Vec::new(),
            path_tries: 0,
            cancel: None,
            process: None,
            upstream_leaves: false,
        }
    }

    /// The operation of this session with that number.
    pub(super) fn operation(&self, seq: u32) -> OperationId {
        OperationId {
            session: self.admitted.id().session,
            seq,
        }
    }

    /// The body of a message of the upstream that has to be understood; `None` when it is not whole
    /// yet.
    ///
    /// # Errors
    /// It is larger than `limits.control_bytes`.
    pub(super) fn control<'a>(
        &self,
        header: Header,
        bytes: &'a [u8],
    ) -> Result<Option<&'a [u8]>, Error> {
        let limit = self.shared.limits.control_bytes;
        whole(header, bytes, limit, "limits.control_bytes")
    }

    /// Takes `bytes[start..]` from the client.
    pub(super) fn receive_client(
        &mut self,
        bytes: &[u8],
        start: usize,
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let mut run = Run { start, end: start };
        let mut own: Option<Clearance> = None;
        // What is held comes first. The upstream may have failed meanwhile, and then it is dropped
        // without a question: an answer to it must not be left for what is behind.
        let mut held = out.is_holding();
        loop {
            let rest = bytes.get(run.end..).unwrap_or_default();
            let step = match rest {
                [] => Ok(Step::Wait),
                rest => self.step_client(rest, out),
            };
            if held && !step.as_ref().is_ok_and(Step::stays) {
                held = false;
                out.withdraw()?;
            }
            if let Ok(Step::Pass(count)) = step {
                run.end += count;
                continue;
            }
            let range = run.take();
            if !range.is_empty() {
                out.pass_upstream(own.as_ref().unwrap_or(&self.admitted), range);
            }
            match step {
                Ok(Step::Pass(_)) => {}
                Ok(Step::Cleared(count, clearance)) => {
                    run.end += count;
                    own = Some(clearance);
                }
                Ok(Step::Replace(count, instead)) => {
                    out.send_upstream(&self.admitted, &instead);
                    run.skip(count);
                }
                Ok(Step::Behind(count, clearance, before)) => {
                    out.send_upstream(&self.admitted, &before);
                    run.end += count;
                    own = Some(clearance);
                }
                Ok(Step::Drop(count)) => run.skip(count),
                Ok(Step::Load) => {
                    self.begin_loading(out);
                    return Ok(run.end);
                }
                Ok(Step::Await { flush }) => {
                    if flush {
                        out.send_upstream(&self.admitted, &frame(b'H', |_| {}));
                    }
                    self.wait_client(out);
                    return Ok(run.end);
                }
                Ok(Step::AskPath) => {
                    self.ask_path(out);
                    return Ok(run.end);
                }
                // What the gateway makes of rows is for the client.
                Ok(Step::Made(count)) => run.skip(count),
                Ok(Step::Wait) => return Ok(run.end),
                Err(error) => return Err(self.client_fault(error, out)),
            }
        }
    }

    fn step_client(&mut self, bytes: &[u8], out: &mut dyn Effects) -> Result<Step, Error> {
        if let Some(step) = self.up.rest.step(bytes.len()) {
            return Ok(step);
        }
        if self.up.terminated {
            return Ok(Step::Drop(bytes.len()));
        }
        let Some(header) = header(bytes)? else {
            return Ok(Step::Wait);
        };
        if self.login.is_some() {
            return self.step_login_client(header, bytes);
        }
        self.step_request(header, bytes, out)
    }

    /// Takes bytes from the upstream.
    pub(super) fn receive_upstream(
        &mut self,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let used = self.take_upstream(bytes, out);
        self.resume_client(out);
        // Also where it cannot go on: what passed until then still reaches the client.
        let kept = self.keep_so_far(out);
        used.and_then(|used| kept.map(|()| used))
    }

    fn take_upstream(
        &mut self,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let mut run = Run { start: 0, end: 0 };
        loop {
            let rest = bytes.get(run.end..).unwrap_or_default();
            let step = match rest {
                [] => Ok(Step::Wait),
                rest => self.step_upstream(rest, out),
            };
            if let Ok(Step::Pass(count)) = step {
                run.end += count;
                continue;
            }
            let range = run.take();
            if !range.is_empty() {
                out.pass_client(range);
            }
            match step {
                Ok(Step::Pass(count) | Step::Cleared(count, _) | Step::Behind(count, ..)) => {
                    run.end += count;
                }
                Ok(Step::Made(count)) => {
                    out.send_client(&self.made);
                    self.made.clear();
                    self.made.shrink_to(MADE_KEPT_MAX);
                    run.skip(count);
                }
                Ok(Step::Replace(count, instead)) => {
                    out.send_client(&instead);
                    run.skip(count);
                }
                Ok(Step::Drop(count)) => run.skip(count),
                Ok(Step::Wait | Step::Load | Step::AskPath | Step::Await { .. }) => {
                    return Ok(run.end);
                }
                Err(Fault::Client(error)) => return Err(self.client_fault(error, out)),
                Err(Fault::Upstream(error)) => return Err(error.of(Side::Upstream)),
                Err(Fault::Farewell(words, error)) => {
                    out.send_client(&words);
                    return Err(error);
                }
                Err(Fault::Final(error)) => return Err(error),
            }
        }
    }

    fn step_upstream(&mut self, bytes: &[u8], out: &mut dyn Effects) -> Result<Step, Fault> {
        if let Some(step) = self.down.step(bytes.len()) {
            return Ok(step);
        }
        let Some(header) = header(bytes)? else {
            return Ok(Step::Wait);
        };
        if self.login.is_some() {
            return self.step_login_upstream(header, bytes, out);
        }
        let swallowing = self.is_swallowing();
        let step = self.step_answer(header, bytes, out)?;
        if !swallowing || matches!(step, Step::Wait) || !self.swallows(header.kind)? {
            return Ok(step);
        }
        self.down.drop = true;
        self.made.clear();
        Ok(match step {
            Step::Pass(count) | Step::Replace(count, _) | Step::Made(count) => Step::Drop(count),
            step => step,
        })
    }

    /// Tells the client what it did wrong, unless it is in the middle of a message.
    pub(super) fn client_fault(&mut self, error: Error, out: &mut dyn Effects) -> ProtocolError {
        if self.down.bytes == 0 {
            out.send_client(&refusal::fault(error, self.settings.text_is_utf8()));
        }
        error.of(Side::Client)
    }

    /// The client has sent its last byte. To leave without a word is allowed between messages.
    pub(super) fn finish_client(&self, unused: usize) -> Result<(), ProtocolError> {
        if self.up.terminated || (unused == 0 && self.up.rest.bytes == 0) {
            Ok(())
        } else {
            Err(Error::Cut.of(Side::Client))
        }
    }

    /// The upstream has sent its last byte. That is allowed when it said so, when the client said
    /// so, and when nothing is open.
    pub(super) fn finish_upstream(
        &mut self,
        unused: usize,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        let cut = unused > 0 || self.down.bytes > 0;
        let open = self.login.is_some() || !self.pipeline.is_empty();
        self.abandon("the server closed the connection before it answered", out)?;
        if cut {
            Err(Error::Cut.of(Side::Upstream))
        } else if open && !self.upstream_leaves && !self.up.terminated {
            Err(Error::Unanswered.of(Side::Upstream))
        } else {
            Ok(())
        }
    }
}
