//! What the server remembers of browsers: bounded in number and in time.
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Values under secret names. When there are too many, the oldest goes.
#[derive(Debug)]
pub(super) struct Kept<T> {
    kept_max: usize,
    lifetime: Duration,
    values: HashMap<String, (Duration, T)>,
    /// The names, oldest first. All live equally long, so the first to expire is the first here.
    order: VecDeque<String>,
}

impl<T: Clone> Kept<T> {
    pub(super) fn new(kept_max: usize, lifetime: Duration) -> Kept<T> {
        Kept {
            kept_max,
            lifetime,
            values: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn insert(&mut self, name: String, now: Duration, value: T) {
        while let Some(oldest) = self.order.front() {
            let expired = self.values.get(oldest).is_none_or(|(end, _)| *end <= now);
            if !expired && self.order.len() < self.kept_max {
                break;
            }
            self.values.remove(oldest);
            self.order.pop_front();
        }
        let end = now.saturating_add(self.lifetime);
        if self.values.insert(name.clone(), (end, value)).is_none() {
            self.order.push_back(name);
        }
    }

    pub(super) fn get(&self, name: &str, now: Duration) -> Option<T> {
        let (end, value) = self.values.get(name)?;
        (now < *end).then(|| value.clone())
    }

    /// Gives it away: it can be had once.
    pub(super) fn take(&mut self, name: &str, now: Duration) -> Option<T> {
        let (end, value) = self.values.remove(name)?;
        self.order.retain(|other| other != name);
        (now < end).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_goes_first_and_nothing_outlives_its_time() {
        let mut kept = Kept::new(3, at(10));
        for number in 0..5_u64 {
            kept.insert(number.to_string(), at(number), number);
        }
        assert_eq!(kept.get("1", at(5)), None);
        assert_eq!(kept.get("2", at(5)), Some(2));
        assert_eq!(kept.get("2", at(11)), Some(2));
        assert_eq!(kept.get("2", at(12)), None);
        kept.insert("9".into(), at(13), 9);
        assert_eq!(kept.values.len(), 2, "what is over is forgotten");
        assert_eq!(kept.order.len(), 2);
    }

    #[test]
    fn what_is_taken_is_gone() {
        let mut kept = Kept::new(3, at(10));
        kept.insert("a".into(), at(0), 1);
        assert_eq!(kept.take("a", at(1)), Some(1));
        assert_eq!(kept.take("a", at(1)), None);
        kept.insert("b".into(), at(0), 2);
        assert_eq!(kept.take("b", at(10)), None);
        assert!(kept.order.is_empty() && kept.values.is_empty());
    }
}
