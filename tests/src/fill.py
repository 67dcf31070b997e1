# Fills a pinned hash map until it takes no more, with keys that nobody has, or empties it of them:
# fill.py PIN fill|empty. Asked of the kernel itself (bpf(2): BPF_OBJ_GET, BPF_MAP_UPDATE_ELEM, …).
import ctypes, errno, os, sys

libc = ctypes.CDLL(None, use_errno=True)
BPF, UPDATE, DELETE, OBJ_GET = 321, 2, 3, 7


def bpf(command, *words):
    attr = (ctypes.c_uint64 * 16)(*words)
    return libc.syscall(BPF, command, attr, ctypes.sizeof(attr))


path = ctypes.create_string_buffer(sys.argv[1].encode())
fd = bpf(OBJ_GET, ctypes.addressof(path))
assert fd >= 0, os.strerror(ctypes.get_errno())
info = dict(line.split(':\t') for line in open(f'/proc/self/fdinfo/{fd}').read().splitlines() if ':\t' in line)
key = ctypes.create_string_buffer(int(info['key_size']))
value = ctypes.create_string_buffer(int(info['value_size']))
limit = int(info['max_entries'])
done = 0
for number in range(1, limit + 1):
    # No cgroup, and no source of a connection, has such a key.
    ctypes.memmove(key, (number | 0xfeed << 48).to_bytes(8, 'little'), 8)
    if sys.argv[2] == 'fill':
        failed = bpf(UPDATE, fd, ctypes.addressof(key), ctypes.addressof(value), 0) < 0
        if failed:
            assert ctypes.get_errno() in (errno.E2BIG, errno.ENOMEM), os.strerror(ctypes.get_errno())
            break
    else:
        bpf(DELETE, fd, ctypes.addressof(key))
    done += 1
print(done, 'of', limit)
