//! Collects what a walk finds: one effect per verb, each object once.
use super::classification::anything;
use gateway_core::{Effect, Object, Verb};
use rustc_hash::FxHashSet;

/// The effects found so far.
#[derive(Debug, Default)]
pub(super) struct EffectSet {
    effects: Vec<Effect>,
    seen: FxHashSet<(Verb, Object)>,
}

impl EffectSet {
    /// The verb happens, to nothing in particular.
    pub(super) fn touch(&mut self, verb: Verb) {
        self.of(verb);
    }

    /// The verb happens to an object.
    pub(super) fn add(&mut self, verb: Verb, object: Object) {
        if self.seen.insert((verb, object.clone())) {
            self.of(verb).objects.push(object);
        }
    }

    /// The verb happens to all of these.
    pub(super) fn add_all(&mut self, verb: Verb, objects: impl IntoIterator<Item = Object>) {
        self.touch(verb);
        for object in objects {
            self.add(verb, object);
        }
    }

    /// The verb may happen to anything.
    pub(super) fn add_anything(&mut self, verb: Verb) {
        self.add(verb, anything());
    }

    /// All that another classification found.
    pub(super) fn unite(&mut self, effects: &[Effect]) {
        for effect in effects {
            self.add_all(effect.verb, effect.objects.iter().cloned());
        }
    }

    /// The effects as they are, in the order in which they were found.
    pub(super) fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// The objects of one verb.
    pub(super) fn objects_of(&self, verb: Verb) -> Vec<Object> {
        let effect = self.effects.iter().find(|effect| effect.verb == verb);
        effect
            .map(|effect| effect.objects.clone())
            .unwrap_or_default()
    }

    /// Every object of every effect.
    pub(super) fn objects(&self) -> Vec<Object> {
        let mut seen = FxHashSet::default();
        let all = self.effects.iter().flat_map(|effect| &effect.objects);
        all.filter(|object| seen.insert(*object)).cloned().collect()
    }

    /// The effects in the order of their verbs, at least one. Only `read` may stay without
    /// objects: elsewhere an empty list would be covered by a rule that names other objects.
    pub(super) fn finish(mut self) -> Vec<Effect> {
        if self.effects.is_empty() {
            self.touch(Verb::Read);
        }
        for effect in &mut self.effects {
            if effect.objects.is_empty() && effect.verb != Verb::Read {
                effect.objects.push(anything());
            }
        }
        self.effects.sort_by_key(|effect| effect.verb);
        self.effects
    }

    fn of(&mut self, verb: Verb) -> &mut Effect {
        let position = match self.effects.iter().position(|effect| effect.verb == verb) {
            Some(position) => position,
            None => {
                self.effects.push(Effect {
                    verb,
                    objects: Vec::new(),
                });
                self.effects.len() - 1
            }
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "the position was found or made above"
        )]
        &mut self.effects[position]
    }
}

/// The strongest verb among some effects.
pub(super) fn strongest(effects: &[Effect]) -> Verb {
    effects
        .iter()
        .map(|effect| effect.verb)
        .max()
        .unwrap_or(Verb::Unknown)
}
