//! The text of INFO: sections of lines `name:value`.

use std::fmt::{Display, Write};

/// The text of INFO as it grows.
#[derive(Debug, Default)]
pub(super) struct InfoText(String);

impl InfoText {
    /// Begins a section; its name is told with a capital, CPU in capitals.
    pub(super) fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        let title = match name {
            "cpu" => name.to_ascii_uppercase(),
            _ => {
                let first: String = name.chars().take(1).flat_map(char::to_uppercase).collect();
                first + name.get(1..).unwrap_or_default()
            }
        };
        let _ = write!(self.0, "{gap}# {title}\r\n");
    }

    /// One line.
    pub(super) fn line(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Bytes, and a second line with the same for people, as `name_human`.
    pub(super) fn bytes(&mut self, name: &str, bytes: usize) {
        self.line(name, bytes);
        self.line(&format!("{name}_human"), human_bytes(bytes));
    }

    /// All of it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes as Redis writes them for people: `512B`, `1.00K`, `23.54G`.
pub(super) fn human_bytes(bytes: usize) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 'K');
    for larger in ['M', 'G', 'T', 'P'] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{value:.2}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people_read_as_in_redis() {
        let told = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1_484_032, "1.42M")];
        for (bytes, text) in told {
            assert_eq!(human_bytes(bytes), text);
        }
        assert_eq!(human_bytes(25_276_514_304), "23.54G");
        assert_eq!(human_bytes(1 << 60), "1024.00P");
    }

    #[test]
    fn sections_stand_apart() {
        let mut text = InfoText::default();
        text.section("cpu");
        text.line("a", 1);
        text.section("stats");
        assert_eq!(text.as_str(), "# CPU\r\na:1\r\n\r\n# Stats\r\n");
    }
}
