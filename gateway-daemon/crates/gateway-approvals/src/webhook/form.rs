//! The words of a message.
//!
//! Everything that a governed process chose (statement, objects, arguments) is shown to somebody
//! who decides by it. In Slack's form it is text that formats nothing, links nowhere, calls
//! nobody, and cannot grow until Slack refuses the message.
use crate::links::Links;
use crate::moment::{grant_text, rfc3339};
use crate::outcomes::Answered;
use crate::pending::Pending;
use crate::store::is_control;
use crate::webhook::Form;
use gateway_core::Parameter;
use gateway_core::ports::Question;
use serde::Serialize;
use serde_json::{Value, json};

/// Characters of a statement, as sent. Slack takes 3,000 in a section.
const STATEMENT_MAX: usize = 2000;
/// Characters of a field, as sent. Slack takes 2,000.
const FIELD_MAX: usize = 500;

/// What is told about a question.
#[derive(Clone, Copy)]
pub(super) enum Message<'a> {
    /// It waits.
    Asked(&'a Pending),
    /// It has ended.
    Answered(&'a Pending, &'a Answered),
}

pub(super) fn body(form: Form, message: Message<'_>, links: Option<&Links>) -> Vec<u8> {
    let value = match form {
        Form::Json => return json_body(message, links),
        Form::Slack => match message {
            Message::Asked(pending) => slack_asked(pending, links),
            Message::Answered(pending, answered) => slack_answered(pending, answered),
        },
    };
    value.to_string().into_bytes()
}

fn link(pending: &Pending, links: Option<&Links>) -> Option<String> {
    links.map(|links| links.link(pending.id(), pending.expires))
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Body<'a> {
    Asked {
        link: Option<String>,
        question: &'a Pending,
    },
    Answered {
        outcome: &'a Answered,
        question: &'a Pending,
    },
}

