//! The file that administrators write.
//!
//! ```toml
//! [[user]]
//! name = "alice@acme.com"         # or a whole principal id: "user:alice@acme.com", "ci:github:acme/api@refs/heads/main"
//! groups = ["engineering", "dba"] # without "group:"; without the key, those of SCIM
//! status = "active"               # or "offboarded"
//! local = "alice"                 # the local account of the same person: `local:alice`
//! ```
//!
//! A name without a colon is a person: `alice@acme.com` is `user:alice@acme.com`. Any other
//! principal can be listed by its whole id, so that a CI job can be offboarded too. Replace the file
//! by renaming a new one over it: one that is written in place is read half when the moment is bad,
//! and in force until the next look at it.
use super::DirectoryError;
use super::diagnostic::{Diagnostic, Places, quoted};
use super::entry::{Entry, Status};
use super::name::{Key, USER, fault, group_fault};
use crate::local::local_id;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const FILE_BYTES_MAX: u64 = 16 << 20;
const USERS_MAX: usize = 100_000;
const GROUPS_PER_USER_MAX: usize = 256;
/// The rest would not be read by anyone.
const DIAGNOSTICS_MAX: usize = 100;
const KEYS: [&str; 4] = ["name", "groups", "status", "local"];

/// One user of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The whole principal id.
    pub(super) name: Arc<str>,
    /// `None` without the key: then those of SCIM count.
    groups: Option<Vec<Arc<str>>>,
    status: Status,
}

impl Written {
    pub(super) fn entry(&self) -> Entry {
        let groups = self.groups.clone().unwrap_or_default();
        self.with(self.status, groups)
    }

    /// This user and what SCIM says of the same name.
    pub(super) fn united(&self, pushed: Entry) -> Entry {
        let offboarded = [self.status, pushed.status].contains(&Status::Offboarded);
        if offboarded {
            return self.with(Status::Offboarded, Vec::new());
        }
        self.with(Status::Active, self.groups.clone().unwrap_or(pushed.groups))
    }

    fn with(&self, status: Status, groups: Vec<Arc<str>>) -> Entry {
        Entry {
            known: true,
            status,
            groups: match status {
                Status::Active => groups,
                Status::Offboarded => Vec::new(),
            },
            user: Some(Arc::clone(&self.name)),
        }
    }
}

/// A directory file that has no mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryFile {
    /// By every id that leads to a user: its name, and its local account.
    users: BTreeMap<Arc<str>, Arc<Written>>,
}

