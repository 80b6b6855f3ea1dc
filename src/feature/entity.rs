//! Entities: what features describe, and how the key of one is written.
//!
//! ```text
//! airport:JFK          one join key stands as it is, whatever it contains
//! route:JFK:L%3AX      several are joined by ':', with %3A for ':' and %25 for '%' inside a part
//! ```

use crate::error::{Error, Result, echo};
use nowthen_protocol::parse_integer;
use serde::{Deserialize, Serialize};

/// Numbers the entities of a catalog in the order they were first applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityId(pub u32);

/// The type of a join key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyType {
    /// `string`: UTF-8 text
    String,
    /// `int64`
    Int64,
    /// `bytes`
    Bytes,
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::String, Self::Int64, Self::Bytes];

    /// The name in a definition.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int64 => "int64",
            Self::Bytes => "bytes",
        }
    }
}

/// One of the columns that identify an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinKey {
    /// The name of the column in sources and spines.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
}

impl JoinKey {
    /// Whether `text` is a value in the spelling that keys have: then nothing of it need be read.
    #[inline]
    fn is_canonical(&self, text: &[u8]) -> bool {
        match self.key_type {
            KeyType::Bytes => true,
            KeyType::String => std::str::from_utf8(text).is_ok(),
            KeyType::Int64 => parse_integer(text).is_some(),
        }
    }
}

/// A kind of thing that features describe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// Its number in the catalog.
    pub id: EntityId,
    /// The part of a key before the first `:`.
    pub name: String,
    /// What identifies one; at least one.
    pub join_keys: Vec<JoinKey>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

/// The value of one join key. Integers and text never meet: a join key has one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPart {
    /// An `int64` key.
    Int64(i64),
    /// A `string` or `bytes` key.
    Bytes(Vec<u8>),
}

impl KeyPart {
    /// Reads the text of one join key.
    pub fn parse(text: &[u8], join_key: &JoinKey) -> Result<Self> {
        let refuse = || {
            Error::refused(format!(
                "join key {} is {}, got {}",
                join_key.name,
                join_key.key_type.name(),
                echo(text)
            ))
        };
        match join_key.key_type {
            KeyType::Bytes => Ok(Self::Bytes(text.to_vec())),
            KeyType::String => {
                std::str::from_utf8(text).map_err(|_| refuse())?;
                Ok(Self::Bytes(text.to_vec()))
            }
            KeyType::Int64 => {
                let text = std::str::from_utf8(text).map_err(|_| refuse())?;
                text.parse().map(Self::Int64).map_err(|_| refuse())
            }
        }
    }

    fn write(&self, escaped: bool, out: &mut Vec<u8>) {
        match self {
            Self::Int64(value) => {
                out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
            }
            Self::Bytes(bytes) if !escaped => out.extend_from_slice(bytes),
            Self::Bytes(bytes) => {
                for byte in bytes {
                    match byte {
                        b':' => out.extend_from_slice(b"%3A"),
                        b'%' => out.extend_from_slice(b"%25"),
                        other => out.push(*other),
                    }
                }
            }
        }
    }
}

impl Entity {
    /// The key under which the features of one entity stand: `airport:JFK`. Equal parts give equal
    /// keys and different parts different keys. `parts` has one part per join key, in order.
    pub fn key(&self, parts: &[KeyPart]) -> Vec<u8> {
        debug_assert_eq!(parts.len(), self.join_keys.len(), "one part per join key");
        let mut key = Vec::with_capacity(self.name.len() + 1 + 16 * parts.len());
        key.extend_from_slice(self.name.as_bytes());
        parts.iter().for_each(|part| self.push_part(part, &mut key));
        key
    }

