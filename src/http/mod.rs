//! The JSON API, metrics and pages.
