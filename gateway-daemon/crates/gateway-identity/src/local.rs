//! The form of a local principal's name, in which no name can pass for another.
use std::fmt::Write;

/// `local:NAME`, or `local:#UID` for a user without a usable name.
///
/// ASCII letters, digits and `. _ - @ + $` stand for themselves; every other byte of the name is
/// written as `%XX`, so a line end, a `*`, a `#` at the front or a letter that looks like another
/// cannot confuse a rule, a log or a reader, and different names stay different. A name that the
/// name service could not give as text has lost bytes already, and is not used.
#[must_use]
pub fn local_id(uid: u32, name: Option<&str>) -> String {
    let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('\u{fffd}')) else {
        return format!("local:#{uid}");
    };
    let mut id = String::from("local:");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-@+$".contains(&byte) {
            id.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(id, "%{byte:02X}");
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_plain_or_escaped() {
        let cases = [
            (Some("alice"), "local:alice"),
            (Some("svc-build.2"), "local:svc-build.2"),
            (Some("alice@acme.com"), "local:alice@acme.com"),
            (Some("host$"), "local:host$"),
            (Some("ACME\\alice"), "local:ACME%5Calice"),
            (Some("*"), "local:%2A"),
            (Some("a\nlocal:root"), "local:a%0Alocal%3Aroot"),
            (Some("#0"), "local:%230"),
            (Some("100%"), "local:100%25"),
            (Some("jörg"), "local:j%C3%B6rg"),
            (Some("\u{202e}toor"), "local:%E2%80%AEtoor"),
            (Some("b\u{fffd}d"), "local:#7"),
            (Some(""), "local:#7"),
            (None, "local:#7"),
        ];
        for (name, expected) in cases {
            assert_eq!(local_id(7, name), expected, "{name:?}");
        }
        assert_eq!(local_id(0, None), "local:#0");
        assert_eq!(local_id(u32::MAX - 1, None), "local:#4294967294");
    }

    proptest! {
        #[test]
        fn different_names_stay_different_and_plain(one in ".{1,12}", other in ".{1,12}") {
            prop_assume!(!one.contains('\u{fffd}') && !other.contains('\u{fffd}'));
            let (first, second) = (local_id(1, Some(&one)), local_id(2, Some(&other)));
            prop_assert_eq!(first == second, one == other);
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-@+$%".contains(c);
            prop_assert!(first.strip_prefix("local:").is_some_and(|name| name.chars().all(plain)));
        }
    }
}
