"""Asks every statement of a file by psycopg, as text and in binary, and prints what it gets."""
import sys

import psycopg

host, port, user, database, path = sys.argv[1:6]
connection = psycopg.connect(host=host, port=port, user=user, dbname=database, autocommit=True)
connection.add_notice_handler(lambda notice: print("notice", notice.message_primary, notice.message_detail))
for number, line in enumerate(open(path)):
    sql = line.rstrip("\n").replace("\\;", ";").replace("%", "%%")
    for binary in [False, True]:
        try:
            with connection.cursor(binary=binary) as cursor:
                if sql.startswith("copy") and "stdout" in sql:
                    with cursor.copy(sql.replace("%%", "%")) as copy:
                        print(number, binary, [bytes(part) for part in copy])
                    continue
                # Three times: with the third a prepared statement that nobody describes any more.
                for _ in range(3):
                    cursor.execute(sql, () if ";" not in sql else None, prepare=";" not in sql)
                print(number, binary, cursor.fetchall() if cursor.description else cursor.statusmessage)
        except Exception as error:
            diagnostics = getattr(error, "diag", None)
            more = [getattr(diagnostics, name, None) for name in ("message_detail", "message_hint", "context")]
            print(number, binary, "error", error, more)
            connection.execute("rollback")
print("done")
