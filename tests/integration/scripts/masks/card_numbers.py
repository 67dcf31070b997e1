"""Numbers in binary format that a detector looks for, and some that it does not."""
import sys

import psycopg

host, port, user, database = sys.argv[1:5]
connection = psycopg.connect(host=host, port=port, user=user, dbname=database, autocommit=True)
with connection.cursor(binary=True) as cursor:
    cursor.execute(
        "select 4111111111111111::numeric, 4111111111111111.50, 4111111111111111::float8,"
        " array[4111111111111111], row(4111111111111111, 'x'), '4111111111111111',"
        " 4111111111111112::numeric, array[5::bigint]"
    )
    print(list(cursor.fetchone()))
