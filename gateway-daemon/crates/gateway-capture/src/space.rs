//! Network namespaces of others: reached by a thread of its own, which enters one and makes sockets
//! there. A socket stays in the namespace that it was made in, whoever uses it.
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A network namespace. It lives at least as long as this does.
#[derive(Clone, Debug)]
pub struct Space {
    file: Arc<OwnedFd>,
    /// The inode by which `/proc/PID/ns/net` names it; unique among those that are there.
    pub inode: u64,
}

impl Space {
    /// That of a process.
    ///
    /// # Errors
    /// It is gone, or the caller may not look.
    pub fn of(pid: u32) -> io::Result<Space> {
        let file = File::open(format!("/proc/{pid}/ns/net"))?;
        let inode = file.metadata()?.ino();
        Ok(Space {
            file: Arc::new(file.into()),
            inode,
        })
    }

    /// The inode of that of a process, without holding it: cheap.
    ///
    /// # Errors
    /// As of [`Space::of`].
    pub fn inode_of(pid: u32) -> io::Result<u64> {
        Ok(std::fs::metadata(format!("/proc/{pid}/ns/net"))?.ino())
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The thread.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    orders: Mutex<Option<Sender<(Space, Work)>>>,
}

impl Visitor {
    /// Does something in a namespace, and waits for it: some ten microseconds and what it takes.
    ///
    /// # Errors
    /// The namespace cannot be entered, or what is done fails.
    pub(crate) fn within<T: Send + 'static>(
        &self,
        space: &Space,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        let inside = space.clone();
        let work: Work = Box::new(move || {
            let done = setns(inside.file.as_fd(), CloneFlags::CLONE_NEWNET);
            let _ = reply.send(done.map_err(io::Error::from).and_then(|()| work()));
        });
        self.order(space.clone(), work)?;
        answer
            .recv()
            .map_err(|_| io::Error::other("the thread that enters network namespaces died"))?
    }

    fn order(&self, space: Space, work: Work) -> io::Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order = (space, work);
        if let Some(sender) = &*orders {
            match sender.send(order) {
                Ok(()) => return Ok(()),
                // It died; another one takes its place.
                Err(mpsc::SendError(back)) => order = back,
            }
        }
        let (sender, incoming) = mpsc::channel::<(Space, Work)>();
        thread::Builder::new()
            .name("gateway-spaces".into())
            .stack_size(256 << 10)
            .spawn(move || {
                for (_held, work) in incoming {
                    // What panics takes its answer with it, and not the thread.
                    let _ = catch_unwind(AssertUnwindSafe(work));
                }
            })?;
        let sent = sender.send(order);
        *orders = Some(sender);
        sent.map_err(|_| io::Error::other("the thread that enters network namespaces died"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_has_one_inode() {
        let pid = std::process::id();
        let space = Space::of(pid).unwrap();
        assert_eq!(space.inode, Space::inode_of(pid).unwrap());
        assert!(Space::of(u32::MAX).is_err());
    }

    #[test]
    fn what_fails_inside_is_said_and_the_thread_goes_on() {
        let visitor = Visitor::default();
        let space = Space::of(std::process::id()).unwrap();
        let failing = || Err::<(), _>(io::Error::other("inside"));
        // Without root the namespace cannot be entered at all, which is an error too.
        assert!(visitor.within(&space, failing).is_err());
        let panicking = || -> io::Result<()> { panic!("inside") };
        assert!(visitor.within(&space, panicking).is_err());
        let again = visitor.within(&space, || Ok(7));
        let entered = nix::unistd::geteuid().is_root();
        assert_eq!(again.ok(), entered.then_some(7));
    }
}
