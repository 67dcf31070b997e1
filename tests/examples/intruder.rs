//! Tries one way out that BPF LSM closes, and says what the kernel answered: `intruder WAY ARGUMENT…` ends
//! with 0 when it went through, with 1 and the name of the errno when not. `cargo xtask vm` runs each
//! way in its guest, outside of governed trees and inside.
//!
//! Most of it is system calls that no library has.
#![allow(unsafe_code)]
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, c_void};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long somebody is waited for; the guest is slow.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", answer(&error));
            ExitCode::FAILURE
        }
    }
}

/// The name of the errno, where one is the cause.
fn answer(error: &anyhow::Error) -> String {
    for cause in error.chain() {
        if let Some(errno) = cause.downcast_ref::<Errno>() {
            return format!("{errno:?}");
        }
        let io = cause.downcast_ref::<std::io::Error>();
        if let Some(code) = io.and_then(std::io::Error::raw_os_error) {
            return format!("{:?}", Errno::from_raw(code));
        }
    }
    format!("{error:#}")
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["socket", family, kind, protocol] => {
            socket(family.parse()?, kind.parse()?, protocol.parse()?).map(drop)
        }
        ["serve", name] => serve(name),
        ["serve-datagrams", name] => serve_datagrams(name),
        ["connect", name] => connect(name),
        ["datagram", name] => datagram(name),
        ["own-tree"] => own_tree(),
        ["receive", path] => receive(path),
        ["pass", path, kind] => pass(path, kind),
        ["bpf"] => bpf(libc_bpf::PROG_GET_NEXT_ID, &mut [0; 16]).map(drop),
        ["device-program"] => device_program(),
        ["trace", process] => trace(process.parse()?),
        ["memory", process] => memory(process.parse()?),
        ["take", process, descriptor] => take(process.parse()?, descriptor.parse()?),
        ["look", process] => Ok(std::fs::read_link(format!("/proc/{process}/exe")).map(drop)?),
        ["open", path] => Ok(OpenOptions::new().read(true).open(path).map(drop)?),
        ["open-to-write", path] => Ok(OpenOptions::new().write(true).open(path).map(drop)?),
        ["mount", kind, place] => mount(kind, place),
        ["set-up", kind] => set_up(kind),
        ["unmount", place] => unmount(place, 0),
        ["unmount-lazily", place] => unmount(place, libc::MNT_DETACH),
        ["module"] => module(),
        ["module-file", path] => module_file(path),
        ["kexec"] => call(libc::SYS_kexec_load, [0, 0, 0, 0]).map(drop),
        ["key"] => key(),
        ["tc"] => route_message(RTM_NEWTFILTER),
        ["links"] => route_message(libc::RTM_GETLINK),
        ["tables"] => tables(),
        ["ring", cgroup] => ring(cgroup),
        ["map", descriptor] => map(descriptor.parse()?),
        ["type", terminal] => type_into(terminal),
        ["remove", path] => Ok(std::fs::remove_file(path)?),
        ["move", from, to] => Ok(std::fs::rename(from, to)?),
        _ => bail!("there is no way {words:?}"),
    }
}

fn call(number: c_long, arguments: [c_long; 4]) -> Result<c_long> {
    let [a, b, c, d] = arguments;
    // SAFETY: the pointers among the arguments are of values that live longer than the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, 0, 0) };
    Ok(Errno::result(result)?)
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor is new.
    unsafe {
        let socket = Errno::result(libc::socket(family, kind, protocol))?;
        Ok(OwnedFd::from_raw_fd(socket))
    }
}

/// A path, or with `@` in front an abstract name.
fn address(name: &str) -> Result<SocketAddr> {
    Ok(match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    })
}

/// Answers everybody, for ever.
fn serve(name: &str) -> Result<()> {
    let listener = UnixListener::bind_addr(&address(name)?)?;
    loop {
        listener.accept()?.0.write_all(b"hello")?;
    }
}

fn serve_datagrams(name: &str) -> Result<()> {
    let socket = UnixDatagram::bind_addr(&address(name)?)?;
    loop {
        socket.recv(&mut [0; 16])?;
    }
}

fn connect(name: &str) -> Result<()> {
    let mut said = String::new();
    UnixStream::connect_addr(&address(name)?)?.read_to_string(&mut said)?;
    anyhow::ensure!(said == "hello", "it said {said:?}");
    Ok(())
}

fn datagram(name: &str) -> Result<()> {
    let socket = UnixDatagram::unbound()?;
    // Connected and sent, and sent to: the kernel asks at each.
    socket.send_to_addr(b"token", &address(name)?)?;
    socket.connect_addr(&address(name)?)?;
    socket.send(b"token")?;
    Ok(())
}

