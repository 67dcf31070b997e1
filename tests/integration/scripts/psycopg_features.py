import sys
import threading
import uuid
import datetime
import decimal
import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row

address = sys.argv[1]


def attempt(what, *arguments, **options):
    try:
        print(what(*arguments, **options))
    except psycopg.Error as error:
        print(type(error).__name__, error.sqlstate, str(error).splitlines()[0])


with psycopg.connect(address, autocommit=True) as connection:
    print(connection.info.server_version, connection.info.parameter_status("server_encoding"))
    connection.execute("create temp table t (id int primary key, name text, data bytea)")
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into t values (%s, %s, %s)",
            [(i, f"name {i}", bytes([i % 256]) * i) for i in range(200)],
        )
        print(cursor.rowcount)
    for binary in (False, True):
        with connection.cursor(binary=binary, row_factory=dict_row) as cursor:
            cursor.execute("select * from t where id < %s order by id", (3,))
            print(cursor.fetchall(), [(c.name, c.type_code) for c in cursor.description])
            values = [
                1, 2**40, 1.5, decimal.Decimal("1.50"), True, None, "ä;'\"", b"\x00\xff",
                uuid.UUID(int=7), datetime.date(2026, 1, 2), [1, 2, None],
            ]
            for value in values:
                cursor.execute("select %s as v", (value,))
                print(cursor.fetchone())
    # Prepared on the first use, with more statements than the driver's cache holds.
    connection.prepare_threshold = 0
    connection.prepared_max = 4
    for round in range(3):
        for number in range(10):
            text = f"select {number} + %s::int"
            print(connection.execute(text, (round,)).fetchone()[0], end=" ")
    print()
    connection.prepare_threshold = None
    # Errors, and life after them.
    attempt(connection.execute, "select 1/0")
    attempt(connection.execute, "select * from nowhere")
    attempt(connection.execute, "insert into t values (1, 'again', null)")
    attempt(connection.execute, "select %s::int", ("not a number",))
    try:
        with connection.transaction():
            connection.execute("delete from t")
            connection.execute("select 1/0")
    except errors.DivisionByZero as error:
        print("rolled back:", error.sqlstate)
    print(connection.execute("select count(*) from t").fetchone())
    with connection.transaction():
        try:
            with connection.transaction("inner"):
                connection.execute("delete from t where id < 100")
                raise psycopg.Rollback("inner")
        except psycopg.Rollback:
            print("inner rolled back")
        connection.execute("delete from t where id = 199")
    print(connection.execute("select count(*) from t").fetchone(), connection.info.transaction_status)
    # A server-side cursor, in pieces and backwards.
    with connection.transaction():
        with connection.cursor("named", scrollable=True) as cursor:
            cursor.itersize = 7
            cursor.execute("select id from t order by id")
            print(sum(row[0] for row in cursor))
            cursor.scroll(0, mode="absolute")
            print(cursor.fetchmany(3))
    # Results one row at a time.
    with connection.cursor() as cursor:
        print(sum(row[0] for row in cursor.stream("select generate_series(1, 5000)")))
    # Several results of one string.
    cursor = connection.execute("select 1; select 'two'; update t set name = name")
    while True:
        print(cursor.statusmessage, cursor.fetchall() if cursor.description else cursor.rowcount)
        if not cursor.nextset():
            break
    # COPY, text and binary.
    with connection.cursor() as cursor:
        with cursor.copy("copy t (id, name) from stdin") as copy:
            for number in range(1000, 1100):
                copy.write_row((number, "copied\tand\\escaped\n"))
        with cursor.copy("copy (select id, name from t where id >= 1000 order by id) to stdout") as copy:
            print(len(list(copy.rows())))
        with cursor.copy("copy t (id, name) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((5000, "binary"))
        with cursor.copy("copy (select 7::int4, 'b'::text) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text"])
            print(list(copy.rows()))
        try:
            with cursor.copy("copy t (id) from stdin") as copy:
                raise KeyError("the client gives up")
        except (KeyError, psycopg.Error) as error:
            print(type(error).__name__)
        print(connection.info.transaction_status)
    # Pipelines with an error in the middle.
    try:
        with connection.pipeline() as pipeline:
            first = connection.execute("select 1")
            connection.execute("select 1/0")
            skipped = connection.execute("select 3")
            pipeline.sync()
            after = connection.execute("select 4")
    except psycopg.Error as error:
        print("pipeline:", type(error).__name__)
    print(connection.execute("select 'after the pipeline'").fetchone())
    # Notices and notifications.
    connection.add_notice_handler(lambda notice: print("notice:", notice.message_primary))
    connection.execute("do $$ begin raise notice 'hello'; end $$")
    connection.execute("listen here")
    connection.execute("notify here, 'there'")
    for notify in connection.notifies(timeout=5, stop_after=1):
        print(notify.channel, notify.payload)
    # Cancel, by both of the driver's ways.
    for cancel in (connection.cancel, connection.cancel_safe):
        timer = threading.Timer(0.3, cancel)
        timer.start()
        attempt(connection.execute, "select pg_sleep(30)")
        timer.join()
    print(connection.execute("select 'after the cancel'").fetchone())

with psycopg.connect(address) as connection:
    connection.execute("create temp table u (x int)")
    connection.execute("insert into u values (1)")
    connection.commit()
    attempt(connection.execute, "select broken")
    attempt(connection.execute, "select 1")
    connection.rollback()
    print(connection.execute("select * from u").fetchall())

with psycopg.connect(address) as connection:
    xid = connection.xid(1, "gateway", "test")
    connection.tpc_begin(xid)
    connection.execute("select 1")
    connection.tpc_prepare()
    connection.tpc_rollback()
    print("two-phase done")

attempt(psycopg.connect, address + " user=nobody_of_this_name")
print("done")
