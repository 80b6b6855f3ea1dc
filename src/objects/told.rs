//! What the error of a request says: the store's own words where it had some.

use super::failure::Failure;
use object_store::Error as StoreError;
use std::error::Error;

/// A store that does not answer may say as much as it likes; so much of it is told.
const TEXT_BYTES_MAX: usize = 400;

/// The failure that the error of a request is.
pub(super) fn failure_of(error: &StoreError) -> Failure {
    let text = chain(error);
    let told = element(&text, "Code").map(|code| match element(&text, "Message") {
        Some(message) => format!("{code}: {message}"),
        None => code.to_owned(),
    });
    let is_missing = matches!(error, StoreError::NotFound { .. });
    let why = match error {
        StoreError::Precondition { .. } => "the object was changed while it was read".to_owned(),
        StoreError::NotFound { .. } => told.unwrap_or_else(|| "there is no such object".into()),
        _ if is_denied(error, &text) => {
            let told = told.unwrap_or_else(|| "the store refuses it (403)".to_owned());
            format!("{told} (credentials come from AWS_ACCESS_KEY_ID and its like)")
        }
        _ => told.unwrap_or(text),
    };
    Failure { why: shortened(&why), is_missing }
}

/// Of a listing it is known by its text alone.
fn is_denied(error: &StoreError, text: &str) -> bool {
    let is_told = ["status code: 403", "status code: 401"].iter().any(|told| text.contains(told));
    let is_known =
        matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. });
    is_known || is_told
}

/// What a failure says, and what lies under it, each once.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let own = source.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        next = source.source();
    }
    text
}

/// The text of an element of the XML that S3 answers an error with.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn shortened(text: &str) -> String {
    let line = text.replace(['\r', '\n'], " ");
    match line.char_indices().find(|(at, _)| *at >= TEXT_BYTES_MAX) {
        Some((at, _)) => format!("{}...", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: fn(Box<dyn Error + Send + Sync>) -> StoreError, source: &str) -> String {
        failure_of(&error(source.into())).why
    }

    #[test]
    fn a_failure_is_what_the_store_said_of_it() {
        let missing = |source| StoreError::NotFound { path: "a".into(), source };
        let xml = "404: <?xml?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does \
                   not exist</Message></Error>";
        assert_eq!(of(missing, xml), "NoSuchBucket: The specified bucket does not exist");
        assert_eq!(of(missing, "404"), "there is no such object");
        let denied = |source| StoreError::PermissionDenied { path: "a".into(), source };
        let why = of(denied, "403: <Error><Code>InvalidAccessKeyId</Code></Error>");
        assert!(why.starts_with("InvalidAccessKeyId (credentials come from"), "{why}");
        let other = |source| StoreError::Generic { store: "S3", source };
        let why = of(other, "Server returned non-2xx status code: 403 Forbidden: ");
        assert!(why.starts_with("the store refuses it (403) (credentials come from"), "{why}");
        assert_eq!(of(other, "connection\nrefused"), "Generic S3 error: connection refused");
        assert!(of(other, &"ü".repeat(1000)).len() < TEXT_BYTES_MAX + 8);
    }
}
