//! The daemon, where one runs. None has to.
use super::super::{ANSWER_TIME_MAX, ask};
use super::check::{Check, Viewer};
use crate::config::Config;
use crate::exit::Failure;
use gateway_control::view::StatusView;
use gateway_control::{Client, ClientError};

const NAME: &str = "daemon";

/// What became of the question.
type Answer = Option<Result<StatusView, ClientError>>;

/// How the daemon is. `attached`: whether its programs are, where that is known.
pub(super) fn daemon(
    config: &Config,
    attached: Option<bool>,
    viewer: Viewer,
) -> Result<Check, Failure> {
    let client = Client::new(&config.control_socket);
    let answer = ask(async {
        let status = tokio::time::timeout(ANSWER_TIME_MAX, client.status()).await;
        Ok(status.ok())
    })?;
    Ok(judge(answer, attached, viewer))
}

fn judge(answer: Answer, attached: Option<bool>, viewer: Viewer) -> Check {
    match answer {
        Some(Ok(view)) => running(&view),
        Some(Err(ClientError::NotPermitted(reason))) => Check::unknown(
            NAME,
            reason,
            "ask it as root, from outside of governed trees",
        ),
        Some(Err(error @ ClientError::Unreachable { .. })) if !viewer.is_root() => {
            Check::unknown(NAME, error.to_string(), "run gateway doctor as root")
        }
        Some(Err(error)) => {
            let means = match attached {
                Some(true) => "; what is governed is cut off until it is back",
                Some(false) => "; nothing is governed until it is started",
                None => "",
            };
            let start = "systemctl start gateway, or gateway daemon";
            Check::warning(NAME, format!("{error}{means}"), start)
        }
        None => {
            let detail = format!("it does not answer within {} s", ANSWER_TIME_MAX.as_secs());
            Check::warning(NAME, detail, "look into its log, and restart it")
        }
    }
}

fn running(view: &StatusView) -> Check {
    let mut faults = Vec::new();
    if !view.attached {
        faults.push("its programs are not attached".to_owned());
    }
    if !view.rejected.is_empty() {
        faults.push(format!("{} policy files are rejected", view.rejected.len()));
    }
    if view.mode != "enforce" {
        faults.push(format!("the strongest mode in force is {}", view.mode));
    }
    faults.extend(view.warnings.iter().cloned());
    let own = env!("CARGO_PKG_VERSION");
    if view.version != own {
        faults.push(format!("this is the doctor of version {own}"));
    }
    let name = format!(
        "version {}, pid {}, tier {}",
        view.version, view.pid, view.tier
    );
    if faults.is_empty() {
        return Check::ok(NAME, format!("{name}: it enforces"));
    }
    let detail = format!("{name}: {}", faults.join("; "));
    Check::warning(NAME, detail, "gateway status says more")
}

#[cfg(test)]
mod tests {
    use super::super::check::Finding;
    use super::*;

    const ROOT: Viewer = Viewer { uid: 0 };

    fn view() -> StatusView {
        StatusView {
            version: env!("CARGO_PKG_VERSION").into(),
            attached: true,
            mode: "enforce".into(),
            tier: "attest".into(),
            ..StatusView::default()
        }
    }

    #[test]
    fn a_daemon_that_enforces_is_fine_and_what_keeps_it_from_that_is_said() {
        assert_eq!(running(&view()).result, Finding::Ok);
        for (view, word) in [
            (
                StatusView {
                    attached: false,
                    ..view()
                },
                "not attached",
            ),
            (
                StatusView {
                    mode: "shadow".into(),
                    ..view()
                },
                "shadow",
            ),
            (
                StatusView {
                    version: "0.0.0".into(),
                    ..view()
                },
                "version 0.0.0",
            ),
            (
                StatusView {
                    warnings: vec!["few descriptors".into()],
                    ..view()
                },
                "few descriptors",
            ),
        ] {
            let check = running(&view);
            assert_eq!(check.result, Finding::Warning, "{check:?}");
            assert!(check.detail.contains(word), "{check:?}");
        }
    }

    #[test]
    fn a_daemon_that_does_not_answer_means_more_or_less() {
        let broken = || Some(Err(ClientError::Answer("broke off".into())));
        let check = judge(broken(), Some(true), ROOT);
        assert!(check.detail.contains("cut off"), "{check:?}");
        let check = judge(broken(), Some(false), ROOT);
        assert!(check.detail.contains("nothing is governed"), "{check:?}");
        assert_eq!(judge(None, None, ROOT).result, Finding::Warning);
        let refused = Some(Err(ClientError::NotPermitted("governed".into())));
        assert_eq!(judge(refused, None, ROOT).result, Finding::Unknown);
    }
}
