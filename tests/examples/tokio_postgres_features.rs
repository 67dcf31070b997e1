//! Speaks to the database whose address is its argument, with everything that tokio-postgres can
//! do, and prints what it sees. The integration tests compare two runs of it.
use anyhow::{Context, Result, ensure};
use std::pin::pin;
use std::time::Duration;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args()
        .nth(1)
        .context("usage: tokio_postgres_features ADDRESS")?;
    let (mut client, mut connection) = tokio_postgres::connect(&address, NoTls).await?;
    let (heard, mut notifications) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    let _ = heard.send(notification.payload().to_owned()).await;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    });
    simple(&client).await?;
    extended(&client).await?;
    pipelined(&client).await?;
    transactions(&mut client).await?;
    copies(&client).await?;
    cancelled(&client).await?;
    client
        .batch_execute("listen here; notify here, 'there'")
        .await?;
    let payload = tokio::time::timeout(Duration::from_secs(10), notifications.recv()).await?;
    println!("notified: {payload:?}");
    println!("done");
    Ok(())
}

async fn simple(client: &Client) -> Result<()> {
    for message in client
        .simple_query("select 1 as a; select 'b'; create temp table t (id int8)")
        .await?
    {
        match message {
            SimpleQueryMessage::Row(row) => println!("row {:?}", row.get(0)),
            SimpleQueryMessage::CommandComplete(count) => println!("complete {count}"),
            _ => println!("description"),
        }
    }
    Ok(())
}

async fn extended(client: &Client) -> Result<()> {
    let statement = client
        .prepare_typed("select $1 || ' and ' || $2", &[Type::TEXT, Type::TEXT])
        .await?;
    println!(
        "{:?} -> {:?}",
        statement.params(),
        statement.columns()[0].type_()
    );
    for (left, right) in [("a", "b"), ("", "ä")] {
        let row = client.query_one(&statement, &[&left, &right]).await?;
        println!("{}", row.get::<_, String>(0));
    }
    let error = client
        .query("select 1 / $1::int4", &[&0_i32])
        .await
        .err()
        .context("divided by 0")?;
    println!("{:?}", error.code());
    println!(
        "{}",
        client
            .execute("insert into t select generate_series(1, 100)", &[])
            .await?
    );
    Ok(())
}

/// Requests are sent at once, answers come in their order.
async fn pipelined(client: &Client) -> Result<()> {
    let one =
        |number: i64| async move { client.query_one("select $1::int8 + 1", &[&number]).await };
    let (a, b, c, d) = tokio::join!(one(1), one(2), one(3), one(4));
    let sum: i64 = [a?, b?, c?, d?]
        .iter()
        .map(|row| row.get::<_, i64>(0))
        .sum();
    println!("sum {sum}");
    Ok(())
}

async fn transactions(client: &mut Client) -> Result<()> {
    let mut transaction = client.transaction().await?;
    let inner = transaction.savepoint("nested").await?;
    inner.execute("delete from t", &[]).await?;
    inner.rollback().await?;
    let portal = transaction
        .bind("select id from t order by id", &[])
        .await?;
    let mut pieces = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 33).await?;
        if rows.is_empty() {
            break;
        }
        pieces.push(rows.len());
    }
    println!("pieces {pieces:?}");
    transaction.commit().await?;
    Ok(())
}

async fn copies(client: &Client) -> Result<()> {
    use futures_util::{SinkExt, TryStreamExt};
    let mut sink = pin!(
        client
            .copy_in::<_, bytes::Bytes>("copy t from stdin")
            .await?
    );
    for number in 1000..2000 {
        sink.send(bytes::Bytes::from(format!("{number}\n"))).await?;
    }
    println!("copied {}", sink.as_mut().finish().await?);
    let blocks: Vec<bytes::Bytes> = client
        .copy_out("copy (select id from t order by id) to stdout")
        .await?
        .try_collect()
        .await?;
    let size: usize = blocks.iter().map(bytes::Bytes::len).sum();
    println!("{} blocks, {size} bytes", blocks.len());
    ensure!(size > 0, "nothing was copied out");
    Ok(())
}

async fn cancelled(client: &Client) -> Result<()> {
    let token = client.cancel_token();
    let (answer, cancelled) = tokio::join!(client.batch_execute("select pg_sleep(30)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    });
    cancelled?;
    println!("{:?}", answer.err().context("not cancelled")?.code());
    println!(
        "{}",
        client
            .query_one("select 'after'", &[])
            .await?
            .get::<_, String>(0)
    );
    Ok(())
}
