//! One thread for each webhook, with what it still has to deliver.
use crate::clock::Clock;
use crate::links::Links;
use crate::moment::unix_seconds;
use crate::outcomes::Answered;
use crate::pending::Pending;
use crate::store::Options;
use crate::webhook::form::{self, Message};
use crate::webhook::{Jitter, Post, PostError, Webhook, WebhookCounts};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the end of the gateway waits for the last messages, of all webhooks together.
const GRACE: Duration = Duration::from_secs(1);

/// Something to tell.
#[derive(Clone)]
enum Event {
    /// With the mark that is set when the question has ended.
    Asked(Arc<Pending>, Arc<AtomicBool>),
    Answered(Arc<Pending>, Arc<Answered>),
}

impl Event {
    fn message(&self) -> Message<'_> {
        match self {
            Event::Asked(pending, _) => Message::Asked(pending),
            Event::Answered(pending, answered) => Message::Answered(pending, answered),
        }
    }

    /// Nobody needs to hear it any more.
    fn is_stale(&self) -> bool {
        matches!(self, Event::Asked(_, ended) if ended.load(Ordering::Acquire))
    }
}

struct Delivery {
    event: Event,
    failures: u32,
}

#[derive(Default)]
struct Queue {
    /// By the time of the next attempt, then in the order in which they came.
    due: BTreeMap<(Instant, u64), Delivery>,
    /// One is taken out and being sent; its place is kept.
    sending: bool,
    arrivals: u64,
    /// The gateway ends: what is here is tried once more.
    closing: bool,
    /// It does not wait any longer.
    abandoned: bool,
    finished: bool,
    counts: WebhookCounts,
}

impl Queue {
    fn held(&self) -> usize {
        self.due.len().saturating_add(usize::from(self.sending))
    }

    /// Makes room: what is to be tried again some time, but need not be any more.
    fn give_up_stale(&mut self) {
        let failed = &mut self.counts.failed;
        self.due.retain(|_, delivery| {
            let stale = delivery.event.is_stale();
            *failed = failed.saturating_add(u64::from(stale));
            !stale
        });
    }

    fn put(&mut self, due: Instant, delivery: Delivery) {
        self.arrivals = self.arrivals.wrapping_add(1);
        self.due.insert((due, self.arrivals), delivery);
    }
}

struct Mailbox {
    queue: Mutex<Queue>,
    /// Something came, or the end.
    stirred: Condvar,
    queue_max: usize,
}

impl Mailbox {
    fn put(&self, event: Event, now: Instant) {
        let mut queue = self.queue.lock();
        if queue.held() >= self.queue_max {
            queue.give_up_stale();
        }
        if queue.finished || queue.held() >= self.queue_max {
            queue.counts.dropped += 1;
            return;
        }
        queue.put(now, Delivery { event, failures: 0 });
        drop(queue);
        self.stirred.notify_all();
    }
}

/// How many threads have not ended.
#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// All webhooks.
pub(crate) struct Couriers {
    mailboxes: Vec<Arc<Mailbox>>,
    running: Arc<Running>,
    clock: Arc<dyn Clock>,
}

impl Couriers {
    /// Starts a thread for each webhook.
    pub(crate) fn start(options: &Options) -> io::Result<Couriers> {
        let mut couriers = Couriers {
            mailboxes: Vec::new(),
            running: Arc::default(),
            clock: Arc::clone(&options.clock),
        };
        for webhook in &options.webhooks {
            let mailbox = Arc::new(Mailbox {
                queue: Mutex::new(Queue {
                    counts: WebhookCounts {
                        host: webhook.url.host().to_owned(),
                        ..WebhookCounts::default()
                    },
                    ..Queue::default()
                }),
                stirred: Condvar::new(),
                queue_max: options.limits.queue_max,
            });
            couriers.mailboxes.push(Arc::clone(&mailbox));
            let courier = Courier {
                mailbox,
                webhook: webhook.clone(),
                post: Arc::clone(&options.post),
                clock: Arc::clone(&options.clock),
                jitter: Arc::clone(&options.jitter),
                links: options.links.clone(),
                running: Arc::clone(&couriers.running),
            };
            *couriers.running.count.lock() += 1;
            let started = std::thread::Builder::new()
                .name("webhook".into())
                .spawn(move || courier.run());
            if let Err(error) = started {
                *couriers.running.count.lock() -= 1;
                couriers.close();
                return Err(error);
            }
        }
        Ok(couriers)
    }

    /// Tells that a question waits. Does not wait itself.
    pub(crate) fn asked(&self, pending: &Arc<Pending>, ended: &Arc<AtomicBool>) {
        let now = self.clock.now();
        for mailbox in &self.mailboxes {
            let event = Event::Asked(Arc::clone(pending), Arc::clone(ended));
            mailbox.put(event, now);
        }
    }

