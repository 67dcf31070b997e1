//! Counts and times for the metrics, between the governor and what stands behind it.
use gateway_control::metrics::{BUCKETS_SECONDS, Histogram};
use gateway_core::ports::Case;
use gateway_core::{
    AnswerRecord, Decision, Destination, Judge, LinkTerms, OperationOutcome, OperationRecord,
    RecordError, Recorder, Resolution, SessionClosed, SessionOpened, Verdict, mask,
};
use gateway_protocol::Meter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What operations are decided to be. What comes of those that are held, the approvals count.
const VERDICTS: [Verdict; 3] = [Verdict::Allow, Verdict::Deny, Verdict::Hold];

/// The recorder, counted.
pub(crate) struct CountedRecorder {
    inner: Arc<dyn Recorder>,
    /// The protocols that have a label of their own; what is not among them is `other`.
    protocols: Vec<&'static str>,
    /// For each verdict, in the order of [`VERDICTS`], for each protocol.
    counts: [Vec<AtomicU64>; VERDICTS.len()],
    failures: AtomicU64,
    masked_values: AtomicU64,
    disclosed_rows: AtomicU64,
}

impl CountedRecorder {
    pub(crate) fn new(inner: Arc<dyn Recorder>, mut protocols: Vec<&'static str>) -> Self {
        protocols.push("other");
        let counts = std::array::from_fn(|_| protocols.iter().map(|_| AtomicU64::new(0)).collect());
        CountedRecorder {
            inner,
            protocols,
            counts,
            failures: AtomicU64::new(0),
            masked_values: AtomicU64::new(0),
            disclosed_rows: AtomicU64::new(0),
        }
    }

    /// Protocol, verdict, how many.
    pub(crate) fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let of = |verdict: Verdict, counts: &[AtomicU64]| {
            let numbers: Vec<u64> = counts.iter().map(|n| n.load(Ordering::Relaxed)).collect();
            let names = self.protocols.iter();
            names
                .zip(numbers)
                .map(move |(name, number)| (*name, verdict.name(), number))
                .collect::<Vec<_>>()
        };
        let verdicts = VERDICTS.into_iter().zip(&self.counts);
        verdicts
            .flat_map(|(verdict, counts)| of(verdict, counts))
            .collect()
    }

    /// Records that could not be kept.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Values that were covered.
    pub(crate) fn masked_values(&self) -> u64 {
        self.masked_values.load(Ordering::Relaxed)
    }

    /// Sensitive fields that were returned in the clear, in each row.
    pub(crate) fn disclosed_rows(&self) -> u64 {
        self.disclosed_rows.load(Ordering::Relaxed)
    }

    fn noted(&self, outcome: Result<(), RecordError>) -> Result<(), RecordError> {
        if outcome.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

impl Recorder for CountedRecorder {
    fn session_opened(&self, record: &SessionOpened) -> Result<(), RecordError> {
        self.noted(self.inner.session_opened(record))
    }

    fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError> {
        let known = self
            .protocols
            .iter()
            .position(|name| *name == record.protocol);
        let index = known.unwrap_or(self.protocols.len() - 1);
        let place = VERDICTS.iter().position(|known| *known == record.verdict);
        let counts = place.and_then(|place| self.counts.get(place));
        if let Some(count) = counts.and_then(|counts| counts.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.noted(self.inner.operation(record))
    }

    fn resolution(&self, record: &Resolution) -> Result<(), RecordError> {
        self.noted(self.inner.resolution(record))
    }

    fn answer(&self, record: &AnswerRecord) -> Result<(), RecordError> {
        self.noted(self.inner.answer(record))
    }

    fn outcome(&self, record: &OperationOutcome) -> Result<(), RecordError> {
        for (counter, counts) in [
            (&self.masked_values, &record.masked),
            (&self.disclosed_rows, &record.disclosed),
        ] {
            if !counts.is_empty() {
                counter.fetch_add(mask::total(counts), Ordering::Relaxed);
            }
        }
        self.noted(self.inner.outcome(record))
    }

    fn session_closed(&self, record: &SessionClosed) -> Result<(), RecordError> {
        self.noted(self.inner.session_closed(record))
    }
}

/// How long something takes, counted in buckets.
#[derive(Debug)]
pub(crate) struct Times {
    counts: [AtomicU64; BUCKETS_SECONDS.len() + 1],
    nanos: AtomicU64,
}

impl Times {
    fn new() -> Times {
        Times {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            nanos: AtomicU64::new(0),
        }
    }

    fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS_SECONDS.iter().position(|bound| seconds <= *bound);
        if let Some(count) = self.counts.get(bucket.unwrap_or(BUCKETS_SECONDS.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// All until now.
    pub(crate) fn histogram(&self) -> Histogram {
        let counts = self.counts.each_ref();
        Histogram {
            counts: counts.map(|count| count.load(Ordering::Relaxed)),
            sum_seconds: self.nanos.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

/// How long the gateway keeps what passes.
#[derive(Debug)]
pub(crate) struct Delays {
    /// Operations.
    pub(crate) cleared: Times,
    /// Answers in which values were covered or searched.
    pub(crate) masked: Times,
}

impl Delays {
    pub(crate) fn new() -> Delays {
        Delays {
            cleared: Times::new(),
            masked: Times::new(),
        }
    }
}

impl Meter for Delays {
    fn cleared(&self, took: Duration) {
        self.cleared.add(took);
    }

    fn masked(&self, took: Duration) {
        self.masked.add(took);
    }
}

/// The judge, timed. Decisions that a session remembers do not come here.
pub(crate) struct TimedJudge {
    inner: Arc<dyn Judge>,
    times: Times,
}

impl TimedJudge {
    pub(crate) fn new(inner: Arc<dyn Judge>) -> TimedJudge {
        TimedJudge {
            inner,
            times: Times::new(),
        }
    }

    /// How long decisions took.
    pub(crate) fn histogram(&self) -> Histogram {
        self.times.histogram()
    }
}

impl Judge for TimedJudge {
    fn generation(&self) -> u64 {
        self.inner.generation()
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        let started = Instant::now();
        let decision = self.inner.decide(case);
        self.times.add(started.elapsed());
        decision
    }

    fn terms(&self, policy: &str, destination: &Destination) -> Arc<LinkTerms> {
        self.inner.terms(policy, destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_first_bucket_that_holds_them() {
        let times = Times::new();
        for took in [1_000, 1_001, 5_000, 11_000_000_000] {
            times.add(Duration::from_nanos(took));
        }
        let histogram = times.histogram();
        assert_eq!(histogram.counts[..2], [1, 2]);
        assert_eq!(histogram.counts.last(), Some(&1));
        assert_eq!(histogram.counts.iter().sum::<u64>(), 4);
        assert!((histogram.sum_seconds - 11.000_007_001).abs() < 1e-9);
    }
}
