//! Makes the shape of a long statement short: of equal elements of a list, one is enough.
//!
//! A bulk INSERT has a thousand rows of literals, and an IN list a thousand numbers. Once the
//! literals are gone they are equal, and what the statement does is what it does with one of each.
use rustc_hash::FxHashSet;

/// The shape with each element of a list left out that the list already has: first the literals,
/// then the groups in parentheses that are made of them.
pub(super) fn abridge(shape: &str) -> String {
    abridge_lists(&abridge_lists(shape, literal), element)
}

/// Finds the end of the element that begins at a place, if one does.
type FindElement = fn(&str, usize) -> Option<usize>;

fn abridge_lists(shape: &str, element: FindElement) -> String {
    let bytes = shape.as_bytes();
    let mut short = String::with_capacity(shape.len().min(4096));
    let mut seen: FxHashSet<&str> = FxHashSet::default();
    let mut written = 0;
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match element(shape, at) {
            Some(end) => {
                at = end;
                let Some(text) = shape.get(start..end) else {
                    break;
                };
                seen.clear();
                seen.insert(text);
                // The rest of the list: every further element, as long as there is one.
                while let Some((comma, begin, end)) = next_element(shape, at, element) {
                    let Some(text) = shape.get(begin..end) else {
                        break;
                    };
                    if seen.insert(text) {
                        at = end;
                    } else {
                        short.push_str(shape.get(written..comma).unwrap_or_default());
                        written = end;
                        at = end;
                    }
                }
            }
            None => at = skip_token(bytes, at),
        }
    }
    short.push_str(shape.get(written..).unwrap_or_default());
    short
}

/// Where the next element of a list begins and ends, and the comma before it.
fn next_element(shape: &str, at: usize, element: FindElement) -> Option<(usize, usize, usize)> {
    let bytes = shape.as_bytes();
    let comma = skip_space(bytes, at);
    if bytes.get(comma) != Some(&b',') {
        return None;
    }
    let begin = skip_space(bytes, comma + 1);
    let end = element(shape, begin)?;
    // Only a whole element: nothing may follow but a comma or the end of the list.
    let after = skip_space(bytes, end);
    matches!(bytes.get(after), None | Some(b',' | b')' | b';')).then_some((comma, begin, end))
}

/// Where the literal that begins here ends: `0`, `0.0`, `''`.
fn literal(shape: &str, at: usize) -> Option<usize> {
    let rest = shape.as_bytes().get(at..)?;
    ["''", "0.0", "0"]
        .iter()
        .find(|literal| rest.starts_with(literal.as_bytes()))
        .map(|literal| at + literal.len())
}

/// Where the literal, or the group in parentheses without others in it, that begins here ends.
fn element(shape: &str, at: usize) -> Option<usize> {
    let rest = shape.as_bytes().get(at..)?;
    if !rest.starts_with(b"(") {
        return literal(shape, at);
    }
    for (offset, byte) in rest.iter().enumerate().skip(1) {
        match byte {
            b')' => return Some(at + offset + 1),
            b'(' | b'"' | b'/' | b';' => return None,
            b'-' if rest.get(offset + 1) == Some(&b'-') => return None,
            _ => {}
        }
    }
    None
}

/// Past one token that is no element: a word, a quoted identifier, a comment, or a single byte.
fn skip_token(bytes: &[u8], at: usize) -> usize {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
    let rest = bytes.get(at..).unwrap_or_default();
    let length = match rest {
        [b'"', inside @ ..] => inside
            .iter()
            .position(|byte| *byte == b'"')
            .map(|end| end + 2),
        [b'-', b'-', ..] => rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')),
        // Comments nest: all from here on is kept as it is.
        [b'/', b'*', ..] => None,
        _ => match rest.iter().position(|byte| !is_word(byte)) {
            Some(0) => Some(1),
            other => other,
        },
    };
    length.map_or(bytes.len(), |length| at + length)
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let space = rest
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c));
    at + space.unwrap_or(rest.len())
}
