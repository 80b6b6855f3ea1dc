//! What a workload does: the steps, and random ones.

use crate::campaign::Random;

/// A change of keys or features. Ends and events are told from the moment of the step, in µs.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    SetText { key: u64, text: String, end_in_us: Option<i64> },
    SetFields { key: u64, fields: Vec<(String, String)>, end_in_us: Option<i64> },
    DeleteFields { key: u64, names: Vec<String> },
    EndFields { key: u64, names: Vec<String>, end_in_us: Option<i64> },
    Delete { key: Key },
    Expire { key: Key, end_in_us: Option<i64> },
    SetFeatures { user: i64, features: Vec<(Feature, u64)> },
    Push { user: i64, event_in_us: i64, cells: Vec<(Feature, Option<u64>)> },
    DeleteFeatures { user: i64, features: Vec<Feature> },
    DeleteEntity { user: i64 },
    FlushAll,
}

/// A plain key: texts and hashes never share one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    Text(u64),
    Hash(u64),
}

impl Key {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text(number) => format!("t:{number}"),
            Self::Hash(number) => format!("h:{number}"),
        }
    }
}

/// A feature of the entity `user`, known from a version of the definitions on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    Spend,
    Genre,
    Age,
    Score,
}

impl Feature {
    pub(crate) const ALL: [Self; 4] = [Self::Spend, Self::Genre, Self::Age, Self::Score];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spend => "spend",
            Self::Genre => "genre",
            Self::Age => "age",
            Self::Score => "score",
        }
    }

    pub(crate) fn view(self) -> &'static str {
        if self == Self::Score { "profile" } else { "spending" }
    }

    /// The definitions that know it first.
    pub(crate) fn since_version(self) -> u64 {
        match self {
            Self::Spend | Self::Genre => 1,
            Self::Age => 2,
            Self::Score => 3,
        }
    }

    /// The value of this feature that a number stands for, as text.
    pub(crate) fn text(self, number: u64) -> String {
        match self {
            Self::Spend | Self::Score => format!("{number}.5"),
            Self::Genre => format!("genre {number}"),
            Self::Age => number.to_string(),
        }
    }
}

/// How many versions of the definitions there are.
pub(crate) const VERSIONS: u64 = 3;

/// The definitions of a version; each adds to the one before.
pub(crate) fn definitions(version: u64) -> String {
    let age = if version >= 2 { ", age = \"int64\"" } else { "" };
    let profile = match version >= 3 {
        true => "[view.profile]\nentity = \"user\"\nfeatures = { score = \"float64\" }\n",
        false => "",
    };
    format!(
        "[entity.user]\njoin_keys = {{ user = \"int64\" }}\n\n[view.spending]\nentity = \"user\"\n\
         features = {{ spend = \"float64\", genre = \"string\"{age} }}\n\n{profile}"
    )
}

/// One step of a workload.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Write),
    /// Written and not waited for: it shares a frame with what comes next.
    WriteAndGoOn(Write),
    Transaction(Vec<Write>),
    /// The next version of the definitions.
    Apply,
    /// A run of materialization that ended.
    Run,
    Checkpoint,
    /// A checkpoint while the steps behind it go on.
    CheckpointBeside,
    /// Files of the history are merged, all that may be.
    Compact,
    /// The same while the steps behind it go on.
    CompactBeside,
    /// All that was written is synced, whatever the mode.
    Sync,
    /// What is over is removed from memory.
    Sweep,
    /// An entity is erased from memory and files, and kept out.
    Forget {
        user: i64,
    },
    Wait {
        us: i64,
    },
}

/// The furthest that an event may lie ahead in a workload.
pub(crate) const MAX_FUTURE_US: i64 = 500;

const USERS: u64 = 3;
const KEYS: u64 = 4;

impl Step {
    pub(crate) fn random(random: &mut Random) -> Self {
        match random.below(40) {
            0..=15 => Self::Write(Write::random(random)),
            16..=25 => Self::WriteAndGoOn(Write::random(random)),
            26..=28 => {
                let count = 2 + random.below(3);
                Self::Transaction((0..count).map(|_| Write::random(random)).collect())
            }
            29 => Self::Apply,
            30 => Self::Run,
            31 | 32 => Self::Checkpoint,
            33 => Self::CheckpointBeside,
            34 => Self::Sync,
            35 => Self::Sweep,
            36 if random.one_in(3) => Self::Forget { user: random.below(USERS) as i64 },
            37 => Self::Compact,
            38 => Self::CompactBeside,
            _ => Self::Wait { us: 1 + random.below(2000) as i64 },
        }
    }
}