/// All that a tree does with sockets of its own.
fn own_tree() -> Result<()> {
    let name = format!("@own-tree-{}", std::process::id());
    let listener = UnixListener::bind_addr(&address(&name)?)?;
    let client = UnixStream::connect_addr(&address(&name)?)?;
    let (accepted, _) = listener.accept()?;
    let datagrams = UnixDatagram::pair()?;
    datagrams.0.send(b"token")?;
    // A socket of its own, one that was accepted, a file and a pipe.
    let files = std::fs::File::open("/proc/self/exe")?;
    let (reader, _writer) = std::io::pipe()?;
    let ip = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let sent = [
        datagrams.1.as_raw_fd(),
        accepted.as_raw_fd(),
        files.as_raw_fd(),
        reader.as_raw_fd(),
        ip.as_raw_fd(),
    ];
    send_descriptors(&client, &sent)?;
    let received = receive_descriptors(&accepted)?;
    anyhow::ensure!(received.len() == sent.len(), "{received:?} of {sent:?}");
    let process = std::process::id();
    let child = Command::new("/bin/sleep").arg("1000").spawn();
    let mut child = child.with_context(|| format!("a child of {process}"))?;
    let traced = trace(child.id() as c_int);
    child.kill()?;
    child.wait()?;
    traced
}

fn send_descriptors(through: &UnixStream, descriptors: &[RawFd]) -> Result<()> {
    let message = [ControlMessage::ScmRights(descriptors)];
    let bytes = [IoSlice::new(b"x")];
    sendmsg::<UnixAddr>(
        through.as_raw_fd(),
        &bytes,
        &message,
        MsgFlags::empty(),
        None,
    )?;
    Ok(())
}

fn receive_descriptors(from: &UnixStream) -> Result<Vec<RawFd>> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 16]);
    let flags = MsgFlags::empty();
    let message = recvmsg::<UnixAddr>(from.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
    let received = message.cmsgs()?.filter_map(|control| match control {
        ControlMessageOwned::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(received.flatten().collect())
}

/// Takes what somebody passes in.
fn receive(path: &str) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    let (stream, _) = listener.accept()?;
    let received = receive_descriptors(&stream);
    std::fs::remove_file(path)?;
    anyhow::ensure!(!received?.is_empty(), "no descriptor");
    Ok(())
}

/// Passes a file, or a connection to a port, in to who takes it.
fn pass(path: &str, kind: &str) -> Result<()> {
    let descriptor: OwnedFd = match kind {
        file if file.starts_with('/') => std::fs::File::open(file)?.into(),
        port => TcpStream::connect(("127.0.0.1", port.parse()?))?.into(),
    };
    let end = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return send_descriptors(&stream, &[descriptor.as_raw_fd()]),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Commands of bpf(2).
mod libc_bpf {
    pub(crate) const PROG_LOAD: i64 = 5;
    pub(crate) const PROG_GET_NEXT_ID: i64 = 11;
}

fn bpf(command: c_long, attributes: &mut [u64]) -> Result<c_long> {
    let size = size_of_val(attributes) as c_long;
    call(
        libc::SYS_bpf,
        [command, attributes.as_mut_ptr() as c_long, size, 0],
    )
}

/// A program that allows every device, as container engines load one.
fn device_program() -> Result<()> {
    const CGROUP_DEVICE: u64 = 15;
    // r0 = 1; exit
    let instructions: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
    let license = c"GPL";
    let mut attributes = [0_u64; 16];
    // prog_type, insn_cnt; insns; license
    attributes[0] = CGROUP_DEVICE | 2 << 32;
    attributes[1] = instructions.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    bpf(libc_bpf::PROG_LOAD, &mut attributes).map(drop)
}

fn trace(process: c_int) -> Result<()> {
    let process = nix::unistd::Pid::from_raw(process);
    nix::sys::ptrace::seize(process, nix::sys::ptrace::Options::empty())?;
    Ok(())
}

/// By its file, and by the call for it.
fn memory(process: c_int) -> Result<()> {
    let file = format!("/proc/{process}/mem");
    OpenOptions::new().write(true).open(file)?;
    let local = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    // SAFETY: nothing is written: both have no bytes.
    let written =
        unsafe { libc::process_vm_writev(process, &raw const local, 1, &raw const local, 1, 0) };
    Errno::result(written)?;
    Ok(())
}

fn take(process: c_int, descriptor: c_int) -> Result<()> {
    let held = call(libc::SYS_pidfd_open, [process.into(), 0, 0, 0])?;
    call(libc::SYS_pidfd_getfd, [held, descriptor.into(), 0, 0]).map(drop)
}

/// Types into a terminal, as if by its keyboard.
fn type_into(terminal: &str) -> Result<()> {
    let terminal = std::fs::File::open(terminal)?;
    let character = b' ';
    // SAFETY: the character lives longer than the call.
    Errno::result(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, &raw const character)
    })?;
    Ok(())
}

fn mount(kind: &str, place: &str) -> Result<()> {
    let source = Some("192.0.2.1:/x");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(source, place, Some(kind), flags, None::<&str>)?;
    Ok(())
}

