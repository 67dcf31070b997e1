# What other programs of a host do with eBPF, asked of the kernel itself (bpf(2)).
#
#   pin PATH NAME BYTES WORD   pins an array of one value of so many bytes, which begins with WORD
#   attach CGROUP FLAGS        attaches a program that allows everything to connect4
#   loaded UID                 prints the names of the programs that a user has loaded
import ctypes, os, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
BPF = 321
MAP_CREATE, MAP_UPDATE, PROG_LOAD, OBJ_PIN, PROG_ATTACH, NEXT_PROGRAM, PROGRAM_BY_ID, INFO = 0, 2, 5, 6, 8, 11, 13, 15
ARRAY, CGROUP_SOCK_ADDR, INET4_CONNECT = 2, 18, 10


def bpf(command, layout, *words):
    attr = ctypes.create_string_buffer(struct.pack(layout, *words).ljust(128, b"\0"))
    result = libc.syscall(BPF, command, attr, len(attr.raw) - 1 & ~7)
    return result, attr.raw


def must(result):
    if result[0] < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result[0]


def pin(path, name, size, word):
    made = must(bpf(MAP_CREATE, "=IIIIIII16s", ARRAY, 4, size, 1, 0, 0, 0, name.encode()))
    key = ctypes.create_string_buffer(4)
    value = ctypes.create_string_buffer(struct.pack("=Q", word).ljust(size, b"\0"))
    must(bpf(MAP_UPDATE, "=IIQQQ", made, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    path = ctypes.create_string_buffer(path.encode())
    must(bpf(OBJ_PIN, "=QI", ctypes.addressof(path), made))


def attach(cgroup, flags):
    # r0 = 1; exit
    code = ctypes.create_string_buffer(bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]))
    licence = ctypes.create_string_buffer(b"GPL")
    program = must(bpf(
        PROG_LOAD, "=IIQQIIQII16sII", CGROUP_SOCK_ADDR, 2, ctypes.addressof(code), ctypes.addressof(licence),
        0, 0, 0, 0, 0, b"somebody", 0, INET4_CONNECT,
    ))
    directory = os.open(cgroup, os.O_RDONLY)
    must(bpf(PROG_ATTACH, "=IIII", directory, program, INET4_CONNECT, flags))


def loaded(uid):
    last = 0
    while True:
        result, attr = bpf(NEXT_PROGRAM, "=II", last, 0)
        if result < 0:
            return
        last = struct.unpack_from("=I", attr, 4)[0]
        program, _ = bpf(PROGRAM_BY_ID, "=I", last)
        if program < 0:
            continue
        # struct bpf_prog_info: created_by_uid at 48, name at 64.
        info = ctypes.create_string_buffer(256)
        known, _ = bpf(INFO, "=IIQ", program, 128, ctypes.addressof(info))
        os.close(program)
        if known == 0 and struct.unpack_from("=I", info.raw, 48)[0] == uid:
            print(info.raw[64:80].rstrip(b"\0").decode())


match sys.argv[1:]:
    case ["pin", path, name, size, word]:
        pin(path, name, int(size), int(word))
    case ["attach", cgroup, flags]:
        attach(cgroup, int(flags))
    case ["loaded", uid]:
        loaded(int(uid))
