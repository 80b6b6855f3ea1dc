//! What a bare name in a command means: `airport_weather`, `view.airport_weather`, `plane@2`.
//!
//! Views come before services before entities; the kind in front picks another one.

use super::{catalog::Catalog, node::nearest};
use crate::error::{Error, Result, echo};

/// What can have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    View,
    Service,
    Entity,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::View, Self::Service, Self::Entity];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Service => "service",
            Self::Entity => "entity",
        }
    }

    /// Whether `name` names one, with a version even if it was dropped.
    fn has(self, catalog: &Catalog, name: &str, with_version: bool) -> bool {
        match self {
            Self::View if with_version => catalog.view_ids.contains_key(name),
            Self::View => catalog.newest_view(name).is_some(),
            Self::Service if with_version => catalog.services.contains_key(name),
            Self::Service => catalog.service(name).is_some(),
            Self::Entity => catalog.entity(name).is_some(),
        }
    }
}

/// A name that was found.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) version: Option<u32>,
}

/// Finds what `text` names.
pub(super) fn find(catalog: &Catalog, text: &str) -> Result<Named> {
    let (full, version) = match text.split_once('@') {
        None => (text, None),
        Some((full, digits)) => {
            let version = digits.parse().map_err(|_| {
                let got = echo(digits.as_bytes());
                Error::refused(format!("expected a version number after '@', got {got}"))
            })?;
            (full, Some(version))
        }
    };
    let named = |kind, name: &str| Named { kind, name: name.to_owned(), version };
    if let Some((kind, name)) = full.split_once('.')
        && let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind)
    {
        let has = kind.has(catalog, name, version.is_some());
        return has.then(|| named(kind, name)).ok_or_else(|| match kind {
            Kind::View => catalog.unknown_view(name),
            Kind::Service => catalog.unknown_service(name),
            Kind::Entity => catalog.unknown_entity(name),
        });
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.has(catalog, full, version.is_some()));
    kind.map(|kind| named(kind, full)).ok_or_else(|| {
        let views = catalog.views().map(|view| view.name.as_str());
        let services = catalog.services().map(|service| service.name.as_str());
        let entities = catalog.entities().map(|entity| entity.name.as_str());
        let near = nearest(full, views.chain(services).chain(entities));
        Error::refused(format!("unknown name {}{near}", echo(full.as_bytes())))
    })
}
