//! Errors as JSON: `{"error": "...", "detail": "..."}`.

use crate::error::Error;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An error on its way to an HTTP client.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            Error::Refused { code: "ERR", .. } => StatusCode::BAD_REQUEST,
            Error::Refused { .. } | Error::Corrupt { .. } | Error::Io { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let reason = status.canonical_reason().unwrap_or("error");
        (status, Json(json!({ "error": reason, "detail": self.0.to_string() }))).into_response()
    }
}
