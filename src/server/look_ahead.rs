//! The rows that a pipeline will read, asked for before its requests are run.

use crate::command::App;
use nowthen_protocol::KeysAhead;

/// How far a connection has looked ahead in its input.
#[derive(Debug, Default)]
pub(super) struct LookAhead {
    end: usize,
}

impl LookAhead {
    /// The next request begins at `start`, with `input` from there on. If nobody has looked there
    /// yet, the rows of the next requests are asked for.
    #[inline]
    pub(super) fn reach(&mut self, app: &App, start: usize, input: &[u8]) {
        if start < self.end {
            return;
        }
        let mut ahead = app.store.keyspace().ahead();
        let mut keys = KeysAhead::new(input);
        while !ahead.is_full()
            && let Some(key) = keys.next()
        {
            ahead.push(key);
        }
        ahead.fetch();
        // What is no short request is stepped over by the parser alone.
        self.end = start + keys.position().max(1);
    }
}
