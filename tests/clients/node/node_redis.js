// The program for node-redis: `createClient` and `createCluster` of the package `redis`.
'use strict';

const assert = require('node:assert/strict');
const { RESP_TYPES, WatchError, createClient, createCluster } = require('redis');
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

async function connect() {
  const url = `redis://127.0.0.1:${port}`;
  const client = isCluster
    ? createCluster({ rootNodes: [{ url }], RESP: protocol })
    : createClient({ url, RESP: protocol, name: 'same-program' });
  // Told of while the server is away; node-redis reconnects by itself.
  client.on('error', () => {});
  await client.connect();
  return client;
}

// The client of the one node, for what a cluster does not offer: WATCH, SCAN.
async function nodeOf(client) {
  return isCluster ? client.nodeClient(client.masters[0]) : client;
}

// HGETALL and its kin give objects that have no prototype.
function plain(object) {
  return { ...object };
}

const steps = {
  async binary(client) {
    const binary = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    for (const text of BINARY_TEXTS) {
      const key = Buffer.concat([Buffer.from('bytes:'), text]);
      assert.equal(await client.set(key, text), 'OK');
      assert.deepEqual(await binary.get(key), text);
      assert.equal(await client.hSet('bytes', text, text), 1);
      assert.deepEqual(await binary.hGet('bytes', text), text);
    }
    assert.equal(await client.hLen('bytes'), BINARY_TEXTS.length);
  },

  async hashes(client) {
    assert.equal(await client.hSet('hash', FIELDS), 200);
    assert.equal(await client.hSet('hash', FIELDS), 0);
    assert.deepEqual(plain(await client.hGetAll('hash')), FIELDS);
    assert.deepEqual(await client.hmGet('hash', ['field:7', 'none']), ['value:7', null]);
    const found = {};
    let cursor = '0';
    do {
      const page = await client.hScan('hash', cursor, { COUNT: 50 });
      for (const { field, value } of page.entries) found[field] = value;
      cursor = page.cursor;
    } while (cursor !== '0');
    assert.deepEqual(found, FIELDS);
    assert.equal(await client.hIncrBy('hash', 'count', 5), 5);
    assert.equal(await client.hIncrByFloat('hash', 'sum', 2.5), '2.5');
    assert.equal(await client.hDel('hash', ['count', 'sum', 'none']), 2);
    assert.equal(await client.hLen('hash'), 200);
  },

  // node-redis writes commands of one turn of the event loop as one pipeline.
  async pipeline(client) {
    const written = upTo(100).map((n) => client.hSet(`entity:${n}`, { a: n, b: `b${n}` }));
    assert.deepEqual(await Promise.all(written), Array(100).fill(2));
    const read = upTo(100).map((n) => client.hmGet(`entity:${n}`, ['b', 'none', 'a']));
    assert.deepEqual(await Promise.all(read), upTo(100).map((n) => [`b${n}`, null, `${n}`]));
  },

  async transaction(client) {
    const queued = client.multi().set('{t}:string', '1').hSet('{t}:hash', { a: '1', b: '2' });
    assert.deepEqual(await queued.get('{t}:string').exec(), ['OK', 2, '1']);
    assert.deepEqual(plain(await client.hGetAll('{t}:hash')), { a: '1', b: '2' });
  },

  async watch(client) {
    const node = await nodeOf(client);
    await client.set('{w}:seen', '1');
    const other = node.duplicate();
    await other.connect();
    assert.equal(await other.watch('{w}:seen'), 'OK');
    await client.set('{w}:seen', '2');
    await assert.rejects(other.multi().set('{w}:written', 'yes').exec(), WatchError);
    assert.equal(await client.get('{w}:written'), null);
    assert.equal(await other.watch('{w}:seen'), 'OK');
    assert.deepEqual(await other.multi().set('{w}:written', 'yes').exec(), ['OK']);
    await other.close();
  },

  async scan(client) {
    await Promise.all(upTo(1000).map((n) => client.set(`scan:${n}`, n)));
    const node = await nodeOf(client);
    const found = new Set();
    for await (const keys of node.scanIterator({ MATCH: 'scan:*', COUNT: 100 })) {
      keys.forEach((key) => found.add(key));
    }
    assert.deepEqual([...found].sort(), upTo(1000).map((n) => `scan:${n}`).sort());
  },

  async expiry(client) {
    const expiration = { type: 'EX', value: 100 };
    assert.equal(await client.set('expiry', '1', { expiration }), 'OK');
    assertBetween(99, await client.ttl('expiry'), 100);
    assert.equal(await client.expire('expiry', 200), 1);
    assertBetween(199_000, await client.pTTL('expiry'), 200_000);
    assert.equal(await client.persist('expiry'), 1);
    assert.equal(await client.ttl('expiry'), -1);
    assert.equal(await client.pExpire('expiry', 30), 1);
    await sleep(60);
    assert.equal(await client.get('expiry'), null);
    assert.equal(await client.ttl('expiry'), -2);
  },

  async field_expiry(client) {
    await client.hSet('fields', { a: '1', b: '2', c: '3' });
    assert.deepEqual(await client.hExpire('fields', ['a', 'none'], 100), [1, -2]);
    const [seconds, ...others] = await client.hTTL('fields', ['a', 'b', 'none']);
    assertBetween(99, seconds, 100);
    assert.deepEqual(others, [-1, -2]);
    assert.deepEqual(await client.hExpire('fields', ['a', 'b'], 50, 'NX'), [0, 1]);
    assert.deepEqual(await client.hPersist('fields', ['a', 'c', 'none']), [1, -1, -2]);
    assert.deepEqual(await client.hExpire('fields', 'c', 0), [2]);
    const expiration = { type: 'EX', value: 100 };
    assert.equal(await client.hSetEx('fields', { d: '4' }, { expiration }), 1);
    const values = await client.hGetEx('fields', ['d', 'none'], { expiration: 'PERSIST' });
    assert.deepEqual(values, ['4', null]);
    assert.deepEqual(await client.hpExpire('fields', 'a', 30), [1]);
    await sleep(60);
    assert.deepEqual(plain(await client.hGetAll('fields')), { b: '2', d: '4' });
  },

  async batch_features(client) {
    const written = upTo(100).flatMap((n) => [
      client.hSet(`user:${n}`, BATCH_FEATURES),
      client.expire(`user:${n}`, 86_400),
    ]);
    assert.deepEqual(await Promise.all(written), upTo(200).map((n) => (n % 2 ? 1 : 4)));
    const asked = ['spend_30d', 'segment', 'clicks_5m'];
    const read = upTo(100).map((n) => client.hmGet(`user:${n}`, asked));
    assert.deepEqual(await Promise.all(read), Array(100).fill(['182.5', 'b', null]));
    assertBetween(86_000, await client.ttl('user:7'), 86_400);
  },

  async streaming_features(client) {
    await client.hSet('user:7', { ...BATCH_FEATURES, ...STREAMING_FEATURES });
    const fields = Object.keys(STREAMING_FEATURES);
    assert.deepEqual(await client.hExpire('user:7', fields, 300), [1, 1]);
    const [clicks, page, country] = await client.hTTL('user:7', [...fields, 'country']);
    assertBetween(299, clicks, 300);
    assertBetween(299, page, 300);
    assert.equal(country, -1);
    const read = upTo(100).map(() => client.hmGet('user:7', ['country', ...fields]));
    assert.deepEqual(await Promise.all(read), Array(100).fill(['FR', '17', '/cart']));
    // A newer value of the stream starts without an end of life.
    await client.hSet('user:7', 'clicks_5m', '18');
    assert.deepEqual(await client.hTTL('user:7', 'clicks_5m'), [-1]);
  },

  async restart(client) {
    const expiration = { type: 'EX', value: 500 };
    await client.set('kept', Buffer.from('\0\r\n'), { expiration });
    await client.hSet('kept:hash', FIELDS);
    await waitForRestart();
    // node-redis holds commands back until it is connected again.
    assert.equal(await client.get('kept'), '\0\r\n');
    assertBetween(400, await client.ttl('kept'), 500);
    assert.deepEqual(plain(await client.hGetAll('kept:hash')), FIELDS);
  },
};

async function main() {
  const client = await connect();
  await run(steps, client);
  await client.close();
}

main();
