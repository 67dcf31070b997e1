//! One turn: bytes of one side go through the session and come out as pieces to be sent.
//!
//! Pure: no socket, so every chunking of a stream can be tried against it. What a session asks
//! for is checked here, before a byte of it leaves: it may only pass what it was given, in the
//! right direction, under a clearance of its own session.
use crate::session::{Answer, Effects, ProtocolError, Session, Side};
use gateway_core::{
    AnswerPart, AnswerTerms, Clearance, Governor, Masker, Obstacle, Operation, OperationId,
    RecordError, Timestamp,
};
use std::cell::Cell;
use std::io::IoSlice;
use std::ops::Range;
use std::time::SystemTime;

/// A larger buffer for the gateway's own bytes is given back after the turn that needed it.
const MADE_KEPT_MAX: usize = 64 * 1024;

/// A run of bytes to be sent: of the input as it is, or of what the gateway made.
#[derive(Clone, Copy, Debug)]
struct Piece {
    made: bool,
    start: usize,
    end: usize,
}

/// Where sending stopped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    piece: usize,
    offset: usize,
}

/// What one turn sends to one side, in order. The input itself is not copied.
#[derive(Debug, Default)]
pub struct Output {
    pieces: Vec<Piece>,
    made: Vec<u8>,
    passed_end: usize,
    len: usize,
}

impl Output {
    fn clear(&mut self) {
        self.pieces.clear();
        self.made.clear();
        self.made.shrink_to(MADE_KEPT_MAX);
        self.passed_end = 0;
        self.len = 0;
    }

    fn push(&mut self, made: bool, start: usize, end: usize) {
        self.len += end - start;
        match self.pieces.last_mut() {
            Some(last) if last.made == made && last.end == start => last.end = end,
            _ => self.pieces.push(Piece { made, start, end }),
        }
    }

    fn pass(&mut self, range: Range<usize>) {
        self.passed_end = self.passed_end.max(range.end);
        self.push(false, range.start, range.end);
    }

    fn make(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.made.len();
        self.made.extend_from_slice(bytes);
        self.push(true, start, self.made.len());
    }

    /// Nothing is to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes are to be sent.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// How many of them the gateway made itself.
    #[must_use]
    pub const fn made_len(&self) -> usize {
        self.made.len()
    }

    /// In how many pieces they lie: neighbours are one piece.
    #[must_use]
    pub const fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// The bytes, put together. `input` is what the turn was given.
    #[must_use]
    pub fn to_vec(&self, input: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.copy_rest(Cursor::default(), input, &mut bytes);
        bytes
    }

    fn bytes<'a>(&'a self, piece: Piece, input: &'a [u8]) -> &'a [u8] {
        let source = if piece.made { &self.made } else { input };
        source.get(piece.start..piece.end).unwrap_or_default()
    }

    /// All of it, when it lies in one piece: the common case, which needs no vector.
    pub(super) fn single<'a>(&'a self, input: &'a [u8]) -> Option<&'a [u8]> {
        match self.pieces.as_slice() {
            [piece] => Some(self.bytes(*piece, input)),
            _ => None,
        }
    }

    /// Fills `slices` with what lies behind `cursor`, and says how many were filled and how many
    /// bytes they hold.
    pub(super) fn slices<'a>(
        &'a self,
        cursor: Cursor,
        input: &'a [u8],
        slices: &mut [IoSlice<'a>],
    ) -> (usize, usize) {
        let mut count = 0;
        let mut bytes = 0;
        let pieces = self.pieces.get(cursor.piece..).unwrap_or_default();
        for (slot, (index, piece)) in slices.iter_mut().zip(pieces.iter().enumerate()) {
            let skip = if index == 0 { cursor.offset } else { 0 };
            let slice = self.bytes(*piece, input).get(skip..).unwrap_or_default();
            bytes += slice.len();
            count += 1;
            *slot = IoSlice::new(slice);
        }
        (count, bytes)
    }