    /// The same from the text of each part, in place of what `key` held.
    pub fn write_key<'t>(
        &self,
        texts: impl Iterator<Item = &'t [u8]>,
        key: &mut Vec<u8>,
    ) -> Result<()> {
        key.clear();
        key.extend_from_slice(self.name.as_bytes());
        let is_single = self.join_keys.len() == 1;
        for (text, join_key) in texts.zip(&self.join_keys) {
            if is_single && join_key.is_canonical(text) {
                key.push(b':');
                key.extend_from_slice(text);
            } else {
                self.push_part(&KeyPart::parse(text, join_key)?, key);
            }
        }
        Ok(())
    }

    fn push_part(&self, part: &KeyPart, key: &mut Vec<u8>) {
        key.push(b':');
        part.write(self.join_keys.len() > 1, key);
    }

    /// The parts of `key`, which starts with this entity's name and `:`.
    pub fn parts(&self, key: &[u8]) -> Result<Vec<KeyPart>> {
        let rest = key.strip_prefix(self.name.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        let rest = rest.ok_or_else(|| {
            Error::refused(format!("{} is no key of entity {}", echo(key), self.name))
        })?;
        if let [join_key] = self.join_keys.as_slice() {
            return Ok(vec![KeyPart::parse(rest, join_key)?]);
        }
        let texts: Vec<&[u8]> = rest.split(|byte| *byte == b':').collect();
        if texts.len() != self.join_keys.len() {
            return Err(Error::refused(format!(
                "entity {} has {} join keys, {} has {}; inside a part ':' is written %3A",
                self.name,
                self.join_keys.len(),
                echo(key),
                texts.len()
            )));
        }
        let parts = texts.iter().zip(&self.join_keys);
        parts.map(|(text, join_key)| KeyPart::parse(&unescape(text), join_key)).collect()
    }

    /// The one spelling of `key`: an integer without leading zeros or `+`, escapes only where
    /// needed. Two spellings of one entity must not be two rows.
    pub fn canonical_key(&self, key: &[u8]) -> Result<Vec<u8>> {
        Ok(self.key(&self.parts(key)?))
    }

    /// Whether `key`, which starts with this entity's name and `:`, is certainly in that spelling:
    /// seen at a glance of entities with one join key, and of no other.
    #[inline]
    pub fn is_canonical_key(&self, key: &[u8]) -> bool {
        let [join_key] = self.join_keys.as_slice() else { return false };
        let text = key.get(self.name.len() + 1..);
        text.is_some_and(|text| join_key.is_canonical(text))
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let (byte, tail) = match rest {
            [b'%', b'3', b'A' | b'a', tail @ ..] => (b':', tail),
            [b'%', b'2', b'5', tail @ ..] => (b'%', tail),
            _ => (*first, after),
        };
        out.push(byte);
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entity(key_types: &[KeyType]) -> Entity {
        let join_key = |(i, key_type): (usize, &KeyType)| JoinKey {
            name: format!("k{i}"),
            key_type: *key_type,
        };
        Entity {
            id: EntityId(0),
            name: "route".into(),
            join_keys: key_types.iter().enumerate().map(join_key).collect(),
            owner: None,
            description: None,
        }
    }

    #[test]
    fn a_single_join_key_stands_as_it_is() {
        let key = entity(&[KeyType::String]).key(&[KeyPart::Bytes(b"a:b%c".to_vec())]);
        assert_eq!(key, b"route:a:b%c");
    }

    #[test]
    fn two_spellings_of_an_integer_are_one_key() {
        assert_eq!(entity(&[KeyType::Int64]).canonical_key(b"route:+007").unwrap(), b"route:7");
        let why = entity(&[KeyType::Int64]).canonical_key(b"route:x").unwrap_err().to_string();
        assert_eq!(why, "join key k0 is int64, got 'x'");
    }

    proptest! {
        #[test]
        fn a_key_that_is_canonical_at_a_glance_is_that(
            text in prop_oneof!["[-+0-9]{0,3}", "[-0-9]{0,21}", "[a:%é]{0,4}"],
            bytes: Vec<u8>,
        ) {
            let entities = KeyType::ALL.map(|key_type| entity(&[key_type]));
            let both = [text.as_bytes(), &bytes];
            for (entity, text) in entities.iter().flat_map(|it| both.map(|text| (it, text))) {
                let key = [b"route:", text].concat();
                let canonical = entity.canonical_key(&key);
                prop_assert_eq!(entity.is_canonical_key(&key), canonical.is_ok_and(|it| it == key));
            }
            let composite = entity(&[KeyType::Int64, KeyType::Int64]);
            prop_assert!(!composite.is_canonical_key(b"route:1:2"));
        }

        #[test]
        fn a_key_is_written_from_texts_as_from_their_parts(
            texts in prop::collection::vec("[-+0-9]{0,3}|[a:%é]{0,3}", 1..4),
            types in prop::collection::vec(prop::sample::select(KeyType::ALL.to_vec()), 3),
        ) {
            let entity = entity(&types[..texts.len()]);
            let texts = || texts.iter().map(String::as_bytes);
            let parts = texts().zip(&entity.join_keys).map(|(text, it)| KeyPart::parse(text, it));
            let wanted = parts.collect::<Result<Vec<_>>>().map(|parts| entity.key(&parts));
            let mut written = b"before".to_vec();
            let written = entity.write_key(texts(), &mut written).map(|()| written);
            prop_assert_eq!(written.ok(), wanted.ok());
        }

        #[test]
        fn composite_keys_never_collide_and_read_back(
            a in prop::collection::vec(prop::sample::select(b":%2536Ax".to_vec()), 0..6),
            b in prop::collection::vec(any::<u8>(), 0..4),
            n: i64,
        ) {
            let entity = entity(&[KeyType::Bytes, KeyType::Bytes, KeyType::Int64]);
            let parts = vec![KeyPart::Bytes(a), KeyPart::Bytes(b), KeyPart::Int64(n)];
            let key = entity.key(&parts);
            prop_assert_eq!(entity.parts(&key).unwrap(), parts);
            prop_assert_eq!(entity.canonical_key(&key).unwrap(), key);
        }
    }
}
