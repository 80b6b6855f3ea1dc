//! What can go wrong, sorted by who must act: the client, or the operator. A bug of ours panics.
//!
//! Invariants
//! - A message never echoes more than [`ECHO_BYTES_MAX`] bytes of what a client sent.
//! - An error is logged where it is handled, not on its way.

use std::{fmt, io, path::PathBuf};

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The most bytes of input that an error text repeats.
pub const ECHO_BYTES_MAX: usize = 128;

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// The client asked for what it may not have, and can ask again differently.
    Refused {
        /// The first word of a RESP error, as Redis uses it: `ERR`, `WRONGTYPE`, `NOSPACE`.
        code: &'static str,
        /// One sentence: what was wrong, where, and what would be right.
        why: String,
    },
    /// Bytes on disk are not the bytes we wrote; the operator restores a snapshot.
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What should have stood there.
        expected: String,
    },
    /// The machine failed us. After a failed sync the store takes no more writes.
    Io {
        /// What we were doing: "syncing the log".
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// A refusal with the common code `ERR`.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { code: "ERR", why: why.into() }
    }

    /// A refusal with a code of its own.
    pub fn refused_as(code: &'static str, why: impl Into<String>) -> Self {
        Self::Refused { code, why: why.into() }
    }

    /// Redis' refusal of whatever needs data that is not there yet.
    pub fn loading() -> Self {
        Self::refused_as("LOADING", "Redis is loading the dataset in memory")
    }

    /// Damage at `offset` of `path`.
    pub fn corrupt(path: impl Into<PathBuf>, offset: u64, expected: impl Into<String>) -> Self {
        Self::Corrupt { path: path.into(), offset, expected: expected.into() }
    }

    /// A failure of the machine: `.map_err(Error::io("opening the log", &path))`.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// The word a RESP error starts with.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Corrupt { .. } | Self::Io { .. } => "IOERR",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, .. } => f.write_str(why),
            Self::Corrupt { path, offset, expected } => {
                write!(f, "{} is damaged at byte {offset}: expected {expected}", path.display())
            }
            Self::Io { doing, path, source } => {
                write!(f, "{doing} {}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Refused { .. } | Self::Corrupt { .. } => None,
        }
    }
}

/// `bytes` as an error text may repeat them: printable, in quotes, and cut to [`ECHO_BYTES_MAX`].
pub fn echo(bytes: &[u8]) -> String {
    let cut = bytes.get(..ECHO_BYTES_MAX).unwrap_or(bytes);
    let dots = if cut.len() < bytes.len() { "..." } else { "" };
    let text = String::from_utf8_lossy(cut);
    let printable: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("'{printable}{dots}'")
}

/// A word in quotes as a text of Redis has it, cut to [`ECHO_BYTES_MAX`].
pub fn echo_word(word: &[u8]) -> String {
    format!("'{}'", one_line(word, ECHO_BYTES_MAX))
}

/// Bytes as a text of Redis has them: up to the first zero byte, cut, on one line.
pub fn one_line(bytes: &[u8], most: usize) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned();
    text.replace(['\r', '\n'], " ")
}

/// "; did you mean 'x'?" for the candidate nearest to `name`, or nothing if none is near. Comparing
/// takes memory by the product of the lengths, so a name longer than any text repeats is not.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    if name.len() > ECHO_BYTES_MAX {
        return String::new();
    }
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 3)
        .min();
    near.map(|(_, candidate)| format!("; did you mean '{candidate}'?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_never_repeats_more_than_128_bytes_nor_a_control_character() {
        assert_eq!(echo(b"a\r\nb"), "'a??b'");
        assert_eq!(echo_word(b"a\r\n\x01b\0c"), "'a  \x01b'");
        assert_eq!(echo_word(&[b'x'; 10_000]).len(), ECHO_BYTES_MAX + "''".len());
        assert!(echo(&[b'x'; 10_000]).len() <= ECHO_BYTES_MAX + "'...'".len());
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("flot64", ["float64", "int64"]), "; did you mean 'float64'?");
        assert_eq!(did_you_mean("zebra", ["float64", "int64"]), "");
        let long = "x".repeat(ECHO_BYTES_MAX + 1);
        assert_eq!(did_you_mean(&long, [long.as_str()]), "");
    }
}
