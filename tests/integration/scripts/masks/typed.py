"""Masked values have the types of their columns, in text and in binary."""
import asyncio
import sys
import uuid

import asyncpg
import psycopg

host, port, user, database = sys.argv[1:5]
connection = psycopg.connect(host=host, port=port, user=user, dbname=database, autocommit=True)
sql = "select id, email, salary, born, secret_id, profile, notes, mails, raw, score, seen from users order by id"
seen = {}
for binary in [False, True]:
    with connection.cursor(binary=binary) as cursor:
        for _ in range(8):
            rows = cursor.execute(sql, prepare=True).fetchall()
        assert len(rows) == 5, rows
        for row in rows:
            assert isinstance(row[1], str) and len(row[1]) == 32, row
            assert isinstance(row[2], int) and row[2] > 0, row
            assert row[3] is None, row
            assert isinstance(row[4], uuid.UUID), row
            assert isinstance(row[5], str) and len(row[5]) == 32, row
            assert isinstance(row[6], str), row
            assert row[7:] == (None, None, None, None), row
        seen[binary] = rows
text, binary = ([row[:7] for row in seen[form]] for form in [False, True])
assert text == binary, (text, binary)
with connection.transaction():
    with connection.cursor(name="by_cursor") as cursor:
        cursor.execute("select email, upper(email), id from users order by id")
        for row in cursor.fetchall():
            assert len(row[0]) == 32 and row[1] == "[masked]", row


async def introspects():
    """asyncpg asks for types in one recursive query over the catalogues, which has to stay as it is."""
    session = await asyncpg.connect(host=host, port=port, user=user, database=database)
    assert await session.fetchval("select $1::text[]", ["a", "b"]) == ["a", "b"]
    for row in await session.fetch("select id, email, mails, home, reach from users where id = any($1::int[])", [1, 2]):
        assert len(row["email"]) == 32 and row["mails"] is None and row["reach"] is None, row
    pair = await session.fetchval("select row(1, 'x', array[2.5])::plain_pair")
    assert (pair["a"], pair["b"], [str(c) for c in pair["c"]]) == (1, "x", ["2.5"]), pair
    assert await session.fetchval("select array['green']::plain_color[]") == ["green"]
    await session.close()


asyncio.run(introspects())
print("done")
