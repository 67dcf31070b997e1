//! The one place that reads /proc/PID. It only completes what the kernel reported.
use crate::event::ProcessKey;
use procfs::ProcError;
use procfs::process::Process;
use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How much of /proc/PID/cmdline is read: one byte more than is kept shows that it was cut.
const CMDLINE_BYTES_MAX: u64 = 4097;
/// How much of /proc/PID/status is read; the line `Uid:` stands in the first few hundred bytes.
const STATUS_BYTES_MAX: u64 = 4096;

/// How long a process's arguments are waited for. They lie in its own memory, whose lock it can
/// hold for as long as it likes; nothing else that is read here waits for the process.
const ARGUMENTS_PATIENCE: Duration = Duration::from_millis(100);
/// How many such reads may hang at a time. With this many, no arguments are read at all.
const HANGING_MAX: usize = 8;

/// How much to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Is it alive, where does it stand, what does it run: what never blocks.
    Place,
    /// Also its arguments and its user.
    Whole,
}

/// What /proc says about a process that is alive. The process can have changed most of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where `/proc/PID/exe` points.
    pub exe: Option<String>,
    /// `/proc/PID/cmdline`, each argument ended by NUL.
    pub argv: Vec<u8>,
    /// There was more.
    pub argv_cut: bool,
    /// Where `/proc/PID/cwd` points.
    pub cwd: Option<String>,
    /// Its effective user id.
    pub uid: Option<u32>,
    /// A hash of where its stack and code start, which exec places anew at random and fork copies:
    /// another value means that it executed a file in between. 0: not known.
    pub layout: u64,
}

/// The answer to a look into /proc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// This very process is alive.
    Alive(Facts),
    /// It is gone; its pid may belong to another by now.
    Gone,
    /// It could not be asked.
    Unknown,
}

impl Look {
    /// The facts, when there are some.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        match self {
            Look::Alive(facts) => Some(facts),
            Look::Gone | Look::Unknown => None,
        }
    }
}

/// Where facts about living processes come from.
pub trait ProcSource: Send + Sync {
    /// Asks about the process with this pid and this start, and about no other.
    fn look(&self, key: ProcessKey, depth: Depth) -> Look;
}

/// The real /proc, mounted without a pid namespace of its own.
#[derive(Debug)]
pub struct SystemProc {
    root: PathBuf,
    ticks_per_second: u64,
    /// One reference for each read of arguments that is under way.
    reading: Arc<()>,
}

impl SystemProc {
    /// Reads `/proc`.
    #[must_use]
    pub fn new() -> SystemProc {
        SystemProc {
            root: PathBuf::from("/proc"),
            ticks_per_second: procfs::ticks_per_second(),
            reading: Arc::new(()),
        }
    }

    fn read(&self, key: ProcessKey, depth: Depth) -> Result<Option<Facts>, ProcError> {
        // The directory stays bound to this process: after its end, reads fail instead of
        // reaching the next owner of the pid.
        let process = Process::new_with_root(self.root.join(key.pid.to_string()))?;
        let stat = process.stat()?;
        // A leader that ended before its threads is a zombie too; the process lives.
        let ended = matches!(stat.state, 'Z' | 'X') && stat.num_threads <= 1;
        if ended || stat.starttime != ticks(key.start, self.ticks_per_second) {
            return Ok(None);
        }
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut facts = Facts {
            exe: process.exe().ok().map(text),
            cwd: process.cwd().ok().map(text),
            layout: layout(stat.startcode, stat.startstack),
            ..Facts::default()
        };
        if depth == Depth::Whole {
            facts.uid = read_uid(&process);
            self.read_arguments(&process, &mut facts);
        }
        Ok(Some(facts))
    }

    fn read_arguments(&self, process: &Process, facts: &mut Facts) {
        let Ok(file) = process.open_relative("cmdline") else {
            return;
        };
        let Some(argv) = self.read_patiently(file, ARGUMENTS_PATIENCE) else {
            facts.argv_cut = true;
            return;
        };
        facts.argv = argv;
        facts.argv_cut = facts.argv.len() as u64 >= CMDLINE_BYTES_MAX;
        facts.argv.truncate(crate::image::ARGV_BYTES_MAX);
    }

