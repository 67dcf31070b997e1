//! Statements, arguments and names are written by those whom the gateway watches. What a terminal
//! would obey, or what would make a line read as another one, is shown as an escape.
use std::borrow::Cow;
use std::fmt::Write;

/// Does this character do more than stand in its place?
///
/// The controls of both halves (U+009B opens a control sequence just as ESC [ does), what turns
/// the direction of the text, what cannot be seen, and what breaks lines.
const fn is_active(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text in one line that is only looked at.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{1b}' => escaped.push_str("\\e"),
            active if is_active(active) => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(active));
            }
            plain => escaped.push(plain),
        }
    }
    Cow::Owned(escaped)
}

/// The text in as many lines as it has.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// JSON, which stays the same JSON: its encoder escapes the first 32 characters and no others.
/// What is active can only stand inside of strings, where `\u` says the same.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    // A JSON text that came off the wire may have white space between its tokens; ours has none.
    if !text
        .chars()
        .any(|character| is_active(character) && character != '\n')
    {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_active(character) && character >= '\u{7f}' {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKS: [&str; 14] = [
        "\u{1b}[2J\u{1b}[Hall is well",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]52;c;cm0gLXJmIC8=\u{7}",
        "\u{9b}2J",
        "\u{9d}0;x\u{9c}",
        "SELECT 1\r\nallow  read  orders",
        "a\u{8}\u{8}b",
        "\u{202e}drowssap",
        "a\u{2028}b",
        "\u{0}\u{7f}",
        "x\u{200b}y",
        "\u{feff}",
        "\u{e0041}\u{e0042}",
        "\u{2066}\u{2069}",
    ];

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        for attack in ATTACKS {
            let shown = line(attack);
            assert!(!shown.chars().any(is_active), "{shown:?}");
            assert!(!shown.contains('\n'), "one line stays one line");
        }
        assert_eq!(line("\u{1b}[31mü\n"), "\\e[31mü\\n");
        assert_eq!(line("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn plain_text_is_left_alone() {
        for text in ["", "SELECT 'ü', '日本' -- 100 % \\n", "a\\b"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
            assert!(matches!(json(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_means_the_same_and_is_harmless() {
        for attack in ATTACKS {
            let value = serde_json::json!({ "statement": attack, attack: 1 });
            let written = value.to_string();
            let shown = json(&written);
            assert!(!shown.chars().any(is_active), "{shown:?}");
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
                value
            );
        }
    }
}
