"""Tries what a hardened job must not be able to do, and says of each how it went."""
import ctypes
import errno
import mmap
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def said(name, work):
    try:
        work()
        print(name, "ok", flush=True)
    except OSError as error:
        print(name, errno.errorcode[error.errno], flush=True)


def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def foreign(number):
    """A system call of the 32-bit ABI, from a 64-bit process."""
    # push rbx; mov eax, number; xor ebx, ebx; int 0x80; pop rbx; ret
    code = b"\x53\xb8" + number.to_bytes(4, "little") + b"\x31\xdb\xcd\x80\x5b\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    entry = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(entry)()
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def status(key):
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith(key + ":"))


for name, family, kind, protocol in [
    ("unix", socket.AF_UNIX, socket.SOCK_STREAM, 0),
    ("inet", socket.AF_INET, socket.SOCK_STREAM, 0),
    ("inet6", socket.AF_INET6, socket.SOCK_STREAM, 0),
    ("route", socket.AF_NETLINK, socket.SOCK_RAW, 0),
    ("netfilter", socket.AF_NETLINK, socket.SOCK_RAW, 12),
    ("packet", socket.AF_PACKET, socket.SOCK_RAW, 0x300),
    ("vsock", socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    ("alg", socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
    ("xdp", 44, socket.SOCK_RAW, 0),
    ("tipc", 30, socket.SOCK_SEQPACKET, 0),
]:
    said(name, lambda: socket.socket(family, kind, protocol).close())
# The upper half of the argument is nothing to the kernel.
said("packet-high", lambda: call(41, (1 << 32) | 17, 3, 0))
said("pair", lambda: [end.close() for end in socket.socketpair()])
said("pair-tipc", lambda: call(53, 30, 5, 0, 0))
parameters = ctypes.create_string_buffer(120)
said("io_uring", lambda: os.close(call(425, 4, ctypes.addressof(parameters))))
said("x32", lambda: call(0x40000000 | 39))
said("i386", lambda: foreign(20))
for key in ["NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
    print(key, status(key), flush=True)
if len(sys.argv) > 1:
    os.execvp(sys.argv[1], sys.argv[1:])
