//! The eBPF objects that this binary carries, and their hashes.

/// Aligned, as the ELF reader wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static PLAIN: &Aligned<[u8]> = &Aligned(*include_bytes!("../object/gateway.bpf.o"));
static DEBUG: &Aligned<[u8]> = &Aligned(*include_bytes!("../object/gateway.debug.bpf.o"));

/// What `cargo xtask ebpf` wrote beside them: the SHA-256 of the objects and of their sources.
const SUMS: &str = include_str!("../object/gateway.bpf.sources.sha256");

/// One of the two objects, as `cargo xtask ebpf` built them from the same sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Says nothing: the one in use.
    Plain,
    /// Tells each decision about a governed process through aya-log.
    Debug,
}

impl Object {
    /// The ELF file.
    #[must_use]
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Object::Plain => &PLAIN.0,
            Object::Debug => &DEBUG.0,
        }
    }

    /// Its SHA-256, in hexadecimal. It names the set of links: a daemon with another object
    /// attaches its own programs before it drops the old ones.
    #[must_use]
    pub fn hash(self) -> &'static str {
        let name = match self {
            Object::Plain => "  gateway.bpf.o",
            Object::Debug => "  gateway.debug.bpf.o",
        };
        let digest = SUMS.lines().find_map(|line| line.strip_suffix(name));
        digest.unwrap_or("unknown")
    }

    pub(crate) fn short_hash(self) -> &'static str {
        self.hash().get(..16).unwrap_or("unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn each_object_has_a_hash_of_its_own() {
        assert_eq!(Object::Plain.hash().len(), 64);
        assert_eq!(Object::Debug.hash().len(), 64);
        assert_ne!(Object::Plain.hash(), Object::Debug.hash());
    }
}
