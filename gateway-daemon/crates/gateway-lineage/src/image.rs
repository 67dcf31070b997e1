//! What a process last executed: shared by all that were forked from it since.
use crate::proc::Facts;
use gateway_core::TreeId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest file name and directory that are kept: the kernel's `PATH_MAX`.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
/// How much of the arguments is kept.
pub(crate) const ARGV_BYTES_MAX: usize = 4096;
/// How much of a file name is kept when the memory for details is used up.
const SCARCE_BYTES_MAX: usize = 255;

/// What a process was when it last executed a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// The file; empty when unknown.
    pub exe: Arc<str>,
    /// The arguments, each ended by NUL: as a list they would take twenty times the memory.
    pub argv: Box<str>,
    /// There were more.
    pub argv_cut: bool,
    /// The working directory, where it could still be asked.
    pub cwd: Option<Arc<str>>,
    /// Distinguishes one exec from the next without having seen it: see [`Facts::layout`].
    pub layout: u64,
}

impl Image {
    /// From the report of an exec, completed by what /proc says about the process right now.
    pub(crate) fn from_exec(
        file: &[u8],
        argv: &[u8],
        argv_cut: bool,
        facts: Option<&Facts>,
    ) -> Image {
        let (argv, cut_here) = text_of_arguments(argv);
        let cwd = facts.and_then(|facts| facts.cwd.as_deref());
        let link = facts.and_then(|facts| facts.exe.as_deref());
        Image {
            exe: choose_file(&text_of(file), link, cwd).into(),
            argv,
            argv_cut: argv_cut || cut_here,
            cwd: cwd.map(|cwd| cut(cwd, PATH_BYTES_MAX).into()),
            layout: facts.map_or(0, |facts| facts.layout),
        }
    }

    /// From /proc alone. `None` when even that knows no file.
    pub(crate) fn from_facts(facts: &Facts) -> Option<Image> {
        let exe = undeleted(facts.exe.as_deref()?);
        let (argv, cut_here) = text_of_arguments(&facts.argv);
        Some(Image {
            exe: cut(exe, PATH_BYTES_MAX).into(),
            argv,
            argv_cut: facts.argv_cut || cut_here,
            cwd: facts
                .cwd
                .as_deref()
                .map(|cwd| cut(cwd, PATH_BYTES_MAX).into()),
            layout: facts.layout,
        })
    }

    /// What it costs in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.exe.len() + self.argv.len() + self.cwd.as_ref().map_or(0, |cwd| cwd.len())
    }

    /// Drops everything but a short form of the file name.
    pub(crate) fn make_scarce(&mut self) {
        if self.exe.len() > SCARCE_BYTES_MAX {
            self.exe = tail(&self.exe, SCARCE_BYTES_MAX).into();
        }
        self.argv_cut |= !self.argv.is_empty();
        self.argv = Box::default();
        self.cwd = None;
    }

    /// The arguments one by one.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &str> {
        let ended = self.argv.strip_suffix('\0');
        ended.into_iter().flat_map(|argv| argv.split('\0'))
    }
}

/// An image with what the table needs to know about it.
#[derive(Debug)]
pub(crate) struct Held {
    pub image: Arc<Image>,
    /// Names it in the state file; never used twice.
    pub serial: u64,
    /// How many processes refer to it.
    pub references: u32,
    /// The tree that pays for its memory.
    pub tree: TreeId,
    /// It is in the state file.
    pub saved: bool,
}