impl DirectoryFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes.
    pub fn read(path: &Path) -> Result<DirectoryFile, DirectoryError> {
        let text = read(path).map_err(|reason| DirectoryError::Unreadable {
            file: path.to_owned(),
            reason,
        })?;
        DirectoryFile::parse(&path.to_string_lossy(), &text)
    }

    /// Takes the text of a file. `name` is for messages.
    ///
    /// # Errors
    /// [`DirectoryError::Mistakes`].
    pub fn parse(name: &str, text: &str) -> Result<DirectoryFile, DirectoryError> {
        let mut reader = Reader::new(name, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors.iter().take(DIAGNOSTICS_MAX) {
            reader.syntax(error);
        }
        if reader.mistakes.is_empty() {
            reader.document(document.get_ref(), text);
        }
        reader.finish()
    }

    pub(super) fn get(&self, key: &Key<'_>) -> Option<&Written> {
        self.users.get(key.as_str()).map(|written| &**written)
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of mtime and of ctime, which no user can set.
    times: [i64; 4],
}

impl Stamp {
    /// `None` when there is no such file.
    pub(super) fn of(path: &Path) -> Option<Stamp> {
        let about = fs::metadata(path).ok()?;
        Some(Stamp {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            times: [
                about.mtime(),
                about.mtime_nsec(),
                about.ctime(),
                about.ctime_nsec(),
            ],
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("it cannot be read: {error}");
    // Asked before it is opened, since opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is not a file (expected a regular file)".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 16 MiB (expected a smaller file)".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("byte {at} is not UTF-8 (expected UTF-8)")
    })
}

/// Reads user by user, and goes on after each mistake.
#[derive(Debug)]
struct Reader<'a> {
    file: Arc<str>,
    places: Places<'a>,
    mistakes: Vec<Diagnostic>,
    users: BTreeMap<Arc<str>, Arc<Written>>,
    /// Where each id was first given, by byte offset.
    given: BTreeMap<Arc<str>, usize>,
    /// Each group's name is kept once.
    groups: BTreeSet<Arc<str>>,
}

impl<'a> Reader<'a> {
    fn new(file: &str, text: &'a str) -> Reader<'a> {
        // The name is shown on terminals.
        let file: String = file
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        Reader {
            file: file.into(),
            places: Places::new(text),
            mistakes: Vec::new(),
            users: BTreeMap::new(),
            given: BTreeMap::new(),
            groups: BTreeSet::new(),
        }
    }

    fn finish(mut self) -> Result<DirectoryFile, DirectoryError> {
        if self.mistakes.is_empty() {
            return Ok(DirectoryFile { users: self.users });
        }
        self.mistakes.sort();
        self.mistakes.dedup();
        self.mistakes.truncate(DIAGNOSTICS_MAX);
        Err(DirectoryError::Mistakes(self.mistakes))
    }

    fn mistake(&mut self, span: &Range<usize>, message: String, expected: &str) {
        let (line, column) = self.places.of(span.start);
        self.mistakes.push(Diagnostic {
            file: Arc::clone(&self.file),
            line,
            column,
            message,
            expected: expected.to_owned(),
        });
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        match error.message().split_once(", expected ") {
            Some((message, expected)) => self.mistake(&span, message.to_owned(), expected),
            None if error.message() == "duplicate key" => {
                self.mistake(&span, "duplicate key".to_owned(), "each key once");
            }
            None => self.mistake(&span, error.message().to_owned(), "TOML"),
        }
    }

    fn document(&mut self, document: &DeTable<'_>, text: &str) {
        // What a crash or an editor leaves behind must not make everybody a stranger.
        if text.trim().is_empty() {
            self.mistake(
                &(0..0),
                "the file is empty".to_owned(),
                "[[user]], or a comment when there is nobody",
            );
        }
        for (key, value) in document {
            match (&**key.get_ref(), value.get_ref()) {
                ("user", DeValue::Array(users)) => self.all(users),
                ("user", other) => {
                    let message = format!("`user` is {}", kind(other));
                    self.mistake(&key.span(), message, "[[user]]");
                }
                (unknown, _) => {
                    let message = format!("the file has no key {}", quoted(unknown));
                    self.mistake(&key.span(), message, "[[user]]");
                }
            }
        }
    }

    fn all(&mut self, users: &[Spanned<DeValue<'_>>]) {
        if let Some(surplus) = users.get(USERS_MAX) {
            let message = format!("more than {USERS_MAX} users");
            self.mistake(&surplus.span(), message, "at most 100000");
        }
        for user in users.iter().take(USERS_MAX) {
            if self.mistakes.len() >= DIAGNOSTICS_MAX {
                return;
            }
            match user.get_ref() {
                DeValue::Table(table) => self.user(&user.span(), table),
                other => {
                    let message = format!("a user is {}", kind(other));
                    self.mistake(&user.span(), message, "a table");
                }
            }
        }
    }

    fn user(&mut self, span: &Range<usize>, table: &DeTable<'_>) {
        let (mut name, mut local, mut groups) = (None, None, None);
        let mut status = Status::Active;
        let mut named = false;
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => {
                    named = true;
                    name = self.name(value);
                }
                "groups" => groups = Some(self.group_names(value)),
                "status" => status = self.status(value),
                "local" => local = self.local(value),
                unknown => {
                    let message = format!("[[user]] has no key {}", quoted(unknown));
                    let expected = format!("one of `{}`", KEYS.join("`, `"));
                    self.mistake(&key.span(), message, &expected);
                }
            }
        }
        if !named {
            let message = "[[user]] has no `name`".to_owned();
            self.mistake(span, message, "`name`: the user's principal id");
        }
        let Some(name) = name else { return };
        let user = Arc::new(Written {
            name: Arc::clone(name.get_ref()),
            groups,
            status,
        });
        self.give(&name, "name", &user);
        if let Some(local) = local {
            self.give(&local, "local", &user);
        }
    }

    /// Lets an id lead to a user, unless it leads to one already.
    fn give(&mut self, id: &Spanned<Arc<str>>, key: &str, user: &Arc<Written>) {
        let shared = Key::of(id.get_ref()).shared();
        if let Some(first) = self.given.get(&shared) {
            let (line, _) = self.places.of(*first);
            let message = format!("`{key}`: {} was given on line {line}", quoted(id.get_ref()));
            self.mistake(&id.span(), message, "each principal once");
            return;
        }
        self.given.insert(Arc::clone(&shared), id.span().start);
        self.users.insert(shared, Arc::clone(user));
    }

    fn name(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Spanned<Arc<str>>> {
        const EXPECTED: &str = "a principal like \"alice@acme.com\" or \"user:alice@acme.com\", \
                                1 to 256 bytes on one line, without `*`";
        let text = self.text("name", value, EXPECTED)?;
        let fault = fault(text).or_else(|| scheme_fault(text));
        if let Some(fault) = fault {
            let message = format!("`name`: {} {fault}", quoted(text));
            self.mistake(&value.span(), message, EXPECTED);
            return None;
        }
        let id: Arc<str> = if text.contains(':') {
            text.into()
        } else {
            format!("{USER}{text}").into()
        };
        Some(Spanned::new(value.span(), id))
    }

    /// The principal id of a local account, in the form in which the kernel's word becomes one.
    fn local(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Spanned<Arc<str>>> {
        const EXPECTED: &str = "the name of a local account, like \"alice\"";
        let text = self.text("local", value, EXPECTED)?;
        let colon = text.contains(':').then_some("has a `:` in it");
        if let Some(fault) = fault(text).or(colon) {
            let message = format!("`local`: {} {fault}", quoted(text));
            self.mistake(&value.span(), message, EXPECTED);
            return None;
        }
        Some(Spanned::new(value.span(), local_id(0, Some(text)).into()))
    }

    fn status(&mut self, value: &Spanned<DeValue<'_>>) -> Status {
        const EXPECTED: &str = "\"active\" or \"offboarded\"";
        match self.text("status", value, EXPECTED) {
            None | Some("active") => Status::Active,
            Some("offboarded") => Status::Offboarded,
            Some(other) => {
                let message = format!("`status` is {}", quoted(other));
                self.mistake(&value.span(), message, EXPECTED);
                Status::Offboarded
            }
        }
    }

    fn group_names(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Arc<str>> {
        const EXPECTED: &str = "a list of names like [\"engineering\"]";
        let DeValue::Array(list) = value.get_ref() else {
            let message = format!("`groups` is {}", kind(value.get_ref()));
            self.mistake(&value.span(), message, EXPECTED);
            return Vec::new();
        };
        if let Some(surplus) = list.get(GROUPS_PER_USER_MAX) {
            let message = format!("more than {GROUPS_PER_USER_MAX} groups of one user");
            self.mistake(&surplus.span(), message, "at most 256");
        }
        let mut groups: Vec<Arc<str>> = Vec::new();
        for group in list.iter().take(GROUPS_PER_USER_MAX) {
            let group = self.group(group, EXPECTED);
            groups.extend(group.filter(|group| !groups.contains(group)));
        }
        groups
    }

    fn group(&mut self, value: &Spanned<DeValue<'_>>, expected: &str) -> Option<Arc<str>> {
        let text = self.text("groups", value, expected)?;
        if let Some(fault) = group_fault(text) {
            let message = format!("`groups`: {} {fault}", quoted(text));
            let expected = "a name of 1 to 256 bytes on one line, without `*` and without `group:`";
            self.mistake(&value.span(), message, expected);
            return None;
        }
        if let Some(known) = self.groups.get(text) {
            return Some(Arc::clone(known));
        }
        let group: Arc<str> = text.into();
        self.groups.insert(Arc::clone(&group));
        Some(group)
    }

    fn text<'v>(
        &mut self,
        key: &str,
        value: &'v Spanned<DeValue<'_>>,
        expected: &str,
    ) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            other => {
                let message = match key {
                    "groups" => format!("one of `groups` is {}", kind(other)),
                    _ => format!("`{key}` is {}", kind(other)),
                };
                self.mistake(&value.span(), message, expected);
                None
            }
        }
    }
}

/// What is wrong with a name that has a colon in it. It is a principal id, and one that nothing
/// could ever be called would be an offboarding without effect.
fn scheme_fault(text: &str) -> Option<&'static str> {
    let (scheme, rest) = text.split_once(':')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let local = |c: char| c.is_ascii_alphanumeric() || "._-@+$%#".contains(c);
    if scheme.is_empty() || !scheme.chars().all(plain) {
        Some("does not begin with a scheme in lower case")
    } else if rest.is_empty() {
        Some("has nothing behind its scheme")
    } else if scheme == "group" {
        Some("is a group")
    } else if scheme == "local" && !rest.chars().all(local) {
        Some("is not the form of a local principal")
    } else if rest.trim() != rest {
        Some("has a space behind its scheme")
    } else {
        None
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
