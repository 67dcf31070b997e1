//! Cookies that only this host sets, over TLS only, and no script reads.
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use std::time::Duration;

/// `__Host-`: the browser takes it from this very host only, never from a sibling domain
/// (RFC 6265bis, 4.1.3.2).
pub(super) const LOGIN: &str = "__Host-gateway-login";
pub(super) const SESSION: &str = "__Host-gateway-session";

/// When the browser may send it.
#[derive(Clone, Copy, Debug)]
pub(super) enum SameSite {
    /// Also when another site leads here, as the provider does at the end of a sign-in.
    Lax,
    /// Only from our own pages.
    Strict,
}

/// The value of a cookie of the request.
pub(super) fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(other, _)| *other == name);
    let (_, value) = found.next()?;
    // Of two it cannot be told which one is ours.
    found.next().is_none().then_some(value)
}

/// A `Set-Cookie`. Names and values are ours: base64url.
pub(super) fn set(
    name: &str,
    value: &str,
    site: SameSite,
    lifetime: Duration,
) -> Option<HeaderValue> {
    let seconds = lifetime.as_secs();
    let text =
        format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite={site:?}");
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_once() {
        let check = |values: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(COOKIE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(read(&headers, "a"), expected, "{values:?}");
        };
        check(&["a=1"], Some("1"));
        check(&["b=2; a=1;c"], Some("1"));
        check(&["b=2", "a=1"], Some("1"));
        check(&["aa=1; ba=2"], None);
        check(&["a=1; a=2"], None);
        check(&[], None);
    }

    #[test]
    fn the_attributes() {
        let cookie = set(SESSION, "x", SameSite::Strict, Duration::from_secs(600)).unwrap();
        assert_eq!(
            cookie,
            "__Host-gateway-session=x; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Strict"
        );
    }
}
