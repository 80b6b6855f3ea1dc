//! The program for redis-rs: `ConnectionManager` and `ClusterConnection`, both on tokio.

use nowthen_clients::{
    BATCH_FEATURES, Call, RESTART_ATTEMPTS_MAX, RESTART_PAUSE, STREAMING_FEATURES, binary_texts,
    call, many_fields, wait_for_restart,
};
use redis::{
    AsyncCommands, Client, ExpireOption, Expiry, HashFieldExpirationOptions, ProtocolVersion,
    RedisResult, SetExpiry, cluster::ClusterClient, cmd, pipe,
};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> RedisResult<()> {
    let call = call();
    let protocol = if call.is_resp3 { "resp3" } else { "resp2" };
    let url = format!("redis://127.0.0.1:{}/?protocol={protocol}", call.port);
    let other = Client::open(url.as_str())?;
    if call.is_cluster {
        let version = if call.is_resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let cluster = ClusterClient::builder([url]).use_protocol(version).build()?;
        run(&call, cluster.get_async_connection().await?, &other).await
    } else {
        run(&call, other.get_connection_manager().await?, &other).await
    }
}

async fn run<C>(call: &Call, mut client: C, other: &Client) -> RedisResult<()>
where
    C: AsyncCommands,
{
    for step in &call.steps {
        match step.as_str() {
            "binary" => binary(&mut client).await?,
            "hashes" => hashes(&mut client).await?,
            "pipeline" => pipeline(&mut client).await?,
            "transaction" => transaction(&mut client).await?,
            "watch" => watch(&mut client, other).await?,
            "scan" => scan(&mut client).await?,
            "expiry" => expiry(&mut client).await?,
            "field_expiry" => field_expiry(&mut client).await?,
            "batch_features" => batch_features(&mut client).await?,
            "streaming_features" => streaming_features(&mut client).await?,
            "restart" => restart(&mut client).await?,
            other => panic!("no step {other}"),
        }
        println!("{step}");
    }
    Ok(())
}

async fn binary(client: &mut impl AsyncCommands) -> RedisResult<()> {
    for text in binary_texts() {
        let key = [b"bytes:", text.as_slice()].concat();
        let () = client.set(&key, &text).await?;
        assert_eq!(client.get::<_, Vec<u8>>(&key).await?, text);
        assert_eq!(client.hset::<_, _, _, i64>("bytes", &text, &text).await?, 1);
        assert_eq!(client.hget::<_, _, Vec<u8>>("bytes", &text).await?, text);
    }
    assert_eq!(client.hlen::<_, usize>("bytes").await?, binary_texts().len());
    Ok(())
}

async fn hashes(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let fields = many_fields();
    let pairs: Vec<_> = fields.iter().collect();
    // `hset_multiple` of redis-rs sends HMSET.
    let () = client.hset_multiple("hash", &pairs).await?;
    let hset = cmd("HSET").arg("hash").arg(&pairs).to_owned();
    assert_eq!(hset.query_async::<i64>(client).await?, 0);
    assert_eq!(client.hgetall::<_, HashMap<String, String>>("hash").await?, fields);
    let asked = ["field:7", "none"];
    let values: Vec<Option<String>> = client.hmget("hash", &asked).await?;
    assert_eq!(values, [Some("value:7".into()), None]);
    let mut found = HashMap::new();
    let mut pages = client.hscan::<_, (String, String)>("hash").await?;
    while let Some(pair) = pages.next_item().await {
        let (field, value) = pair?;
        found.insert(field, value);
    }
    drop(pages);
    assert_eq!(found, fields);
    assert_eq!(client.hincr::<_, _, _, i64>("hash", "count", 5).await?, 5);
    assert_eq!(client.hincr::<_, _, _, f64>("hash", "sum", 2.5).await?, 2.5);
    assert_eq!(client.hdel::<_, _, i64>("hash", &["count", "sum", "none"]).await?, 2);
    assert_eq!(client.hlen::<_, i64>("hash").await?, 200);
    Ok(())
}

