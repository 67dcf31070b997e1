"""Sensitive values travel as parameters, as text, in binary and by copy."""
import sys

import psycopg

host, port, user, database = sys.argv[1:5]
connection = psycopg.connect(host=host, port=port, user=user, dbname=database, autocommit=True)
for binary in [False, True]:
    with connection.cursor(binary=binary) as cursor:
        cursor.execute("update users set email = %s where id = 50", ["k4n4ry-parameter"])
        cursor.execute("select id from users where email = %s", ["k4n4ry-parameter"])
        cursor.execute("select id from users where email = %b", ["k4n4ry-parameter"])
        try:
            cursor.execute("update users set email = %s where id = 50", ["k4n4ry-1@example.com"])
        except psycopg.Error as error:
            assert "k4n4ry" not in str(error), error
        try:
            cursor.execute("update users set email = %s where id = 50", ["[masked]"])
            raise SystemExit("what a mask has made was written back")
        except psycopg.errors.InsufficientPrivilege as error:
            assert "a mask puts" in str(error), error
print("done")
