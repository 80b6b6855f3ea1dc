//! What is told of a command: everything but how it is done.

/// What is told of a command.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name, in lower case; that of a subcommand is `client|kill`.
    pub name: &'static str,
    /// How many arguments with the name: exactly so many, or at least that many if negative.
    pub arity: i64,
    /// Redis' flags, by name; and categories (`@keyspace`), if not that of the group.
    pub flags: &'static [&'static str],
    /// Where its keys stand: first, last (negative: from the end), step; all 0 for none.
    pub keys: Keys,
    /// The group it is documented in.
    pub group: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// How long it may take.
    pub speed: Speed,
    /// What its second word may be; nothing if it has no subcommands.
    pub subcommands: &'static [Description],
}

/// Where keys stand: first, last (negative: from the end), step.
pub type Keys = (i64, i64, i64);

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
    /// Where the keys stand in a request of so many arguments, the name included.
    pub(super) fn key_places(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = self.keys;
        let last = if last < 0 { count as i64 + last } else { last };
        let places = (first..=last).step_by(usize::try_from(step).unwrap_or(1).max(1));
        places.filter(move |_| first > 0).filter_map(|place| usize::try_from(place).ok())
    }

    /// Whether it may look at keys that it does not name.
    pub(super) fn reaches_any_key(&self) -> bool {
        self.keys == (0, 0, 0) && !["connection", "transactions"].contains(&self.group)
    }

    /// Whether it has this flag.
    pub(super) fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The name alone: `kill` of `client|kill`.
    pub(super) fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// Itself, or the subcommand that the next word of a request says, in any case; `None` if it
    /// has subcommands and none of that name.
    pub(super) fn asked_for(&'static self, word: Option<&[u8]>) -> Option<&'static Self> {
        let Some(word) = word.filter(|_| !self.subcommands.is_empty()) else { return Some(self) };
        let is_it = |about: &&Self| about.own_name().as_bytes().eq_ignore_ascii_case(word);
        self.subcommands.iter().find(is_it)
    }

    /// Whether it may be called with that many arguments, its name included.
    pub(super) fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }
}
