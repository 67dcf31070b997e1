//! The descriptors of another process: listed from /proc, taken with pidfd_getfd(2) (5.6). The copy
//! is the same socket; it is given back at once, since each is one of the daemon's own descriptors.
use crate::syscall::shares_descriptors;
use nix::errno::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::fs;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// `PIDFD_THREAD` (6.9): the descriptor stands for a thread. Earlier kernels know none of these.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(nix::libc::O_EXCL as u32);
/// Tables of one process. Only who unshares on purpose has more than one.
const TABLES_MAX: usize = 16;

/// A table of descriptors, of a process or of a thread that has one of its own.
struct Table {
    thread: u32,
    holder: OwnedFd,
    directory: PathBuf,
}

/// A process that is held: what is taken is taken from it, or from nobody.
pub(crate) struct Held {
    pub(crate) pid: u32,
    tables: Vec<Table>,
    /// What of it cannot be looked at.
    pub(crate) gaps: Vec<&'static str>,
}

/// Where a socket was found: in which process and thread, under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pid: u32,
    thread: u32,
    number: RawFd,
    /// The number of its file, which the processes that share a socket have in common.
    pub(crate) inode: u64,
}

impl Held {
    /// Holds the process that has this number now. `None`: nobody has.
    pub(crate) fn hold(pid: u32) -> Option<Held> {
        let table = Table {
            thread: pid,
            holder: open(pid, PidfdFlags::empty()).ok()?,
            directory: format!("/proc/{pid}/fd").into(),
        };
        Some(Held {
            pid,
            tables: vec![table],
            gaps: Vec::new(),
        })
    }

    /// Takes what is in this place, which was found before.
    pub(crate) fn take_from(place: &Place) -> Result<OwnedFd, Errno> {
        let flags = match place.thread == place.pid {
            true => PidfdFlags::empty(),
            false => PIDFD_THREAD,
        };
        take(&open(place.thread, flags)?, place)
    }

    /// Looks for threads with tables of their own. That of a leader which has exited is gone: then
    /// those of the others are all that is left.
    pub(crate) fn find_tables(&mut self) {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid));
        for thread in numbers_in(&tasks) {
            let mut known = self.tables.iter();
            // Who does not exist any more, and a kernel without kcmp, shares.
            if known.any(|table| shares_descriptors(table.thread, thread).unwrap_or(true)) {
                continue;
            }
            if self.tables.len() >= TABLES_MAX {
                self.gap("its threads have too many tables of descriptors");
                return;
            }
            let directory = tasks.join(thread.to_string()).join("fd");
            match open(thread, PIDFD_THREAD) {
                // The number may be that of another process by now.
                Ok(holder) if directory.exists() => self.tables.push(Table {
                    thread,
                    holder,
                    directory,
                }),
                Err(Errno::EINVAL) => {
                    self.gap(
                        "a thread has descriptors of its own, which this kernel does not give",
                    );
                }
                _ => {}
            }
        }
    }

    fn gap(&mut self, why: &'static str) {
        if !self.gaps.contains(&why) {
            self.gaps.push(why);
        }
    }

    /// Its sockets, one after the other.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = Place> + '_ {
        self.tables.iter().flat_map(|table| {
            sockets_in(&table.directory).map(|(number, inode)| Place {
                pid: self.pid,
                thread: table.thread,
                number,
                inode,
            })
        })
    }

    /// Takes a socket. `ENOENT`: something else has its number by now.
    pub(crate) fn take(&self, place: &Place) -> Result<OwnedFd, Errno> {
        let mut tables = self.tables.iter();
        let table = tables.find(|table| table.thread == place.thread);
        take(&table.ok_or(Errno::ESRCH)?.holder, place)
    }
}

fn take(holder: &OwnedFd, place: &Place) -> Result<OwnedFd, Errno> {
    let taken = pidfd_getfd(holder, place.number, PidfdGetfdFlags::empty());
    let taken = taken.map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    match nix::sys::stat::fstat(&taken)?.st_ino == place.inode {
        true => Ok(taken),
        false => Err(Errno::ENOENT),
    }
}

fn open(task: u32, flags: PidfdFlags) -> Result<OwnedFd, Errno> {
    let task = i32::try_from(task).ok().and_then(Pid::from_raw);
    let opened = pidfd_open(task.ok_or(Errno::ESRCH)?, flags);
    opened.map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// The names in a directory that are numbers. None when it is gone.
pub(crate) fn numbers_in<T: std::str::FromStr>(
    directory: &Path,
) -> impl Iterator<Item = T> + use<T> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The numbers of descriptors that are sockets, each with the number of its file.
fn sockets_in(directory: &Path) -> impl Iterator<Item = (RawFd, u64)> + use<> {
    let directory = directory.to_owned();
    numbers_in::<RawFd>(&directory).filter_map(move |number| {
        let target = fs::read_link(directory.join(number.to_string())).ok()?;
        Some((number, inode_of(target.to_str()?)?))
    })
}

/// What a link of /proc/PID/fd says of a socket (fs/proc/fd.c, net/socket.c: sockfs_dname).
pub(crate) fn inode_of(target: &str) -> Option<u64> {
    let inside = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    inside.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_socket_is_taken_while_it_is_the_one_that_was_found() {
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        let held = Held::hold(std::process::id()).unwrap();
        let mut found = held.sockets();
        let place = found.find(|place| place.number == own.as_raw_fd()).unwrap();
        let taken = UdpSocket::from(held.take(&place).unwrap());
        assert_eq!(taken.local_addr().unwrap(), own.local_addr().unwrap());
        let other = Place { inode: 1, ..place };
        assert_eq!(held.take(&other).unwrap_err(), Errno::ENOENT);
        drop((own, taken));
        assert!(held.take(&place).is_err());
    }

    #[test]
    fn a_thread_with_a_table_of_its_own_is_looked_into() {
        let (found, places) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
            let hidden = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = hidden.local_addr().unwrap();
            let mut held = Held::hold(std::process::id()).unwrap();
            held.find_tables();
            let taken = held.sockets().filter_map(|place| held.take(&place).ok());
            let mut addresses = taken.filter_map(|taken| UdpSocket::from(taken).local_addr().ok());
            let there = addresses.any(|found| found == address);
            found.send((there, held.gaps.clone())).unwrap();
        });
        let (found, gaps) = places.recv().unwrap();
        assert!(found || !gaps.is_empty(), "found, or said to be a gap");
    }

    #[test]
    fn links_of_sockets_are_told_from_others() {
        assert_eq!(inode_of("socket:[123]"), Some(123));
        for other in ["pipe:[123]", "socket:[", "socket:[x]", "/socket:[1]", ""] {
            assert_eq!(inode_of(other), None, "{other}");
        }
    }
}
