//! What applying definitions would change, for people and as JSON.
//!
//! ```text
//! + view airport_weather (new): entity airport, 9 features, ttl 6h
//! ~ view plane_history v1 -> v2: ttl 6h -> 12h (keeps data)
//!     + feature seats: int32
//! - service delay_model
//! 1 to add, 1 to change, 1 to remove
//! ```
//! Invariants
//! - A plan compares with the very catalog that `apply` would make, so it promises nothing else,
//!   and what `apply` refuses has no plan.

use super::{
    catalog::Catalog,
    definition::Definitions,
    difference::{Field, changed_fields, entity_fields, feature_fields, view_fields},
};
use crate::{
    error::Result,
    feature::{Entity, Feature, Service, Timestamp, View, duration_text},
};
use serde_json::json;
use std::{collections::BTreeSet, fmt};

/// What happens to one definition or feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there yet.
    Add,
    /// It will be another.
    Change,
    /// It will be gone.
    Remove,
}

impl Action {
    fn of(before: bool, after: bool) -> Self {
        match (before, after) {
            (false, _) => Self::Add,
            (true, true) => Self::Change,
            (true, false) => Self::Remove,
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
        }
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Remove => "remove",
        }
    }
}

/// What happens to one entity, view or service.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedChange {
    /// Added, changed or removed.
    pub action: Action,
    /// `entity`, `view` or `service`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// `new`, `again, v3` or `v1 -> v2`; empty where there is no version to tell.
    pub versions: String,
    /// What changes in it: `ttl 6h -> 12h`.
    pub details: Vec<String>,
    /// What becomes of its data: `keeps data`.
    pub data: Option<&'static str>,
    /// What happens to its features, each with its name and what changes in it.
    pub features: Vec<(Action, String, String)>,
}

/// All that applying would change, in the order entities, views, services.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The changes.
    pub changes: Vec<PlannedChange>,
}

/// What applying `definitions` to `catalog` would change.
pub fn plan(catalog: &Catalog, definitions: &Definitions) -> Result<Plan> {
    let next = catalog.apply(definitions, Timestamp::MIN)?;
    let (old, new) = (catalog, &next);
    let entities = names(old.entities().chain(new.entities()).map(|entity| &*entity.name));
    let views = names(new.view_ids.keys().map(String::as_str));
    let services = names(old.services().chain(new.services()).map(|service| &*service.name));

    let entities =
        entities.into_iter().filter_map(|n| entity_change(n, old.entity(n), new.entity(n)));
    let views = views.into_iter().filter_map(|name| view_change(name, old, new));
    let services = services.into_iter().filter_map(|name| service_change(name, old, new));
    Ok(Plan { changes: entities.chain(views).chain(services).collect() })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.collect()
}

type Of<'a, T> = Option<&'a std::sync::Arc<T>>;

fn entity_change(name: &str, old: Of<'_, Entity>, new: Of<'_, Entity>) -> Option<PlannedChange> {
    if old == new {
        return None;
    }
    let before = old.map(|entity| entity_fields(entity)).unwrap_or_default();
    let after = new.map(|entity| entity_fields(entity)).unwrap_or_default();
    let details = match (old, new) {
        (Some(_), None) => Vec::new(),
        (None, _) => after.iter().filter_map(Field::written).take(1).collect(),
        (Some(_), Some(_)) => changed_fields(&before, &after),
    };
    Some(PlannedChange {
        action: Action::of(old.is_some(), new.is_some()),
        kind: "entity",
        name: name.to_owned(),
        versions: if old.is_none() { "new".to_owned() } else { String::new() },
        details,
        data: None,
        features: Vec::new(),
    })
}

fn view_change(name: &str, catalog: &Catalog, next: &Catalog) -> Option<PlannedChange> {
    let (old, new) = (catalog.newest_view(name), next.newest_view(name));
    if old == new {
        return None;
    }
    let mut change = PlannedChange {
        action: Action::of(old.is_some(), new.is_some()),
        kind: "view",
        name: name.to_owned(),
        versions: String::new(),
        details: Vec::new(),
        data: None,
        features: Vec::new(),
    };
    let Some(new) = new else { return Some(change) };
    let Some(old) = old else {
        let entity = next.entity_by_id(new.entity).map_or("?", |entity| &entity.name);
        let features = count(new.features.len(), "feature");
        let ttl = new.ttl.map_or_else(|| "no ttl".to_owned(), |ttl| format!("ttl {}", ttl.text()));
        change.details = vec![format!("entity {entity}"), features, ttl];
        let retention = new.retention_us.map(duration_text);
        change.details.extend(retention.map(|span| format!("retention {span}")));
        let is_known = catalog.view_ids.contains_key(name);
        change.versions =
            if is_known { format!("again, v{}", new.version) } else { "new".to_owned() };
        return Some(change);
    };
    let fields = |catalog, view| view_fields(view, catalog_entity_name(catalog, view));
    change.versions = format!("v{} -> v{}", old.version, new.version);
    change.details = changed_fields(&fields(catalog, old), &fields(next, new));
    if is_reordered(old, new) {
        change.details.push("order of features".to_owned());
    }
    change.features = feature_changes(old, new);
    change.data = Some(if old.generation == new.generation {
        "keeps data"
    } else if next.filling(name).is_some() {
        "new generation: filled beside the old one, then switched"
    } else {
        "new generation: starts empty"
    });
    Some(change)
}

