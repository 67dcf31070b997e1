//! Every limit, once: its key, its default and what it may be set to.
use super::resolve::{ConfigError, Source};
use crate::terminal::moment::written;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::Spanned;

/// A limit as it is written: a number, or a text with a unit.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number, or a text such as \"64KiB\" or \"5s\""
)]
pub(super) enum Written {
    Number(i64),
    Text(String),
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

macro_rules! limit_type {
    (count) => { usize };
    (size) => { usize };
    (time) => { Duration };
    (patience) => { Option<Duration> };
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $kind:ident = $default:expr, $range:expr;)*) => {
        /// Every limit that the configuration can set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct Limits { $($(#[$doc])* pub(crate) $name: limit_type!($kind),)* }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($name: $default,)* }
            }
        }

        /// The limits of a configuration file.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct WrittenLimits { $($name: Option<Spanned<Written>>,)* }

        impl WrittenLimits {
            pub(super) fn resolve(self, source: &Source<'_>) -> Result<Limits, ConfigError> {
                let mut limits = Limits::default();
                $(if let Some(written) = self.$name {
                    let key = concat!("limits.", stringify!($name));
                    let resolved = $kind(written.get_ref(), $range);
                    limits.$name = resolved
                        .map_err(|expected| source.at(&written, format!("{key}: {expected}")))?;
                })*
                Ok(limits)
            }
        }

        impl Limits {
            /// As `gateway status --json` shows them: the keys of the configuration file.
            pub(crate) fn shown(&self) -> BTreeMap<String, Value> {
                BTreeMap::from([$((stringify!($name).to_owned(), self.$name.shown())),*])
            }
        }
    };
}

/// Descriptors beside those of sessions.
const DESCRIPTORS_MORE: u64 = 4096;
/// A session has two sockets, and for a moment a third.
const DESCRIPTORS_PER_SESSION: u64 = 3;
/// A network namespace has ten listeners, and is held open.
const DESCRIPTORS_PER_NAMESPACE: u64 = 11;

impl Limits {
    /// How many descriptors the daemon may need.
    pub(crate) fn descriptors(&self) -> u64 {
        let sessions = u64::try_from(self.sessions).unwrap_or(u64::MAX);
        let namespaces = u64::try_from(self.namespaces).unwrap_or(u64::MAX);
        sessions
            .saturating_mul(DESCRIPTORS_PER_SESSION)
            .saturating_add(namespaces.saturating_mul(DESCRIPTORS_PER_NAMESPACE))
            .saturating_add(DESCRIPTORS_MORE)
    }
}