    /// Reads on a thread of its own, which is left alone when it takes too long.
    fn read_patiently(&self, file: File, patience: Duration) -> Option<Vec<u8>> {
        if Arc::strong_count(&self.reading) > HANGING_MAX {
            return None;
        }
        let reading = Arc::clone(&self.reading);
        let (sender, receiver) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("cmdline".to_owned())
            .stack_size(64 << 10);
        let read = move || {
            let mut contents = Vec::new();
            let read = file.take(CMDLINE_BYTES_MAX).read_to_end(&mut contents);
            // Nobody may be waiting any more.
            let _ = sender.send(read.map(|_| contents));
            drop(reading);
        };
        thread.spawn(read).ok()?;
        receiver.recv_timeout(patience).ok()?.ok()
    }
}

impl Default for SystemProc {
    fn default() -> Self {
        SystemProc::new()
    }
}

impl ProcSource for SystemProc {
    fn look(&self, key: ProcessKey, depth: Depth) -> Look {
        match self.read(key, depth) {
            Ok(Some(facts)) => Look::Alive(facts),
            Ok(None) | Err(ProcError::NotFound(_)) => Look::Gone,
            Err(ProcError::Io(error, _)) if error.raw_os_error() == Some(ESRCH) => Look::Gone,
            Err(_) => Look::Unknown,
        }
    }
}

/// What a read from a /proc directory fails with once its process is gone.
const ESRCH: i32 = 3;

