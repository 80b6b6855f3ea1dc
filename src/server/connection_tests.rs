//! A connection without a socket: requests in pieces of any length give the replies of the whole,
//! and any bytes give replies that are RESP.

use super::serve_stream;
use crate::{
    command::{App, ClientInfo, Identity, Session, Settings, every_command},
    disk::SimulatedFs,
    feature::Timestamp,
    store::{Clock, Store, StoreOptions},
};
use nowthen_protocol::{ReplyDecoder, encode_request};
use proptest::{collection::vec, prelude::*};
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server with nothing in it.
pub(super) fn server() -> Arc<App> {
    let options = StoreOptions { segment_bytes: 64 * 1024, ..StoreOptions::default() };
    let clock = Clock::manual(Timestamp(1_000_000));
    let fs = Arc::new(SimulatedFs::new());
    let store = Store::open(fs, Path::new("/data"), &options, clock).unwrap();
    let identity = Identity::embedded(Path::new("/data"));
    Arc::new(App::new(store, every_command(), identity, Settings::default()))
}

/// All that a new server answers to these pieces, which it takes and answers in steps of a pipe of
/// `pipe_bytes`.
fn replies(pieces: &[&[u8]], pipe_bytes: usize) -> Vec<u8> {
    let app = server();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let session = Session::new(Arc::new(ClientInfo::new(1, [nobody, nobody], 0)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut replies = Vec::new();
    runtime.block_on(async {
        let (client, served) = tokio::io::duplex(pipe_bytes);
        let (mut read, mut write) = tokio::io::split(client);
        let send = async move {
            for piece in pieces {
                if write.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = write.shutdown().await;
        };
        let receive = read.read_to_end(&mut replies);
        let _ = tokio::join!(send, serve_stream(Arc::clone(&app), served, session), receive);
    });
    app.store.close().unwrap();
    replies
}

/// Over a socket the reset of a close would take the reply away.
#[test]
fn whoever_is_told_off_may_send_the_rest_of_what_it_has_begun() {
    let mut bytes = b"*1\r\n+wrong\r\n".to_vec();
    bytes.resize(1 << 20, b'x');
    let app = server();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let session = Session::new(Arc::new(ClientInfo::new(1, [nobody, nobody], 0)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut client, served) = tokio::io::duplex(4096);
        let tell = async move {
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let mut told = String::new();
            client.read_to_string(&mut told).await.unwrap();
            assert_eq!(told, "-ERR Protocol error: expected '$', got '+'\r\n");
        };
        tokio::join!(tell, serve_stream(Arc::clone(&app), served, session));
    });
    app.store.close().unwrap();
}

fn in_pieces(mut bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        let (piece, rest) = bytes.split_at(bytes.len().min(*length));
        pieces.push(piece.to_vec());
        bytes = rest;
        if bytes.is_empty() {
            return pieces;
        }
    }
    pieces
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![
        "[hk][12]".prop_map(String::into_bytes),
        "[0-9]{1,3}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
    ];
    let name = prop::sample::select(vec![
        "SET", "GET", "MGET", "APPEND", "INCR", "DEL", "HSET", "HGET", "HGETALL", "HDEL", "MULTI",
        "EXEC", "ECHO", "TYPE", "DBSIZE", "NOSUCH",
    ]);
    (name, vec(word, 0..5)).prop_map(|(name, mut words)| {
        words.insert(0, name.as_bytes().to_vec());
        words
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn requests_in_pieces_are_answered_as_a_whole(
        requests in vec(request(), 1..20),
        lengths in vec(1..60_usize, 1..8),
        pipe_bytes in 1..200_usize,
    ) {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| encode_request(request, &mut bytes));
        let whole = replies(&[&bytes], 1 << 20);
        let pieces = in_pieces(&bytes, &lengths);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(replies(&pieces, pipe_bytes), whole);
    }

    #[test]
    fn any_bytes_are_answered_in_resp(
        start in "[*$A-Z 0-9\r\n]*",
        bytes in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start.as_bytes(), &bytes].concat();
        let all = replies(&[&bytes], 64);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (_, taken) = ReplyDecoder::default().decode(rest).unwrap().unwrap();
            rest = &rest[taken..];
        }
    }
}
