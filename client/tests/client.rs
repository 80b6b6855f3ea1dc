//! The client against a socket that says what a server would: what it sends byte for byte, what
//! it makes of the replies, and what it says when there are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

use std::time::Duration;

use nowthen_client::{
    Client, ClientError, FeatureMatrix, FeatureStatus, MatrixValues, Result, Value,
};
use nowthen_protocol::encode_request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server waits for (words of one request), and what it then sends.
type Script = Vec<(String, Vec<u8>)>;

const HELLO: (&str, &str) = ("HELLO 3", "%1\r\n+proto\r\n:3\r\n");

fn script(steps: &[(&str, &str)]) -> Script {
    steps.iter().map(|(words, reply)| (words.to_string(), reply.as_bytes().to_vec())).collect()
}

/// Runs `test` to its end, on a runtime with nothing but what the client asks for.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await.unwrap() })
}

/// A server that follows `script` with the first client, and then closes.
async fn serve(script: Script) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (words, reply) in script {
            expect(&mut stream, &words).await;
            stream.write_all(&reply).await.unwrap();
        }
    });
    (address, server)
}

async fn expect(stream: &mut TcpStream, words: &str) {
    let mut wanted = Vec::new();
    encode_request(&words.split(' ').collect::<Vec<_>>(), &mut wanted);
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got.escape_ascii().to_string(), wanted.escape_ascii().to_string());
}

/// Connects, and asks for `wanted` of a server that waits for `words` and sends `reply`.
fn ask<T>(
    words: &str,
    reply: &str,
    wanted: impl AsyncFnOnce(&mut Client) -> Result<T>,
) -> Result<T> {
    run(async {
        let (address, server) = serve(script(&[HELLO, (words, reply)])).await;
        let answer = wanted(&mut Client::connect(&address).await.unwrap()).await;
        server.await.unwrap();
        answer
    })
}

fn connect_fails(steps: &[(&str, &str)], wanted: &str) {
    let error = run(async {
        let (address, _server) = serve(script(steps)).await;
        Client::connect(&address).await.unwrap_err()
    });
    assert!(error.to_string().contains(wanted), "{error}");
}

#[test]
fn connecting_logs_in_asks_for_resp3_and_selects() {
    run(async {
        let steps = [("HELLO 3 AUTH ann s3cret", HELLO.1), ("SELECT 2", "+OK\r\n")];
        let (address, server) = serve(script(&steps)).await;
        Client::connect(&format!("redis://ann:s3cret@{address}/2")).await.unwrap();
        server.await.unwrap();
    });
}

#[test]
fn a_server_that_refuses_is_told_of_in_words_that_help() {
    let unknown = "-ERR unknown command 'HELLO'\r\n";
    connect_fails(&[("HELLO 3", unknown)], "refuses HELLO 3, which this client needs");
    connect_fails(&[("HELLO 3", "-NOPROTO no\r\n")], "refuses HELLO 3, which this client needs");
    connect_fails(&[("HELLO 3", "-NOAUTH no\r\n")], "put a login into the URL");
    connect_fails(
        &[("HELLO 3", "-ERR max number of clients reached\r\n")],
        "max number of clients",
    );
    connect_fails(&[("HELLO 3", "HTTP/1.1 400 Bad Request\r\n")], "is this a nowthen server");
    connect_fails(&[], "lost the connection");
}

#[test]
fn where_nobody_listens_the_error_asks_whether_a_server_runs() {
    let error = run(async {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Client::connect(&free.to_string()).await.unwrap_err()
    });
    let text = error.to_string();
    assert!(text.starts_with("cannot reach 127.0.0.1:"), "{text}");
    assert!(text.ends_with(": connection refused; is `nowthen serve` running there?"), "{text}");
}

