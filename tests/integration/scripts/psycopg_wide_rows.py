import hashlib
import sys
import psycopg

SIZE = 64 << 20

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    for binary in (False, True):
        row = connection.execute("select repeat('x', %s), 7", (SIZE,), binary=binary).fetchone()
        print(len(row[0]), hashlib.sha256(row[0].encode()).hexdigest(), row[1])
    connection.execute("create temp table wide (data bytea)")
    block = bytes(range(256)) * (SIZE // 256)
    connection.execute("insert into wide values (%b)", (block,))
    back = connection.execute("select data from wide", binary=True).fetchone()[0]
    print(len(back), back == block)
    back = connection.execute("select md5(data), length(data) from wide").fetchone()
    print(back == (hashlib.md5(block).hexdigest(), SIZE))
    # Two wide columns and several rows, so that rows and reads do not line up.
    total = 0
    for row in connection.execute("select repeat('y', 9000001), repeat('z', 17) from generate_series(1, 9)"):
        total += len(row[0]) + len(row[1])
    print(total)
