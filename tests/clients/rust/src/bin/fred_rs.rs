//! The program for fred: its `Client`, with a centralized and a cluster configuration.

use fred::{
    prelude::*,
    types::{
        Expiration, ExpireOptions, Key, Map, RespVersion,
        config::{Config, PerformanceConfig, ReconnectPolicy, Server, ServerConfig},
        scan::{ScanResult, Scanner},
    },
};
use futures::TryStreamExt;
use nowthen_clients::{
    BATCH_FEATURES, Call, RESTART_ATTEMPTS_MAX, RESTART_PAUSE, STREAMING_FEATURES, binary_texts,
    call, many_fields, wait_for_restart,
};
use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    time::Duration,
};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> FredResult<()> {
    let call = call();
    let client = connect(&call).await?;
    for step in &call.steps {
        match step.as_str() {
            "binary" => binary(&client).await?,
            "hashes" => hashes(&client).await?,
            "pipeline" => pipeline(&client).await?,
            "transaction" => transaction(&client).await?,
            "watch" => watch(&client, &connect(&call).await?).await?,
            "scan" => scan(&client, call.is_cluster).await?,
            "expiry" => expiry(&client).await?,
            "field_expiry" => field_expiry(&client).await?,
            "batch_features" => batch_features(&client).await?,
            "streaming_features" => streaming_features(&client).await?,
            "restart" => restart(&client).await?,
            other => panic!("no step {other}"),
        }
        println!("{step}");
    }
    client.quit().await
}

async fn connect(call: &Call) -> FredResult<Client> {
    let hosts = vec![("127.0.0.1", call.port)];
    let server = if call.is_cluster {
        ServerConfig::new_clustered(hosts)
    } else {
        ServerConfig::Centralized { server: Server::new("127.0.0.1", call.port) }
    };
    let version = if call.is_resp3 { RespVersion::RESP3 } else { RespVersion::RESP2 };
    let config = Config { server, version, ..Config::default() };
    let pause_ms = RESTART_PAUSE.as_millis() as u32;
    let policy = ReconnectPolicy::new_constant(RESTART_ATTEMPTS_MAX as u32, pause_ms);
    let performance = Some(PerformanceConfig::default());
    let client = Client::new(config, performance, None, Some(policy));
    client.init().await?;
    Ok(client)
}

async fn binary(client: &Client) -> FredResult<()> {
    for text in binary_texts() {
        let key = Key::from([b"bytes:", text.as_slice()].concat().as_slice());
        let field = Key::from(text.as_slice());
        let value = Value::Bytes(text.clone().into());
        let () = client.set(&key, value.clone(), None, None, false).await?;
        assert_eq!(client.get::<Value, _>(&key).await?.into_owned_bytes(), Some(text.clone()));
        let map = Map::try_from(vec![(field.clone(), value)])?;
        assert_eq!(client.hset::<i64, _, _>("bytes", map).await?, 1);
        let found: Value = client.hget("bytes", field).await?;
        assert_eq!(found.into_owned_bytes(), Some(text));
    }
    assert_eq!(client.hlen::<usize, _>("bytes").await?, binary_texts().len());
    Ok(())
}

async fn hashes(client: &Client) -> FredResult<()> {
    let fields = many_fields();
    assert_eq!(client.hset::<i64, _, _>("hash", fields.clone()).await?, 200);
    assert_eq!(client.hset::<i64, _, _>("hash", fields.clone()).await?, 0);
    assert_eq!(client.hgetall::<HashMap<String, String>, _>("hash").await?, fields);
    let values: Vec<Option<String>> = client.hmget("hash", vec!["field:7", "none"]).await?;
    assert_eq!(values, [Some("value:7".into()), None]);
    let mut found = HashMap::new();
    let mut pages = pin!(client.hscan("hash", "*", Some(50)));
    while let Some(mut page) = pages.try_next().await? {
        for (field, value) in page.take_results().expect("a page").inner() {
            found.insert(field.into_string().expect("text"), value.convert::<String>()?);
        }
        page.next();
    }
    assert_eq!(found, fields);
    assert_eq!(client.hincrby::<i64, _, _>("hash", "count", 5).await?, 5);
    assert_eq!(client.hincrbyfloat::<f64, _, _>("hash", "sum", 2.5).await?, 2.5);
    assert_eq!(client.hdel::<i64, _, _>("hash", vec!["count", "sum", "none"]).await?, 2);
    assert_eq!(client.hlen::<i64, _>("hash").await?, 200);
    Ok(())
}

