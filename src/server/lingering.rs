//! The end of a connection whose client may still be sending: what it was told shall reach it.
//!
//! A socket that is closed while there is something to read answers with a reset, which takes away
//! what the other side has not read yet (RFC 9112, section 9.6, tells the same of HTTP).

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// So much more is read and thrown away: what the buffers of two sockets hold, and some.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Whoever has not stopped by then has been told, or never reads.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Says that nothing more comes, and waits a little for the client to go.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let (mut rest, mut nowhere) = (stream.take(BYTES_MAX), tokio::io::sink());
    let gone = tokio::io::copy(&mut rest, &mut nowhere);
    // However it ends, there is nothing left to do.
    let _ = tokio::time::timeout(TIME_MAX, gone).await;
}
