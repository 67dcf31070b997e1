//! What other threads, timers and the links themselves have to say to the thread of a reactor.
use super::Arrival;
use super::link::Key;
use nix::sys::eventfd::EventFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

/// One piece of it.
pub(super) enum Post {
    /// A link is to be run.
    Arrival(Box<Arrival>),
    /// A link is to be polled.
    Wake(Key),
}

/// The letter box. A bell is rung only when the thread sleeps.
pub(super) struct Mail {
    post: Mutex<Vec<Post>>,
    /// There is post, or the end was asked for.
    any: AtomicBool,
    sleeps: AtomicBool,
    /// Nothing is taken any more.
    ended: AtomicBool,
    /// It is so because it was wanted.
    told: AtomicBool,
    bell: EventFd,
}

impl Mail {
    pub(super) const fn new(bell: EventFd) -> Mail {
        Mail {
            post: Mutex::new(Vec::new()),
            any: AtomicBool::new(false),
            sleeps: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            told: AtomicBool::new(false),
            bell,
        }
    }

    fn post(&self) -> MutexGuard<'_, Vec<Post>> {
        // A vector that is pushed to is whole at every moment.
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves something for the thread. What comes after its end is dropped.
    pub(super) fn send(&self, post: Post) {
        {
            let mut all = self.post();
            // Looked at under the lock: either this is seen by the last look, or it sees the end.
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            all.push(post);
        }
        self.call();
    }

    /// Asks the thread to end.
    pub(super) fn tell_to_end(&self) {
        self.told.store(true, Ordering::SeqCst);
        self.end();
    }

    pub(super) fn was_told_to_end(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }

    /// Takes nothing any more.
    pub(super) fn end(&self) {
        {
            let _all = self.post();
            self.ended.store(true, Ordering::SeqCst);
        }
        self.call();
    }

    fn call(&self) {
        self.any.store(true, Ordering::SeqCst);
        if self.sleeps.swap(false, Ordering::SeqCst) {
            // It fails only when the counter is full, and then the bell rings already.
            let _ = self.bell.write(1);
        }
    }

    /// The thread wants to sleep: may it? Announced before it looks, so nothing is missed.
    pub(super) fn may_sleep(&self) -> bool {
        self.sleeps.store(true, Ordering::SeqCst);
        !self.any.load(Ordering::SeqCst)
    }

    /// It does not sleep any more.
    pub(super) fn is_awake(&self) {
        self.sleeps.store(false, Ordering::Relaxed);
    }

    /// The bell rang.
    pub(super) fn heard(&self) {
        // It fails when it did not ring, which is the same.
        let _ = self.bell.read();
    }

    /// All that has come; `None` when the end was asked for.
    pub(super) fn take(&self) -> Option<Vec<Post>> {
        if !self.any.load(Ordering::SeqCst) {
            return Some(Vec::new());
        }
        self.any.store(false, Ordering::SeqCst);
        let post = std::mem::take(&mut *self.post());
        (!self.ended.load(Ordering::SeqCst)).then_some(post)
    }
}

/// The waker of one link.
pub(super) struct Alarm {
    mail: Arc<Mail>,
    key: Key,
    /// It rang, and the link was not polled for it yet. Without this a link that is always busy
    /// would have more and more of its own wakes in the mail, and the thread for itself.
    rang: AtomicBool,
}

impl Alarm {
    pub(super) const fn new(mail: Arc<Mail>, key: Key) -> Alarm {
        Alarm {
            mail,
            key,
            rang: AtomicBool::new(false),
        }
    }

    /// The link is polled for it now. What the waker wrote before is seen from here on.
    pub(super) fn is_heard(&self) {
        self.rang.swap(false, Ordering::AcqRel);
    }

    /// Will the link be polled anyway?
    pub(super) fn rings(&self) -> bool {
        self.rang.load(Ordering::Acquire)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rang.swap(true, Ordering::AcqRel) {
            self.mail.send(Post::Wake(self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EfdFlags;
    use std::task::Waker;

    fn mail() -> Arc<Mail> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Arc::new(Mail::new(EventFd::from_flags(flags).unwrap()))
    }

    fn wakes(mail: &Mail) -> usize {
        let post = mail.take().unwrap();
        let wakes = post.iter().filter(|post| matches!(post, Post::Wake(_)));
        wakes.count()
    }

    /// However often a busy link wakes itself, it has one turn for it.
    #[test]
    fn an_alarm_is_in_the_mail_once_until_it_is_heard() {
        let mail = mail();
        let (key, _) = Key::from_event(7 << 32);
        let alarm = Arc::new(Alarm::new(Arc::clone(&mail), key));
        let waker = Waker::from(Arc::clone(&alarm));
        for _ in 0..1000 {
            waker.wake_by_ref();
        }
        assert!(alarm.rings());
        assert_eq!(wakes(&mail), 1);
        waker.wake_by_ref();
        assert_eq!(wakes(&mail), 0, "it was taken, and not heard yet");
        alarm.is_heard();
        assert!(!alarm.rings());
        waker.wake_by_ref();
        assert_eq!(wakes(&mail), 1, "a wake after that is one more");
    }

    #[test]
    fn what_comes_after_the_end_is_dropped() {
        let mail = mail();
        mail.end();
        let (key, _) = Key::from_event(0);
        mail.send(Post::Wake(key));
        assert!(mail.take().is_none());
        assert!(!mail.was_told_to_end());
    }
}
