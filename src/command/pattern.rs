//! Glob patterns as Redis matches keys: `* ? [a-c] [^a] \x`. Iterative, and bounded in steps: a
//! pattern must not be able to stop a core.

/// So many steps per byte of text at most; then it is no match.
const STEPS_PER_BYTE_MAX: usize = 64;

/// Whether all of `text` matches `pattern`.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // Redis looks no further into a pattern if there is no text: `**` does not match.
        return matches!(pattern, b"" | b"*");
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit: the star, and what it swallowed.
    let mut star: Option<(usize, usize)> = None;
    let mut steps = STEPS_PER_BYTE_MAX * (text.len() + pattern.len() + 1);
    while steps > 0 {
        steps -= 1;
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        match (t < text.len(), p < pattern.len()) {
            (false, false) => return true,
            (true, true) => {
                if let Some(next) = one(pattern, p, text.get(t).copied().unwrap_or(0)) {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            (false, true) => return false,
            (true, false) => {}
        }
        let Some((star_at, swallowed)) = star else { return false };
        (p, t) = (star_at + 1, swallowed + 1);
        star = Some((star_at, t));
        if t > text.len() {
            return false;
        }
    }
    false
}

/// Matches one byte against the element at `at`; where the next element begins if it fits.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern.get(at + 1) == Some(&byte)).then_some(at + 2),
        literal => (*literal == byte).then_some(at + 1),
    }
}

fn class(pattern: &[u8], start: usize, byte: u8) -> Option<usize> {
    let is_negated = pattern.get(start) == Some(&b'^');
    let mut at = start + usize::from(is_negated);
    let mut is_in = false;
    // A class that is never closed ends with the pattern, as in Redis.
    while let Some(element) = pattern.get(at) {
        match (element, pattern.get(at + 1), pattern.get(at + 2)) {
            (b']', ..) => break,
            (b'\\', Some(escaped), _) => {
                is_in |= *escaped == byte;
                at += 2;
            }
            (first, Some(b'-'), Some(last)) => {
                let (low, high) = (first.min(last), first.max(last));
                is_in |= (low..=high).contains(&&byte);
                at += 3;
            }
            (literal, ..) => {
                is_in |= *literal == byte;
                at += 1;
            }
        }
    }
    (is_in != is_negated).then_some((at + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, is_match) in [
            ("*", "", true),
            ("user:*", "user:1", true),
            ("user:*", "use", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("[abc", "b", true),
            ("", "", true),
            ("**", "", false),
            ("a**", "a", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), is_match, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
