"""What detectors look for, in other spellings, in binary format, and where it is cut: neither told nor kept."""
import base64
import json
import sys
from decimal import Decimal

import psycopg

host, port, user, database = sys.argv[1:5]
where = dict(host=host, port=port, user=user)
connection = psycopg.connect(**where, dbname=database, autocommit=True)
faults = []

CARD, SSN, MAIL = "4111111111111111", "078-05-1120", "alice@example.com"
SPELLED = [
    r'{"mail": "alice\u0040example.com"}', r'{"mail": "alice\\u0040example.com"}', "<a>alice&#64;example.com</a>",
    "to=alice%40example.com", "ssn=%20" + SSN, "%7B%22ssn%22%3A%22" + SSN + "%22%7D", "q=%22" + CARD + "%22",
    "card%3D" + CARD + "%26", r'"\f' + CARD + '"', r'"\u0010' + SSN + '"', r"name\012" + SSN,
    r"\011DE89370400440532013000", r"\012AKIAIOSFODNN7EXAMPLE", "%B" + CARD + "^DOE/JOHN^2712", CARD + "D27121011F",
    "4111\u00a01111\u00a01111\u00a01111", "078\u201105\u20111120", "\\x" + MAIL.encode().hex(),
    r'{"\\x' + MAIL.encode().hex() + '"}',
]
HIDDEN = [CARD, SSN, MAIL, MAIL.encode().hex(), "DE8937", "AKIAIOS", "1111\u00a01111", "05\u20111120"]


def look(what, answer):
    (text,) = answer
    if text == what or any(word in text for word in HIDDEN):
        faults.append(f"{what}: {text}")


for binary in [False, True]:
    for spelled in SPELLED:
        with connection.cursor(binary=binary) as cursor:
            look(spelled, cursor.execute("select %s::text", [spelled]).fetchone())
# As the server writes them.
connection.execute("set bytea_output = escape")
look("bytea", connection.execute("select E'\\n" + SSN + "'::bytea::text").fetchone())
look("json", connection.execute("select to_json(E'\\x10" + CARD + "'::text)::text").fetchone())
connection.execute("set bytea_output = hex")

# Equal in both formats.
hashed = []
for binary in [False, True]:
    with connection.cursor(binary=binary) as cursor:
        hashed.append(cursor.execute("select profile, doc from hashed").fetchone())
if hashed[0] != hashed[1] or MAIL in str(hashed):
    faults.append(f"hashes: {hashed}")
# What comes in the place of a part fits.
fits = connection.execute("select short, padded from fitting").fetchone()
if len(fits[0]) > 17 or len(fits[1]) > 6 or MAIL in fits[0]:
    faults.append(f"too long: {fits}")
# The server cuts what it quotes.
for value in [CARD, SSN]:
    try:
        connection.execute("insert into checked values (-1, %s)", ["x" * 47 + " " + value])
    except psycopg.errors.CheckViolation as error:
        if value[:10] in str(error.diag.message_detail):
            faults.append(f"quoted: {error.diag.message_detail}")

# Bind values: in binary format, and longer than what is kept of them.
claims = base64.urlsafe_b64encode(json.dumps({"mail": MAIL, "more": "m" * 1200}).encode()).decode().rstrip("=")
token = "eyJhbGciOiJIUzI1NiJ9." + claims + ".c2lnbmF0dXJl"
for long in ["x" * 1008 + f" {CARD} and more", "x" * 1013 + f" {SSN} and more", "x" * 1010 + f" {MAIL} and more", token]:
    for binary in [False, True]:
        with connection.cursor(binary=binary) as cursor:
            cursor.execute("select length(%s::text) /* long */", [long])
    connection.execute("select length(%b::bytea)", [long.encode()])
for kind, value in [("numeric", Decimal(CARD)), ("text[]", [MAIL]), ("int8[]", [int(CARD)]), ("bytea", MAIL.encode()),
                    ("float8", float(CARD)), ("float8[]", [float(CARD)]), ("numeric[]", [Decimal(CARD)]),
                    ("int8[]", [int(CARD)] * 80)]:
    connection.execute(f"select 1 where %b::{kind} is null", [value])
print("\n".join(faults))
print("done" if not faults else "FAULTS")
