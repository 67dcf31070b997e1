//! The table of routes. Requests are matched, permissions judged and `docs/openapi.json` made by it.
use crate::standing::Request;
use hyper::Method;

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Ready,
    Metrics,
    Status,
    Trees,
    Lineage,
    Sessions,
    Session,
    Replay,
    Operations,
    Acts,
    Kill,
    Revoke,
    Approvals,
    Answer,
    Run,
    Login,
    SshSession,
    LoginSaml,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) route: Route,
    pub(crate) method: Method,
    /// At most one parameter, in braces, as the last segment.
    pub(crate) path: &'static str,
    pub(crate) asks: Request,
}

const fn get(route: Route, path: &'static str, asks: Request) -> Entry {
    Entry {
        route,
        method: Method::GET,
        path,
        asks,
    }
}

const fn post(route: Route, path: &'static str, asks: Request) -> Entry {
    Entry {
        route,
        method: Method::POST,
        path,
        asks,
    }
}

pub(crate) static ROUTES: [Entry; 19] = [
    get(Route::Health, "/healthz", Request::Health),
    get(Route::Ready, "/readyz", Request::Health),
    get(Route::Metrics, "/metrics", Request::Status),
    get(Route::Status, "/v1/status", Request::Status),
    get(Route::Trees, "/v1/trees", Request::Trees),
    get(Route::Lineage, "/v1/lineage/{target}", Request::Lineage),
    get(Route::Sessions, "/v1/sessions", Request::Records),
    get(Route::Session, "/v1/sessions/{session}", Request::Records),
    get(Route::Replay, "/v1/replay/{session}", Request::Records),
    get(Route::Operations, "/v1/operations", Request::Records),
    get(Route::Acts, "/v1/acts", Request::Records),
    post(Route::Kill, "/v1/kill", Request::Kill),
    post(Route::Revoke, "/v1/revoke", Request::Revoke),
    get(Route::Approvals, "/v1/approvals", Request::Approvals),
    post(Route::Answer, "/v1/approvals/{id}", Request::Answer),
    post(Route::Run, "/v1/run", Request::Run),
    post(Route::Login, "/v1/login", Request::Login),
    post(Route::SshSession, "/v1/ssh-session", Request::SshSession),
    post(Route::LoginSaml, "/v1/login/saml", Request::Login),
];

/// The row of a path, and what stands in it for the parameter.
pub(crate) fn find(path: &str) -> Option<(&'static Entry, &str)> {
    ROUTES
        .iter()
        .find_map(|entry| Some((entry, parameter(entry.path, path)?)))
}

fn parameter<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    match template.split_once('{') {
        None => (template == path).then_some(""),
        Some((before, _)) => path.strip_prefix(before).filter(|rest| !rest.contains('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/healthz", Some((Route::Health, ""))),
            ("/readyz", Some((Route::Ready, ""))),
            ("/metrics", Some((Route::Metrics, ""))),
            ("/v1/status", Some((Route::Status, ""))),
            ("/v1/sessions", Some((Route::Sessions, ""))),
            ("/v1/sessions/s1", Some((Route::Session, "s1"))),
            ("/v1/replay/s1", Some((Route::Replay, "s1"))),
            ("/v1/lineage/s1", Some((Route::Lineage, "s1"))),
            ("/v1/login", Some((Route::Login, ""))),
            ("/v1/login/saml", Some((Route::LoginSaml, ""))),
            ("/v1/login/other", None),
            ("/v1/approvals", Some((Route::Approvals, ""))),
            ("/v1/approvals/q1", Some((Route::Answer, "q1"))),
            ("/v1/sessions/s1/x", None),
            ("/v1/status/", None),
            ("/v1/sessions?x", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("/v2/status", None),
            ("//healthz", None),
            ("/v1/lineage", None),
        ] {
            let found = find(path).map(|(entry, parameter)| (entry.route, parameter));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn only_what_changes_something_is_posted() {
        for entry in &ROUTES {
            let changes = matches!(
                entry.asks,
                Request::Kill
                    | Request::Revoke
                    | Request::Answer
                    | Request::Run
                    | Request::Login
                    | Request::SshSession
            );
            assert_eq!(entry.method == Method::POST, changes, "{}", entry.path);
        }
    }

    #[test]
    fn every_path_leads_to_its_own_row() {
        for entry in &ROUTES {
            let path = entry.path.replace(['{', '}'], "");
            let (found, _) = find(&path).unwrap();
            assert_eq!(found.route, entry.route, "{path}");
        }
    }
}
