// The program for ioredis: `Redis` and `Cluster`.
'use strict';

const assert = require('node:assert/strict');
const { Cluster, Redis } = require('ioredis');
const {
  BATCH_FEATURES,
  BINARY_TEXTS,
  FIELDS,
  STREAMING_FEATURES,
  assertBetween,
  isCluster,
  port,
  protocol,
  run,
  sleep,
  upTo,
  waitForRestart,
} = require('./program');

function connect() {
  const client = isCluster
    ? new Cluster([{ host: '127.0.0.1', port }], { redisOptions: { protocol } })
    : new Redis({ host: '127.0.0.1', port, protocol, connectionName: 'same-program' });
  // Told of while the server is away; ioredis reconnects by itself.
  client.on('error', () => {});
  return client;
}

// Each reply of a pipeline or transaction is [error, reply].
function replies(results) {
  for (const [error] of results) assert.equal(error, null);
  return results.map(([, reply]) => reply);
}

const steps = {
  async binary(client) {
    for (const text of BINARY_TEXTS) {
      const key = Buffer.concat([Buffer.from('bytes:'), text]);
      assert.equal(await client.set(key, text), 'OK');
      assert.deepEqual(await client.getBuffer(key), text);
      assert.equal(await client.hset('bytes', text, text), 1);
      assert.deepEqual(await client.hgetBuffer('bytes', text), text);
    }
    assert.equal(await client.hlen('bytes'), BINARY_TEXTS.length);
  },

  async hashes(client) {
    assert.equal(await client.hset('hash', FIELDS), 200);
    assert.equal(await client.hset('hash', FIELDS), 0);
    assert.deepEqual(await client.hgetall('hash'), FIELDS);
    assert.deepEqual(await client.hmget('hash', 'field:7', 'none'), ['value:7', null]);
    const found = {};
    let cursor = '0';
    do {
      const [next, flat] = await client.hscan('hash', cursor, 'COUNT', 50);
      for (let at = 0; at < flat.length; at += 2) found[flat[at]] = flat[at + 1];
      cursor = next;
    } while (cursor !== '0');
    assert.deepEqual(found, FIELDS);
    assert.equal(await client.hincrby('hash', 'count', 5), 5);
    assert.equal(await client.hincrbyfloat('hash', 'sum', 2.5), '2.5');
    assert.equal(await client.hdel('hash', 'count', 'sum', 'none'), 2);
    assert.equal(await client.hlen('hash'), 200);
  },

  async pipeline(client) {
    const writes = client.pipeline();
    for (const n of upTo(100)) writes.hset(`{e}:${n}`, { a: n, b: `b${n}` });
    assert.deepEqual(replies(await writes.exec()), Array(100).fill(2));
    const reads = client.pipeline();
    for (const n of upTo(100)) reads.hmget(`{e}:${n}`, 'b', 'none', 'a');
    const expected = upTo(100).map((n) => [`b${n}`, null, `${n}`]);
    assert.deepEqual(replies(await reads.exec()), expected);
    const atOnce = await Promise.all(upTo(100).map((n) => client.hmget(`{e}:${n}`, 'a')));
    assert.deepEqual(atOnce, upTo(100).map((n) => [`${n}`]));
  },

  async transaction(client) {
    const queued = client.multi().set('{t}:string', '1').hset('{t}:hash', { a: '1', b: '2' });
    assert.deepEqual(replies(await queued.get('{t}:string').exec()), ['OK', 2, '1']);
    assert.deepEqual(await client.hgetall('{t}:hash'), { a: '1', b: '2' });
  },

  async watch(client) {
    await client.set('{w}:seen', '1');
    assert.equal(await client.watch('{w}:seen'), 'OK');
    const other = connect();
    await other.set('{w}:seen', '2');
    await other.quit();
    assert.equal(await client.multi().set('{w}:written', 'yes').exec(), null);
    assert.equal(await client.get('{w}:written'), null);
    assert.equal(await client.watch('{w}:seen'), 'OK');
    assert.deepEqual(replies(await client.multi().set('{w}:written', 'yes').exec()), ['OK']);
  },

  async scan(client) {
    await Promise.all(upTo(1000).map((n) => client.set(`scan:${n}`, n)));
    const node = isCluster ? client.nodes('master')[0] : client;
    const found = new Set();
    for await (const keys of node.scanStream({ match: 'scan:*', count: 100 })) {
      keys.forEach((key) => found.add(key));
    }
    assert.deepEqual([...found].sort(), upTo(1000).map((n) => `scan:${n}`).sort());
  },

  async expiry(client) {
    assert.equal(await client.set('expiry', '1', 'EX', 100), 'OK');
    assertBetween(99, await client.ttl('expiry'), 100);
    assert.equal(await client.expire('expiry', 200), 1);
    assertBetween(199_000, await client.pttl('expiry'), 200_000);
    assert.equal(await client.persist('expiry'), 1);
    assert.equal(await client.ttl('expiry'), -1);
    assert.equal(await client.pexpire('expiry', 30), 1);
    await sleep(60);
    assert.equal(await client.get('expiry'), null);
    assert.equal(await client.ttl('expiry'), -2);
  },

  async field_expiry(client) {
    await client.hset('fields', { a: '1', b: '2', c: '3' });
    assert.deepEqual(await client.hexpire('fields', 100, 'FIELDS', 2, 'a', 'none'), [1, -2]);
    const [seconds, ...others] = await client.httl('fields', 'FIELDS', 3, 'a', 'b', 'none');
    assertBetween(99, seconds, 100);
    assert.deepEqual(others, [-1, -2]);
    assert.deepEqual(await client.hexpire('fields', 50, 'NX', 'FIELDS', 2, 'a', 'b'), [0, 1]);
    const persisted = await client.hpersist('fields', 'FIELDS', 3, 'a', 'c', 'none');
    assert.deepEqual(persisted, [1, -1, -2]);
    assert.deepEqual(await client.hexpire('fields', 0, 'FIELDS', 1, 'c'), [2]);
    assert.equal(await client.hsetex('fields', 'EX', 100, 'FIELDS', 1, 'd', '4'), 1);
    const values = await client.hgetex('fields', 'PERSIST', 'FIELDS', 2, 'd', 'none');
    assert.deepEqual(values, ['4', null]);
    assert.deepEqual(await client.hpexpire('fields', 30, 'FIELDS', 1, 'a'), [1]);
    await sleep(60);
    assert.deepEqual(await client.hgetall('fields'), { b: '2', d: '4' });
  },

  async batch_features(client) {
    const writes = client.pipeline();
    for (const n of upTo(100)) writes.hset(`{u}:${n}`, BATCH_FEATURES).expire(`{u}:${n}`, 86_400);
    assert.deepEqual(replies(await writes.exec()), upTo(200).map((n) => (n % 2 ? 1 : 4)));
    const reads = client.pipeline();
    for (const n of upTo(100)) reads.hmget(`{u}:${n}`, 'spend_30d', 'segment', 'clicks_5m');
    assert.deepEqual(replies(await reads.exec()), Array(100).fill(['182.5', 'b', null]));
    assertBetween(86_000, await client.ttl('{u}:7'), 86_400);
  },

  async streaming_features(client) {
    await client.hset('{u}:7', { ...BATCH_FEATURES, ...STREAMING_FEATURES });
    const fields = Object.keys(STREAMING_FEATURES);
    assert.deepEqual(await client.hexpire('{u}:7', 300, 'FIELDS', 2, ...fields), [1, 1]);
    const [clicks, page, country] = await client.httl('{u}:7', 'FIELDS', 3, ...fields, 'country');
    assertBetween(299, clicks, 300);
    assertBetween(299, page, 300);
    assert.equal(country, -1);
    const reads = client.pipeline();
    for (const _ of upTo(100)) reads.hmget('{u}:7', 'country', ...fields);
    assert.deepEqual(replies(await reads.exec()), Array(100).fill(['FR', '17', '/cart']));
    // A newer value of the stream starts without an end of life.
    await client.hset('{u}:7', 'clicks_5m', '18');
    assert.deepEqual(await client.httl('{u}:7', 'FIELDS', 1, 'clicks_5m'), [-1]);
  },

  async restart(client) {
    await client.set('kept', Buffer.from('\0\r\n'), 'EX', 500);
    await client.hset('kept:hash', FIELDS);
    await waitForRestart();
    // ioredis holds commands back until it is connected again.
    assert.equal(await client.get('kept'), '\0\r\n');
    assertBetween(400, await client.ttl('kept'), 500);
    assert.deepEqual(await client.hgetall('kept:hash'), FIELDS);
  },
};

async function main() {
  const client = connect();
  await run(steps, client);
  await client.quit();
}

main();
