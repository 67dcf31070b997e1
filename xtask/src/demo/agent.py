"""The first agent: makes a daemon of itself, gives up root, starts a helper."""
import os
import sys

if os.fork():
    sys.exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(f"agent.py: process {os.getpid()}, parent {os.getppid()}, user {os.getuid()}", flush=True)
if os.fork() == 0:
    os.environ["PYTHONPATH"] = "drivers"
    os.execv("/usr/bin/python3", ["python3", "helper.py", *sys.argv[1:]])
