//! What a client is told when something of its does not pass.
use crate::codec::response::{Complaint, Severity};
use crate::error::Error;
use gateway_core::Refusal;
use gateway_core::governor::Notice;

/// "Insufficient privilege", which is what a refusal is to a PostgreSQL client.
const REFUSED: &str = "42501";
/// "Successful completion", which is what notices carry.
const NOTHING_WRONG: &str = "00000";
/// "Invalid authorization specification".
const NOT_LOGGED_IN: &str = "28000";
/// "Feature not supported", with which PostgreSQL refuses a plan whose result has changed: drivers
/// prepare the statement again.
const OUTDATED: &str = "0A000";
/// "Invalid SQL statement name", upon which they do so too.
const NOT_PREPARED: &str = "26000";
/// "Program limit exceeded".
const LIMITED: &str = "54000";

/// Why something went upstream that cannot succeed. Kept until its answer comes.
#[derive(Clone, Debug)]
pub(super) enum Wording {
    /// The policy says no, or it could not be recorded.
    Refused(Refusal),
    /// A limit of the gateway, by its key in the configuration.
    Limited(&'static str),
    /// What would be planned is not what was prepared, as far as masks are concerned.
    Changed,
    /// What would be planned is not known.
    Unknown,
}

impl Wording {
    /// The text that the upstream gets to see. It names the operation, so that the server's log
    /// can be matched with the gateway's, and says nothing of the statement.
    pub(super) fn for_upstream(&self) -> String {
        match self {
            Wording::Refused(refusal) => format!("gateway refused operation {}", refusal.id),
            Wording::Limited(_) => String::from("gateway refused a request over a limit"),
            Wording::Changed | Wording::Unknown => {
                String::from("gateway refused to have a statement planned")
            }
        }
    }

    /// The ErrorResponse that the client gets.
    pub(super) fn for_client(&self, utf8: bool) -> Vec<u8> {
        let (code, message, detail) = match self {
            Wording::Refused(refusal) => (
                REFUSED,
                refusal.to_string(),
                Some(format!(
                    "Operation {}. The server has not seen it.",
                    refusal.id
                )),
            ),
            Wording::Changed => (
                OUTDATED,
                String::from(
                    "gateway: what the statement's names stand for has changed since it was \
                     prepared, or is changing, and it could ask about masked values: prepare it again",
                ),
                None,
            ),
            Wording::Unknown => (
                NOT_PREPARED,
                String::from("gateway: the prepared statement is not known: prepare it again"),
                None,
            ),
            Wording::Limited(name) => (
                LIMITED,
                format!("gateway: the session has reached {name}"),
                None,
            ),
        };
        Complaint {
            severity: Severity::Error,
            code,
            message: &message,
            detail: detail.as_deref(),
            utf8,
        }
        .encode()
    }
}

/// What a client is told while a human is asked.
pub(super) fn notice(notice: &Notice, utf8: bool) -> Vec<u8> {
    let detail = format!("Operation {}. The server has not seen it.", notice.id);
    Complaint {
        severity: Severity::Notice,
        code: NOTHING_WRONG,
        message: &notice.to_string(),
        detail: Some(&detail),
        utf8,
    }
    .encode()
}

/// The last words to a client that may not begin.
pub(crate) fn farewell(refusal: &Refusal) -> Vec<u8> {
    let detail = format!("Operation {}.", refusal.id);
    Complaint {
        severity: Severity::Fatal,
        code: REFUSED,
        message: &refusal.to_string(),
        detail: Some(&detail),
        utf8: true,
    }
    .encode()
}

/// The last words to a client in whose place the gateway could not log in.
pub(super) fn not_logged_in(words: &str) -> Vec<u8> {
    Complaint {
        severity: Severity::Fatal,
        code: NOT_LOGGED_IN,
        message: &format!("gateway: {words}"),
        detail: None,
        utf8: true,
    }
    .encode()
}

/// The last words to a client that broke the protocol.
pub(super) fn fault(error: Error, utf8: bool) -> Vec<u8> {
    let message = format!("gateway: {error}");
    Complaint {
        severity: Severity::Fatal,
        code: error.sqlstate(),
        message: &message,
        detail: None,
        utf8,
    }
    .encode()
}
