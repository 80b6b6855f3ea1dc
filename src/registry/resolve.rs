//! References between definitions: views to entities, services to views and features.
//!
//! ```text
//! "view:feature"   one feature          "view:*"   all the view has
//! "feature"        the one of that name over all views; refused if several views have it
//! ```

use super::{
    definition::{EntityDefinition, Selection, ServiceDefinition, ViewDefinition},
    node::{Checked, Node, nearest},
};
use crate::error::echo;
use std::collections::BTreeSet;

/// Refuses a view of an unknown entity, and features named like a join key of it.
pub(super) fn check_view(
    node: &Node<'_>,
    view: &ViewDefinition,
    entities: &[EntityDefinition],
) -> Checked<()> {
    let Some(entity) = by_name(entities, |entity| &entity.name, &view.entity) else {
        let near = nearest(&view.entity, entities.iter().map(|entity| entity.name.as_str()));
        let got = echo(view.entity.as_bytes());
        return Err(node.field("entity").refuse(format!("unknown entity {got}{near}")));
    };
    let is_key = |name: &str| entity.join_keys.iter().any(|key| key.name == name);
    match view.features.iter().find(|feature| is_key(&feature.name)) {
        None => Ok(()),
        Some(feature) => Err(node.field("features").field(&feature.name).refuse(format!(
            "expected a feature named unlike the join keys of entity {}, got '{}'",
            entity.name, feature.name
        ))),
    }
}

/// Reads `[service.NAME]`, with every short name written out as `view:feature`.
pub(super) fn read_service(
    node: &Node<'_>,
    views: &[ViewDefinition],
) -> Checked<ServiceDefinition> {
    node.check_name()?;
    let table = node.table(&["features", "owner", "description"])?;
    let expected = "a list of features such as [\"view:feature\"]";
    let list = table.require("features", expected)?;
    let elements = list.elements(expected)?;
    if elements.is_empty() {
        return Err(list.refuse("expected at least one feature, got none"));
    }
    let mut listed = BTreeSet::new();
    let mut features = Vec::with_capacity(elements.len());
    for element in &elements {
        let selection = read_selection(element, views)?;
        for name in selected(&selection, views) {
            if !listed.insert((selection.view.clone(), name)) {
                let view = &selection.view;
                return Err(element.refuse(format!("expected {view}:{name} once, got it twice")));
            }
        }
        features.push(selection);
    }
    Ok(ServiceDefinition {
        name: node.name().to_owned(),
        features,
        owner: table.text("owner")?,
        description: table.text("description")?,
    })
}

fn read_selection(node: &Node<'_>, views: &[ViewDefinition]) -> Checked<Selection> {
    let text = node.text("the name of a feature")?;
    let Some((view_name, feature)) = text.split_once(':') else {
        return short_name(node, text, views);
    };
    let Some(view) = by_name(views, |view| &view.name, view_name) else {
        let near = nearest(view_name, views.iter().map(|view| view.name.as_str()));
        return Err(node.refuse(format!("unknown view {}{near}", echo(view_name.as_bytes()))));
    };
    let view_name = view_name.to_owned();
    if feature == "*" {
        return Ok(Selection { view: view_name, feature: None });
    }
    if view.feature(feature).is_none() {
        let near = nearest(feature, view.features.iter().map(|feature| feature.name.as_str()));
        let got = echo(feature.as_bytes());
        return Err(node.refuse(format!("view {view_name} has no feature {got}{near}")));
    }
    Ok(Selection { view: view_name, feature: Some(feature.to_owned()) })
}

fn short_name(node: &Node<'_>, name: &str, views: &[ViewDefinition]) -> Checked<Selection> {
    let having: Vec<&str> = views
        .iter()
        .filter(|view| view.feature(name).is_some())
        .map(|view| view.name.as_str())
        .collect();
    match having.as_slice() {
        [view] => Ok(Selection { view: (*view).to_owned(), feature: Some(name.to_owned()) }),
        [] => {
            let features = views.iter().flat_map(|view| &view.features);
            let near = nearest(name, features.map(|feature| feature.name.as_str()));
            Err(node.refuse(format!("unknown feature {}{near}", echo(name.as_bytes()))))
        }
        [first, second, ..] => Err(node.refuse(format!(
            "feature '{name}' is in several views: expected '{first}:{name}' or '{second}:{name}'"
        ))),
    }
}

fn selected<'a>(selection: &Selection, views: &'a [ViewDefinition]) -> Vec<&'a str> {
    let view = by_name(views, |view| &view.name, &selection.view);
    let features = view.into_iter().flat_map(|view| &view.features);
    let wanted = features
        .filter(|feature| selection.feature.as_ref().is_none_or(|name| *name == feature.name));
    wanted.map(|feature| feature.name.as_str()).collect()
}

/// The definition of that name in a list sorted by name.
fn by_name<'a, T>(sorted: &'a [T], name_of: impl Fn(&T) -> &str, name: &str) -> Option<&'a T> {
    sorted.get(sorted.binary_search_by(|item| name_of(item).cmp(name)).ok()?)
}
