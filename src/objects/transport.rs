//! HTTP and TLS for `object_store`: hyper and rustls with ring, of which most stands in the server
//! already. Its own transport (reqwest, aws-lc) would be fifteen crates and a C library more.

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector as Connector},
    rt::TokioExecutor,
};
use object_store::{
    ClientConfigKey, ClientOptions, Error as StoreError, Result as StoreResult,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use std::{io, time::Duration};
use tokio::time::timeout;

/// A store that is there takes a connection within this time.
const CONNECT_SECONDS: u64 = 5;
/// And begins to answer a request within this.
const ANSWER_SECONDS: u64 = 30;
/// A connection that nobody uses is kept so long.
const IDLE_SECONDS: u64 = 30;

/// Makes clients.
#[derive(Debug)]
pub(super) struct Transport;

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> StoreResult<HttpClient> {
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
            let why = format!("no certificates of this system: {error}");
            StoreError::Generic { store: "S3", source: why.into() }
        })?;
        let tls = match allow_http.as_deref() {
            Some("true") => tls.https_or_http(),
            _ => tls.https_only(),
        };
        let mut connector = Connector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(CONNECT_SECONDS)));
        let https = tls.enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(https);
        Ok(HttpClient::new(Https { client }))
    }
}

#[derive(Debug)]
struct Https {
    client: Client<HttpsConnector<Connector>, HttpRequestBody>,
}

#[async_trait]
impl HttpService for Https {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = timeout(Duration::from_secs(ANSWER_SECONDS), self.client.request(request));
        let answer = answer.await.map_err(|_| {
            let why = format!("no answer within {ANSWER_SECONDS} s");
            HttpError::new(HttpErrorKind::Timeout, io::Error::other(why))
        })?;
        let (parts, body) = answer.map_err(failed)?.into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// Whoever reads tries again what may go better then.
fn failed(error: ClientError) -> HttpError {
    let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
    HttpError::new(kind, error)
}
