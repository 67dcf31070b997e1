import hashlib
import sys
import psycopg

ROWS = 1_000_000

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("create temp table big (id int8, name text)")
    with connection.cursor() as cursor:
        with cursor.copy("copy big from stdin") as copy:
            for start in range(0, ROWS, 1000):
                copy.write("".join(f"{i}\tname {i}\n" for i in range(start, start + 1000)))
    print("rows", connection.execute("select count(*) from big").fetchone()[0])
    for form in ("text", "csv", "binary"):
        digest = hashlib.sha256()
        with connection.cursor() as cursor:
            with cursor.copy(f"copy big to stdout (format {form})") as copy:
                for block in copy:
                    digest.update(block)
        print(form, digest.hexdigest())
