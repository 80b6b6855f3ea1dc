//! The data: doubles that are a function of entity and feature, and how they are written.
//!
//! Invariants
//! - Keys have one length and no leading zero, so of a request that was written once only digits
//!   change; an `int64` join key reads them as they are.
//! - Half of the values are rounded to four decimals, as aggregates are; half have all 17 digits.
//! - Plain and registered keys are equally long, so that the two can be compared.

use super::{options::Tier, random::mix};
use std::fmt::Write;

/// The join key of a registered entity.
pub(super) const JOIN_KEY: &str = "id";
pub(super) const ID_DIGITS: usize = 7;
const FIRST_ID: u64 = 1_000_000;

/// All there is to read.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) entities: u64,
    pub(super) features: u32,
    tier: Tier,
    names: Vec<String>,
}

impl Data {
    pub(super) fn new(entities: u64, features: u32, tier: Tier) -> Self {
        Self { entities, features, tier, names: (0..features).map(feature_name).collect() }
    }

    /// What stands before the ':' of a key; with the number of features in it, since a view keeps
    /// the features it has.
    pub(super) fn entity_name(&self) -> String {
        let tier = match self.tier {
            Tier::Plain => "plain",
            Tier::Registered => "typed",
        };
        format!("bench_{tier}{}", self.features)
    }

    pub(super) fn view_name(&self) -> String {
        format!("{}_view", self.entity_name())
    }

    pub(super) fn key(&self, entity: u64) -> String {
        format!("{}:{}", self.entity_name(), id(entity))
    }

    /// The definitions that a registered entity needs.
    pub(super) fn definitions(&self) -> Option<String> {
        if self.tier == Tier::Plain {
            return None;
        }
        let (entity, view) = (self.entity_name(), self.view_name());
        let mut text = format!(
            "[entity.{entity}]\njoin_keys = {{ {JOIN_KEY} = \"int64\" }}\n\n\
             [view.{view}]\nentity = \"{entity}\"\n\n[view.{view}.features]\n"
        );
        for feature in 0..self.features {
            let _ = writeln!(text, "{} = \"float64\"", feature_name(feature));
        }
        Some(text)
    }

    /// Appends an HSET of every feature of `entity`. In the timed loop, so it allocates little.
    pub(super) fn write_hset(&self, entity: u64, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        out.push(b'*');
        out.extend_from_slice(number.format(2 + 2 * u64::from(self.features)).as_bytes());
        out.extend_from_slice(b"\r\n$4\r\nHSET\r\n");
        push_bulk(self.key(entity).as_bytes(), out);
        for (feature, name) in (0..self.features).zip(&self.names) {
            push_bulk(name.as_bytes(), out);
            let value = self.value(entity, feature);
            push_bulk(zmij::Buffer::new().format(value).as_bytes(), out);
        }
    }

    pub(super) fn value(&self, entity: u64, feature: u32) -> f64 {
        let number = entity.wrapping_mul(u64::from(self.features)).wrapping_add(feature.into());
        let random = mix(number);
        if feature.is_multiple_of(2) {
            (random % 10_000_000) as f64 / 10_000.0
        } else {
            (random >> 11) as f64 / (1u64 << 53) as f64
        }
    }
}

fn push_bulk(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    out.extend_from_slice(itoa::Buffer::new().format(word.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn id(entity: u64) -> u64 {
    FIRST_ID.saturating_add(entity)
}

pub(super) fn feature_name(feature: u32) -> String {
    format!("f{feature}")
}
