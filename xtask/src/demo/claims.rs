//! What the demo says, checked against the product's own output and against the outside world.
use super::stage::{APPROVER, INVOICES, MESSAGE, ORDERS, Stage};
use anyhow::{Context, Result, bail, ensure};
use gateway_tests::daemon::was_executed;
use serde_json::Value;

/// What the job did, in its order, with the verdict that each has to have.
const EXPECTED: &[(&str, &str)] = &[
    (
        "select id, customer, total from orders order by id limit 2",
        "allow",
    ),
    ("drop table orders", "deny"),
    (
        "select count(*) as orders_after_the_drop from orders",
        "allow",
    ),
    ("select customer from orders where id = $1", "allow"),
    ("update orders set total = total where id = $1", "allow"),
    (
        "with gone as (delete from orders returning *) select count(*) from gone",
        "deny",
    ),
    ("select 'the session lives on'", "allow"),
    (HELD, "approved"),
];
/// What a human is asked about.
const HELD: &str = "update invoices set paid = true";

fn find<'a>(log: &'a [Value], statement: &str) -> Result<&'a Value> {
    log.iter()
        .find(|operation| operation["statement"] == statement)
        .with_context(|| format!("`gateway log` does not have {statement:?}"))
}

/// One statement waits, and has not been sent: returns the question's id.
pub(super) fn question(stage: &Stage) -> Result<String> {
    let waiting = stage.daemon()?.json(&["approvals"])?;
    let [question] = waiting.as_slice() else {
        bail!("expected one question: {waiting:?}");
    };
    ensure!(
        question["statement"] == HELD,
        "another question: {question}"
    );
    ensure!(
        paid(stage)? == "0",
        "invoices are paid before anybody answered"
    );
    let id = question["id"].as_str();
    id.map(str::to_owned).context("the question has no id")
}

/// It was sent when it was approved, and the record says by whom.
pub(super) fn approved(stage: &Stage) -> Result<()> {
    ensure!(paid(stage)? == INVOICES.to_string(), "the update was lost");
    let log = stage.daemon()?.log()?;
    let update = find(&log, HELD)?;
    ensure!(
        update["approver"] == APPROVER,
        "approved by another: {update}"
    );
    ensure!(
        update["reason"] == "month end",
        "the reason is lost: {update}"
    );
    Ok(())
}

fn paid(stage: &Stage) -> Result<String> {
    let count = "select count(*) from invoices where paid";
    stage.cluster().query(count)
}

/// The chain of psql leads from the job script over both agents, and says who: returns its session.
pub(super) fn lineage(stage: &Stage) -> Result<String> {
    let log = stage.daemon()?.log()?;
    let psql = find(&log, EXPECTED[0].0)?;
    let chain = psql["lineage"]
        .as_array()
        .context("the record has no lineage")?;
    let words = |process: &Value| process["argv"].to_string();
    let mut at = 0;
    for expected in ["nightly-job.sh", "agent.py", "helper.py", "psql"] {
        let found = chain
            .iter()
            .skip(at)
            .position(|process| words(process).contains(expected));
        at += found.with_context(|| format!("{expected} is not in the lineage: {chain:?}"))?;
    }
    ensure!(at == chain.len() - 1, "psql is not the last: {chain:?}");
    ensure!(
        words(&chain[0]).contains("nightly-job.sh"),
        "the root is not the job: {}",
        chain[0]
    );
    ensure!(
        psql["process"]["uid"] == 65534,
        "the agent became nobody: {}",
        psql["process"]
    );
    ensure!(
        psql["principal"]["id"] == "local:root",
        "the job was root's: {}",
        psql["principal"]
    );
    let gone = chain.iter().filter(|process| {
        process["pid"]
            .as_u64()
            .is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    println!(
        "psql has {} processes above it; {} of the chain have ended since.",
        chain.len() - 1,
        gone.count()
    );
    psql["session"]
        .as_str()
        .map(str::to_owned)
        .context("the record has no session")
}

/// Every statement of the job is there once, in its order, with its verdict.
pub(super) fn statements(stage: &Stage) -> Result<()> {
    let mut log = stage.daemon()?.log()?;
    log.retain(was_executed);
    let known = |operation: &&Value| {
        EXPECTED
            .iter()
            .any(|(text, _)| operation["statement"] == *text)
    };
    let found: Vec<(&str, &str)> = log
        .iter()
        .filter(known)
        .map(|operation| {
            let text = |key: &str| operation[key].as_str().unwrap_or_default();
            (text("statement"), text("verdict"))
        })
        .collect();
    ensure!(
        found == EXPECTED,
        "expected {EXPECTED:#?}\nfound {found:#?}"
    );
    Ok(())
}

/// The client was told why, in the protocol's own words, and went on in the same session.
pub(super) fn blocked(stage: &Stage) -> Result<()> {
    let log = stage.daemon()?.log()?;
    let drop = find(&log, "drop table orders")?;
    ensure!(
        drop["rule"] == "nobody removes orders",
        "decided by another rule: {drop}"
    );
    let after = find(&log, EXPECTED[2].0)?;
    ensure!(
        drop["session"] == after["session"],
        "psql had to connect again"
    );
    let said = stage.job_output();
    ensure!(said.contains(MESSAGE), "psql was not told why:\n{said}");
    ensure!(
        said.contains("42501 "),
        "psycopg was not told with SQLSTATE 42501:\n{said}"
    );
    ensure!(
        said.contains("the session lives on"),
        "the session ended:\n{said}"
    );
    println!("psql and psycopg were told: {MESSAGE}\nBoth went on in the same session.");
    Ok(())
}

/// Nothing arrived at the other host, and the attempt is on record.
pub(super) fn refused(stage: &Stage) -> Result<()> {
    let elsewhere = stage.elsewhere();
    let arrived = stage.sniffer().tokens();
    ensure!(arrived.is_empty(), "{elsewhere} received {arrived:?}");
    let peers = stage.sniffer().accepted();
    ensure!(
        peers.is_empty(),
        "{elsewhere} was connected to by {peers:?}"
    );
    let sessions = stage.daemon()?.sessions()?;
    let attempt = sessions
        .iter()
        .find(|session| session["destination"]["port"] == elsewhere.port())
        .context("`gateway sessions` does not have the attempt")?;
    ensure!(
        attempt["end"] == "denied",
        "the attempt was not denied: {attempt}"
    );
    println!("{elsewhere} saw no packet of it. The attempt is on record as denied.");
    Ok(())
}

/// The server itself, asked around the gateway.
pub(super) fn untouched(stage: &Stage) -> Result<()> {
    let count = stage.cluster().query("select count(*) from orders")?;
    ensure!(
        count == ORDERS.to_string(),
        "{count} orders are left of {ORDERS}"
    );
    let seen = stage.cluster().statements()?;
    let blocked = seen
        .iter()
        .find(|text| text.contains("drop table") || text.contains("delete"));
    ensure!(blocked.is_none(), "the server saw {blocked:?}");
    println!("{count} orders. The server's own log has neither the drop nor the hidden delete.");
    Ok(())
}
