//! What statements do, as tables: a text beside its effects.
mod everyday;
mod functions;
mod hostile;
mod limits;
mod queries;
mod session;
mod shapes;
mod statements;

use super::*;
use gateway_core::{Effect, Object};

/// Effects as text: `read public.a, public.b; write ?x`, where `?` marks what is unresolved.
pub(super) fn rendered(effects: &[Effect]) -> String {
    let effects: Vec<String> = effects
        .iter()
        .map(|effect| {
            let objects: Vec<String> = effect
                .objects
                .iter()
                .map(|object| match object {
                    Object::Named(name) => name.to_string(),
                    Object::Unresolved(name) => format!("?{name}"),
                })
                .collect();
            format!("{} {}", effect.verb, objects.join(", "))
                .trim_end()
                .to_owned()
        })
        .collect();
    effects.join("; ")
}

/// What a text does with the default settings.
pub(super) fn classify(sql: &str) -> Arc<Classification> {
    Classifier::new(16).classify(sql, &SqlContext::default())
}

/// Checks rows of text and effects, and tells of all that fail.
pub(super) fn check(rows: &[(&str, &str)]) {
    check_in(&SqlContext::default(), rows);
}

/// Checks rows with other settings.
pub(super) fn check_in(context: &SqlContext, rows: &[(&str, &str)]) {
    let classifier = Classifier::new(4096);
    let mut failures = Vec::new();
    for (sql, expected) in rows {
        let first = classifier.classify(sql, context);
        let actual = rendered(&first.effects);
        if actual != *expected {
            failures.push(format!(
                "{sql}\n   expected {expected}\n   actual   {actual}"
            ));
            continue;
        }
        if first.effects.iter().map(|effect| effect.verb).max() != Some(first.verb) {
            failures.push(format!("{sql}\n   the verb is {}", first.verb));
        }
        // Asked again, it is remembered, and it is the same.
        let again = classifier.classify(sql, context);
        if again.shape != first.shape || again != first {
            failures.push(format!("{sql}\n   is not remembered"));
        }
        if let Err(error) = check_shape(sql) {
            failures.push(error.to_string());
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} rows:\n{}",
        failures.len(),
        rows.len(),
        failures.join("\n")
    );
}
