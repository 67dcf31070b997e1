import sys
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("listen news")
    print("listening", flush=True)
    for notify in connection.notifies(timeout=15, stop_after=1):
        print(f"{notify.channel}: {notify.payload}")
    print(connection.execute("select 'and on'").fetchone())
