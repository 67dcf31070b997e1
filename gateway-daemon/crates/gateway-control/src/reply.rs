//! Answers, as bytes.
use crate::view::ErrorView;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::io;

pub(crate) type Answer = Response<BoxBody<Bytes, io::Error>>;

pub(crate) const JSON: &str = "application/json";
pub(crate) const LINES: &str = "application/x-ndjson";
pub(crate) const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

pub(crate) fn json<T: Serialize>(value: Option<T>) -> Answer {
    match value.map(|value| serde_json::to_vec(&value)) {
        Some(Ok(mut body)) => {
            body.push(b'\n');
            text(StatusCode::OK, JSON, body)
        }
        _ => failed(),
    }
}

pub(crate) fn failed() -> Answer {
    refused(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the daemon failed to answer; its log says why",
    )
}

pub(crate) fn refused(status: StatusCode, reason: impl Into<String>) -> Answer {
    let view = ErrorView {
        error: reason.into(),
    };
    text(status, JSON, serde_json::to_vec(&view).unwrap_or_default())
}

pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {});
    typed(status, kind, body.boxed())
}

pub(crate) fn typed(
    status: StatusCode,
    kind: &'static str,
    body: BoxBody<Bytes, io::Error>,
) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Makes a call that may block. `None`: it panicked, and that is in the log.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
