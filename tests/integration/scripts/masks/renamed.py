"""Asks the same prepared statements while somebody else renames what they read."""
import sys
import time

import psycopg

connection = psycopg.connect(sys.argv[1], autocommit=True)
rows = connection.execute("select email from users where id = 1", prepare=True).fetchall()
print("before", rows[0][0], flush=True)
for _ in range(100):
    try:
        rows = connection.execute("select mail from members where id = 1").fetchall()
        print("after", rows[0][0], flush=True)
        break
    except psycopg.errors.UndefinedTable:
        time.sleep(0.1)
