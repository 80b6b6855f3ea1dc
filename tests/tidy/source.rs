//! A source file as tokens: enough of Rust's grammar to tell code from text, and no more.
//!
//! Invariants
//! - Comments are kept aside, literals become one empty token: no rule reads a word in a text.
//! - Asking beyond the end gives an empty token, so rules need no bounds of their own.
//!
//! Not here: what the tokens may say (`../tidy.rs`, `rooms.rs`).

use std::ops::Range;

/// A word, `::`, or a single sign; or the text of a comment.
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) comments: Vec<Token<'a>>,
    /// The modules from the root of the crate: `src/log/local/reader.rs` is `log local reader`.
    pub(super) module: Vec<&'a str>,
    /// Where `#[cfg(test)] mod ... { }` stand.
    pub(super) tests: Vec<Range<usize>>,
}

impl<'a> File<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        let (tokens, comments) = Scanner { rest: text, line: 1 }.scan();
        let inner = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
        let module = inner.split('/').filter(|step| *step != "mod").collect();
        let mut file = File { path, text, tokens, comments, module, tests: Vec::new() };
        file.tests = file.find_tests();
        file
    }

    pub(super) fn room(&self) -> &'a str {
        self.module.first().copied().unwrap_or_default()
    }

    pub(super) fn at(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    pub(super) fn before(&self, at: usize, count: usize) -> &'a str {
        at.checked_sub(count).map_or("", |at| self.at(at))
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(1, |token| token.line)
    }

    /// How many lines a range of tokens stands on.
    pub(super) fn lines(&self, range: &Range<usize>) -> usize {
        self.line(range.end.saturating_sub(1)) + 1 - self.line(range.start)
    }

    /// The place behind the brace or bracket that closes the one at `open`.
    pub(super) fn behind_brace(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.tokens.len() {
            match self.at(at) {
                "{" | "[" | "(" => depth += 1,
                "}" | "]" | ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    /// Behind `#[...]` or `#![...]`.
    pub(super) fn behind_attribute(&self, at: usize) -> usize {
        self.behind_brace(at + if self.at(at + 1) == "!" { 2 } else { 1 })
    }

    /// Behind `pub` or `pub(...)`, or where it was if there is none.
    pub(super) fn behind_visibility(&self, at: usize) -> usize {
        match (self.at(at), self.at(at + 1)) {
            ("pub", "(") => self.behind_brace(at + 1),
            ("pub", _) => at + 1,
            _ => at,
        }
    }

    pub(super) fn is_cfg_test(&self, at: usize) -> bool {
        ["#", "[", "cfg", "(", "test", ")", "]"]
            .iter()
            .enumerate()
            .all(|(index, sign)| self.at(at + index) == *sign)
    }

    /// The names of the modules, written in this file, that a place stands in.
    pub(super) fn inline_modules(&self, place: usize) -> Vec<&'a str> {
        let around = |at: &usize| {
            let is_module = self.at(*at) == "mod" && self.at(at + 2) == "{";
            is_module && self.behind_brace(at + 2) > place
        };
        (0..place).filter(around).map(|at| self.at(at + 1)).collect()
    }

    fn find_tests(&self) -> Vec<Range<usize>> {
        let mut tests = Vec::new();
        for start in (0..self.tokens.len()).filter(|at| self.is_cfg_test(*at)) {
            let mut at = start;
            while self.at(at) == "#" {
                at = self.behind_attribute(at);
            }
            at = self.behind_visibility(at);
            if self.at(at) == "mod" && self.at(at + 2) == "{" {
                tests.push(start..self.behind_brace(at + 2));
            }
        }
        tests
    }
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn scan(mut self) -> (Vec<Token<'a>>, Vec<Token<'a>>) {
        let (mut tokens, mut comments) = (Vec::new(), Vec::new());
        while let Some(first) = self.rest.chars().next() {
            let line = self.line;
            let kind = self.kind(first);
            let text = self.take(kind.bytes());
            match kind {
                Kind::Space(_) => {}
                Kind::Comment(_) => comments.push(Token { text, line }),
                Kind::Literal(_) => tokens.push(Token { text: "\"\"", line }),
                Kind::Code(_) => tokens.push(Token { text, line }),
            }
        }
        (tokens, comments)
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (text, rest) = self.rest.split_at(bytes.clamp(1, self.rest.len()));
        self.rest = rest;
        self.line += text.matches('\n').count();
        text
    }

    fn kind(&self, first: char) -> Kind {
        let rest = self.rest;
        if first.is_whitespace() {
            return Kind::Space(first.len_utf8());
        }
        if rest.starts_with("//") {
            return Kind::Comment(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return Kind::Comment(block_comment_bytes(rest));
        }
        if let Some(bytes) = raw_text_bytes(rest) {
            return Kind::Literal(bytes);
        }
        match first {
            '"' => Kind::Literal(quoted_bytes(rest, '"')),
            '\'' if is_char(rest) => Kind::Literal(quoted_bytes(rest, '\'')),
            ':' if rest.starts_with("::") => Kind::Code(2),
            _ if is_word(first) => {
                Kind::Code(rest.find(|sign| !is_word(sign)).unwrap_or(rest.len()))
            }
            _ => Kind::Code(first.len_utf8()),
        }
    }
}

/// What stands at the start of the rest, and how many bytes it takes.
enum Kind {
    Space(usize),
    Comment(usize),
    Literal(usize),
    Code(usize),
}

impl Kind {
    fn bytes(&self) -> usize {
        let (Kind::Space(bytes) | Kind::Comment(bytes) | Kind::Literal(bytes) | Kind::Code(bytes)) =
            self;
        *bytes
    }
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_char(rest: &str) -> bool {
    let mut signs = rest.chars().skip(1);
    signs.next() == Some('\\') || signs.next() == Some('\'')
}

fn quoted_bytes(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        if sign == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = sign == '\\' && !is_escaped;
    }
    rest.len()
}

/// `r"..."`, `br#"..."#` and the like; `r#type` is a word.
fn raw_text_bytes(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let inner = rest.get(prefix.len()..)?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let text = inner.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let text_bytes = text.find(&end).unwrap_or(text.len());
    Some((prefix.len() + hashes + 1 + text_bytes + end.len()).min(rest.len()))
}

fn block_comment_bytes(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(here) = rest.get(at..) {
        let next = here.find(['/', '*']).map_or(rest.len(), |found| at + found);
        let here = rest.get(next..).unwrap_or_default();
        let (step, change) = match here {
            _ if here.starts_with("/*") => (2, 1),
            _ if here.starts_with("*/") => (2, -1),
            "" => return rest.len(),
            _ => (1, 0),
        };
        at = next + step;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}
