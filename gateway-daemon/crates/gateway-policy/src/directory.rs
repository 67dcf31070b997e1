//! Reads the policy directory: its `*.toml` files, each of them bounded.
use crate::diagnostic::{Diagnostic, Location, Source};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest policy file, in bytes.
pub const FILE_MAX: u64 = 1024 * 1024;
/// The most policy files in one directory.
pub const FILES_MAX: usize = 1024;

/// The policy directory cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the policy directory {path} cannot be read: {source}")]
pub struct DirectoryError {
    /// The directory.
    pub path: PathBuf,
    /// The system's words.
    pub source: io::Error,
}

/// The files of a directory by name: the text, or why there is none.
pub(crate) type Files = BTreeMap<Arc<str>, Result<Source, Diagnostic>>;

/// Reads the policy files of a directory. Names that begin with a dot (what editors leave behind)
/// and those that do not end with `.toml` are ignored, symbolic links are followed.
pub(crate) fn read(directory: &Path) -> Result<Files, DirectoryError> {
    let fault = |source| DirectoryError {
        path: directory.to_path_buf(),
        source,
    };
    let mut files = Files::new();
    for entry in fs::read_dir(directory).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") || !bytes.ends_with(b".toml") {
            continue;
        }
        if files.len() >= FILES_MAX {
            let message = format!("it holds more than {FILES_MAX} policy files");
            return Err(fault(io::Error::other(message)));
        }
        let path = directory.join(&name);
        let source = match name.to_str() {
            Some(_) => read_file(&path),
            // Two such names could look the same, and one file would hide the other.
            None => Err(Location::whole(path.to_string_lossy())
                .diagnostic("the name of the file is not UTF-8", "a name in UTF-8")),
        };
        files.insert(name.to_string_lossy().into(), source);
    }
    Ok(files)
}

/// Reads one policy file.
pub(crate) fn read_file(path: &Path) -> Result<Source, Diagnostic> {
    let shown: Arc<str> = path.to_string_lossy().into();
    let whole = |message: String, expected: &str| {
        Location::whole(Arc::clone(&shown)).diagnostic(message, expected)
    };
    let unreadable =
        |error: io::Error| whole(format!("it cannot be read: {error}"), "a readable file");
    // Asked before it is opened, since opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(whole("it is not a file".into(), "a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(whole(
            format!("it is larger than {FILE_MAX} bytes"),
            "a smaller file",
        ));
    }
    let (text, bad) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            (
                String::from_utf8_lossy(error.as_bytes()).into_owned(),
                Some(at),
            )
        }
    };
    let source = Source::new(Arc::clone(&shown), text);
    match bad {
        None => Ok(source),
        Some(at) => Err(source
            .location(at..at + 1)
            .diagnostic("a byte that is not UTF-8", "UTF-8")),
    }
}
