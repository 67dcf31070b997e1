//! The future of one question.
use crate::store::{RESTARTS, Shared, denied};
use gateway_core::ports::Answer;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Resolves when the question has ended. Needs no runtime: whoever ends the question wakes it.
pub(super) struct Waiting {
    shared: Arc<Shared>,
    arrival: u64,
    /// `None` once it has resolved.
    answer: Option<oneshot::Receiver<Answer>>,
}

impl Waiting {
    pub(super) fn new(
        shared: Arc<Shared>,
        arrival: u64,
        answer: oneshot::Receiver<Answer>,
    ) -> Waiting {
        Waiting {
            shared,
            arrival,
            answer: Some(answer),
        }
    }
}

impl Future for Waiting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let Some(answer) = &mut self.answer else {
            // Against the contract of futures. It was answered once; it is not approved again.
            return Poll::Ready(denied("its answer was taken before"));
        };
        let answer = match Pin::new(answer).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer.unwrap_or_else(|_| denied(RESTARTS)),
        };
        self.answer = None;
        Poll::Ready(answer)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.shared.withdraw(self.arrival);
        }
    }
}