#[test]
fn a_command_gives_its_reply_or_the_refusal_in_two_parts() {
    let reply = ask("GET a", "$1\r\nb\r\n", async |client| client.command(&["GET", "a"]).await);
    assert_eq!(reply.unwrap(), Value::Bulk(b"b".to_vec()));

    let refused = ask("HGET a b", "-WRONGTYPE not a hash\r\n", async |client| {
        client.command(&["HGET", "a", "b"]).await
    });
    match refused {
        Err(ClientError::Server { code, message }) => {
            assert_eq!((code.as_str(), message.as_str()), ("WRONGTYPE", "not a hash"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_command_without_a_name_is_refused_before_it_is_sent() {
    let empty = ask("PING", "+PONG\r\n", async |client| {
        let refused = client.command::<&str>(&[]).await;
        assert!(matches!(refused, Err(ClientError::Request { .. })), "{refused:?}");
        client.command(&["PING"]).await
    });
    assert_eq!(empty.unwrap(), Value::Simple("PONG".into()));
}

#[test]
fn a_pipeline_keeps_each_reply_in_its_place_also_a_refusal() {
    run(async {
        let steps = [HELLO, ("GET a", ":1\r\n"), ("GET b", "-ERR no\r\n"), ("GET c", "_\r\n")];
        let (address, _server) = serve(script(&steps)).await;
        let mut client = Client::connect(&address).await.unwrap();
        let commands = vec![vec!["GET", "a"], vec!["GET", "b"], vec!["GET", "c"]];
        let replies = client.pipeline(commands).await.unwrap();
        assert_eq!(replies, [Value::Integer(1), Value::Error("ERR no".into()), Value::Null]);
        assert_eq!(client.pipeline::<&str>(vec![]).await.unwrap(), []);
    });
}

#[test]
fn a_pipeline_longer_than_all_buffers_does_not_lock_up() {
    const COMMANDS: usize = 400;
    let payload = "x".repeat(50_000);
    let reply = format!("${}\r\n{payload}\r\n", payload.len());
    run(async {
        // This server reads nothing more before its reply is taken, as a careful one does.
        let echo = format!("ECHO {payload}");
        let mut steps = script(&[HELLO]);
        steps.extend((0..COMMANDS).map(|_| (echo.clone(), reply.clone().into_bytes())));
        let (address, _server) = serve(steps).await;
        let mut client = Client::connect(&address).await.unwrap();
        let replies = client.pipeline(vec![vec!["ECHO", &payload]; COMMANDS]).await.unwrap();
        assert_eq!(replies.len(), COMMANDS);
        assert!(replies.iter().all(|reply| reply.as_text() == Some(&payload)));
    });
}

#[test]
fn a_reply_may_come_byte_by_byte_and_after_a_push() {
    let listening = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            expect(&mut stream, "HELLO 3").await;
            for byte in b"+OK\r\n>2\r\n+invalidate\r\n_\r\n*2\r\n:1\r\n,0.5\r\n" {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            expect(&mut stream, "PING").await;
        });
        let mut client = Client::connect(&address).await.unwrap();
        let reply = client.command(&["PING"]).await.unwrap();
        server.await.unwrap();
        reply
    };
    assert_eq!(run(listening), Value::Array(vec![Value::Integer(1), Value::Double(0.5)]));
}

#[test]
fn the_reply_to_a_dropped_command_is_given_to_nobody() {
    run(async {
        // The server waits for a last request, so that it is slow and not gone.
        let steps = [HELLO, ("GET slow", ""), ("PING", "")];
        let (address, _server) = serve(script(&steps)).await;
        let mut client = Client::connect(&address).await.unwrap();
        let arguments = ["GET", "slow"];
        let slow = client.command(&arguments);
        assert!(tokio::time::timeout(Duration::from_millis(20), slow).await.is_err());
        let next = client.command(&["GET", "next"]).await;
        assert!(matches!(next, Err(ClientError::Abandoned)), "{next:?}");
    });
}

#[test]
fn a_connection_that_closes_is_an_io_error_and_stays_unusable() {
    run(async {
        let (address, _server) = serve(script(&[HELLO, ("PING", "+PO")])).await;
        let mut client = Client::connect(&address).await.unwrap();
        let error = client.command(&["PING"]).await.unwrap_err();
        assert!(matches!(error, ClientError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains("connect again"), "{error}");
        assert!(matches!(client.command(&["PING"]).await, Err(ClientError::Abandoned)));
    });
}

#[test]
fn hashes_are_read_and_written() {
    let values = ask("HMGET user:1 a b", "*2\r\n$1\r\n7\r\n_\r\n", async |client| {
        client.hmget("user:1", &["a", "b"]).await
    });
    assert_eq!(values.unwrap(), [Some(b"7".to_vec()), None]);

    let short = ask("HMGET user:1 a b", "*1\r\n_\r\n", async |client| {
        client.hmget("user:1", &["a", "b"]).await
    });
    assert!(matches!(short, Err(ClientError::Protocol { .. })), "{short:?}");

    let added = ask("HSET user:1 a 7 b x", ":2\r\n", async |client| {
        client.hset("user:1", &[("a", "7"), ("b", "x")]).await
    });
    assert_eq!(added.unwrap(), 2);
}

#[test]
fn definitions_are_applied_or_only_looked_at() {
    let told = ask("FS.APPLY [entity.user] DRYRUN", "=10\r\ntxt:+ user\r\n", async |client| {
        client.apply("[entity.user]", true).await
    });
    assert_eq!(told.unwrap(), "+ user");
    let told = ask("FS.APPLY x", "+OK\r\n", async |client| client.apply("x", false).await);
    assert_eq!(told.unwrap(), "OK");
}

#[test]
fn runs_are_started_and_listed() {
    let one = vec![("view".to_owned(), Value::Simple("weather".into()))];
    let words = "FS.MATERIALIZE weather FROM 2026-05-03 TO 1777809600000000 WAIT";
    let run = ask(words, "*1\r\n%1\r\n+view\r\n+weather\r\n", async |client| {
        let (from, to) = (Some("2026-05-03"), Some("1777809600000000"));
        client.materialize("weather", from, to, true).await
    });
    assert_eq!(run.unwrap(), std::slice::from_ref(&one));

    let words = "FS.RUNS weather COUNT 5";
    let runs = ask(words, "*1\r\n%1\r\n+view\r\n+weather\r\n", async |client| {
        client.runs(Some("weather"), Some(5)).await
    });
    assert_eq!(runs.unwrap(), [one]);

    let runs = ask("FS.RUNS", "*0\r\n", async |client| client.runs(None, None).await);
    assert_eq!(runs.unwrap(), Vec::<Vec<_>>::new());
}

const FS_GET: &str = "FS.GET FEATURES 2 spend genre FOR 1 user_id ROWS 2 8a2f 9b00 AT 2026-05-03 \
                      WITHSTATUS WITHTIME";

async fn get(client: &mut Client) -> Result<nowthen_client::FeatureRows> {
    let rows = [vec!["8a2f"], vec!["9b00"]];
    client.get_online_features(&["spend", "genre"], &["user_id"], &rows, Some("2026-05-03")).await
}

#[test]
fn features_come_with_status_and_time() {
    let reply = "*2\r\n\
                 *2\r\n*3\r\n,12.5\r\n$7\r\nPRESENT\r\n:17\r\n*3\r\n_\r\n$10\r\nNULL_VALUE\r\n:18\r\n\
                 *2\r\n*3\r\n_\r\n+OUTSIDE_MAX_AGE\r\n:19\r\n*3\r\n_\r\n+NOT_FOUND\r\n_\r\n";
    let found = ask(FS_GET, reply, get).unwrap();
    let told: Vec<_> = found
        .rows
        .iter()
        .flatten()
        .map(|cell| (cell.value.as_double(), cell.status, cell.event_timestamp_us))
        .collect();
    assert_eq!(
        told,
        [
            (Some(12.5), FeatureStatus::Present, Some(17)),
            (None, FeatureStatus::NullValue, Some(18)),
            (None, FeatureStatus::OutsideMaxAge, Some(19)),
            (None, FeatureStatus::NotFound, None),
        ]
    );
    assert_eq!(found.cell(1, "genre").unwrap().status, FeatureStatus::NotFound);
    assert_eq!((found.cell(2, "genre"), found.cell(0, "age")), (None, None));
}

#[test]
fn features_in_another_shape_than_asked_are_an_error() {
    let row = "*2\r\n*3\r\n_\r\n+NOT_FOUND\r\n_\r\n*3\r\n_\r\n+NOT_FOUND\r\n_\r\n";
    for reply in [
        format!("*1\r\n{row}"),
        format!("*2\r\n{row}*1\r\n*3\r\n_\r\n+NOT_FOUND\r\n_\r\n"),
        format!("*2\r\n{row}{}", row.replacen("*3\r\n_\r\n+NOT_FOUND\r\n_\r\n", "_\r\n", 1)),
        format!("*2\r\n{row}{}", row.replacen("NOT_FOUND", "MISLAID", 1)),
        "%0\r\n".to_owned(),
        "_\r\n".to_owned(),
    ] {
        let got = ask(FS_GET, &reply, get);
        assert!(matches!(got, Err(ClientError::Protocol { .. })), "{reply}: {got:?}");
    }
}

#[test]
fn rows_that_do_not_fit_the_join_keys_are_refused_before_they_are_sent() {
    let pong = ask("PING", "+PONG\r\n", async |client| {
        // Four values for two rows of two keys: only the rows tell that something is amiss.
        let rows = [vec!["a"], vec!["b", "c", "d"]];
        let refused = client.get_online_features(&["spend"], &["user", "item"], &rows, None).await;
        let text = refused.unwrap_err().to_string();
        assert_eq!(text, "row 0 has 1 values for 2 join keys");
        client.command(&["PING"]).await
    });
    pong.unwrap();
}

#[test]
fn a_load_tells_how_many_rows_were_applied_and_late() {
    let load = |reply: &str| {
        ask("FS.LOAD stats stream", reply, async |client| client.load("stats", b"stream").await)
    };
    assert_eq!(load("*2\r\n:3\r\n:1\r\n").unwrap(), (3, 1));
    assert!(load("*1\r\n:3\r\n").is_err() && load("-ERR no\r\n").is_err());
}

fn get_matrix(frame: &str) -> Result<FeatureMatrix> {
    let words = "FS.GET FEATURES 1 visits FOR 1 user_id ROWS 2 8a2f 9b00 AS VECTOR";
    let reply = format!("${}\r\n{frame}\r\n", frame.len());
    ask(words, &reply, async |client| {
        client.get_feature_matrix(&["visits"], &["user_id"], &[["8a2f"], ["9b00"]], None).await
    })
}

#[test]
fn features_come_as_a_matrix() {
    let header = "NTFV\x01\x03\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0";
    let cells = "\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x00\x03";
    let matrix = get_matrix(&format!("{header}{cells}")).unwrap();
    assert_eq!((matrix.rows, matrix.columns, matrix.is_rounded), (2, 1, false));
    assert_eq!(matrix.values, MatrixValues::I64(vec![7, 0]));
    assert_eq!(matrix.statuses, [FeatureStatus::Present, FeatureStatus::NotFound]);

    let why = get_matrix(header).unwrap_err().to_string();
    assert!(why.contains("expected as many bytes as its rows and columns"), "{why}");
    let one_row = header.replacen('\x02', "\x01", 1);
    let why = get_matrix(&format!("{one_row}{}\0", &cells[..8])).unwrap_err().to_string();
    assert!(why.contains("1 rows instead of 2"), "{why}");
}

#[test]
fn a_client_may_move_to_a_task() {
    run(async {
        let words = "FS.GET FEATURES 1 spend FOR 1 user_id ROWS 0 WITHSTATUS WITHTIME";
        let (address, _server) = serve(script(&[HELLO, (words, "*0\r\n")])).await;
        let task = tokio::spawn(async move {
            let mut client = Client::connect(&address).await?;
            let rows: [Vec<String>; 0] = [];
            client.get_online_features(&["spend"], &["user_id"], &rows, None).await
        });
        assert!(task.await.unwrap().unwrap().rows.is_empty());
    });
}