    /// Tells how it ended. Does not wait itself.
    pub(crate) fn answered(&self, pending: &Arc<Pending>, answered: &Answered) {
        if self.mailboxes.is_empty() {
            return;
        }
        let now = self.clock.now();
        let answered = Arc::new(answered.clone());
        for mailbox in &self.mailboxes {
            let event = Event::Answered(Arc::clone(pending), Arc::clone(&answered));
            mailbox.put(event, now);
        }
    }

    pub(crate) fn counts(&self) -> Vec<WebhookCounts> {
        let counts = |mailbox: &Arc<Mailbox>| mailbox.queue.lock().counts.clone();
        self.mailboxes.iter().map(counts).collect()
    }

    /// Lets each thread try once what is left, and waits for a moment. A thread whose receiver
    /// hangs is left alone: it ends with the attempt that it is in.
    pub(crate) fn close(&self) {
        for mailbox in &self.mailboxes {
            mailbox.queue.lock().closing = true;
            mailbox.stirred.notify_all();
        }
        let mut count = self.running.count.lock();
        let _ = self
            .running
            .fewer
            .wait_while_for(&mut count, |count| *count > 0, GRACE);
        drop(count);
        for mailbox in &self.mailboxes {
            mailbox.queue.lock().abandoned = true;
        }
    }
}

/// The thread of one webhook.
struct Courier {
    mailbox: Arc<Mailbox>,
    webhook: Webhook,
    post: Arc<dyn Post>,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    links: Option<Arc<Links>>,
    running: Arc<Running>,
}

impl Courier {
    fn run(&self) {
        while let Some(delivery) = self.next() {
            if delivery.event.is_stale() {
                self.settle(|queue| queue.counts.failed += 1);
            } else {
                self.deliver(delivery);
            }
        }
        let mut queue = self.mailbox.queue.lock();
        let left = u64::try_from(queue.due.len()).unwrap_or(u64::MAX);
        queue.counts.dropped = queue.counts.dropped.saturating_add(left);
        queue.due.clear();
        queue.finished = true;
        drop(queue);
        *self.running.count.lock() -= 1;
        self.running.fewer.notify_all();
    }

    /// Waits for what is due next; `None` at the end.
    fn next(&self) -> Option<Delivery> {
        let mut queue = self.mailbox.queue.lock();
        loop {
            let first = queue.due.first_key_value().map(|((due, _), _)| *due);
            let wait = match first {
                _ if queue.abandoned => return None,
                None if queue.closing => return None,
                Some(_) if queue.closing => Duration::ZERO,
                Some(due) => due.saturating_duration_since(self.clock.now()),
                None => {
                    self.mailbox.stirred.wait(&mut queue);
                    continue;
                }
            };
            if wait.is_zero() {
                let (_, delivery) = queue.due.pop_first()?;
                queue.sending = true;
                return Some(delivery);
            }
            let _ = self.mailbox.stirred.wait_for(&mut queue, wait);
        }
    }

    fn deliver(&self, mut delivery: Delivery) {
        let Err(error) = self.attempt(&delivery.event) else {
            self.settle(|queue| queue.counts.delivered += 1);
            return;
        };
        delivery.failures = delivery.failures.saturating_add(1);
        let again = self
            .webhook
            .backoff
            .after(delivery.failures, (self.jitter)());
        let host = self.webhook.url.host();
        tracing::debug!(%host, %error, failures = delivery.failures, "a webhook failed");
        let now = self.clock.now();
        let gave_up = self.settle(|queue| match again.and_then(|wait| now.checked_add(wait)) {
            Some(due) if !queue.closing => {
                queue.put(due, delivery);
                false
            }
            _ => {
                queue.counts.failed += 1;
                true
            }
        });
        if gave_up {
            tracing::warn!(%host, %error, "a message to a webhook was given up");
        }
    }

    /// Signs and sends it once.
    fn attempt(&self, event: &Event) -> Result<(), PostError> {
        let secret = (self.webhook.secrets)().map_err(PostError::NoSecret)?;
        let body = form::body(self.webhook.form, event.message(), self.links.as_deref());
        let timestamp = unix_seconds(self.clock.time()).to_string();
        let signature = secret.sign(&timestamp, &body);
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Gateway-Timestamp", timestamp.as_str()),
            ("X-Gateway-Signature", signature.as_str()),
        ];
        self.post.post(&self.webhook.url, &headers, &body)
    }

    /// What was being sent is not any more.
    fn settle<R>(&self, then: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = self.mailbox.queue.lock();
        queue.sending = false;
        then(&mut queue)
    }
}
