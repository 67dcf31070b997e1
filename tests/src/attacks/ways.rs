//! The attempts, by the rows of the table of ways out. Each is a small program of its own.
mod addresses;
mod hardened;
mod namespaces;
mod processes;
mod sockets;

/// Names for what the map says, a report instead of a traceback, and a connection.
pub(super) const PRELUDE: &str = include_str!("prelude.py");

/// What the same program does when nothing governs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The token arrives: the way is one.
    Arrives,
    /// This kernel or host may lack the protocol or the permission.
    MayFail,
}

/// What is around the attempt, from which the tier follows that it tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A job, and a daemon that governs it.
    Governed,
    /// A command of `gateway run` whose policy takes everything from it that `harden` can take.
    Hardened,
    /// A job whose daemon is dead.
    Dead,
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The row of the design's table; 0 is a way that the table does not have.
    pub row: u8,
    /// What it is called, also in its token.
    pub name: &'static str,
    /// Tried by root; otherwise by `nobody`. In a hardened command only the control is root's.
    pub root: bool,
    /// What happens without a gateway.
    pub control: Control,
    /// Where it is tried.
    pub stage: Stage,
    pub(super) program: &'static str,
}

/// All attempts, in the order in which they are tried: those that need a dead daemon are the last.
pub fn ways() -> impl Iterator<Item = &'static Way> {
    [
        sockets::WAYS,
        addresses::WAYS,
        processes::WAYS,
        namespaces::WAYS,
        hardened::WAYS,
        processes::DEAD,
    ]
    .into_iter()
    .flatten()
}

const fn way(row: u8, name: &'static str, program: &'static str) -> Way {
    Way {
        row,
        name,
        root: false,
        control: Control::Arrives,
        stage: Stage::Governed,
        program,
    }
}

const fn root(row: u8, name: &'static str, program: &'static str) -> Way {
    Way {
        root: true,
        ..way(row, name, program)
    }
}

const fn rare(row: u8, name: &'static str, program: &'static str) -> Way {
    root(row, name, program).that_may_fail()
}

impl Way {
    /// Whether the token arrives without a gateway depends on the kernel and the host.
    const fn that_may_fail(self) -> Way {
        Way {
            control: Control::MayFail,
            ..self
        }
    }

    const fn at(self, stage: Stage) -> Way {
        Way { stage, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_those_of_tokens_and_none_is_there_twice() {
        let mut names = BTreeSet::new();
        for way in ways() {
            let plain = |letter: char| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'
            };
            assert!(way.name.chars().all(plain), "{}", way.name);
            assert!(names.insert(way.name), "{} is there twice", way.name);
        }
    }

    #[test]
    fn a_dead_daemon_comes_last() {
        let mut dead = ways().skip_while(|way| way.stage != Stage::Dead);
        assert!(dead.all(|way| way.stage == Stage::Dead));
    }
}
