import sys
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    with connection.pipeline():
        cursors = [connection.execute("select %s::int8 * 2", (i,)) for i in range(10_000)]
    print("sum", sum(cursor.fetchone()[0] for cursor in cursors))
    with connection.pipeline():
        connection.execute("create temp table t (x int)")
        cursor = connection.cursor()
        cursor.executemany("insert into t values (%s)", [(i,) for i in range(2000)])
    print("rows", connection.execute("select count(*) from t").fetchone()[0])