    /// Moves the cursor over `written` bytes.
    pub(super) fn advance(&self, cursor: &mut Cursor, mut written: usize) {
        while let Some(piece) = self.pieces.get(cursor.piece) {
            let left = piece.end - piece.start - cursor.offset;
            if written < left {
                cursor.offset += written;
                return;
            }
            written -= left;
            cursor.piece += 1;
            cursor.offset = 0;
        }
    }

    /// Appends what lies behind `cursor`.
    pub(super) fn copy_rest(&self, cursor: Cursor, input: &[u8], to: &mut Vec<u8>) {
        let mut skip = cursor.offset;
        for piece in self.pieces.get(cursor.piece..).unwrap_or_default() {
            to.extend_from_slice(self.bytes(*piece, input).get(skip..).unwrap_or_default());
            skip = 0;
        }
    }
}

/// What one turn caused. Reused from turn to turn; emptied when a turn begins.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To the client.
    pub to_client: Output,
    /// To the upstream.
    pub to_upstream: Output,
    /// The session asked for the end of the link.
    pub close: bool,
    /// Operations that were cleared in this turn.
    pub cleared: u32,
    /// Operations that were refused in this turn.
    pub refused: u32,
    /// An operation waits for a human: the client's input is to be offered again when
    /// [`Governor::poll_answer`] is ready.
    pub held: bool,
    /// Values were covered, or searched.
    pub masked: bool,
    /// The client's input is not wanted for now; or it is again, though nothing of it is new.
    pub paused: Option<bool>,
}

impl Outputs {
    fn clear(&mut self) {
        self.to_client.clear();
        self.to_upstream.clear();
        self.close = false;
        self.cleared = 0;
        self.refused = 0;
        self.held = false;
        self.masked = false;
        self.paused = None;
    }
}

/// Gives `input`, which came from one side, to the session. Says how much of it was used.
///
/// # Errors
/// The session's own: what it sent before is in `outputs` and is to be delivered. Or the session
/// broke a rule ([`ProtocolError::Gateway`]): then `outputs` is empty, since nothing of it can be
/// trusted.
pub fn receive(
    session: &mut dyn Session,
    from: Side,
    input: &[u8],
    governor: &mut Governor,
    outputs: &mut Outputs,
) -> Result<usize, ProtocolError> {
    outputs.clear();
    let mut turn = Turn {
        from,
        input: input.len(),
        governor,
        outputs,
        masked: Cell::default(),
        fault: None,
        failure: None,
    };
    let result = session.receive(from, input, &mut turn);
    let Turn {
        fault,
        failure,
        masked,
        ..
    } = turn;
    outputs.masked = masked.get();
    let used = *result.as_ref().unwrap_or(&input.len());
    let passed = outputs
        .to_client
        .passed_end
        .max(outputs.to_upstream.passed_end);
    let fault = fault
        .or_else(|| (used > input.len()).then_some("a session used more than it was given"))
        .or_else(|| (passed > used).then_some("a session passed bytes that it did not use"))
        .or_else(|| {
            let used_it = outputs.held && used == input.len();
            used_it.then_some("a session used bytes that are held")
        });
    settle(result, fault, failure, outputs)
}

/// Tells the session that one side has sent its last byte, and that `unused` of its bytes never
/// became a frame.
///
/// # Errors
/// As [`receive`].
pub fn finish(
    session: &mut dyn Session,
    from: Side,
    unused: usize,
    governor: &mut Governor,
    outputs: &mut Outputs,
) -> Result<(), ProtocolError> {
    outputs.clear();
    let mut turn = Turn {
        from,
        input: 0,
        governor,
        outputs,
        masked: Cell::default(),
        fault: None,
        failure: None,
    };
    let result = session.finish(from, unused, &mut turn);
    let Turn { fault, failure, .. } = turn;
    settle(result, fault, failure, outputs)
}

fn settle<T>(
    result: Result<T, ProtocolError>,
    fault: Option<&'static str>,
    failure: Option<ProtocolError>,
    outputs: &mut Outputs,
) -> Result<T, ProtocolError> {
    if let Some(fault) = fault {
        outputs.clear();
        return Err(ProtocolError::Gateway(fault));
    }
    match failure {
        // A session that goes on although an answer could not be recorded is ended all the same.
        Some(failure) if result.is_ok() => Err(failure),
        _ => result,
    }
}

