//! Which unix sockets outside of a tree it may use (`unix`), where BPF LSM is active: the names that
//! those who listen have bound, as `ss -xl` shows them.
use crate::diagnostic::quoted;
use crate::reader::{Reader, Value};

/// The longest name, in bytes (`sun_path` of unix(7)).
const NAME_MAX: usize = 108;
/// How many a policy may list: the kernel half has room for 16,384 of all policies.
const NAMES_MAX: usize = 64;

/// Where a policy does not say: what takes messages, and does nothing for who sends them.
const BY_DEFAULT: [&str; 3] = ["/dev/log", "/run/systemd/journal/*", "/run/systemd/notify"];

/// What a name is written as, for the schema.
pub(crate) const PATTERN: &str = "^(/|@)[^*]{1,107}\\*?$";

pub(crate) fn by_default() -> Vec<Box<str>> {
    BY_DEFAULT.map(Into::into).to_vec()
}

pub(crate) fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Box<str>> {
    let expected = "\"/run/a.sock\", \"/run/dir/*\" or \"@abstract\", of at most 108 bytes";
    let texts = reader.strings("unix", value, "a list of names of unix sockets");
    let mut names: Vec<Box<str>> = Vec::new();
    for text in texts.unwrap_or_default() {
        if !is_name(&text.value) {
            let message = format!("{} in `unix`", quoted(&text.value));
            reader.error(text.span, message, expected);
        } else if names.len() == NAMES_MAX {
            let message = format!("`unix` has more than {NAMES_MAX} names");
            reader.error(text.span, message, "fewer, with a `*` at the end");
        } else {
            names.push(text.value.into());
        }
    }
    names
}

/// A path or an abstract name; a `*` at its end stands for any characters.
fn is_name(text: &str) -> bool {
    let plain = text.strip_suffix('*').unwrap_or(text);
    let begins = plain.starts_with('/') || plain.starts_with('@');
    begins && (2..=NAME_MAX).contains(&plain.len()) && !plain.contains(['*', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_or_a_beginning() {
        for good in ["/run/docker.sock", "/run/user/*", "@/tmp/dbus-*", "@x"] {
            assert!(is_name(good), "{good}");
        }
        let long = format!("/{}", "a".repeat(NAME_MAX));
        for bad in [
            "",
            "*",
            "/",
            "/*",
            "@",
            "run/a",
            "/run/*/bus",
            "/a\0b",
            &long,
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(by_default().iter().all(|name| is_name(name)));
    }
}
