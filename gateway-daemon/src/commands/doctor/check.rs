//! One thing that was looked at.
use gateway_capture::CaptureError;
use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Finding {
    Ok,
    /// Something needs it, and it is not there.
    Missing,
    /// It could not be looked at.
    Unknown,
    /// The gateway works without it, but something is worth knowing.
    Warning,
}

impl Finding {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Finding::Ok => "ok",
            Finding::Missing => "missing",
            Finding::Unknown => "unknown",
            Finding::Warning => "warning",
        }
    }
}

/// What was looked at, how it is, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) result: Finding,
    pub(crate) detail: String,
    pub(crate) remedy: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, detail: impl Into<String>) -> Check {
        Check {
            name,
            result: Finding::Ok,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn bad(name: &'static str, result: Finding, detail: String, remedy: String) -> Check {
        Check {
            name,
            result,
            detail,
            remedy: Some(remedy),
        }
    }

    pub(crate) fn missing(
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::bad(name, Finding::Missing, detail.into(), remedy.into())
    }

    pub(crate) fn unknown(
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::bad(name, Finding::Unknown, detail.into(), remedy.into())
    }

    pub(crate) fn warning(
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::bad(name, Finding::Warning, detail.into(), remedy.into())
    }
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Viewer {
    pub(crate) uid: u32,
}

/// What helps whoever is not root.
const AS_ROOT: &str = "run gateway doctor as root";

impl Viewer {
    pub(crate) fn of_process() -> Viewer {
        Viewer {
            uid: nix::unistd::geteuid().as_raw(),
        }
    }

    pub(crate) const fn is_root(self) -> bool {
        self.uid == 0
    }

    /// The daemon runs as root: what others may not see is not known, and never fine.
    pub(crate) fn check(self) -> Check {
        if self.is_root() {
            return Check::ok("caller", "root, as the daemon");
        }
        let uid = self.uid;
        let detail = format!("uid {uid}: what the daemon could do as root cannot all be checked");
        Check::unknown("caller", detail, AS_ROOT)
    }

    /// What could not be looked at by whoever is not root, or what root cannot do here.
    pub(crate) fn failed(
        self,
        name: &'static str,
        error: &CaptureError,
        remedy: impl Into<String>,
    ) -> Check {
        match error {
            CaptureError::NotPermitted { .. } => self.denied(name, error.to_string(), remedy),
            _ => Check::missing(name, error.to_string(), remedy),
        }
    }

    /// The same, in words.
    pub(crate) fn denied(
        self,
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        if self.is_root() {
            Check::missing(name, detail, remedy)
        } else {
            Check::unknown(name, detail, AS_ROOT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_looked_at_is_unknown_to_others_and_missing_to_root() {
        let error = CaptureError::NotPermitted {
            what: "look".into(),
            detail: "EPERM".into(),
        };
        for (uid, expected) in [(0, Finding::Missing), (1000, Finding::Unknown)] {
            let viewer = Viewer { uid };
            assert_eq!(viewer.failed("x", &error, "y").result, expected);
        }
        let error = CaptureError::NoCgroup2;
        let check = Viewer { uid: 1000 }.failed("x", &error, "y");
        assert_eq!(check.result, Finding::Missing, "whoever looks");
    }

    #[test]
    fn only_root_is_fine() {
        assert_eq!(Viewer { uid: 0 }.check().result, Finding::Ok);
        assert_eq!(Viewer { uid: 65534 }.check().result, Finding::Unknown);
    }
}
