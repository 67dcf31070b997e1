//! The unix socket: made without a moment in which it is half there, and never taken from a
//! daemon that lives.
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Anybody may connect: the peer credentials decide, and governed trees of any user must reach it.
const MODE: u32 = 0o666;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("{0}: another daemon (pid {1}) is listening there")]
    Taken(PathBuf, u32),
    /// Something else is at its place, which is not ours to remove.
    #[error("{0}: exists and is not a socket; move it away or set control_socket")]
    NotASocket(PathBuf),
    /// The kernel said no.
    #[error("{path}: {doing}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A bound socket. Its file goes when this is dropped, if it is still this socket's.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, by which it is known to be ours.
    identity: (u64, u64),
}

impl ControlSocket {
    /// Binds the socket. A file left behind by a dead daemon is replaced.
    ///
    /// # Errors
    /// A daemon answers there, something else is there, or the kernel says no.
    pub fn bind(path: &Path) -> Result<ControlSocket, SocketError> {
        let error = |doing: &'static str| {
            move |source: io::Error| SocketError::Io {
                path: path.to_owned(),
                doing,
                source,
            }
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            Ok(_) => {
                if let Some(pid) = listening_pid(path) {
                    return Err(SocketError::Taken(path.to_owned(), pid));
                }
            }
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(error("look at the file")(source)),
        }
        // Bound beside and renamed into place: a caller finds the old file, or one that listens
        // with its final mode, and never nothing.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let beside = path.with_file_name(name);
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside).map_err(error("bind the socket"))?;
        let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(MODE))
            .and_then(|()| fs::symlink_metadata(&beside))
            .and_then(|made| fs::rename(&beside, path).map(|()| made));
        match placed {
            Ok(made) => Ok(ControlSocket {
                listener,
                path: path.to_owned(),
                identity: (made.dev(), made.ino()),
            }),
            Err(source) => {
                let _ = fs::remove_file(&beside);
                Err(error("put the socket into place")(source))
            }
        }
    }

    /// Takes the next connection.
    ///
    /// # Errors
    /// No descriptors, or the connection was gone already.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that listens on a socket file, or `None` when nobody does.
#[must_use]
pub fn listening_pid(path: &Path) -> Option<u32> {
    // A blocking connect would wait for room in the backlog of a daemon that hangs; this one
    // fails with EAGAIN then, and whoever has a backlog is alive.
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    let address = UnixAddr::new(path).ok()?;
    match connect(descriptor.as_raw_fd(), &address) {
        Ok(()) => {
            // The credentials of the far end are those of the process that called listen().
            let credentials = getsockopt(&descriptor, sockopt::PeerCredentials).ok()?;
            Some(u32::try_from(credentials.pid()).unwrap_or(0))
        }
        Err(nix::Error::EAGAIN) => Some(0),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as a dead daemon leaves it");
        assert_eq!(listening_pid(&path), None);
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert_eq!(listening_pid(&path), Some(std::process::id()));
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::Taken(..))
        ));
        assert_eq!(
            listening_pid(&path),
            Some(std::process::id()),
            "still there"
        );
        drop(socket);
        assert!(!path.exists());
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "nothing is left beside it"
        );
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::NotASocket(_))
        ));
        let link = directory.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(
            ControlSocket::bind(&link),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_file_of_a_successor_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = ControlSocket::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(successor);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_an_error() {
        let path = Path::new("/tmp").join("x".repeat(200));
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(SocketError::Io { .. })
        ));
    }
}
