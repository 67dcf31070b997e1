//! What the command line ends with: the five exit codes, and the reason when it is not the first.
use gateway_control::ClientError;
use std::fmt;

/// The exit codes, as scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no: a check failed, or nothing was found by the id that was asked for.
    No = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
    /// Not permitted.
    NotPermitted = 4,
}

/// Why a command did not do what it was asked. The text goes to stderr, in one line or several.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    /// The answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::No,
            message: message.into(),
        }
    }

    /// The usage or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Usage,
            message: message.into(),
        }
    }

    /// The caller may not do it.
    pub(crate) fn not_permitted(message: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::NotPermitted,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let exit = match &error {
            // A broken answer is a daemon that went away, so it is no longer reached.
            ClientError::Unreachable { .. } | ClientError::Answer(_) => Exit::Unreachable,
            ClientError::NotPermitted(_) => Exit::NotPermitted,
            ClientError::NotFound(_) | ClientError::Refused(_) => Exit::No,
            ClientError::BadRequest(_) => Exit::Usage,
        };
        Failure {
            exit,
            message: error.to_string(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::no(error.to_string())
    }
}