async fn pipeline(client: &Client) -> FredResult<()> {
    let (writes, reads, mut expected) = (client.pipeline(), client.pipeline(), Vec::new());
    for n in 0..100 {
        let fields = HashMap::from([("a", n.to_string()), ("b", format!("b{n}"))]);
        let () = writes.hset(format!("entity:{n}"), fields).await?;
        let () = reads.hmget(format!("entity:{n}"), vec!["b", "none", "a"]).await?;
        expected.push(vec![Some(format!("b{n}")), None, Some(n.to_string())]);
    }
    assert_eq!(writes.all::<Vec<i64>>().await?, [2; 100]);
    assert_eq!(reads.all::<Vec<Vec<Option<String>>>>().await?, expected);
    Ok(())
}

async fn transaction(client: &Client) -> FredResult<()> {
    let queued = client.multi();
    let () = queued.set("{t}:string", 1, None, None, false).await?;
    let () = queued.hset("{t}:hash", ("a", 1)).await?;
    let () = queued.get("{t}:string").await?;
    let replies: (String, i64, String) = queued.exec(true).await?;
    assert_eq!(replies, ("OK".into(), 1, "1".into()));
    assert_eq!(client.hget::<i64, _, _>("{t}:hash", "a").await?, 1);
    Ok(())
}

async fn watch(client: &Client, other: &Client) -> FredResult<()> {
    let () = client.set("{w}:seen", 1, None, None, false).await?;
    client.watch("{w}:seen").await?;
    let () = other.set("{w}:seen", 2, None, None, false).await?;
    let queued = client.multi();
    let () = queued.set("{w}:written", "yes", None, None, false).await?;
    assert!(queued.exec::<Value>(true).await?.is_null());
    assert_eq!(client.exists::<i64, _>("{w}:written").await?, 0);
    client.watch("{w}:seen").await?;
    let queued = client.multi();
    let () = queued.set("{w}:written", "yes", None, None, false).await?;
    assert_eq!(queued.exec::<Vec<String>>(true).await?, ["OK"]);
    other.quit().await
}

async fn scan(client: &Client, is_cluster: bool) -> FredResult<()> {
    let writes = client.pipeline();
    for n in 0..1000 {
        let () = writes.set(format!("scan:{n}"), n, None, None, false).await?;
    }
    let _: Value = writes.last().await?;
    let found = if is_cluster {
        pages(client.scan_cluster("scan:*", Some(100), None)).await?
    } else {
        pages(client.scan("scan:*", Some(100), None)).await?
    };
    assert_eq!(found, (0..1000).map(|n| format!("scan:{n}")).collect());
    Ok(())
}

async fn pages(
    pages: impl futures::Stream<Item = FredResult<ScanResult>>,
) -> FredResult<HashSet<String>> {
    let mut found = HashSet::new();
    let mut pages = pin!(pages);
    while let Some(mut page) = pages.try_next().await? {
        let keys = page.take_results().unwrap_or_default();
        found.extend(keys.into_iter().filter_map(Key::into_string));
        page.next();
    }
    Ok(found)
}

async fn expiry(client: &Client) -> FredResult<()> {
    let () = client.set("expiry", "1", Some(Expiration::EX(100)), None, false).await?;
    assert!((99..=100).contains(&client.ttl::<i64, _>("expiry").await?));
    assert_eq!(client.expire::<i64, _>("expiry", 200, None).await?, 1);
    assert!((199_000..=200_000).contains(&client.pttl::<i64, _>("expiry").await?));
    assert_eq!(client.persist::<i64, _>("expiry").await?, 1);
    assert_eq!(client.ttl::<i64, _>("expiry").await?, -1);
    assert_eq!(client.pexpire::<i64, _>("expiry", 30, None).await?, 1);
    sleep(Duration::from_millis(60)).await;
    assert_eq!(client.get::<Option<String>, _>("expiry").await?, None);
    assert_eq!(client.ttl::<i64, _>("expiry").await?, -2);
    Ok(())
}

