//! A queue that gives its memory back: a session may wait for years behind one long pipeline.
use std::collections::VecDeque;

/// A queue keeps memory for so many entries while it is empty.
const KEPT_MAX: usize = 256;

/// First in, first out.
#[derive(Debug)]
pub(super) struct Queue<T>(VecDeque<T>);

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue(VecDeque::new())
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, value: T) {
        self.0.push_back(value);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let value = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > KEPT_MAX {
            self.0 = VecDeque::new();
        }
        value
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.0.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.0.back()
    }

    pub(super) fn back_mut(&mut self) -> Option<&mut T> {
        self.0.back_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}
