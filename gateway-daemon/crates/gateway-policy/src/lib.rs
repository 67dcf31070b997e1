//! The policy language and its evaluation: files in, verdicts out.
//!
//! A policy file becomes a [`Policy`], or a list of [`Diagnostic`]s with file, line and column.
//! Policies that fit together are a [`PolicySet`], which does not change; [`Policies`] holds the
//! set in force, replaces it as a whole when the files change, and is the [`gateway_core::Judge`].
//! Judging is a pure function: it knows no file and no protocol, and the time is handed to it. The language itself is
//! described for users in `docs/policy.md`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod case;
mod catalogue;
mod cgroup;
mod claims;
mod compile;
mod condition;
mod diagnostic;
mod directory;
mod document;
mod evaluate;
mod explain;
mod glob;
mod harden;
mod hold;
mod host_name;
mod last_good;
mod learn;
mod maskbook;
mod network;
mod place;
mod policies;
mod policy;
mod reader;
mod rule;
mod rule_set;
mod rulebook;
mod schema;
mod set;
mod size;
mod unbuilt;
mod unix;

pub use case::{CaseOperation, CaseResult, Interpret, run_cases};
pub use diagnostic::{Diagnostic, Location};
pub use directory::{DirectoryError, FILE_MAX, FILES_MAX};
pub use explain::{
    ConditionResult, ExplainedAnswers, ExplainedEffect, ExplainedMask, Explanation, MatchedRule,
};
pub use harden::Measure;
pub use hold::speaks_of;
pub use learn::{Head, KINDS_MAX, LearnError, Learner, Observation, Seen};
pub use policies::{Clock, OpenError, Policies, RejectedFile, ReloadReport, Snapshot};
pub use policy::{Policy, PolicySummary};
pub use schema::json_schema;
pub use set::{Loaded, PolicySet};
