//! `cargo xtask demo`: the product in one story, on a throwaway PostgreSQL. Every claim that it
//! tells is checked; the first one that does not hold ends it with the step and the reason.
mod claims;
mod stage;

use crate::project::Project;
use crate::setup::{self, Part};
use crate::test;
use anyhow::{Context, Result, ensure};
use gateway_tests::{place, running, wait};
use stage::Stage;
use std::time::Duration;

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "usage: cargo xtask demo");
    ensure!(
        place::is_root(),
        "the demo loads BPF programs, makes a cgroup and starts PostgreSQL as its own user: run \
         `cargo xtask demo` as root"
    );
    let mut story = Story { number: 0 };
    story.step("set up what the demo needs", || {
        setup::provide(project, &[Part::Build, Part::Peers])?;
        println!("Building the daemon; the first time takes minutes.");
        test::build(project).map(drop)
    })?;
    let stage = story.step("a database, and a host that nobody should talk to", || {
        let stage = Stage::build(project)?;
        println!(
            "PostgreSQL listens on {}, with a table of {} orders.\nThe other host is {}.",
            stage.database(),
            stage::ORDERS,
            stage.elsewhere(),
        );
        Ok(stage)
    })?;
    let stage = story.step("a policy, and the gateway", || stage.start_daemon())?;
    story.step("a job, as CI runs it", || play_job(&stage))?;
    story.step("a statement waits for a human, and psql with it", || {
        approve(&stage)
    })?;
    story.step(
        "who was it? The parents are gone, the lineage is not",
        || {
            let session = claims::lineage(&stage)?;
            show(&stage, &["trees"])?;
            show(&stage, &["lineage", &session])
        },
    )?;
    story.step("what did it do? Every statement has its verdict", || {
        claims::statements(&stage)?;
        show(&stage, &["log"])
    })?;
    story.step(
        "one statement was blocked, and the session lived on",
        || claims::blocked(&stage),
    )?;
    story.step("the other host was never reached", || {
        claims::refused(&stage)?;
        show(&stage, &["sessions"])
    })?;
    story.step("the database is untouched by what was blocked", || {
        claims::untouched(&stage)
    })?;
    story.step("without the daemon the job is cut off, not free", || {
        stage.crash_and_look()
    })?;
    story.step("clean up", || stage.strike())?;
    println!("\nThat is the gateway. All of it was checked while you read.");
    Ok(())
}

struct Story {
    number: u32,
}

impl Story {
    fn step<T>(&mut self, title: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.number += 1;
        println!("\n── {}. {title}", self.number);
        act().with_context(|| format!("step {} ({title}) failed", self.number))
    }
}

fn play_job(stage: &Stage) -> Result<()> {
    println!(
        "nightly-job.sh starts agent.py and ends. agent.py forks twice, begins a session of its\n\
         own, becomes the user nobody, and starts helper.py. helper.py runs psql and psycopg, with\n\
         nothing configured but the database's address. What it sees:\n"
    );
    let mut job = stage.job()?.command(stage.script("nightly-job.sh"));
    job.args([stage.database().to_string(), stage.elsewhere().to_string()]);
    job.current_dir(stage.directory());
    running::run(&mut job)?.success()?;
    print!(
        "{}",
        indented(&wait_for_job(stage, "waits up to 60 s for approval")?)
    );
    Ok(())
}

/// Waits until the job has said something, and returns all that it has said.
fn wait_for_job(stage: &Stage, text: &str) -> Result<String> {
    let what = format!("the job to say {text:?}");
    let said = wait::until(&what, Duration::from_secs(60), || {
        let said = stage.job_output();
        said.contains(text).then_some(said)
    });
    said.with_context(|| format!("so far it said:\n{}", stage.job_output()))
}

/// Somebody else answers from another terminal.
fn approve(stage: &Stage) -> Result<()> {
    let question = claims::question(stage)?;
    show(stage, &["approvals"])?;
    let before = stage.job_output();
    let answer = ["approvals", "approve", &question, "--reason", "month end"];
    println!(
        "\nThe user daemon, whom the rule names, answers:\n$ gateway {}",
        answer.join(" ")
    );
    print!("{}", indented(&stage.as_approver(&answer)?));
    let said = wait_for_job(stage, "helper: finished")?;
    println!(
        "\npsql goes on:\n{}",
        indented(said.strip_prefix(&before).unwrap_or(&said))
    );
    claims::approved(stage)?;
    show(stage, &["acts"])
}

/// Runs one of the product's own commands and shows what it says.
fn show(stage: &Stage, arguments: &[&str]) -> Result<()> {
    println!("\n$ gateway {}", arguments.join(" "));
    let outcome = stage.daemon()?.run(arguments)?.success()?;
    print!("{}", indented(&outcome.stdout));
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