async fn pipeline(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let (mut writes, mut reads, mut expected) = (pipe(), pipe(), Vec::new());
    for n in 0..100 {
        let key = format!("{{e}}:{n}");
        writes.cmd("HSET").arg(&key).arg("a").arg(n).arg("b").arg(format!("b{n}"));
        reads.hmget(&key, &["b", "none", "a"]);
        expected.push(vec![Some(format!("b{n}")), None, Some(n.to_string())]);
    }
    assert_eq!(writes.query_async::<Vec<i64>>(client).await?, [2; 100]);
    assert_eq!(reads.query_async::<Vec<Vec<Option<String>>>>(client).await?, expected);
    Ok(())
}

async fn transaction(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let mut queued = pipe();
    queued.atomic().set("{t}:string", 1).hset("{t}:hash", "a", 1).get("{t}:string");
    let replies: (String, i64, String) = queued.query_async(client).await?;
    assert_eq!(replies, ("OK".into(), 1, "1".into()));
    assert_eq!(client.hget::<_, _, i64>("{t}:hash", "a").await?, 1);
    Ok(())
}

async fn watch(client: &mut impl AsyncCommands, other: &Client) -> RedisResult<()> {
    let mut other = other.get_multiplexed_async_connection().await?;
    let mut queued = pipe();
    queued.atomic().set("{w}:written", "yes");
    let () = client.set("{w}:seen", 1).await?;
    let () = cmd("WATCH").arg("{w}:seen").query_async(client).await?;
    let () = other.set("{w}:seen", 2).await?;
    assert_eq!(queued.query_async::<Option<Vec<String>>>(client).await?, None);
    assert!(!client.exists::<_, bool>("{w}:written").await?);
    let () = cmd("WATCH").arg("{w}:seen").query_async(client).await?;
    let replies: Option<Vec<String>> = queued.query_async(client).await?;
    assert_eq!(replies, Some(vec!["OK".into()]));
    Ok(())
}

async fn scan(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let mut writes = pipe();
    for n in 0..1000 {
        writes.set(format!("{{scan}}:{n}"), n).ignore();
    }
    let () = writes.query_async(client).await?;
    let mut found = HashSet::new();
    let mut cursor = 0u64;
    loop {
        let mut page = cmd("SCAN");
        page.arg(cursor).arg("MATCH").arg("{scan}:*").arg("COUNT").arg(100);
        let (next, keys): (u64, Vec<String>) = page.query_async(client).await?;
        found.extend(keys);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found, (0..1000).map(|n| format!("{{scan}}:{n}")).collect());
    Ok(())
}

async fn expiry(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let () = client.set_ex("expiry", "1", 100).await?;
    assert!((99..=100).contains(&client.ttl::<_, i64>("expiry").await?));
    assert!(client.expire::<_, bool>("expiry", 200).await?);
    assert!((199_000..=200_000).contains(&client.pttl::<_, i64>("expiry").await?));
    assert!(client.persist::<_, bool>("expiry").await?);
    assert_eq!(client.ttl::<_, i64>("expiry").await?, -1);
    assert!(client.pexpire::<_, bool>("expiry", 30).await?);
    sleep(Duration::from_millis(60)).await;
    assert_eq!(client.get::<_, Option<String>>("expiry").await?, None);
    assert_eq!(client.ttl::<_, i64>("expiry").await?, -2);
    Ok(())
}

