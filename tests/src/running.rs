//! Other programs: started, watched, and never left behind.
//!
//! Output goes to files and not through pipes: a grandchild that outlives its parent cannot keep us
//! waiting, and no output is too large.
use crate::wait;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Long enough for everything that is not meant to be long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a program left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run, for messages.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Its exit code; 128 + signal when a signal ended it, as shells say it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Itself, when it ended well.
    ///
    /// # Errors
    /// It did not; the error quotes what it wrote.
    pub fn success(self) -> Result<Outcome> {
        if self.status.success() {
            return Ok(self);
        }
        bail!(
            "`{}` failed: {}\nstdout: {}\nstderr: {}",
            self.line,
            self.status,
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }
}

fn tail(text: &str) -> &str {
    let text = text.trim_end();
    let cut = text.len().saturating_sub(4000);
    let start = (cut..text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len());
    &text[start..]
}

/// A program that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    line: String,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

impl Running {
    /// Starts it, without standard input unless the command has one.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Running> {
        command.stdin(Stdio::null());
        Running::start_with_input(command)
    }

    /// Starts it with the standard input that the command has.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_with_input(command: &mut Command) -> Result<Running> {
        let line = shown(command);
        let stdout = output_file()?;
        let stderr = output_file()?;
        let child = command
            .stdout(stdout.reopen()?)
            .stderr(stderr.reopen()?)
            .spawn()
            .with_context(|| format!("`{line}`"))?;
        Ok(Running {
            child,
            line,
            stdout,
            stderr,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once, when it has one.
    pub fn take_stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("{signal} for `{}`", self.line))
    }

    /// Waits until its standard output has a line that contains `text`.
    ///
    /// # Errors
    /// It does not come in time, or the program ended before.
    pub fn wait_for_output(&mut self, text: &str, limit: Duration) -> Result<()> {
        let line = self.line.clone();
        let mut ended = false;
        let found = wait::until(&format!("{text:?} from `{line}`"), limit, || {
            if self.stdout().contains(text) {
                return Some(true);
            }
            // One more look after the end: the text may have come with it.
            std::mem::replace(&mut ended, self.has_ended()).then_some(false)
        });
        match found {
            Ok(true) => Ok(()),
            Ok(false) => bail!(
                "`{line}` ended without {text:?}\nstderr: {}",
                tail(&self.stderr())
            ),
            Err(error) => Err(error.context(format!("stderr: {}", tail(&self.stderr())))),
        }
    }

    /// Waits until it, or something that it left behind, has written this to standard output.
    ///
    /// # Errors
    /// That does not happen in time; the error quotes what it wrote to standard error.
    pub fn wait_for_output_of(&self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("{text:?} from `{}` and its children", self.line);
        let written = wait::until_true(&what, limit, || self.stdout().contains(text));
        written.with_context(|| format!("stderr: {}", tail(&self.stderr())))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It did not end in time; it is killed.
    pub fn wait(mut self, limit: Duration) -> Result<Outcome> {
        let waited = wait::until(&format!("the end of `{}`", self.line), limit, || {
            self.child.try_wait().transpose()
        });
        match waited {
            Ok(status) => Ok(Outcome {
                line: std::mem::take(&mut self.line),
                status: status?,
                stdout: self.stdout(),
                stderr: self.stderr(),
            }),
            Err(error) => Err(error.context(format!(
                "stdout: {}\nstderr: {}",
                tail(&self.stdout()),
                tail(&self.stderr())
            ))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs to the end with this on its standard input, for at most [`PATIENCE`].
///
/// # Errors
/// It cannot be started, or does not end.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Outcome> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.rewind()?;
    Running::start_with_input(command.stdin(file))?.wait(PATIENCE)
}

/// Runs to the end, for at most [`PATIENCE`].
///
/// # Errors
/// It cannot be started, or does not end.
pub fn run(command: &mut Command) -> Result<Outcome> {
    Running::start(command)?.wait(PATIENCE)
}

fn output_file() -> Result<NamedTempFile> {
    let prefix = format!("{}-", crate::place::unique_name());
    Ok(NamedTempFile::with_prefix(prefix)?)
}

fn read(file: &NamedTempFile) -> String {
    fs::read(file.path())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// A command as a person would type it; of an argument that is a whole program, its first line.
#[must_use]
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(abridged).collect::<Vec<_>>().join(" ")
}

fn abridged(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    match word.trim_start().split_once('\n') {
        Some((first, _)) => format!("'{first} …'"),
        None => word.into_owned(),
    }
}