fn json_body(message: Message<'_>, links: Option<&Links>) -> Vec<u8> {
    let body = match message {
        Message::Asked(question) => Body::Asked {
            link: link(question, links),
            question,
        },
        Message::Answered(question, outcome) => Body::Answered { outcome, question },
    };
    // Strings, numbers and lists of them: nothing that could fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

fn slack_asked(pending: &Pending, links: Option<&Links>) -> Value {
    let question = &pending.question;
    let subject = &question.subject;
    let title = format!(
        "{} asks to {} {}",
        subject.principal.id, question.verb, question.resource
    );
    let mut fields = vec![
        field("Who", &who(pending)),
        field("Resource", &question.resource),
        field(
            "Operation",
            &format!("{} {}", question.protocol, question.verb),
        ),
        field("Objects", &question.objects.join(", ")),
        field("Lineage", &lineage(pending)),
        field("Rules", &rules(pending)),
        field("Until", &rfc3339(pending.expires)),
        field("An approval reaches", &grant_text(question.terms.grant)),
        field("Id", &pending.id().to_string()),
    ];
    if let Some(message) = &question.message {
        fields.push(field("Message", message));
    }
    let mut blocks = vec![
        plain_section(&title),
        json!({"type": "section", "fields": fields}),
        code_section(&question.statement),
    ];
    if !question.parameters.is_empty() {
        blocks.push(plain_section(&parameters(question)));
    }
    if let Some(length) = question.statement_cut_from {
        let cut = format!("The statement was cut: it has {length} bytes.");
        blocks.push(plain_section(&cut));
    }
    if let Some(link) = link(pending, links) {
        // Of our own making, but for what a URL may hold.
        let link = escape(&link, usize::MAX);
        blocks.push(json!({
            "type": "section",
            "text": {"type": "mrkdwn", "text": format!("<{link}|See the question and answer it>")},
        }));
    }
    json!({"text": escape(&title, FIELD_MAX), "blocks": blocks})
}

fn slack_answered(pending: &Pending, answered: &Answered) -> Value {
    let question = &pending.question;
    let mut title = format!(
        "{}: {} asked to {} {}",
        answered.verdict, question.subject.principal.id, question.verb, question.resource
    );
    if let Some(approver) = &answered.approver {
        title = format!("{title}, answered by {approver}");
    }
    let fields = [
        field("Id", &answered.id.to_string()),
        field("Reason", answered.reason.as_deref().unwrap_or_default()),
    ];
    json!({
        "text": escape(&title, FIELD_MAX),
        "blocks": [plain_section(&title), {"type": "section", "fields": fields}],
    })
}

fn who(pending: &Pending) -> String {
    let subject = &pending.question.subject;
    let mut who = format!("{} ({})", subject.principal.id, subject.principal.assurance);
    for delegate in &subject.delegates {
        who.push_str(", through ");
        who.push_str(&delegate.id);
    }
    who
}

fn lineage(pending: &Pending) -> String {
    let processes = &pending.question.subject.lineage.processes;
    let steps: Vec<String> = processes
        .iter()
        .map(|process| format!("{} [{}]", process.exe, process.pid))
        .collect();
    steps.join(" > ")
}

fn parameters(question: &Question) -> String {
    let value = |(index, parameter): (usize, &Parameter)| {
        let value = parameter.value.as_deref().unwrap_or("NULL");
        let cut = parameter.cut_from.map_or("", |_| "…");
        format!("${} = {value}{cut}", index.saturating_add(1))
    };
    let values: Vec<String> = question.parameters.iter().enumerate().map(value).collect();
    values.join(", ")
}

fn rules(pending: &Pending) -> String {
    let rules = &pending.question.terms.rules;
    let names: Vec<&str> = rules.iter().map(|rule| &*rule.rule).collect();
    names.join(", ")
}

fn plain_section(text: &str) -> Value {
    json!({"type": "section", "text": plain_text(&escape(text, FIELD_MAX))})
}

fn field(name: &str, value: &str) -> Value {
    // Slack refuses empty text.
    let value = if value.is_empty() { "-" } else { value };
    plain_text(&format!("{name}: {}", escape(value, FIELD_MAX)))
}

fn plain_text(escaped: &str) -> Value {
    json!({"type": "plain_text", "text": escaped, "emoji": false})
}

fn code_section(statement: &str) -> Value {
    let statement = if statement.is_empty() { "-" } else { statement };
    let text = format!("```\n{}\n```", escape(statement, STATEMENT_MAX));
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// Text as Slack wants it: `&`, `<` and `>` as entities; no control characters; no run of
/// backticks that would end a block of code. At most `max` characters, all of them counted as they
/// are sent: a statement of nothing but `<` must not become a message that Slack refuses.
fn escape(text: &str, max: usize) -> String {
    let mut escaped = String::new();
    let mut length: usize = 0;
    let mut utf8 = [0; 4];
    for c in text.chars() {
        let piece: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            // A zero-width space keeps two of them apart.
            '`' => "`\u{200b}",
            '\n' => "\n",
            '\t' => "    ",
            c if is_control(c) => "\u{fffd}",
            c => c.encode_utf8(&mut utf8),
        };
        let piece_length = piece.chars().count();
        // Room for the ellipsis.
        if length.saturating_add(piece_length) >= max {
            escaped.push('…');
            return escaped;
        }
        escaped.push_str(piece);
        length = length.saturating_add(piece_length);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use gateway_core::{OperationId, SessionId, Timestamp, Verdict};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn pending(statement: &str) -> Pending {
        let mut question = testing::question(4).held_by("writes", &["group:dba"]).ask();
        question.statement = statement.into();
        Pending::new(question, Timestamp(1_000_000_000))
    }

    fn links() -> Links {
        Links::new([1; 32], "https://gateway.acme.com").unwrap()
    }

    fn value(form: Form, message: Message<'_>) -> Value {
        serde_json::from_slice(&body(form, message, Some(&links()))).unwrap()
    }

    fn answered() -> Answered {
        Answered {
            id: OperationId {
                session: SessionId(1),
                seq: 4,
            },
            verdict: Verdict::Approved,
            approver: Some("user:eve".into()),
            reason: Some("<!channel>".into()),
            time: Timestamp(0),
            grant_until: None,
        }
    }

    #[test]
    fn the_json_form_has_the_question_and_the_link() {
        let pending = pending("DELETE FROM users");
        let asked = value(Form::Json, Message::Asked(&pending));
        assert_eq!(asked["event"], "asked");
        assert_eq!(asked["question"]["id"], "s0000000000001.4");
        assert_eq!(asked["question"]["statement"], "DELETE FROM users");
        let link = asked["link"].as_str().unwrap();
        assert!(link.starts_with("https://gateway.acme.com/approve/s0000000000001.4?e=61&s="));
        let ended = value(Form::Json, Message::Answered(&pending, &answered()));
        assert_eq!(ended["event"], "answered");
        assert_eq!(ended["outcome"]["verdict"], "approved");
        assert_eq!(ended["outcome"]["approver"], "user:eve");
        assert_eq!(ended["question"]["tree"], "t0000000000007");
    }

    #[test]
    fn the_slack_form_shows_who_what_where_and_the_link() {
        let asked = value(Form::Slack, Message::Asked(&pending("DELETE FROM users")));
        let text = asked.to_string();
        assert_eq!(asked["text"], "user:alice asks to delete prod-orders");
        for part in [
            "Who: user:alice (verified)",
            "Objects: public.users",
            "Lineage: /usr/bin/psql [42]",
            "Rules: writes",
            "Until: 1970-01-01T00:01:01.000000Z",
            "```\\nDELETE FROM users\\n```",
            "$1 = 7",
            "<https://gateway.acme.com/approve/s0000000000001.4?e=61&amp;s=",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn what_a_process_chose_formats_nothing_and_calls_nobody() {
        let attack = "```\n<!channel> <https://evil.example|approve> & *bold* \u{202e}\u{1b}[2J";
        let mut pending = pending(attack);
        pending.question.objects = vec![attack.into()];
        pending.question.resource = attack.into();
        let asked = value(Form::Slack, Message::Asked(&pending));
        let ended = value(Form::Slack, Message::Answered(&pending, &answered()));
        for (message, links, fences) in [(&asked, 1, 2), (&ended, 0, 0)] {
            let text = message.to_string();
            assert_eq!(text.matches('<').count(), links, "{text}");
            assert_eq!(text.matches("```").count(), fences, "{text}");
            assert!(!text.contains('\u{202e}') && !text.contains("\\u001b"));
        }
        assert!(ended.to_string().contains("&lt;!channel&gt;"));
        // Text that is not code never is of the kind that formats.
        for block in asked["blocks"].as_array().unwrap() {
            for field in block["fields"].as_array().into_iter().flatten() {
                assert_eq!(field["type"], "plain_text");
            }
        }
    }

    #[test]
    fn no_statement_makes_a_message_that_slack_refuses() {
        for c in ["<", "&", "`", "x", "ß", "\u{0}", "🦀"] {
            let mut pending = pending(&c.repeat(16 * 1024));
            pending.question.objects = vec![c.repeat(10_000).into(); 64];
            pending.question.resource = c.repeat(10_000).into();
            let asked = value(Form::Slack, Message::Asked(&pending));
            let blocks = asked["blocks"].as_array().unwrap();
            let code = blocks[2]["text"]["text"].as_str().unwrap();
            assert!(code.chars().count() <= STATEMENT_MAX + 8, "{c}");
            assert!(code.ends_with("…\n```"), "{c}");
            for field in blocks[1]["fields"].as_array().unwrap() {
                assert!(field["text"].as_str().unwrap().chars().count() < 600);
            }
            assert!(blocks[1]["fields"].as_array().unwrap().len() <= 10);
        }
    }

    #[test]
    fn nothing_to_show_is_a_dash() {
        let mut pending = pending("");
        pending.question.objects = Vec::new();
        let text = value(Form::Slack, Message::Asked(&pending)).to_string();
        assert!(text.contains("Objects: -"));
        assert!(text.contains("```\\n-\\n```"));
    }

    proptest! {
        #[test]
        fn escaped_text_is_short_and_inert(text in "\\PC*|[<>&`\\x00-\\x1f]*", max in 1..300usize) {
            let escaped = escape(&text, max);
            prop_assert!(escaped.chars().count() <= max);
            prop_assert!(!escaped.contains(['<', '>']) && !escaped.contains("``"));
            let mut rest = escaped.as_str();
            while let Some((_, entity)) = rest.split_once('&') {
                prop_assert!(["amp;", "lt;", "gt;"].iter().any(|known| entity.starts_with(known)));
                rest = entity;
            }
        }
    }

    #[test]
    fn a_message_says_nothing_of_links_where_no_page_is() {
        let pending = Arc::new(pending("x"));
        let body = body(Form::Json, Message::Asked(&pending), None);
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["link"], Value::Null);
    }
}
