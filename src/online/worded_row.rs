//! A row whose text is words, and the same row as snapshots hold it.
//!
//! The table writes rows down by [`worded`], and hands their bytes out by [`plain`]. A section with
//! a word in it has a flag of its own; all else about its form is as `section` says.

use super::{
    bytes::{bytes_at, push_varint, varint_at},
    entity_row::EntityRow,
    layout::Layout,
    pack_row::{entity_body_at, key_place},
    section::{END_WIDTH_BITS, END_WIDTH_SHIFT, HAS_WORDS, Section},
    words::{Words, is_number},
};

/// What became of the text of a cell.
enum Said {
    /// It stands as it stood.
    Same,
    /// It says the same in another way.
    Anew,
}

/// The bytes of a row with words in the place of text; `None` if they stay as they are.
pub(super) fn worded(row: &[u8], words: &Words) -> Option<Vec<u8>> {
    let (key_at, key_bytes) = key_place(row)?;
    let key = bytes_at(row, key_at, key_bytes)?;
    let say = |text: &[u8], out: &mut Vec<u8>| match words.number(text, key) {
        Some(number) => {
            out.extend_from_slice(&number);
            Said::Anew
        }
        None => {
            out.extend_from_slice(text);
            Said::Same
        }
    };
    rewritten(row, words, |_| true, say)
}

/// The bytes of a row with text in the place of words; `None` if they hold none.
pub(super) fn plain(row: &[u8], words: &Words) -> Option<Vec<u8>> {
    let say = |cell: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(words.text(cell).unwrap_or(cell));
        if is_number(cell) { Said::Anew } else { Said::Same }
    };
    rewritten(row, words, |section| section.has_words(), say)
}

/// The bytes of a row of an entity after `say` wrote the text of each cell, in the sections that
/// `is_wanted` names; `None` if all was the same.
fn rewritten(
    row: &[u8],
    words: &Words,
    is_wanted: impl Fn(&Section<'_>) -> bool,
    say: impl Fn(&[u8], &mut Vec<u8>) -> Said,
) -> Option<Vec<u8>> {
    let (before, body) = row.split_at_checked(entity_body_at(row)?)?;
    let layouts = words.layouts();
    if layouts.is_empty() {
        return None;
    }
    let (mut out, mut copied) = (Vec::new(), 0);
    let mut at = 0;
    for (bytes, view) in EntityRow::new(body).sections() {
        let start = at;
        at += bytes.len();
        let Some(layout) = layouts.get(&view) else { continue };
        let Some(section) = EntityRow::new(bytes).section(layout).filter(&is_wanted) else {
            continue;
        };
        let Some(section) = rewritten_section(bytes, &section, layout, &say) else { continue };
        if out.is_empty() {
            out.reserve_exact(row.len() + section.len().saturating_sub(bytes.len()));
            out.extend_from_slice(before);
        }
        out.extend_from_slice(body.get(copied..start)?);
        out.extend_from_slice(&section);
        copied = at;
    }
    if out.is_empty() {
        return None;
    }
    out.extend_from_slice(body.get(copied..)?);
    Some(out)
}

fn rewritten_section(
    bytes: &[u8],
    section: &Section<'_>,
    layout: &Layout,
    say: impl Fn(&[u8], &mut Vec<u8>) -> Said,
) -> Option<Vec<u8>> {
    let others = section.others(layout)?;
    let (mut text, mut ends) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(others.len()));
    let (mut is_anew, mut has_words) = (false, false);
    for (place, cell) in others {
        let start = text.len();
        if place.is_text {
            is_anew |= matches!(say(cell, &mut text), Said::Anew);
            has_words |= text.get(start..).is_some_and(is_number);
        } else {
            text.extend_from_slice(cell);
        }
        ends.push(u32::try_from(text.len()).ok()?);
    }
    if !is_anew {
        return None;
    }
    let end_width: u8 = match text.len() {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        _ => 2,
    };
    let kept = *bytes.first()? & !(END_WIDTH_BITS << END_WIDTH_SHIFT | HAS_WORDS);
    let (_, head_at) = varint_at(bytes, 1)?;
    let head = bytes.get(head_at..section.ends_at())?;
    let rest_bytes = head.len() + (ends.len() << end_width) + text.len();
    let mut out = Vec::with_capacity(1 + 5 + rest_bytes);
    let words_flag = if has_words { HAS_WORDS } else { 0 };
    out.push(kept | end_width << END_WIDTH_SHIFT | words_flag);
    push_varint(&mut out, rest_bytes as u64);
    out.extend_from_slice(head);
    for end in &ends {
        out.extend_from_slice(end.to_le_bytes().get(..1 << end_width)?);
    }
    out.extend_from_slice(&text);
    Some(out)
}
