// What the programs for node share: how they are called, and the data of each step.
//
// Called as `program.js PORT PROTOCOL MODE STEP...`, as the Python programs are. Each step prints
// its name when it has passed; `restart` prints `please restart` and waits for a line of input.
'use strict';

const assert = require('node:assert/strict');
const readline = require('node:readline');

const [port, protocol, mode, ...steps] = process.argv.slice(2);

const BINARY_TEXTS = [
  Buffer.from(''),
  Buffer.from('\0'),
  Buffer.from('\r\n'),
  Buffer.from('a\r\nb\0c'),
  Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
  Buffer.alloc(65536, 0xff),
];
const FIELDS = Object.fromEntries(
  Array.from({ length: 200 }, (_, n) => [`field:${n}`, `value:${n}`]),
);
// The patterns of Redis' documentation of feature stores: batch features of an entity are one hash
// that expires as a whole, streaming features are fields that expire each on its own.
const BATCH_FEATURES = { country: 'FR', age_days: '412', spend_30d: '182.5', segment: 'b' };
const STREAMING_FEATURES = { clicks_5m: '17', last_page: '/cart' };

async function waitForRestart() {
  const input = readline.createInterface({ input: process.stdin });
  const line = new Promise((resolve) => input.once('line', resolve));
  console.log('please restart');
  assert.equal(await line, 'restarted');
  input.close();
}

async function run(functions, client) {
  for (const step of steps) {
    await functions[step](client);
    console.log(step);
  }
}

module.exports = {
  BATCH_FEATURES,
  BINARY_TEXTS,
  FIELDS,
  STREAMING_FEATURES,
  isCluster: mode === 'cluster',
  port: Number(port),
  protocol: Number(protocol),
  run,
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  upTo: (count) => Array.from({ length: count }, (_, n) => n),
  waitForRestart,
  // For times to live, which fall while the test runs.
  assertBetween: (low, value, high) =>
    assert.ok(low <= value && value <= high, `${value} is not between ${low} and ${high}`),
};
