//! From the names a request gives to features: `view:feature`, `view@version:feature`, `view:*`,
//! or `feature` where only one view has it.

use super::catalog::Catalog;
use crate::{
    error::{Error, Result, did_you_mean, echo},
    feature::View,
};
use std::sync::Arc;

/// One feature that a request names.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// The definition of the view under which it is read.
    pub view: Arc<View>,
    /// Its place in `view.features`.
    pub feature: usize,
}

impl Catalog {
    /// The features that `names` name, in order, over all entities.
    pub fn select(&self, names: &[&str]) -> Result<Vec<Selected>> {
        let mut selected = Vec::with_capacity(names.len());
        for name in names {
            match name.split_once(':') {
                Some((view, "*")) => {
                    let view = self.view_named(view)?;
                    let all = 0..view.features.len();
                    selected
                        .extend(all.map(|feature| Selected { view: Arc::clone(view), feature }));
                }
                Some((view, feature)) => selected.push(in_view(self.view_named(view)?, feature)?),
                None => selected.push(self.select_short(name)?),
            }
        }
        Ok(selected)
    }

    /// The features that a service lists, at the versions it is pinned to.
    pub fn select_service(&self, name: &str) -> Result<Vec<Selected>> {
        let service = self.service(name).ok_or_else(|| self.unknown_service(name))?;
        let feature = |pinned: &crate::feature::ServiceFeature| {
            let found = self.service_feature(&pinned.view, pinned.view_version, &pinned.feature);
            let found = found.ok_or_else(|| self.unknown_view(&pinned.view))?;
            in_view(found.view, &found.feature.name)
        };
        service.features.iter().map(feature).collect()
    }

    /// `view` or `view@version`.
    fn view_named(&self, name: &str) -> Result<&Arc<View>> {
        let Some((view, version)) = name.split_once('@') else {
            return self.view(name).ok_or_else(|| self.unknown_view(name));
        };
        let number = version.parse().ok();
        number.and_then(|version| self.view_version(view, version)).ok_or_else(|| {
            match self.view(view) {
                None => self.unknown_view(view),
                Some(view) => Error::refused(format!(
                    "view {} has no version {}",
                    view.name,
                    echo(version.as_bytes())
                )),
            }
        })
    }

    fn select_short(&self, name: &str) -> Result<Selected> {
        let having: Vec<&Arc<View>> =
            self.views().filter(|view| view.feature(name).is_some()).collect();
        match having.as_slice() {
            [view] => in_view(view, name),
            [] => {
                let all = self.views().flat_map(|view| view.features.iter());
                let near = did_you_mean(name, all.map(|feature| feature.name.as_str()));
                Err(Error::refused(format!(
                    "no view has a feature {}{near}",
                    echo(name.as_bytes())
                )))
            }
            several => {
                let full: Vec<String> =
                    several.iter().map(|view| format!("'{}:{name}'", view.name)).collect();
                Err(Error::refused(format!(
                    "feature {} is in several views: expected {}",
                    echo(name.as_bytes()),
                    full.join(" or ")
                )))
            }
        }
    }
}

pub(super) fn in_view(view: &Arc<View>, name: &str) -> Result<Selected> {
    let position = view.features.iter().position(|feature| feature.name == name);
    let feature = position.ok_or_else(|| {
        let names = view.features.iter().map(|feature| feature.name.as_str());
        let near = did_you_mean(name, names);
        Error::refused(format!("view {} has no feature {}{near}", view.name, echo(name.as_bytes())))
    })?;
    Ok(Selected { view: Arc::clone(view), feature })
}