async fn field_expiry(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let () = client.hset_multiple("fields", &[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let codes: Vec<i64> = client.hexpire("fields", 100, ExpireOption::NONE, &["a", "none"]).await?;
    assert_eq!(codes, [1, -2]);
    let seconds: Vec<i64> = client.httl("fields", &["a", "b", "none"]).await?;
    assert!((99..=100).contains(&seconds[0]) && seconds[1..] == [-1, -2]);
    let codes: Vec<i64> = client.hexpire("fields", 50, ExpireOption::NX, &["a", "b"]).await?;
    assert_eq!(codes, [0, 1]);
    let codes: Vec<i64> = client.hpersist("fields", &["a", "c", "none"]).await?;
    assert_eq!(codes, [1, -1, -2]);
    let codes: Vec<i64> = client.hexpire("fields", 0, ExpireOption::NONE, &["c"]).await?;
    assert_eq!(codes, [2]);
    let in_100_seconds = HashFieldExpirationOptions::default().set_expiration(SetExpiry::EX(100));
    assert!(client.hset_ex::<_, _, _, bool>("fields", &in_100_seconds, &[("d", "4")]).await?);
    let values: Vec<Option<String>> =
        client.hget_ex("fields", &["d", "none"], Expiry::PERSIST).await?;
    assert_eq!(values, [Some("4".into()), None]);
    let codes: Vec<i64> = client.hpexpire("fields", 30, ExpireOption::NONE, &["a"]).await?;
    assert_eq!(codes, [1]);
    sleep(Duration::from_millis(60)).await;
    let left: HashMap<String, i64> = client.hgetall("fields").await?;
    assert_eq!(left, HashMap::from([("b".into(), 2), ("d".into(), 4)]));
    Ok(())
}

async fn batch_features(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let (mut writes, mut reads, mut written) = (pipe(), pipe(), Vec::new());
    for n in 0..100 {
        let key = format!("{{u}}:{n}");
        writes.cmd("HSET").arg(&key).arg(&BATCH_FEATURES[..]).expire(&key, 86_400);
        written.extend([4, 1]);
        reads.hmget(&key, &["spend_30d", "segment", "clicks_5m"]);
    }
    assert_eq!(writes.query_async::<Vec<i64>>(client).await?, written);
    let rows: Vec<(f64, String, Option<String>)> = reads.query_async(client).await?;
    assert_eq!(rows, vec![(182.5, "b".into(), None); 100]);
    assert!((86_000..=86_400).contains(&client.ttl::<_, i64>("{u}:7").await?));
    Ok(())
}

async fn streaming_features(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let () = client.hset_multiple("{u}:7", &BATCH_FEATURES).await?;
    let () = client.hset_multiple("{u}:7", &STREAMING_FEATURES).await?;
    let asked = ["clicks_5m", "last_page"];
    let codes: Vec<i64> = client.hexpire("{u}:7", 300, ExpireOption::NONE, &asked).await?;
    assert_eq!(codes, [1, 1]);
    let seconds: Vec<i64> = client.httl("{u}:7", &["clicks_5m", "last_page", "country"]).await?;
    assert!((299..=300).contains(&seconds[0]) && (299..=300).contains(&seconds[1]));
    assert_eq!(seconds[2], -1);
    let mut reads = pipe();
    for _ in 0..100 {
        reads.hmget("{u}:7", &["country", "clicks_5m", "last_page"]);
    }
    let rows: Vec<(String, i64, String)> = reads.query_async(client).await?;
    assert_eq!(rows, vec![("FR".into(), 17, "/cart".into()); 100]);
    // A newer value of the stream starts without an end of life.
    let () = client.hset("{u}:7", "clicks_5m", 18).await?;
    assert_eq!(client.httl::<_, _, Vec<i64>>("{u}:7", "clicks_5m").await?, [-1]);
    Ok(())
}

async fn restart(client: &mut impl AsyncCommands) -> RedisResult<()> {
    let () = client.set_ex("kept", b"\0\r\n", 500).await?;
    let pairs: Vec<_> = many_fields().into_iter().collect();
    let () = client.hset_multiple("kept:hash", &pairs).await?;
    wait_for_restart();
    // redis-rs connects again by itself, and meanwhile fails.
    let mut attempts = 1;
    let kept: Vec<u8> = loop {
        match client.get("kept").await {
            Err(_) if attempts < RESTART_ATTEMPTS_MAX => attempts += 1,
            reply => break reply?,
        }
        sleep(RESTART_PAUSE).await;
    };
    assert_eq!(kept, b"\0\r\n");
    assert!((400..=500).contains(&client.ttl::<_, i64>("kept").await?));
    let hash: HashMap<String, String> = client.hgetall("kept:hash").await?;
    assert_eq!(hash, many_fields());
    Ok(())
}
