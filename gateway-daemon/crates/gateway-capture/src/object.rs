//! The eBPF object that this binary carries, and the hash of the sources that it was built from.

/// Aligned, as the ELF reader wants it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!("../object/gateway.bpf.o"));

/// The object, as `cargo xtask ebpf` built it.
pub static OBJECT: &[u8] = &BYTES.0;

/// What `cargo xtask ebpf` wrote beside it: the SHA-256 of the object and of its sources.
const SUMS: &str = include_str!("../object/gateway.bpf.sources.sha256");

/// The SHA-256 of the object, in hexadecimal. It names the set of links: a daemon with another
/// object attaches its own programs before it drops the old ones.
#[must_use]
pub fn object_hash() -> &'static str {
    let line = SUMS.lines().find(|line| line.ends_with("  gateway.bpf.o"));
    line.and_then(|line| line.split(' ').next())
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_object_has_a_hash() {
        assert_eq!(super::object_hash().len(), 64);
    }
}
