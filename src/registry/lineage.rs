//! Where features come from and who reads them: source -> view -> service.
//!
//! Not here: which run fed a view (`store/` keeps the runs).

use super::{
    catalog::Catalog,
    name::{Kind, find},
};
use crate::{error::Result, feature::View};
use std::collections::BTreeSet;

/// One step of a lineage: data flows from the first to the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// `source /data/*.parquet`, `pushed`, or `view airport_weather@2`.
    pub from: String,
    /// `view airport_weather@2` or `service delay_model@1`.
    pub to: String,
}

/// Every step that leads to, from or through what `name` names, sorted: the versions that hold now.
pub fn lineage(catalog: &Catalog, name: &str) -> Result<Vec<Edge>> {
    let found = find(catalog, name)?;
    let concerns = |view: &View, service: Option<&str>| match found.kind {
        Kind::View => view.name == found.name,
        Kind::Service => service == Some(&*found.name),
        Kind::Entity => catalog.entity(&found.name).is_some_and(|e| e.id == view.entity),
    };
    let mut edges = BTreeSet::new();
    for view in catalog.view_ids.keys().filter_map(|name| catalog.newest_view(name)) {
        if concerns(view, None) {
            edges.insert(source_edge(view));
        }
    }
    for service in catalog.services() {
        for pin in &service.features {
            let Some(view) = catalog.view_version(&pin.view, pin.view_version) else { continue };
            if concerns(view, Some(&service.name)) {
                edges.insert(source_edge(view));
                let to = format!("service {}@{}", service.name, service.version);
                edges.insert(Edge { from: view_text(view), to });
            }
        }
    }
    Ok(edges.into_iter().collect())
}

fn source_edge(view: &View) -> Edge {
    let source = view.source.as_ref().map(|source| format!("source {source}"));
    Edge { from: source.unwrap_or_else(|| "pushed".to_owned()), to: view_text(view) }
}

fn view_text(view: &View) -> String {
    format!("view {}@{}", view.name, view.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::sample::{WEATHER, apply};

    fn check(name: &str, expected: &[&str]) {
        let catalog = apply(&Catalog::empty(), WEATHER, 1);
        let edges = lineage(&catalog, name).unwrap();
        let edges: Vec<_> =
            edges.iter().map(|edge| format!("{} -> {}", edge.from, edge.to)).collect();
        assert_eq!(edges, expected, "{name}");
    }

    #[test]
    fn a_name_shows_what_leads_to_it_and_what_hangs_on_it() {
        let weather = "source data/*.parquet -> view airport_weather@1";
        let pushed = "pushed -> view plane_history@1";
        let read = "view airport_weather@1 -> service delay_model@1";
        check("airport_weather", &[weather, read]);
        check("delay_model", &[weather, read]);
        check("plane_history", &[pushed]);
        check("airport", &[pushed, weather, read]);
    }
}
