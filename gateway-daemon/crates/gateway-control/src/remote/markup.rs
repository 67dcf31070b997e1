//! The pages, as HTML without script. What comes from a job is shown as text, and what cannot be
//! seen in it is made visible: an approver has to read what the database will.
use super::page::Link;
use super::ports::{ParameterLine, PrincipalLine, ProcessLine, Shown};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::fmt::Write;

/// The longest statement that is shown, in bytes.
const STATEMENT_BYTES_MAX: usize = 64 * 1024;
/// The longest other text that is shown, in bytes.
const TEXT_BYTES_MAX: usize = 2048;
/// The longest list that is shown.
const ITEMS_MAX: usize = 100;

/// The whole style. Its hash stands in the policy of the page.
pub(super) const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;\
margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
pre{background:#f3f3f3;padding:1rem;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere}\
dt{font-weight:600;margin-top:.75rem}dd{margin:0;overflow-wrap:anywhere}ol,ul{margin:0}\
.cut{color:#a00;font-weight:600}input,button{font:inherit;padding:.4rem .8rem}\
input[type=text]{width:100%;box-sizing:border-box}button{margin:.75rem .75rem 0 0}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#262626}\
a{color:#8bf}.cut{color:#f88}}";

fn frame(title: &str, next: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                @if let Some(next) = next {
                    meta http-equiv="refresh" content=(format!("0;url={next}"));
                }
                title { (title) " · gateway" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

/// A page that says one thing, and leads on to `next`.
pub(super) fn message(title: &str, said: &str, next: Option<&str>) -> Markup {
    let body = html! {
        h1 { (title) }
        p { (text(said)) }
        @if let Some(next) = next {
            p { a href=(next) { "Go on" } }
        }
    };
    frame(title, next, &body)
}

/// The question, and the form for who is signed in: the principal, and the session's token.
pub(super) fn question(shown: &Shown, link: &Link, signed_in: Option<(&str, &str)>) -> Markup {
    let question = &shown.question;
    let body = html! {
        h1 { "May this go on?" }
        p { "It waits for " strong { (shown.left.as_secs()) " s" } " more, and is denied then." }
        @if let Some(message) = &question.message {
            p { (text(message)) }
        }
        dl {
            dt { "Who" }
            dd { (principal(&question.principal)) }
            @if !question.delegates.is_empty() {
                dt { "On behalf, through" }
                dd { (list(&question.delegates, principal)) }
            }
            dt { "Processes, from the root of tree " (text(&question.tree)) }
            dd { (list(&question.lineage, process)) }
            dt { "Resource" }
            dd { (text(&question.resource)) " (" (text(&question.protocol)) ")" }
            dt { "Effect" }
            dd { (text(&question.verb)) }
            dt { "Objects" }
            dd {
                (list(&question.objects, |object| text(object)))
                @if question.objects_cut { p.cut { "and more, in the statement" } }
            }
            dt { "Rules that hold it" }
            dd { (list(&question.rules, |rule| text(rule))) }
            dt { "Who may answer" }
            dd { (list(&question.approvers, |approver| text(approver))) }
            dt { "An approval covers" }
            dd { (text(&question.grant)) }
            dt { "Statement" }
        }
        pre { (bounded(&question.statement, STATEMENT_BYTES_MAX)) }
        @if let Some(length) = question.statement_cut_from {
            p.cut { "The statement was cut: it has " (length) " bytes." }
        }
        @if !question.parameters.is_empty() {
            p { "Its values" }
            (list(&question.parameters, parameter))
        }
        @match signed_in {
            Some((who, csrf)) => (form(link, who, csrf)),
            None => p { a href=(sign_in(link)) { "Sign in to answer" } },
        }
        p { small { "Question " (text(&question.id)) ", asked " (text(&question.time)) } }
    };
    frame("A question", None, &body)
}

fn sign_in(link: &Link) -> String {
    // A link has no characters that an address would need escaped.
    format!("../login?id={}&e={}&s={}", link.id, link.e, link.s)
}

fn form(link: &Link, who: &str, csrf: &str) -> Markup {
    html! {
        form method="post" action=(link.id) {
            input type="hidden" name="e" value=(link.e);
            input type="hidden" name="s" value=(link.s);
            input type="hidden" name="csrf" value=(csrf);
            p { "You are " strong { (text(who)) } "." }
            label { "Reason (kept on record)"
                input type="text" name="reason" maxlength="1024" autocomplete="off";
            }
            button type="submit" name="answer" value="approve" { "Approve" }
            button type="submit" name="answer" value="deny" { "Deny" }
        }
    }
}

fn principal(principal: &PrincipalLine) -> Markup {
    html! { (text(&principal.id)) " (" (text(&principal.assurance)) ")" }
}

fn parameter(parameter: &ParameterLine) -> Markup {
    html! {
        @match &parameter.value {
            Some(value) => (text(value)),
            None => "NULL",
        }
        @if let Some(length) = parameter.cut_from {
            span.cut { " cut: it has " (length) " bytes" }
        }
    }
}

fn process(process: &ProcessLine) -> Markup {
    html! {
        (text(&process.exe)) " · pid " (process.pid) ", uid " (process.uid) " · "
        (text(&process.argv.join(" ")))
    }
}

fn list<T>(items: &[T], each: impl Fn(&T) -> Markup) -> Markup {
    html! {
        ol {
            @for item in items.iter().take(ITEMS_MAX) {
                li { (each(item)) }
            }
        }
        @if items.len() > ITEMS_MAX {
            p.cut { "and " (items.len() - ITEMS_MAX) " more: see `gateway approvals --json`" }
        }
    }
}

fn text(text: &str) -> Markup {
    bounded(text, TEXT_BYTES_MAX)
}

fn bounded(text: &str, bytes_max: usize) -> Markup {
    let end = text.floor_char_boundary(bytes_max);
    let (shown, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    html! {
        (visible(shown))
        @if !rest.is_empty() {
            " " span.cut {
                "[" (rest.len()) " bytes more are not shown: see `gateway approvals --json`]"
            }
        }
    }
}

/// Characters that are not seen, or that move others around, as `\u{202E}`.
fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for character in text.chars() {
        if is_deceptive(character) {
            let _ = write!(seen, "\\u{{{:04X}}}", u32::from(character));
        } else {
            seen.push(character);
        }
    }
    seen
}

/// Controls, and the format and filler characters of Unicode that take no room or change the
/// order (Unicode's Default_Ignorable_Code_Point, Bidi_Control and line separators).
fn is_deceptive(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{AD}'
        | '\u{34F}'
        | '\u{61C}'
        | '\u{115F}'..='\u{1160}'
        | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}'
        | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ports::QuestionView;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn render(question: QuestionView, who: &str) -> String {
        let link = Link {
            id: "s1.4".into(),
            e: "61".into(),
            s: "ab".into(),
        };
        let left = Duration::from_secs(42);
        question_page(question, left, &link, who)
    }

    fn question_page(view: QuestionView, left: Duration, link: &Link, who: &str) -> String {
        let shown = Shown {
            question: view,
            left,
        };
        question(&shown, link, Some((who, "token"))).into_string()
    }

    fn hostile(text: &str) -> QuestionView {
        let line = || PrincipalLine {
            id: text.into(),
            assurance: text.into(),
            groups: vec![text.into()],
        };
        QuestionView {
            id: text.into(),
            time: text.into(),
            expires: text.into(),
            session: text.into(),
            tree: text.into(),
            principal: line(),
            delegates: vec![line()],
            lineage: vec![ProcessLine {
                pid: 1,
                uid: 2,
                exe: text.into(),
                argv: vec![text.into()],
            }],
            resource: text.into(),
            protocol: text.into(),
            verb: text.into(),
            objects: vec![text.into()],
            objects_cut: true,
            statement: text.into(),
            statement_cut_from: Some(1 << 40),
            parameters: vec![ParameterLine {
                kind: Some(text.into()),
                value: Some(text.into()),
                cut_from: Some(1 << 30),
            }],
            rules: vec![text.into()],
            approvers: vec![text.into()],
            message: Some(text.into()),
            grant: text.into(),
        }
    }

    /// How many elements and attributes a page has.
    fn shape(page: &str) -> (usize, usize, usize) {
        let count = |what: char| page.matches(what).count();
        (count('<'), count('>'), count('"'))
    }

    #[test]
    fn markup_in_a_statement_is_text() {
        let page = render(hostile("</pre><script>alert(1)</script>"), "user:dan");
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        let page = render(
            hostile("SELECT 1 /*\u{202E}*/\u{200B}\0\u{1b}[2J\n\tx"),
            "u",
        );
        assert!(page.contains("SELECT 1 /*\\u{202E}*/\\u{200B}\\u{0000}\\u{001B}[2J\n\tx"));
        assert!(!page.contains('\u{202E}'));
    }

    #[test]
    fn what_is_cut_is_said() {
        let page = render(hostile(&"ü".repeat(40_000)), "u");
        assert!(page.contains("[14464 bytes more are not shown"));
        assert!(page.contains("it has 1099511627776 bytes"));
        assert!(page.contains("it has 1073741824 bytes"));
        assert!(page.contains("and more, in the statement"));
        let mut many = hostile("x");
        many.objects = vec!["o".into(); 250];
        assert!(render(many, "u").contains("and 150 more"));
    }

    proptest! {
        /// No text adds an element or an attribute, or ends one.
        #[test]
        fn no_text_changes_the_page(text in any::<String>()) {
            let plain = shape(&render(hostile("x"), "x"));
            prop_assert_eq!(shape(&render(hostile(&text), &text)), plain);
        }
    }
}
