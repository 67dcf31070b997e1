//! Sockets of processes, beside those of IP: whose each is, and which of others a policy lets its
//! trees use.

/// Whose a socket is, in its storage. Only where BPF LSM is active.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tree of the process that made it; [`GATEWAY`] for the gateway's own.
    pub tree: u64,
}

/// The owner of the gateway's control socket. No tree has this id.
pub const GATEWAY: u64 = 0;

/// The longest name of a unix socket, in bytes (`sun_path`).
pub const NAME_MAX: usize = 108;
/// The room for a name: a power of two, as the verifier wants to see it.
pub const NAME_BYTES: usize = 128;
/// How many names all policies together may list.
pub const NAMES_MAX: u32 = 16384;

/// What a unix socket is bound to, beneath a policy: the data of a key of a trie. A name that is
/// meant whole has all its bytes compared; of one that is a beginning, those it has.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnixName {
    /// The slot of the policy, big endian, so that it comes first.
    pub slot: [u8; 4],
    /// The name, with zeros behind it; an abstract one begins with a zero.
    pub name: [u8; NAME_BYTES],
}

impl UnixName {
    /// How many bits there are to compare.
    pub const BITS: u32 = (size_of::<UnixName>() * 8) as u32;

    /// A policy's name for sockets as a key: `/run/a.sock`, `/run/dir/*`, `@abstract`. `None` when it
    /// is longer than a socket's name can be.
    #[must_use]
    pub fn of_pattern(slot: u32, pattern: &str) -> Option<(u32, UnixName)> {
        let (text, whole) = match pattern.strip_suffix('*') {
            Some(beginning) => (beginning, false),
            None => (pattern, true),
        };
        if text.len() > NAME_MAX {
            return None;
        }
        let mut name = [0; NAME_BYTES];
        let room = name.get_mut(..text.len())?;
        room.copy_from_slice(text.as_bytes());
        if name[0] == b'@' {
            name[0] = 0;
        }
        let bits = if whole {
            UnixName::BITS
        } else {
            (4 + text.len() as u32) * 8
        };
        let slot = slot.to_be_bytes();
        Some((bits, UnixName { slot, name }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_unless_it_ends_with_a_star() {
        let (bits, whole) = UnixName::of_pattern(0x0102, "/run/a").unwrap();
        assert_eq!(bits, UnixName::BITS);
        assert_eq!(whole.slot, [0, 0, 1, 2]);
        assert_eq!(&whole.name[..7], b"/run/a\0");
        let (bits, beginning) = UnixName::of_pattern(0, "/run/*").unwrap();
        assert_eq!(bits, (4 + 5) * 8);
        assert_eq!(&beginning.name[..6], b"/run/\0");
        let (_, hidden) = UnixName::of_pattern(0, "@dbus").unwrap();
        assert_eq!(&hidden.name[..6], b"\0dbus\0");
        assert!(UnixName::of_pattern(0, &"a".repeat(NAME_MAX)).is_some());
        assert!(UnixName::of_pattern(0, &"a".repeat(NAME_MAX + 1)).is_none());
    }
}
