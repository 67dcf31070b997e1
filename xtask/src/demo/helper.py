"""The second agent: works with the database, and tries two things that it should not."""
import socket
import subprocess
import sys

import psycopg

(host, port), (elsewhere_host, elsewhere_port) = (word.split(":") for word in sys.argv[1:])
sys.stderr = sys.stdout


def psql(*statements):
    commands = [word for statement in statements for word in ("-c", statement)]
    subprocess.run(
        ["psql", "-X", "-A", "-h", host, "-p", port, "-U", "postgres", *commands],
        stderr=subprocess.STDOUT,
    )


print("helper: psql", flush=True)
psql(
    "select id, customer, total from orders order by id limit 2",
    "drop table orders",
    "select count(*) as orders_after_the_drop from orders",
)
print("helper: psycopg", flush=True)
with psycopg.connect(host=host, port=port, user="postgres", autocommit=True) as connection:
    row = connection.execute("select customer from orders where id = %s", (42,)).fetchone()
    print(row[0])
    connection.execute("update orders set total = total where id = %s", (42,))
    hidden = "with gone as (delete from orders returning *) select count(*) from gone"
    try:
        connection.execute(hidden)
        print("a delete that hides in a select has passed")
    except psycopg.errors.InsufficientPrivilege as error:
        print(error.sqlstate, error.diag.message_primary)
    print(connection.execute("select 'the session lives on'").fetchone()[0])
print("helper: another host", flush=True)
try:
    with socket.create_connection((elsewhere_host, int(elsewhere_port)), 10) as stranger:
        stranger.sendall(b"gwtok-orders-for-sale.")
        print("answer:", stranger.recv(100))
except OSError as error:
    print("refused:", type(error).__name__)
print("helper: asks for what a human has to allow", flush=True)
psql("update invoices set paid = true")
print("helper: finished", flush=True)
