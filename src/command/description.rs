//! What is told of a command: everything but how it is done.

/// What is told of a command.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many arguments with the name: exactly so many, or at least that many if negative.
    pub arity: i64,
    /// Redis' flags, by name.
    pub flags: &'static [&'static str],
    /// Where its keys stand: first, last (negative: from the end), step; all 0 for none.
    pub keys: (i64, i64, i64),
    /// The group it is documented in.
    pub group: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// How long it may take.
    pub speed: Speed,
}

/// How long a command may take. What may take long runs beside the threads that serve connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Microseconds.
    Quick,
    /// As long as it takes to read files or to wait for the disk.
    Slow,
    /// Slow if this word is among its arguments.
    SlowWith(&'static str),
}

impl Description {
    /// Whether it may be called with that many arguments, its name included.
    pub(super) fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }
}