/// As far as the name of the server, which the file system has to accept.
fn set_up(kind: &str) -> Result<()> {
    const FSCONFIG_SET_STRING: c_long = 1;
    let kind = CString::new(kind)?;
    let context = call(libc::SYS_fsopen, [kind.as_ptr() as c_long, 0, 0, 0])?;
    let (key, value) = (c"source", c"192.0.2.1:/x");
    // SAFETY: both strings live longer than the call.
    let set = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context,
            FSCONFIG_SET_STRING,
            key.as_ptr(),
            value.as_ptr(),
            0,
        )
    };
    Errno::result(set)?;
    Ok(())
}

fn unmount(place: &str, flags: c_int) -> Result<()> {
    let place = CString::new(place)?;
    // SAFETY: the string lives longer than the call.
    Errno::result(unsafe { libc::umount2(place.as_ptr(), flags) })?;
    Ok(())
}

/// What is no module: the kernel looks at it only when it may be one.
fn module() -> Result<()> {
    let image = [0_u8; 64];
    let options = c"";
    let image = image.as_ptr() as c_long;
    call(
        libc::SYS_init_module,
        [image, 64, options.as_ptr() as c_long, 0],
    )
    .map(drop)
}

fn module_file(path: &str) -> Result<()> {
    let file = std::fs::File::open(path)?;
    let options = c"";
    let descriptor = c_long::from(file.as_raw_fd());
    call(
        libc::SYS_finit_module,
        [descriptor, options.as_ptr() as c_long, 0, 0],
    )
    .map(drop)
}

/// One that the kernel has to have fetched.
fn key() -> Result<()> {
    const PROCESS_KEYRING: c_long = -2;
    let (kind, name, hint) = (c"user", c"gateway-intruder", c"x");
    let arguments = [kind.as_ptr(), name.as_ptr(), hint.as_ptr()].map(|text| text as c_long);
    let [kind, name, hint] = arguments;
    call(libc::SYS_request_key, [kind, name, hint, PROCESS_KEYRING]).map(drop)
}

const RTM_NEWTFILTER: u16 = 44;

/// Two messages in one packet, of which the second one is in question. Whether it was sent, not what
/// came of it.
fn route_message(kind: u16) -> Result<()> {
    let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    let request = libc::NLM_F_REQUEST as u16;
    let mut packet = Vec::new();
    for kind in [libc::RTM_GETLINK, kind] {
        packet.extend(36_u32.to_ne_bytes());
        packet.extend(kind.to_ne_bytes());
        packet.extend(request.to_ne_bytes());
        packet.extend([0; 28]);
    }
    nix::unistd::write(&socket, &packet)?;
    Ok(())
}

/// Replaces a table of iptables-legacy, on a plain TCP socket: EPERM, or the kernel's word for what it
/// does not understand.
fn tables() -> Result<()> {
    const IPT_SO_SET_REPLACE: c_int = 64;
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let value = [0_u8; 4];
    // SAFETY: the value lives longer than the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            IPT_SO_SET_REPLACE,
            value.as_ptr().cast(),
            4,
        )
    };
    Errno::result(set)?;
    Ok(())
}

const IORING_SETUP_SQPOLL: u32 = 2;

fn new_ring(flags: u32) -> Result<OwnedFd> {
    // struct io_uring_params
    let mut parameters = [0_u32; 30];
    parameters[2] = flags;
    let address = parameters.as_mut_ptr() as c_long;
    let ring = call(libc::SYS_io_uring_setup, [4, address, 0, 0])?;
    // SAFETY: the descriptor is new.
    Ok(unsafe { OwnedFd::from_raw_fd(ring as RawFd) })
}

/// Makes a ring that a thread of this process serves, and has a child in a cgroup map it.
fn ring(cgroup: &str) -> Result<()> {
    let ring = new_ring(IORING_SETUP_SQPOLL)?;
    // SAFETY: a flag of a descriptor of ours.
    Errno::result(unsafe { libc::fcntl(ring.as_raw_fd(), libc::F_SETFD, 0) })?;
    let cgroup = format!("{cgroup}/cgroup.procs");
    let mut child = Command::new("/proc/self/exe");
    child.args(["map", &ring.as_raw_fd().to_string()]);
    // SAFETY: a write is all that happens between fork and exec.
    unsafe {
        child.pre_exec(move || std::fs::write(&cgroup, "0"));
    }
    let status = child.status()?;
    anyhow::ensure!(status.success(), "the child could not");
    Ok(())
}

/// The entries of a ring that was inherited (IORING_OFF_SQES).
fn map(descriptor: RawFd) -> Result<()> {
    const ENTRIES: i64 = 0x1000_0000;
    // SAFETY: a new mapping, which nobody uses.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::null_mut::<c_void>(),
            256,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            descriptor,
            ENTRIES,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(Errno::last().into());
    }
    Ok(())
}
