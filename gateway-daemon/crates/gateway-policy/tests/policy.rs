//! The policy crate from outside: files in, diagnostics, verdicts and reloads out.
#[path = "policy/answers.rs"]
mod answers;
#[path = "policy/ask.rs"]
mod ask;
#[path = "policy/cases.rs"]
mod cases;
#[path = "policy/conditions.rs"]
mod conditions;
#[path = "policy/files.rs"]
mod files;
#[path = "policy/holds.rs"]
mod holds;
#[path = "policy/learn.rs"]
mod learn;
#[path = "policy/masks.rs"]
mod masks;
#[path = "policy/mistakes.rs"]
mod mistakes;
#[path = "policy/mistakes_in_masks.rs"]
mod mistakes_in_masks;
#[path = "policy/mistakes_in_rules.rs"]
mod mistakes_in_rules;
#[path = "policy/names.rs"]
mod names;
#[path = "policy/properties.rs"]
mod properties;
#[path = "policy/reload.rs"]
mod reload;
#[path = "policy/schema.rs"]
mod schema;
#[path = "policy/semantics.rs"]
mod semantics;
#[path = "policy/shipped.rs"]
mod shipped;
#[path = "policy/speed.rs"]
mod speed;
