import asyncio
import sys
import asyncpg

options = dict(word.split("=") for word in sys.argv[1].split())


async def main():
    connection = await asyncpg.connect(
        host=options["host"],
        port=int(options["port"]),
        user=options["user"],
        database=options["dbname"],
        ssl=False,
    )
    print(await connection.fetchval("select 1 + $1::int", 41))
    print(await connection.fetch("select n, n::text, array[n, n] from generate_series(1, 3) as n"))
    # Types of our own are looked up in the catalogue by the driver itself.
    await connection.execute("create type pair as (a int, b text)")
    print(await connection.fetchval("select row(1, 'x')::pair"))
    await connection.execute("drop type pair")
    await connection.execute("create temp table t (id int primary key, name text)")
    await connection.executemany(
        "insert into t values ($1, $2)", [(i, f"name {i}") for i in range(500)]
    )
    print(await connection.fetchval("select count(*) from t"))
    print(await connection.copy_records_to_table("t", records=[(i, "copied") for i in range(1000, 2000)]))
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("select id from t order by id", prefetch=33):
            total += row["id"]
        print(total)
    statement = await connection.prepare("select name from t where id = $1")
    print([await statement.fetchval(i) for i in (1, 2, 3)], statement.get_parameters())
    for text in ("select 1/0", "select * from nowhere", "insert into t values (1, 'again')"):
        try:
            await connection.execute(text)
        except asyncpg.PostgresError as error:
            print(type(error).__name__, error.sqlstate)
    try:
        async with connection.transaction():
            await connection.execute("delete from t")
            raise KeyError("back")
    except KeyError:
        print(await connection.fetchval("select count(*) from t"))
    try:
        await connection.fetch("select pg_sleep(30)", timeout=0.3)
    except asyncio.TimeoutError:
        print("timed out")
    print(await connection.fetchval("select 'after the timeout'"))
    heard = asyncio.get_running_loop().create_future()
    await connection.add_listener("here", lambda *what: heard.set_result(what[2:]))
    await connection.execute("notify here, 'there'")
    print(await asyncio.wait_for(heard, 10))
    await connection.close()


asyncio.run(main())
print("done")
