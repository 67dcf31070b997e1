//! What this host is: the kernel's version, the boot, the clocks.
use crate::error::CaptureError;
use nix::time::{ClockId, clock_gettime};
use std::path::Path;

/// The oldest kernel that the programs were tested on.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Where a bpffs is on every host; the kernel makes the directory.
const BPFFS: &str = "/sys/fs/bpf";

/// Refuses a kernel that is too old. Gives what it calls itself.
///
/// # Errors
/// It is.
pub fn check_kernel() -> Result<String, CaptureError> {
    let name = nix::sys::utsname::uname()
        .map_err(|error| CaptureError::new("ask for the kernel's version", &error))?;
    let release = name.release().to_string_lossy().into_owned();
    if parse_release(&release).is_some_and(|version| version >= KERNEL_MIN) {
        return Ok(release);
    }
    Err(CaptureError::KernelTooOld { found: release })
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A number that differs from boot to boot.
///
/// # Errors
/// /proc is not there.
pub fn boot_salt() -> Result<u64, CaptureError> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_err(|error| CaptureError::new("read the boot id", &error))?;
    Ok(fnv1a(id.trim().as_bytes()))
}

/// FNV-1a, 64 bits: a stable hash for names that are kept in pinned maps. Never 0.
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.max(1)
}

/// Nanoseconds between the Unix epoch and the boot, so that the kernel's times can be told as times
/// of day.
///
/// # Errors
/// The clocks cannot be read.
pub fn boot_epoch_ns() -> Result<u64, CaptureError> {
    let read = |clock| {
        let time =
            clock_gettime(clock).map_err(|error| CaptureError::new("read a clock", &error))?;
        Ok::<_, CaptureError>(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    };
    Ok(read(ClockId::CLOCK_REALTIME)?.saturating_sub(read(ClockId::CLOCK_BOOTTIME)?))
}

/// The largest process id plus one.
pub(crate) fn pid_max() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(4_194_304)
}

/// Where a bpffs belongs so that this directory is on it.
pub(crate) fn bpffs_place(directory: &Path) -> &Path {
    let standard = Path::new(BPFFS);
    if directory.starts_with(standard) {
        standard
    } else {
        directory
    }
}

/// Makes a directory on a bpffs: mounts one where there is none.
///
/// # Errors
/// It cannot be made or mounted.
pub(crate) fn make_bpffs(directory: &Path) -> Result<(), CaptureError> {
    use nix::mount::{MsFlags, mount};
    use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
    let place = bpffs_place(directory);
    if place != Path::new(BPFFS) {
        std::fs::create_dir_all(place)
            .map_err(|error| CaptureError::new(format!("make {}", place.display()), &error))?;
    }
    let is_bpffs = statfs(place)
        .map_err(|error| CaptureError::new(format!("look at {}", place.display()), &error))?
        .filesystem_type()
        == BPF_FS_MAGIC;
    if !is_bpffs {
        let what = || format!("mount a bpf file system on {}", place.display());
        mount(
            Some("bpf"),
            place,
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .map_err(|error| CaptureError::new(what(), &std::io::Error::from(error)))?;
    }
    std::fs::create_dir_all(directory)
        .map_err(|error| CaptureError::new(format!("make {}", directory.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_not_texts() {
        assert_eq!(parse_release("6.1.0-30-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_release("6.12+deb"), Some((6, 12)));
        assert!(parse_release("5.15.0") < Some(KERNEL_MIN));
        assert!(parse_release("6.10.0") >= Some(KERNEL_MIN));
        assert_eq!(parse_release("what"), None);
    }

    #[test]
    fn the_boot_is_in_the_past() {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert!(boot_epoch_ns().unwrap() < now.as_nanos() as u64);
        assert_ne!(boot_salt().unwrap(), 0);
    }
}
