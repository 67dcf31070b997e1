//! Speaks to the database whose address is its argument as programs with sqlx do, and prints what
//! it sees. The integration tests compare two runs of it.
use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::postgres::{
    PgConnectOptions, PgListener, PgPool, PgPoolOptions, PgSslMode, PgTypeInfo, PgValueRef,
    Postgres,
};
use sqlx::{Acquire, Column, Decode, Encode, Executor, Row, Type};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args()
        .nth(1)
        .context("usage: sqlx_features ADDRESS")?;
    let pool = PgPoolOptions::new()
        .max_connections(3)
        .connect_with(options(&address)?)
        .await?;
    queries(&pool).await?;
    own_types(&pool).await?;
    errors(&pool).await?;
    transactions(&pool).await?;
    streams(&pool).await?;
    copies(&pool).await?;
    notified(&pool).await?;
    side_by_side(&pool).await?;
    given_up(&pool).await?;
    pool.close().await;
    println!("done");
    Ok(())
}

/// Of a libpq connection string, which sqlx does not read.
fn options(address: &str) -> Result<PgConnectOptions> {
    let mut options = PgConnectOptions::new_without_pgpass().ssl_mode(PgSslMode::Disable);
    for word in address.split_whitespace() {
        let (key, value) = word.split_once('=').context("KEY=VALUE words")?;
        options = match key {
            "host" => options.host(value),
            "port" => options.port(value.parse()?),
            "user" => options.username(value),
            "dbname" => options.database(value),
            _ => options,
        };
    }
    Ok(options.statement_cache_capacity(4))
}

/// More texts than are kept prepared, each twice.
async fn queries(pool: &PgPool) -> Result<()> {
    sqlx::raw_sql(
        "drop table if exists sqlx_t; create table sqlx_t (id int8 primary key, name text)",
    )
    .execute(pool)
    .await?;
    for number in (0..8_i64).chain(0..8) {
        let text = format!("insert into sqlx_t values ($1 + {number} * 100, $2)");
        let done = sqlx::query(&text)
            .bind(number)
            .bind((number % 2 == 0).then(|| format!("name {number}")))
            .execute(pool)
            .await;
        println!("{:?}", done.map(|done| done.rows_affected()).map_err(code));
    }
    let described = pool
        .describe("select id, name from sqlx_t where id = $1")
        .await?;
    // The table has another number each time.
    for column in described.columns() {
        println!("{} {}", column.name(), column.type_info());
    }
    println!(
        "{:?} {:?}",
        described.parameters(),
        [described.nullable(0), described.nullable(1)]
    );
    let named: (i64, Option<String>) = sqlx::query_as("select id, name from sqlx_t where id = $1")
        .bind(404_i64)
        .fetch_one(pool)
        .await?;
    println!("{named:?}");
    let arrays: Vec<i64> = sqlx::query_scalar("select array_agg(id order by id) from sqlx_t")
        .fetch_one(pool)
        .await?;
    println!("{arrays:?}");
    Ok(())
}

/// A type that sqlx has to ask the catalogue about.
#[derive(Debug)]
struct Mood(String);

impl Type<Postgres> for Mood {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("sqlx_mood")
    }
}

impl<'row> Decode<'row, Postgres> for Mood {
    fn decode(value: PgValueRef<'row>) -> Result<Mood, BoxDynError> {
        Ok(Mood(value.as_str()?.to_owned()))
    }
}

impl Encode<'_, Postgres> for Mood {
    fn encode_by_ref(
        &self,
        buffer: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, BoxDynError> {
        buffer.extend(self.0.as_bytes());
        Ok(sqlx::encode::IsNull::No)
    }
}

async fn own_types(pool: &PgPool) -> Result<()> {
    sqlx::raw_sql("drop type if exists sqlx_mood; create type sqlx_mood as enum ('good', 'bad')")
        .execute(pool)
        .await?;
    let mood: Mood = sqlx::query_scalar("select $1")
        .bind(Mood("bad".into()))
        .fetch_one(pool)
        .await?;
    println!("{mood:?}");
    Ok(())
}

