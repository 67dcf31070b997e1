//! A recorder that keeps everything in memory, can be waited for, and can be made to fail.
use gateway_core::{
    AnswerRecord, Attribute, Effect, Mode, OperationId, OperationOutcome, OperationRecord,
    Parameter, RecordError, Recorder, Resolution, SessionClosed, SessionId, SessionOpened,
    Timestamp, Verb, Verdict,
};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for a record before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An [`OperationRecord`] that owns what it says.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of OperationRecord")]
pub struct OperationRow {
    pub id: OperationId,
    pub time: Timestamp,
    pub protocol: String,
    pub verb: Verb,
    pub effects: Vec<Effect>,
    pub resource: String,
    pub statement: String,
    pub parameters: Vec<Parameter>,
    pub attributes: Vec<(Arc<str>, Attribute)>,
    pub verdict: Verdict,
    pub mode: Mode,
    pub rule: Option<String>,
    pub message: Option<String>,
}

/// Everything that was recorded, in order of its kind.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Sessions that were opened.
    pub opened: Vec<SessionOpened>,
    /// Operations that were decided.
    pub operations: Vec<OperationRow>,
    /// What came of operations that were held.
    pub resolutions: Vec<Resolution>,
    /// What came back for operations, as far as it was kept.
    pub answers: Vec<AnswerRecord>,
    /// Operations that were answered.
    pub outcomes: Vec<OperationOutcome>,
    /// Sessions that were closed.
    pub closed: Vec<SessionClosed>,
}

#[derive(Debug, Default)]
struct State {
    recorded: Recorded,
    calls: u64,
    fail_at: Option<u64>,
    full: bool,
}

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryRecorder {
    state: Mutex<State>,
    changed: Condvar,
}

impl MemoryRecorder {
    /// A copy of what was recorded so far.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.state.lock().unwrap().recorded.clone()
    }

    /// The statements that were decided so far, with their verdicts.
    #[must_use]
    pub fn verdicts(&self) -> Vec<(String, Verdict)> {
        let state = self.state.lock().unwrap();
        let operations = state.recorded.operations.iter();
        operations
            .map(|row| (row.statement.clone(), row.verdict))
            .collect()
    }

    /// From now on nothing can be recorded (`true`), or everything can (`false`).
    pub fn set_full(&self, full: bool) {
        self.state.lock().unwrap().full = full;
    }

    /// The call with this number, counted from 1, fails, and only that one.
    pub fn fail_at(&self, call: u64) {
        self.state.lock().unwrap().fail_at = Some(call);
    }

    /// How many calls there were, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.lock().unwrap().calls
    }

    /// Waits until the records satisfy `found`.
    ///
    /// # Panics
    /// When they do not within 20 seconds.
    pub fn wait<T>(&self, found: impl Fn(&Recorded) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = found(&state.recorded) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "never recorded; there is only {:#?}",
                state.recorded
            );
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for the last record of a session.
    pub fn wait_closed(&self, session: SessionId) -> SessionClosed {
        self.wait(|recorded| {
            recorded
                .closed
                .iter()
                .find(|closed| closed.session == session)
                .cloned()
        })
    }

    /// Waits until `count` sessions are closed, and returns them in that order.
    pub fn wait_closed_count(&self, count: usize) -> Vec<SessionClosed> {
        self.wait(|recorded| (recorded.closed.len() >= count).then(|| recorded.closed.clone()))
    }

    fn keep(&self, keep: impl FnOnce(&mut Recorded)) -> Result<(), RecordError> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        if state.full || state.fail_at == Some(state.calls) {
            return Err(RecordError("no space left (a test)".into()));
        }
        keep(&mut state.recorded);
        self.changed.notify_all();
        Ok(())
    }
}

impl Recorder for MemoryRecorder {
    fn session_opened(&self, record: &SessionOpened) -> Result<(), RecordError> {
        self.keep(|recorded| recorded.opened.push(record.clone()))
    }

    fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError> {
        let row = OperationRow {
            id: record.id,
            time: record.time,
            protocol: record.protocol.to_owned(),
            verb: record.verb,
            effects: record.effects.to_vec(),
            resource: record.resource.to_owned(),
            statement: record.statement.to_owned(),
            parameters: record.parameters.to_vec(),
            attributes: record.attributes.to_vec(),
            verdict: record.verdict,
            mode: record.mode,
            rule: record.rule.map(str::to_owned),
            message: record.message.map(str::to_owned),
        };
        self.keep(|recorded| recorded.operations.push(row))
    }

    fn resolution(&self, record: &Resolution) -> Result<(), RecordError> {
        self.keep(|recorded| recorded.resolutions.push(record.clone()))
    }

    fn answer(&self, record: &AnswerRecord) -> Result<(), RecordError> {
        self.keep(|recorded| recorded.answers.push(record.clone()))
    }

    fn outcome(&self, record: &OperationOutcome) -> Result<(), RecordError> {
        self.keep(|recorded| recorded.outcomes.push(record.clone()))
    }

    fn session_closed(&self, record: &SessionClosed) -> Result<(), RecordError> {
        self.keep(|recorded| recorded.closed.push(record.clone()))
    }
}