/// Nanoseconds since boot as /proc/PID/stat shows them (kernel: `nsec_to_clock_t`).
fn ticks(nanoseconds: u64, ticks_per_second: u64) -> u64 {
    let ticks = u128::from(nanoseconds) * u128::from(ticks_per_second) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

fn layout(startcode: u64, startstack: u64) -> u64 {
    // The kernel shows 0 or 1 to those who may not know.
    if startstack <= 1 {
        return 0;
    }
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write_u64(startcode);
    hasher.write_u64(startstack);
    hasher.finish().max(1)
}

/// Not through the library's parser: it fails on a name that is not UTF-8, which every process can
/// give itself. The kernel escapes line ends in the name, so no other line can begin with `Uid:`.
fn read_uid(process: &Process) -> Option<u32> {
    let mut status = Vec::new();
    process
        .open_relative("status")
        .ok()?
        .take(STATUS_BYTES_MAX)
        .read_to_end(&mut status)
        .ok()?;
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))?;
    // Real, effective, saved, file system.
    std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Sleeper {
            Sleeper(
                Command::new("sleep")
                    .arg("1000")
                    .current_dir("/usr")
                    .spawn()
                    .expect("sleep"),
            )
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().expect("kill");
            self.0.wait().expect("wait");
        }
    }

    /// A start time that the kernel would show as this process's.
    fn key_of(pid: u32) -> ProcessKey {
        let stat = Process::new(pid.cast_signed())
            .and_then(|process| process.stat())
            .expect("stat");
        ProcessKey::new(
            pid,
            stat.starttime * (1_000_000_000 / procfs::ticks_per_second()) + 1,
        )
    }

    #[test]
    fn start_times_compare_in_ticks() {
        for (nanoseconds, expected) in [
            (0, 0),
            (9_999_999, 0),
            (10_000_000, 1),
            (19_999_999, 1),
            (u64::MAX, 1_844_674_407_370),
        ] {
            assert_eq!(ticks(nanoseconds, 100), expected);
        }
        assert_eq!(
            ticks(u64::MAX, u64::MAX),
            u64::MAX,
            "no overflow on a strange clock"
        );
    }

    #[test]
    fn a_living_process_is_described_and_another_start_is_another_process() {
        let sleeper = Sleeper::new();
        let key = key_of(sleeper.0.id());
        let proc = SystemProc::new();
        // `spawn` returns while the exec is still under way, and the kernel sets the arguments
        // before the start of the code (load_elf_binary).
        let patience = std::time::Instant::now();
        let facts = loop {
            match proc.look(key, Depth::Whole) {
                Look::Alive(facts) if facts.argv.starts_with(b"sleep") && facts.layout != 0 => {
                    break facts;
                }
                look => assert!(patience.elapsed().as_secs() < 10, "{look:?}"),
            }
        };
        assert_eq!(facts.argv, b"sleep\x001000\0");
        assert_eq!(facts.cwd.as_deref(), Some("/usr"));
        assert!(
            facts
                .exe
                .as_deref()
                .is_some_and(|exe| exe.ends_with("sleep")),
            "{:?}",
            facts.exe
        );
        assert_eq!(facts.uid, Some(own_uid()));
        assert!(!facts.argv_cut);

        let other = ProcessKey::new(key.pid, key.start + 10_000_000);
        assert_eq!(proc.look(other, Depth::Whole), Look::Gone);
    }

    fn own_uid() -> u32 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata("/proc/self").expect("self").uid()
    }

    #[test]
    fn the_ended_are_gone_also_before_they_are_reaped() {
        let mut sleeper = Sleeper::new();
        let key = key_of(sleeper.0.id());
        sleeper.0.kill().expect("kill");
        let proc = SystemProc::new();
        let patience = std::time::Instant::now();
        while proc.look(key, Depth::Place) != Look::Gone {
            assert!(
                patience.elapsed().as_secs() < 10,
                "a zombie still counts as alive"
            );
            std::thread::yield_now();
        }
        sleeper.0.wait().expect("wait");
        assert_eq!(proc.look(key, Depth::Whole), Look::Gone);
    }

    #[test]
    fn a_process_that_does_not_let_its_arguments_be_read_holds_nobody_up() {
        let proc = SystemProc::new();
        let patience = Duration::from_millis(5);
        let mut held = Vec::new();
        for _ in 0..HANGING_MAX {
            let (reader, writer) = std::io::pipe().expect("pipe");
            held.push(writer);
            assert_eq!(
                proc.read_patiently(std::os::fd::OwnedFd::from(reader).into(), patience),
                None
            );
        }
        let begun = std::time::Instant::now();
        let plain = || File::open("/proc/self/cmdline").expect("own arguments");
        let long = Duration::from_secs(100);
        assert_eq!(
            proc.read_patiently(plain(), long),
            None,
            "no further threads"
        );
        assert!(begun.elapsed() < long);
        drop(held);
        while Arc::strong_count(&proc.reading) > 1 {
            assert!(
                begun.elapsed().as_secs() < 10,
                "the hanging reads never end"
            );
            std::thread::yield_now();
        }
        assert!(
            proc.read_patiently(plain(), long)
                .is_some_and(|argv| !argv.is_empty())
        );
    }

    #[test]
    fn exec_changes_the_layout() {
        let mut child = Command::new("sh")
            .args(["-c", "read x; exec sleep 1000"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sh");
        let key = key_of(child.id());
        let proc = SystemProc::new();
        let layout = |proc: &SystemProc| match proc.look(key, Depth::Place) {
            Look::Alive(facts) => (facts.layout, facts.exe.unwrap_or_default()),
            look => panic!("{look:?}"),
        };
        // In the middle of an exec the layout is not known, and one look may take the layout from
        // before it and the name from after it.
        let patience = std::time::Instant::now();
        let wait_for = |file: &str, old: u64| loop {
            match layout(&proc) {
                (new, exe) if new != 0 && new != old && exe.ends_with(file) => break new,
                found => assert!(patience.elapsed().as_secs() < 10, "{file}: {found:?}"),
            }
            std::thread::yield_now();
        };
        let before = wait_for("sh", 0);
        drop(child.stdin.take());
        wait_for("sleep", before);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}