fn code(error: sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

async fn errors(pool: &PgPool) -> Result<()> {
    for text in [
        "select 1/0",
        "select * from nowhere",
        "selec",
        "insert into sqlx_t values (0)",
    ] {
        println!(
            "{:?}",
            sqlx::query(text).execute(pool).await.err().and_then(code)
        );
        println!(
            "{:?}",
            sqlx::raw_sql(text).execute(pool).await.err().and_then(code)
        );
    }
    Ok(())
}

/// What is dropped is rolled back by what comes next on the connection.
async fn transactions(pool: &PgPool) -> Result<()> {
    let mut transaction = pool.begin().await?;
    let mut nested = transaction.begin().await?;
    sqlx::query("delete from sqlx_t")
        .execute(&mut *nested)
        .await?;
    nested.rollback().await?;
    transaction.commit().await?;
    let mut dropped = pool.begin().await?;
    sqlx::query("delete from sqlx_t")
        .execute(&mut *dropped)
        .await?;
    drop(dropped);
    let left: i64 = sqlx::query_scalar("select count(*) from sqlx_t")
        .fetch_one(pool)
        .await?;
    println!("left {left}");
    Ok(())
}

/// To the end, and given up in the middle.
async fn streams(pool: &PgPool) -> Result<()> {
    let mut rows = sqlx::query("select generate_series(1, 10000)::int8 as n").fetch(pool);
    let mut sum = 0;
    while let Some(row) = rows.try_next().await? {
        sum += row.try_get::<i64, _>("n")?;
    }
    drop(rows);
    println!("sum {sum}");
    let mut rows = sqlx::query("select generate_series(1, 10000)::int8").fetch(pool);
    println!(
        "first {:?}",
        rows.try_next().await?.map(|row| row.get::<i64, _>(0))
    );
    drop(rows);
    Ok(())
}

async fn copies(pool: &PgPool) -> Result<()> {
    let mut connection = pool.acquire().await?;
    let mut copy = connection
        .copy_in_raw("copy sqlx_t (id) from stdin")
        .await?;
    for number in 1000..2000 {
        copy.send(format!("{number}\n").as_bytes()).await?;
    }
    println!("copied {}", copy.finish().await?);
    let mut aborted = connection
        .copy_in_raw("copy sqlx_t (id) from stdin")
        .await?;
    aborted.send(b"9999\n".as_slice()).await?;
    aborted.abort("not this one").await?;
    let out: Vec<bytes::Bytes> = connection
        .copy_out_raw("copy (select id from sqlx_t order by id) to stdout")
        .await?
        .try_collect()
        .await?;
    println!("{} blocks", out.len());
    Ok(())
}

async fn notified(pool: &PgPool) -> Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("here").await?;
    sqlx::query("select pg_notify('here', 'there')")
        .execute(pool)
        .await?;
    let heard = tokio::time::timeout(Duration::from_secs(10), listener.recv()).await??;
    println!("notified {}", heard.payload());
    Ok(())
}

/// More tasks than connections.
async fn side_by_side(pool: &PgPool) -> Result<()> {
    let tasks = (0..50_i64).map(|number| {
        let pool = pool.clone();
        tokio::spawn(async move {
            sqlx::query_scalar::<_, i64>("select $1 * 2")
                .bind(number)
                .fetch_one(&pool)
                .await
        })
    });
    let mut sum = 0;
    for task in tasks.collect::<Vec<_>>() {
        sum += task.await??;
    }
    println!("side by side {sum}");
    Ok(())
}

/// sqlx closes a connection on which a query was given up.
async fn given_up(pool: &PgPool) -> Result<()> {
    let slow = sqlx::query("select pg_sleep(1)").execute(pool);
    let late = tokio::time::timeout(Duration::from_millis(200), slow).await;
    println!("given up {}", late.is_err());
    let after: String = sqlx::query_scalar("select 'after'").fetch_one(pool).await?;
    println!("{after}");
    sqlx::raw_sql("drop table sqlx_t; drop type sqlx_mood")
        .execute(pool)
        .await?;
    Ok(())
}
