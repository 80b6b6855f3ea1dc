//! A bucket: what lies in it, and ranges of that.

use super::{
    failure::Failure, found::Found, io_thread::wait, told::failure_of, transport::Transport,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    BackoffConfig, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::AmazonS3Builder, path::Path,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    env,
    fmt::{self, Debug, Formatter},
    ops::Range,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// So many requests are under way at once; the others wait.
const REQUESTS_MAX: usize = 32;
/// What fails in a way that may pass is tried again, so often and so long.
const RETRIES_MAX: usize = 5;
const RETRY_SECONDS: u64 = 30;
/// A range has so much time, and a second more for each of so many bytes.
const RANGE_SECONDS: u64 = 120;
const BYTES_A_SECOND_MIN: u64 = 256 * 1024;
/// By one of these credentials are given. Without any the store would be asked at an address that
/// only machines of Amazon have.
const CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];

/// Those that were opened: they keep their connections.
static OPENED: LazyLock<Mutex<HashMap<String, Arc<Bucket>>>> = LazyLock::new(Mutex::default);

/// A bucket of a store.
pub struct Bucket {
    name: String,
    store: Arc<dyn ObjectStore>,
    requests: Arc<Semaphore>,
}

impl Debug for Bucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url(""))
    }
}

fn found(meta: ObjectMeta) -> Found {
    Found {
        key: meta.location.to_string(),
        bytes: meta.size,
        modified_ns: meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
        tag: meta.e_tag,
    }
}

impl Bucket {
    /// The S3 bucket of that name, with what the environment says of AWS.
    pub fn open(name: &str) -> Result<Arc<Self>, Failure> {
        let mut opened = OPENED.lock();
        if let Some(bucket) = opened.get(name) {
            return Ok(Arc::clone(bucket));
        }
        if CREDENTIALS.iter().all(|name| env::var_os(name).is_none()) {
            return Err(Failure::new(
                "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                 AWS_SKIP_SIGNATURE=true for a bucket that everyone may read",
            ));
        }
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES_MAX,
            retry_timeout: Duration::from_secs(RETRY_SECONDS),
        };
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(name)
            .with_http_connector(Transport)
            .with_retry(retry)
            .build();
        let bucket = Arc::new(Self::of(name, Arc::new(store.map_err(|e| failure_of(&e))?)));
        opened.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }

    fn of(name: &str, store: Arc<dyn ObjectStore>) -> Self {
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        Self { name: name.to_owned(), store, requests }
    }

    /// A bucket in memory, and how to put something into it.
    #[cfg(test)]
    pub(crate) fn in_memory(objects: &[(String, Bytes)]) -> Arc<Self> {
        let store = Arc::new(object_store::memory::InMemory::new());
        for (key, bytes) in objects.iter().cloned() {
            let store = Arc::clone(&store);
            wait(async move {
                let put = store.put(&path_of(&key)?, bytes.into()).await;
                put.map(|_| ()).map_err(|error| failure_of(&error))
            })
            .unwrap();
        }
        Arc::new(Self::of("memory", store))
    }

    /// What a person calls the object with this key.
    pub fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// Whatever lies below the folder `prefix`, in no order.
    pub fn list(&self, prefix: &str) -> Result<Vec<Found>, Failure> {
        let store = Arc::clone(&self.store);
        let prefix = (!prefix.is_empty()).then(|| path_of(prefix)).transpose()?;
        wait(async move {
            let all = store.list(prefix.as_ref()).map_ok(found).try_collect().await;
            all.map_err(|error| failure_of(&error))
        })
    }

    /// The object with this key; `None` if there is none.
    pub fn find(&self, key: &str) -> Result<Option<Found>, Failure> {
        let (store, path) = (Arc::clone(&self.store), path_of(key)?);
        wait(async move {
            match store.head(&path).await {
                Ok(meta) => Ok(Some(found(meta))),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                // The answer to this has no body, and so no reason; that to a listing has one.
                Err(error) => match store.list_with_delimiter(Some(&path)).await {
                    Ok(_) => Err(failure_of(&error)),
                    Err(told) => Err(failure_of(&told)),
                },
            }
        })
    }

    /// A range of an object that has this tag.
    pub(super) async fn get(
        self: Arc<Self>,
        key: String,
        tag: Option<String>,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        let _turn = self.requests.acquire().await;
        let length = range.end - range.start;
        let path = path_of(&key)?;
        let options = GetOptions { if_match: tag, ..GetOptions::new().with_range(Some(range)) };
        let read = async {
            let answer = self.store.get_opts(&path, options).await?;
            answer.bytes().await
        };
        let time = Duration::from_secs(RANGE_SECONDS + length / BYTES_A_SECOND_MIN);
        let read = timeout(time, read).await;
        let read = read.map_err(|_| Failure::new(format!("not read within {time:?}")))?;
        let bytes = read.map_err(|error| failure_of(&error))?;
        if bytes.len() as u64 != length {
            return Err(Failure::new(format!(
                "the store gave {} bytes of {length}: the object is shorter than it was",
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}

fn path_of(key: &str) -> Result<Path, Failure> {
    Path::parse(key).map_err(|error| Failure::new(error.to_string()))
}