limits! {
    /// Sessions at once; above it connections are reset.
    sessions: count = 20_000, 1..=1_000_000;
    /// Network namespaces beside the daemon's own in which it listens; in others governed
    /// connections are refused.
    namespaces: count = 256, 0..=4096;
    /// Threads that serve sessions; 0 is one for each core.
    workers: count = 0, 0..=1024;
    /// Commands of `gateway run` at once.
    runs: count = 4096, 1..=1_000_000;
    /// How long sessions may go on when the daemon ends.
    drain: time = seconds(5), ms(0)..=seconds(86_400);
    /// How long an upstream may take to accept.
    dial: time = seconds(10), ms(1)..=seconds(3600);
    /// How long the two sides may take, from the first byte, to show what they speak.
    recognise: time = seconds(3), ms(1)..=seconds(3600);
    /// How long a client whose connection is refused has to show what it speaks.
    refusal: time = seconds(1), ms(1)..=seconds(60);
    /// How long the last bytes of a session may take to leave.
    linger: time = seconds(5), ms(1)..=seconds(600);
    /// How long an opaque session may move no byte; "never" lets it.
    opaque_idle: patience = None, seconds(1)..=seconds(30 * 86_400);
    /// Bytes of each side that are looked at to recognise a protocol.
    opening_bytes: size = 16 * KIB, 64..=MIB;
    /// Bytes of one statement; a longer one is refused.
    statement_bytes: size = 64 * MIB, KIB..=512 * MIB;
    /// Bytes of one message that carries bind values; a longer one is refused.
    bind_bytes: size = 256 * MIB, KIB..=GIB;
    /// Bytes of one message of the upstream that has to be understood (errors, settings).
    control_bytes: size = 16 * MIB, KIB..=GIB;
    /// Requests of one session that may wait for their answers.
    pipeline: count = 1_000_000, 1..=100_000_000;
    /// Named prepared statements of one session.
    prepared_statements: count = 16_384, 1..=10_000_000;
    /// Bytes that one session may hold for its client: prepared statements, portals, open requests.
    held_bytes: size = 192 * MIB, KIB..=4 * GIB;
    /// Named portals of one session.
    portals: count = 16_384, 1..=10_000_000;
    /// Bytes of one bind value that are recorded; the length of the rest is.
    parameter_bytes: size = KIB, 0..=16 * MIB;
    /// Bytes of all bind values of one operation that are recorded.
    parameters_bytes: size = 16 * KIB, 0..=16 * MIB;
    /// Bytes of a row of which a value may have to be masked. Each is held whole; a longer one ends
    /// the answer with an error.
    masked_row_bytes: size = 16 * MIB, KIB..=GIB;
    /// Statements whose classification is remembered, over all sessions.
    classifications: count = 16_384, 1..=10_000_000;
    /// How long a name server may take to answer a question.
    dns_answer: time = seconds(5), ms(10)..=seconds(60);
    /// How long a flow of datagrams may move none.
    datagrams_idle: time = seconds(60), seconds(1)..=seconds(3600);
    /// After so long without a question what a process asks a name server is another session.
    dns_idle: time = seconds(10), ms(10)..=seconds(3600);
    /// Questions of one session that may wait for their answers.
    dns_pending: count = 64, 1..=4096;
    /// Bytes of a name that is asked for.
    dns_name_bytes: size = 128, 16..=1024;
    /// Labels of a name that is asked for; a reverse name of IPv6 has 34.
    dns_labels: count = 40, 1..=128;
    /// Questions of one tree in a second.
    dns_rate: count = 200, 1..=10_000_000;
    /// Different names of one zone (the last two labels) that one tree may ask for in an hour.
    dns_zone_names: count = 1000, 1..=10_000_000;
    /// Different names that one tree may ask for in an hour.
    dns_names: count = 10_000, 1..=10_000_000;
    /// Processes that the lineage keeps, exited ancestors included.
    processes: count = 131_072, 1000..=100_000_000;
    /// Bytes of files, arguments and directories that the lineage keeps.
    lineage_bytes: size = 32 * MIB, MIB..=4 * GIB;
    /// How long an exited process without descendants is kept.
    exited_grace: time = seconds(10), ms(1)..=seconds(3600);
    /// How many of these are kept at most.
    exited: count = 16_384, 1..=10_000_000;
    /// Connections on the control socket at once, of each kind of caller.
    control_connections: count = 64, 1..=4096;
    /// Callers that follow the log at once, of each kind of caller.
    control_followers: count = 16, 1..=4096;
    /// Sign-ins (`gateway login`) that wait for a person at once; one of each tree.
    logins: count = 16, 1..=1024;
    /// How long a caller may take to send its request.
    control_request: time = seconds(10), ms(100)..=seconds(600);
    /// How long a caller may stop reading its answer.
    control_stall: time = seconds(30), ms(100)..=seconds(3600);
    /// Operations that wait for a human at once; what is over is denied.
    approvals: count = 1000, 1..=100_000;
    /// Of these, operations of one tree.
    approvals_tree: count = 500, 1..=100_000;
    /// Approvals for a time that are in force at once.
    grants: count = 1000, 1..=100_000;
    /// How long an operation waits for room in the journal.
    journal_wait: time = ms(500), ms(1)..=seconds(60);
}

/// What `gateway status --json` shows of a limit, which can be written back.
trait Shown {
    fn shown(&self) -> Value;
}

impl Shown for usize {
    fn shown(&self) -> Value {
        (*self).into()
    }
}

impl Shown for Duration {
    fn shown(&self) -> Value {
        written(*self).into()
    }
}

impl Shown for Option<Duration> {
    fn shown(&self) -> Value {
        self.map_or_else(|| "never".to_owned(), written).into()
    }
}

type Range<T> = std::ops::RangeInclusive<T>;

fn count(written: &Written, range: Range<usize>) -> Result<usize, String> {
    let number = match written {
        Written::Number(number) => usize::try_from(*number).ok(),
        Written::Text(_) => None,
    };
    let expected = || {
        format!(
            "expected a number from {} to {}",
            range.start(),
            range.end()
        )
    };
    number
        .filter(|number| range.contains(number))
        .ok_or_else(expected)
}

fn size(written: &Written, range: Range<usize>) -> Result<usize, String> {
    let bytes = match written {
        Written::Number(bytes) => usize::try_from(*bytes).ok(),
        Written::Text(text) => bytes(text),
    };
    let expected = || {
        let (least, most) = (range.start(), range.end());
        format!("expected {least} to {most} bytes, as a number or with KiB, MiB or GiB")
    };
    bytes
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(expected)
}

fn time(written: &Written, range: Range<Duration>) -> Result<Duration, String> {
    match written {
        Written::Text(text) => super::resolve::duration(text, &range),
        Written::Number(_) => Err("expected a text such as \"5s\" or \"100ms\"".to_owned()),
    }
}

fn patience(written: &Written, range: Range<Duration>) -> Result<Option<Duration>, String> {
    match written {
        Written::Text(text) if text == "never" => Ok(None),
        other => time(other, range)
            .map(Some)
            .map_err(|expected| format!("{expected}; or \"never\"")),
    }
}

fn bytes(text: &str) -> Option<usize> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(end);
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}
