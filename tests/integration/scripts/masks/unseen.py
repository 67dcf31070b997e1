"""What somebody else has hidden in the database changes how the server reads the next text: the views and the
table of unseen.sql. Nothing in a pipeline behind them is read as it was before."""
from judge import connect, done, end, faults, look, refused
from protocol import SYNC, extended, query

# With escapes in plain strings the first of them ends later.
STRINGS = "select '\\' || ', max(email), '' from users --'"
# In SJIS the bytes 81 5C are one character, and the quote behind it ends the string.
ENCODING = "select E'\u0401\\\\' , max(email) from users --'"


def hidden(what, form, before, first, text):
    session = connect()
    done(session, *before)
    if form == "simple":
        session.socket.sendall(query(first) + query(text))
        seen = session.until_ready() + session.until_ready()
    else:
        session.socket.sendall(extended(first) + extended(text) + SYNC)
        seen = session.until_ready()
    look(f"{form}: {what}", seen)
    if not refused(seen):
        faults.append(f"{form}: {what}: not refused: {seen}")
    session.socket.close()
    print("refused:", form, what)


for form in ["simple", "extended"]:
    hidden("a view", form, [], "select * from sets_strings", STRINGS)
    hidden("a default", form, [], "insert into sets_by_default values (1)", STRINGS)
    hidden("an encoding", form, [], "select * from sets_encoding", ENCODING)
    hidden("a prepared statement", form, ["prepare p as select * from sets_strings"], "execute p", STRINGS)
    hidden("a cursor", form, ["begin", "declare c cursor for select * from sets_strings"], "fetch c", STRINGS)
    hidden("a trigger put off", form, ["begin", "insert into sets_late values (1)"], "commit", STRINGS)
    hidden("a trigger called up", form, ["begin", "insert into sets_late values (1)"], "set constraints all immediate", STRINGS)
hidden("a transaction's end", "simple",
       ["set standard_conforming_strings = off", "begin", "select * from sets_for_now"], "commit", STRINGS)
# One at a time it is known what the server makes of them.
session = connect()
done(session, "select * from sets_strings")
seen = session.simple(STRINGS)
look("one after the other", seen)
if not refused(seen):
    faults.append(f"one after the other: {seen}")

end()