/// The effects of one call into a session.
struct Turn<'a> {
    from: Side,
    input: usize,
    governor: &'a mut Governor,
    outputs: &'a mut Outputs,
    /// The session has asked for the masker, and so covers or searches values.
    masked: Cell<bool>,
    fault: Option<&'static str>,
    failure: Option<ProtocolError>,
}

impl Turn<'_> {
    fn check_range(&mut self, range: &Range<usize>, from: Side) -> bool {
        if self.from != from {
            self.fault = Some("a session passed bytes back to where they came from");
            return false;
        }
        if range.start > range.end || range.end > self.input {
            self.fault = Some("a session passed bytes that it was not given");
            return false;
        }
        !range.is_empty()
    }

    fn check_clearance(&mut self, clearance: &Clearance) -> bool {
        let own = clearance.id().session == self.governor.session();
        if !own {
            self.fault = Some("a session used the clearance of another one");
        }
        own
    }

    /// A failure ends the session, whatever it makes of it.
    fn recorded(&mut self, recorded: Result<(), RecordError>) -> Result<(), ProtocolError> {
        recorded.map_err(|error| {
            let error = ProtocolError::from(error);
            self.failure.get_or_insert_with(|| error.clone());
            error
        })
    }
}

impl Effects for Turn<'_> {
    fn pass_upstream(&mut self, clearance: &Clearance, range: Range<usize>) {
        if self.check_clearance(clearance) && self.check_range(&range, Side::Client) {
            self.outputs.to_upstream.pass(range);
        }
    }

    fn pass_client(&mut self, range: Range<usize>) {
        if self.check_range(&range, Side::Upstream) {
            self.outputs.to_client.pass(range);
        }
    }

    fn send_upstream(&mut self, clearance: &Clearance, bytes: &[u8]) {
        if self.check_clearance(clearance) {
            self.outputs.to_upstream.make(bytes);
        }
    }

    fn send_client(&mut self, bytes: &[u8]) {
        self.outputs.to_client.make(bytes);
    }

    fn submit(&mut self, operation: &Operation<'_>) -> Result<Clearance, Obstacle> {
        if self.from == Side::Upstream && self.governor.is_holding() {
            self.fault = Some("a session asked for more while an operation is held");
        }
        let answer = self.governor.submit(operation, now());
        match &answer {
            Ok(_) => self.outputs.cleared += 1,
            Err(Obstacle::Refused(_)) => self.outputs.refused += 1,
            Err(Obstacle::Held(_)) => self.outputs.held = true,
        }
        answer
    }

    fn would_pass(&mut self, operation: &Operation<'_>) -> bool {
        self.governor.would_pass(operation)
    }

    fn answer_terms(&mut self, operation: &Operation<'_>) -> AnswerTerms {
        self.governor.answer_terms(operation)
    }

    fn masker(&self) -> &dyn Masker {
        self.masked.set(true);
        self.governor.masker()
    }

    fn pause_client(&mut self, paused: bool) {
        self.outputs.paused = Some(paused);
    }

    fn is_holding(&self) -> bool {
        self.governor.is_holding()
    }

    fn withdraw(&mut self) -> Result<(), ProtocolError> {
        let withdrawn = self.governor.withdraw(now());
        self.recorded(withdrawn)
    }

    fn answer(&mut self, id: OperationId, part: AnswerPart) -> Result<(), ProtocolError> {
        let recorded = self.governor.answer(id, now(), part);
        self.recorded(recorded)
    }

    fn complete(&mut self, id: OperationId, answer: Answer) -> Result<(), ProtocolError> {
        let outcome = answer.outcome(id, now());
        let completed = self.governor.complete(&outcome);
        self.recorded(completed)
    }

    fn close(&mut self) {
        self.outputs.close = true;
    }
}

/// The wall clock. The relay is where sessions, which have none, get their times from.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