/// Pushes and snapshots that leave several files of the history, and what merges them.
pub(crate) fn compaction(random: &mut Random) -> Vec<Step> {
    let mut steps = vec![Step::Apply];
    for _ in 0..3 + random.below(2) {
        for _ in 0..1 + random.below(3) {
            let cells = vec![(Feature::Spend, Some(random.below(100))), (Feature::Genre, None)];
            let user = random.below(USERS) as i64;
            steps.push(Step::Write(Write::Push { user, event_in_us: -5, cells }));
        }
        steps.push(Step::Checkpoint);
    }
    steps.push(if random.one_in(2) { Step::Compact } else { Step::CompactBeside });
    steps
}

impl Write {
    /// Whether it writes cells that may not be seen yet. A store knows of them once they are
    /// durable: a write decided after their time has come and before that does not meet them.
    pub(crate) fn is_ahead(&self) -> bool {
        matches!(self, Self::Push { event_in_us, .. } if *event_in_us > 0)
    }

    pub(crate) fn random(random: &mut Random) -> Self {
        let (key, user) = (random.below(KEYS), random.below(USERS) as i64);
        let either = if random.one_in(2) { Key::Text(key) } else { Key::Hash(key) };
        match random.below(32) {
            0..=5 => Self::SetText { key, text: text(random), end_in_us: end(random) },
            6..=12 => {
                let count = if random.one_in(40) { 600 } else { 1 + random.below(3) };
                let field = |random: &mut Random| (name(random, count), text(random));
                let fields = (0..count).map(|_| field(random)).collect();
                Self::SetFields { key, fields, end_in_us: end(random) }
            }
            13 | 14 => Self::DeleteFields { key, names: names(random) },
            15 | 16 => Self::EndFields { key, names: names(random), end_in_us: end(random) },
            17 | 18 => Self::Delete { key: either },
            19 => Self::Expire { key: either, end_in_us: end(random) },
            20..=24 => {
                let features = features(random).into_iter().map(|f| (f, random.below(100)));
                Self::SetFeatures { user, features: features.collect() }
            }
            25..=28 => {
                let late_us = random.below(2 * MAX_FUTURE_US as u64) as i64;
                let cells = features(random).into_iter();
                let cell = |f| (f, (!random.one_in(5)).then(|| random.below(100)));
                Self::Push {
                    user,
                    event_in_us: MAX_FUTURE_US - late_us,
                    cells: cells.map(cell).collect(),
                }
            }
            29 => Self::DeleteFeatures { user, features: features(random) },
            30 => Self::DeleteEntity { user },
            _ if random.one_in(3) => Self::FlushAll,
            _ => Self::Delete { key: either },
        }
    }
}

/// Mostly short; sometimes longer than a segment, and such that nothing compresses; sometimes such
/// that a frame is worth compressing.
fn text(random: &mut Random) -> String {
    let words = match random.below(60) {
        0 => 400,
        1..=3 => 40,
        4 | 5 => return format!("{:x}", random.next()).repeat(150),
        _ => 1,
    };
    (0..words).map(|_| format!("{:x}", random.next())).collect()
}

fn end(random: &mut Random) -> Option<i64> {
    random.one_in(3).then(|| 1 + random.below(4000) as i64)
}

fn name(random: &mut Random, count: u64) -> String {
    format!("f{}", random.below(3.max(count)))
}

fn names(random: &mut Random) -> Vec<String> {
    (0..1 + random.below(2)).map(|_| name(random, 3)).collect()
}

fn features(random: &mut Random) -> Vec<Feature> {
    let wanted = 1 + random.below(15);
    let chosen = Feature::ALL.into_iter().enumerate();
    chosen.filter(|(index, _)| wanted >> index & 1 == 1).map(|(_, feature)| feature).collect()
}
