//! JSON Web Tokens: three parts in base64url with dots between, of which the first is a JSON
//! object with `alg` (RFC 7515, section 3.1); five where they are encrypted (RFC 7516).
//!
//! The header is one that begins with `{"`, as all that libraries write. The signature may be
//! empty: what the token says is then as readable as otherwise.
use super::{end_of, is_base64url};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::ops::Range;

/// `{"` in base64.
const BEGINNING: &[u8] = b"eyJ";
/// How many places in one run of characters are taken for the beginning of a header, which need
/// not be the first: `%22eyJ…`, `session_eyJ…`. Each is decoded to the end.
const PLACES_MAX: usize = 4;
/// Parts of an encrypted token.
const PARTS_MAX: usize = 5;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "alg")]
    _algorithm: IgnoredAny,
}

pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let run = *at + memmem::find(text.get(*at..)?, BEGINNING)?;
        let header_end = end_of(text, run, is_base64url);
        *at = header_end;
        let Some(end) = rest_end(text, header_end) else {
            continue;
        };
        let header = text.get(run..header_end)?;
        let mut places = memmem::find_iter(header, BEGINNING).take(PLACES_MAX);
        if let Some(place) = places.find(|place| is_header(header.get(*place..))) {
            *at = end;
            return Some(run + place..end);
        }
    }
}

/// Where a token ends whose header ends here. Each part is looked at for each of the four before
/// it that could be the header, at most.
fn rest_end(text: &[u8], header_end: usize) -> Option<usize> {
    let mut ends = [header_end; PARTS_MAX];
    let (mut end, mut parts) = (header_end, 1);
    for part in ends.iter_mut().skip(1) {
        if text.get(end) != Some(&b'.') {
            break;
        }
        end = end_of(text, end + 1, is_base64url);
        *part = end;
        parts += 1;
    }
    let [_, payload, signature, _, tag] = ends;
    match parts {
        // Encrypted: the second part is empty where the key is known to both.
        PARTS_MAX => Some(tag),
        3.. if payload > header_end + 1 => Some(signature),
        _ => None,
    }
}

fn is_header(part: Option<&[u8]>) -> bool {
    let Some(Ok(bytes)) = part.map(|part| BASE64.decode(part)) else {
        return false;
    };
    serde_json::from_slice::<Header>(&bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::detect::check;

    /// RFC 7515, appendix A.1.
    const SIGNED: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// RFC 7519, section 6.1.
    const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

    #[test]
    fn tokens_are_found() {
        check(super::next, &format!("«{SIGNED}»"));
        check(super::next, &format!("«{UNSIGNED}»"));
        check(super::next, &format!("Bearer «{SIGNED}», \"«{SIGNED}»\""));
        check(super::next, &format!("%22«{SIGNED}»%22"));
        check(super::next, &format!("session_«{SIGNED}»."));
        check(super::next, &format!("eyJeyJ«{SIGNED}»"));
        check(super::next, &format!("eyJ.«{SIGNED}»"));
        // RFC 7516, section 3.3, with its later parts cut; with a key that is known to both.
        check(
            super::next,
            "«eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13g.48V1_ALb6US0.5eym8TW_c8.XFBoMYUZod»",
        );
        check(
            super::next,
            "«eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..48V1_ALb6US0.5eym8TW_c8.XFBoMYUZod»",
        );
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "eyJ",
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJub25lIn0.",
            "eyJhbGciOiJub25lIn0.abc",
            "eyJhbGciOiJub25lIn0..",
            // {"a":1}
            "eyJhIjoxfQ.abc.def",
            // {"alg":
            "eyJhbGciOg.abc.def",
            "eyJhbGciOiJub25lIn.abc.def",
            "they.are.here eyJ.a.b",
            // {"x":{"alg":1}}
            "eyJ4Ijp7ImFsZyI6MX19.abc.def",
        ] {
            check(super::next, text);
        }
    }
}