fn catalog_entity_name<'a>(catalog: &'a Catalog, view: &View) -> &'a str {
    catalog.entity_by_id(view.entity).map_or("?", |entity| &entity.name)
}

fn feature_changes(old: &View, new: &View) -> Vec<(Action, String, String)> {
    let change = |before: Option<&Feature>, after: Option<&Feature>| {
        let action = Action::of(before.is_some(), after.is_some());
        let details = match (before, after) {
            (Some(before), Some(after)) => {
                changed_fields(&feature_fields(before), &feature_fields(after)).join(", ")
            }
            (None, Some(after)) => after.value_type.to_string(),
            (_, None) => String::new(),
        };
        let name = &before.or(after)?.name;
        let is_change = action != Action::Change || !details.is_empty();
        is_change.then(|| (action, name.clone(), details))
    };
    let kept = new.features.iter().map(|after| (old.feature(&after.name), Some(after)));
    let gone = old.features.iter().filter(|before| new.feature(&before.name).is_none());
    let all = kept.chain(gone.map(|before| (Some(before), None)));
    all.filter_map(|(before, after)| change(before, after)).collect()
}

/// Whether the features that both have stand in another order.
fn is_reordered(old: &View, new: &View) -> bool {
    let kept = old.features.iter().filter(|feature| new.feature(&feature.name).is_some());
    let stayed = new.features.iter().filter(|feature| old.feature(&feature.name).is_some());
    !kept.map(|feature| &feature.name).eq(stayed.map(|feature| &feature.name))
}

fn service_change(name: &str, catalog: &Catalog, next: &Catalog) -> Option<PlannedChange> {
    let (old, new) = (catalog.service(name), next.service(name));
    if old == new {
        return None;
    }
    let (versions, details) = match (old, new) {
        (None, Some(new)) if catalog.services.contains_key(name) => {
            (format!("again, v{}", new.version), vec![count(new.features.len(), "feature")])
        }
        (None, Some(new)) => ("new".to_owned(), vec![count(new.features.len(), "feature")]),
        (Some(old), Some(new)) => {
            (format!("v{} -> v{}", old.version, new.version), service_details(old, new))
        }
        (_, None) => (String::new(), Vec::new()),
    };
    Some(PlannedChange {
        action: Action::of(old.is_some(), new.is_some()),
        kind: "service",
        name: name.to_owned(),
        versions,
        details,
        data: None,
        features: Vec::new(),
    })
}

fn service_details(old: &Service, new: &Service) -> Vec<String> {
    let has = |service: &Service, view: &str, feature: &str| {
        service.features.iter().any(|pinned| pinned.view == view && pinned.feature == feature)
    };
    let added = new.features.iter().filter(|f| !has(old, &f.view, &f.feature));
    let mut details: Vec<String> = added.map(|f| format!("+{}:{}", f.view, f.feature)).collect();
    let removed = old.features.iter().filter(|f| !has(new, &f.view, &f.feature));
    details.extend(removed.map(|f| format!("-{}:{}", f.view, f.feature)));
    let pins = |service: &Service| -> BTreeSet<(String, u32)> {
        service.features.iter().map(|f| (f.view.clone(), f.view_version)).collect()
    };
    let moved = pins(new).into_iter().filter(|(view, version)| {
        pins(old).iter().any(|(before, pinned)| before == view && pinned != version)
    });
    details.extend(moved.map(|(view, version)| format!("pins {view}@{version}")));
    if old.owner != new.owner {
        details.push("owner".to_owned());
    }
    if old.description != new.description {
        details.push("description".to_owned());
    }
    if details.is_empty() {
        details.push("order of features".to_owned());
    }
    details
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl Plan {
    /// Whether applying would change nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many definitions are added, changed, removed.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// The plan for programs: `{"changes": [...], "add": 2, "change": 1, "remove": 0}`.
    pub fn to_json(&self) -> serde_json::Value {
        let feature = |(action, name, detail): &(Action, String, String)| {
            let action = action.name();
            json!({ "action": action, "name": name, "detail": detail })
        };
        let change = |change: &PlannedChange| {
            json!({
                "action": change.action.name(),
                "kind": change.kind,
                "name": change.name,
                "versions": change.versions,
                "details": change.details,
                "data": change.data,
                "features": change.features.iter().map(feature).collect::<Vec<_>>(),
            })
        };
        json!({
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
            "add": self.count(Action::Add),
            "change": self.count(Action::Change),
            "remove": self.count(Action::Remove),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to change");
        }
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        write!(
            f,
            "{} to add, {} to change, {} to remove",
            self.count(Action::Add),
            self.count(Action::Change),
            self.count(Action::Remove)
        )
    }
}

impl fmt::Display for PlannedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action.sign(), self.kind, self.name)?;
        match self.action {
            _ if self.versions.is_empty() => {}
            Action::Add => write!(f, " ({})", self.versions)?,
            Action::Change | Action::Remove => write!(f, " {}", self.versions)?,
        }
        if !self.details.is_empty() {
            write!(f, ": {}", self.details.join(", "))?;
        }
        if let Some(data) = self.data {
            write!(f, " ({data})")?;
        }
        for (action, name, detail) in &self.features {
            write!(f, "\n    {} feature {name}", action.sign())?;
            if !detail.is_empty() {
                write!(f, ": {detail}")?;
            }
        }
        Ok(())
    }
}
