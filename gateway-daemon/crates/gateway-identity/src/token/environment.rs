//! Values that a job has in its environment, where CI systems put tokens.
use procfs::process::Process;
use std::io::Read;
use std::path::PathBuf;

/// How much of an environment is read, in bytes. What is behind that is not found.
pub const ENVIRONMENT_BYTES_MAX: usize = 256 << 10;

/// The values of these variables in the environment that a process, of this pid and this start
/// (nanoseconds since boot) and of no other, was executed with. In the order of `names`; a
/// variable that is not there, is not text, or was cut off is left out. Of a name that is there twice the first counts, as for
/// getenv(3). `None`: the process is gone, or may not be read.
///
/// The process can write to the memory that this is read from, and may have borrowed what it
/// says: a token found here still has to be verified, and belongs to the first tree that has it.
#[must_use]
pub fn environment(pid: u32, start: u64, names: &[&str]) -> Option<Vec<(String, String)>> {
    let block = read(pid, start)?;
    let values = names.iter().filter_map(|name| {
        let value = value_of(&block, name)?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    Some(values.collect())
}

fn read(pid: u32, start: u64) -> Option<Vec<u8>> {
    // All reads go through one directory, which stays bound to the process that it was opened
    // for; but a pid that is reused before it is opened must be told by the start.
    let process = Process::new_with_root(PathBuf::from(format!("/proc/{pid}"))).ok()?;
    // One that has exited and was not waited for is still there, with an empty environment.
    let is_it = || {
        let ticks = crate::login::ticks(start, procfs::ticks_per_second());
        let stat = process.stat();
        stat.is_ok_and(|stat| stat.starttime == ticks && !matches!(stat.state, 'Z' | 'X'))
    };
    if !is_it() {
        return None;
    }
    let mut block = Vec::new();
    let file = process.open_relative("environ").ok()?;
    file.take(ENVIRONMENT_BYTES_MAX as u64)
        .read_to_end(&mut block)
        .ok()?;
    is_it().then_some(block)
}

fn value_of<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    // Each ends with a zero; what does not was cut off.
    let (whole, _) = block.split_at(block.iter().rposition(|byte| *byte == 0)?);
    let mut entries = whole.split(|byte| *byte == 0);
    let entry =
        entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    std::str::from_utf8(entry).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn child() -> (Child, u64) {
        let mut child = Command::new("cat")
            .env_clear()
            .envs([
                ("GATEWAY_ID_TOKEN", "a.b=.c"),
                ("GATEWAY_ID_TOKENS", "x"),
                ("E", ""),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat");
        // It answers: from here on it is cat, with the environment that cat has.
        let mut answer = [0];
        std::io::Write::write_all(child.stdin.as_mut().expect("stdin"), b"1").expect("write");
        let stdout = child.stdout.as_mut().expect("stdout");
        stdout.read_exact(&mut answer).expect("answer");
        let process = Process::new(child.id().cast_signed()).expect("process");
        let ticks = process.stat().expect("stat").starttime;
        (child, ticks * (1_000_000_000 / procfs::ticks_per_second()))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_job_is_asked_and_only_that_one() {
        let (mut child, start) = child();
        let pid = child.id();
        let ask = |start| environment(pid, start, &["E", "NO", "TOKEN", "GATEWAY_ID_TOKEN"]);
        assert_eq!(
            ask(start),
            Some(vec![pair("E", ""), pair("GATEWAY_ID_TOKEN", "a.b=.c")])
        );
        assert_eq!(ask(start + 1_000_000_000), None, "another process by now");
        drop(child.stdin.take());
        // Its output ends when it does, or a moment before.
        let mut rest = Vec::new();
        let stdout = child.stdout.as_mut().expect("stdout");
        stdout.read_to_end(&mut rest).expect("the end");
        let number = pid.cast_signed();
        while Process::new(number)
            .expect("a zombie")
            .stat()
            .expect("stat")
            .state
            != 'Z'
        {
            std::thread::yield_now();
        }
        assert_eq!(ask(start), None, "it has exited and was not waited for");
        child.wait().expect("wait");
        assert_eq!(ask(start), None, "gone");
    }

    #[test]
    fn what_is_cut_off_or_no_text_is_not_there() {
        assert_eq!(value_of(b"A=1\0B=22", "A"), Some("1"));
        assert_eq!(value_of(b"A=1\0B=22", "B"), None);
        assert_eq!(value_of(b"A=1\0A=2\0", "A"), Some("1"));
        assert_eq!(value_of(b"A=\xff\0", "A"), None);
        assert_eq!(value_of(b"", "A"), None);
    }
}
