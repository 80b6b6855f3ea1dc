//! The HTTP server: its own thread and runtime, so that it takes no time from the cores that serve
//! Redis clients.

use super::{metrics::metrics, online_features::get_online_features, refusal::Refusal};
use crate::{
    command::{App, Shutdown},
    error::Error,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{net::TcpListener, sync::Arc, time::Instant};

/// The largest body of a request.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Serves until [`App::shutdown`] says otherwise.
pub fn serve(app: &Arc<App>, listener: TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "HTTP cannot start"),
    };
    runtime.block_on(async {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "HTTP cannot listen"),
        };
        let mut shutdown = app.shutdown.subscribe();
        let stopped = async move {
            // It may have been said before anybody listened.
            let _ = shutdown.wait_for(|state| *state != Shutdown::Running).await;
        };
        let served = axum::serve(listener, router(Arc::clone(app)));
        // A client that keeps its connection open must not keep the server from stopping.
        tokio::select! {
            result = served => if let Err(error) = result {
                tracing::error!(%error, "HTTP stopped");
            },
            () = stopped => {}
        }
    });
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/get-online-features", post(online_features))
        .route("/health", get(health))
        .route("/ready", get(health))
        .route("/metrics", get(|State(app): State<Arc<App>>| async move { metrics(&app) }))
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&app), refuse_while_loading))
        .route("/live", get(live))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// The body is read whatever its content type says: `curl -d` says it is a form.
async fn online_features(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let started = Instant::now();
    let answered = get_online_features(&app, &body);
    app.stats.http_online_features.record_ns(started.elapsed().as_nanos() as u64);
    if answered.is_err() {
        app.stats.http_failed.increment();
    }
    Ok(Json(answered?))
}

async fn refuse_while_loading(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if app.is_loading() {
        let why = "the data is being loaded; GET /ready says when it is there";
        return Err(Error::refused_as("LOADING", why).into());
    }
    Ok(next.run(request).await)
}

/// Whoever answers is alive, and no more is asked.
async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn health(State(app): State<Arc<App>>) -> Result<Json<Value>, Refusal> {
    app.store.check_poison()?;
    Ok(Json(json!({ "status": "ok" })))
}

async fn not_found() -> Response {
    let detail = "expected POST /get-online-features, GET /health, /live, /ready or /metrics";
    (StatusCode::NOT_FOUND, Json(json!({ "error": "Not Found", "detail": detail }))).into_response()
}