fn text_of(bytes: &[u8]) -> String {
    let bytes = bytes.get(..PATH_BYTES_MAX).unwrap_or(bytes);
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Text of at most [`ARGV_BYTES_MAX`] bytes that ends in NUL, or is empty; and whether it was cut.
fn text_of_arguments(bytes: &[u8]) -> (Box<str>, bool) {
    let whole = bytes.len() <= ARGV_BYTES_MAX;
    let bytes = bytes.get(..ARGV_BYTES_MAX).unwrap_or(bytes);
    if bytes.is_empty() {
        return (Box::default(), false);
    }
    let text = String::from_utf8_lossy(bytes);
    // A replaced byte grows to three, so the text is cut once more.
    let kept = cut(&text, ARGV_BYTES_MAX);
    let cut_here = !whole || kept.len() < text.len();
    let mut kept = kept.to_owned();
    if !kept.ends_with('\0') {
        kept.push('\0');
    }
    (kept.into_boxed_str(), cut_here)
}

/// The longest prefix of at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// The longest suffix of at most `bytes_max` bytes: of a path, the end says more.
fn tail(text: &str, bytes_max: usize) -> &str {
    let start = (text.len().saturating_sub(bytes_max)..=text.len())
        .find(|&start| text.is_char_boundary(start));
    start
        .and_then(|start| text.get(start..))
        .unwrap_or_default()
}

fn undeleted(link: &str) -> &str {
    link.strip_suffix(" (deleted)").unwrap_or(link)
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The file that was executed, in its clearest form.
///
/// The exec report names the file as the caller gave it; the link in /proc is absolute and free of
/// symbolic links, but for a script it names the interpreter. So the link counts where it names the
/// same last component, or where the report has only a descriptor's number. Paths are compared as
/// text: following one would let a process hang us on a file system of its own.
fn choose_file(file: &str, link: Option<&str>, cwd: Option<&str>) -> String {
    if let Some(link) = link {
        let undeleted = undeleted(link);
        if !file.is_empty() && last_component(file) == last_component(link) {
            return link.to_owned();
        }
        let by_number =
            file.is_empty() || file.starts_with("/dev/fd/") || file.starts_with("/proc/self/fd/");
        if by_number || last_component(file) == last_component(undeleted) {
            return undeleted.to_owned();
        }
    }
    match cwd {
        Some(cwd) if !file.starts_with('/') && !file.is_empty() => {
            let file = file.strip_prefix("./").unwrap_or(file);
            let separator = if cwd.ends_with('/') { "" } else { "/" };
            cut(&format!("{cwd}{separator}{file}"), PATH_BYTES_MAX).to_owned()
        }
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_as_clearly_as_is_true() {
        let cases: &[(&str, Option<&str>, Option<&str>, &str)] = &[
            // file in the report, link in /proc, cwd, expected
            ("/usr/bin/psql", None, None, "/usr/bin/psql"),
            ("/bin/ls", Some("/usr/bin/ls"), None, "/usr/bin/ls"),
            (
                "./job.sh",
                Some("/usr/bin/bash"),
                Some("/srv/ci"),
                "/srv/ci/job.sh",
            ),
            ("job.sh", Some("/usr/bin/bash"), Some("/"), "/job.sh"),
            (
                "/srv/job.sh",
                Some("/usr/bin/dash"),
                Some("/x"),
                "/srv/job.sh",
            ),
            (
                "./tool",
                Some("/srv/ci/tool"),
                Some("/srv/ci"),
                "/srv/ci/tool",
            ),
            ("./tool", None, None, "./tool"),
            (
                "/tmp/x/tool",
                Some("/tmp/x/tool (deleted)"),
                None,
                "/tmp/x/tool",
            ),
            (
                "/tmp/a (deleted)",
                Some("/tmp/a (deleted)"),
                None,
                "/tmp/a (deleted)",
            ),
            (
                "/dev/fd/3",
                Some("/memfd:agent (deleted)"),
                None,
                "/memfd:agent",
            ),
            ("", Some("/usr/bin/runc"), None, "/usr/bin/runc"),
            ("", None, Some("/srv"), ""),
            // vi is a link to vim.basic: the names differ, so the report counts.
            (
                "/usr/bin/vi",
                Some("/usr/bin/vim.basic"),
                None,
                "/usr/bin/vi",
            ),
        ];
        for (file, link, cwd, expected) in cases {
            assert_eq!(
                choose_file(file, *link, *cwd),
                *expected,
                "{file} {link:?} {cwd:?}"
            );
        }
    }

    #[test]
    fn arguments_are_cut_at_a_bound_and_never_inside_a_character() {
        let image = |argv: &[u8], cut| Image::from_exec(b"/x", argv, cut, None);
        let list = |image: &Image| image.arguments().map(str::to_owned).collect::<Vec<_>>();

        let plain = image(b"psql\0-c\0\0select 1\0", false);
        assert_eq!(list(&plain), ["psql", "-c", "", "select 1"]);
        assert!(!plain.argv_cut);

        assert!(list(&image(b"", false)).is_empty());
        assert_eq!(list(&image(b"\0", false)), [""], "one empty argument");
        assert_eq!(list(&image(b"unended", true)), ["unended"]);

        let long = image(&[b'a'; 5000], false);
        assert!(long.argv_cut);
        assert!(long.argv.len() <= ARGV_BYTES_MAX + 1);

        let broken = image(&[0xff; 4096], false);
        assert!(broken.argv_cut, "each byte became three, so some had to go");
        assert!(broken.argv.len() <= ARGV_BYTES_MAX + 1);
        assert!(
            list(&broken)
                .iter()
                .all(|text| text.chars().all(|c| c == '\u{fffd}'))
        );
    }

    #[test]
    fn a_scarce_image_is_small_and_says_so() {
        let file = [b"/".as_slice(), &[b'd'; 300], b"/tool"].concat();
        let mut image = Image::from_exec(&file, b"tool\0secret\0", false, None);
        image.make_scarce();
        assert!(image.exe.ends_with("/tool"));
        assert!(image.bytes() <= SCARCE_BYTES_MAX);
        assert!(image.argv_cut);
        assert_eq!(image.arguments().count(), 0);
    }
}