// fred 10.1 has no HSETEX and no HGETEX.
async fn field_expiry(client: &Client) -> FredResult<()> {
    let fields = HashMap::from([("a", 1), ("b", 2), ("c", 3)]);
    let () = client.hset("fields", fields).await?;
    let codes: Vec<i64> = client.hexpire("fields", 100, None, vec!["a", "none"]).await?;
    assert_eq!(codes, [1, -2]);
    let seconds: Vec<i64> = client.httl("fields", vec!["a", "b", "none"]).await?;
    assert!((99..=100).contains(&seconds[0]) && seconds[1..] == [-1, -2]);
    let only_new = Some(ExpireOptions::NX);
    let codes: Vec<i64> = client.hexpire("fields", 50, only_new, vec!["a", "b"]).await?;
    assert_eq!(codes, [0, 1]);
    let codes: Vec<i64> = client.hpersist("fields", vec!["a", "c", "none"]).await?;
    assert_eq!(codes, [1, -1, -2]);
    assert_eq!(client.hexpire::<Vec<i64>, _, _>("fields", 0, None, "c").await?, [2]);
    assert_eq!(client.hpexpire::<Vec<i64>, _, _>("fields", 30, None, "a").await?, [1]);
    sleep(Duration::from_millis(60)).await;
    let left: HashMap<String, i64> = client.hgetall("fields").await?;
    assert_eq!(left, HashMap::from([("b".into(), 2)]));
    Ok(())
}

async fn batch_features(client: &Client) -> FredResult<()> {
    let (writes, reads, mut written) = (client.pipeline(), client.pipeline(), Vec::new());
    for n in 0..100 {
        let key = format!("user:{n}");
        let () = writes.hset(&key, HashMap::from(BATCH_FEATURES)).await?;
        let () = writes.expire(&key, 86_400, None).await?;
        let () = reads.hmget(&key, vec!["spend_30d", "segment", "clicks_5m"]).await?;
        written.extend([4, 1]);
    }
    assert_eq!(writes.all::<Vec<i64>>().await?, written);
    let rows: Vec<(f64, String, Option<String>)> = reads.all().await?;
    assert_eq!(rows, vec![(182.5, "b".into(), None); 100]);
    assert!((86_000..=86_400).contains(&client.ttl::<i64, _>("user:7").await?));
    Ok(())
}

async fn streaming_features(client: &Client) -> FredResult<()> {
    let () = client.hset("user:7", HashMap::from(BATCH_FEATURES)).await?;
    let () = client.hset("user:7", HashMap::from(STREAMING_FEATURES)).await?;
    let streaming = vec!["clicks_5m", "last_page"];
    let codes: Vec<i64> = client.hexpire("user:7", 300, None, streaming).await?;
    assert_eq!(codes, [1, 1]);
    let asked = vec!["clicks_5m", "last_page", "country"];
    let seconds: Vec<i64> = client.httl("user:7", asked).await?;
    assert!((299..=300).contains(&seconds[0]) && (299..=300).contains(&seconds[1]));
    assert_eq!(seconds[2], -1);
    let reads = client.pipeline();
    for _ in 0..100 {
        let () = reads.hmget("user:7", vec!["country", "clicks_5m", "last_page"]).await?;
    }
    let rows: Vec<(String, i64, String)> = reads.all().await?;
    assert_eq!(rows, vec![("FR".into(), 17, "/cart".into()); 100]);
    // A newer value of the stream starts without an end of life.
    let () = client.hset("user:7", ("clicks_5m", 18)).await?;
    assert_eq!(client.httl::<Vec<i64>, _, _>("user:7", "clicks_5m").await?, [-1]);
    Ok(())
}

async fn restart(client: &Client) -> FredResult<()> {
    let lifetime = Some(Expiration::EX(500));
    let () = client.set("kept", b"\0\r\n".as_slice(), lifetime, None, false).await?;
    let () = client.hset("kept:hash", many_fields()).await?;
    wait_for_restart();
    // fred connects again by itself, and sends then what was asked meanwhile.
    let kept: Value = client.get("kept").await?;
    assert_eq!(kept.into_owned_bytes(), Some(b"\0\r\n".to_vec()));
    assert!((400..=500).contains(&client.ttl::<i64, _>("kept").await?));
    let hash: HashMap<String, String> = client.hgetall("kept:hash").await?;
    assert_eq!(hash, many_fields());
    Ok(())
}
