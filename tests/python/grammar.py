"""Commands drawn at random: what the differential tests ask nowthen and Redis.

    seed --> Grammar --> commands on few keys, few fields, edge-case numbers and texts

Invariants
- A seed and a class of grammar give the same commands each time.
- A method `do_<command>` draws the arguments of that command; whatever is named so is drawn.
- The grammar stays clear of what Redis itself leaves to chance, or `INTENDED` to differ
  (`test_differential.py`), as far as the reply cannot tell.

Not here: what is the same in two replies (`differential.py`).
"""

from __future__ import annotations

import random

MANY_FIELDS = [b"m%d" % number for number in range(100)]
STRING_KEYS = [b"a", b"", b"\x00\r\n\xff"]
HASH_KEYS = [b"b", b"c"]
KEYS = STRING_KEYS + HASH_KEYS
FIELDS = [b"f", b"g", b"n", b"", b"\r\n\x00", b"F" * 70]
INTEGERS = [b"0", b"1", b"-1", b"2", b"3", b"-7", b"10", b"100", b"9223372036854775807"]
INTEGERS += [b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775807"]
NOT_INTEGERS = [b"", b"x", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"1e3", b"1\x00"]
FLOATS = [b"0", b"1", b"-1", b"0.1", b"0.2", b"-0.3", b"1.5", b"3.0e3", b"5000.1", b"1e-17"]
FLOATS += [b"1e17", b"-1e20", b"123456789.123456789", b".5", b"5.", b"+1", b"0x1.8p3", b"1e308"]
FLOATS += [b"-0", b"1e4000", b"9007199254740993", b"0.000000000000000005", b"1e-300"]
NOT_FLOATS = [b"", b"x", b" 1", b"1 ", b"nan", b"inf", b"-Infinity", b"1e", b"1e5000", b"1e-5000"]
NOT_FLOATS += [b"1\x00", b"0x", b".", b"-", b"1_0", b"1.2.3"]
LARGE_TEXTS = [b"L" * 65_536, b"\x00\r\n" * 22_000]
TEXTS = [b"", b"x", b"hello", b"\x00\r\n", b"v" * 44, b"v" * 45, b"v" * 100, bytes(range(256))]
PATTERNS = [b"*", b"a", b"[a-b]", b"?", b"", b"\\*", b"[^a]", b"[b-a]", b"*\n*", b"[a", b"\\"]
PATTERNS += [b"**", b"*\xff", b"\x00*", b"[^", b"[\\a]", b"?*?"]
# Ends are far away, so that nothing ends while two servers are compared.
ABSOLUTE_S = [b"4000000000", b"4000000001", b"5000000000"]


# --- the grammar


class Grammar:
    """Commands on strings, hashes and keys that each Redis since 7.0 has."""

    # Commands drawn a fourth as often as others, and twice as often.
    RARE = ["flushall", "flushdb", "ping", "echo", "select", "nosuch", "dbsize", "randomkey"]
    RARE += ["object", "hello", "auth", "reset", "client", "command"]
    OFTEN = ["hset", "hincrby", "hincrbyfloat", "set", "incrbyfloat", "append", "getex", "hscan"]

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.names = self.weighted_names()
        # Large hashes are kept in another way than small ones.
        self.has_large_hashes = self.random.random() < 0.25
        self.has_past_end = False
        # Whether sessions have MULTI, and a second connection that gets in its way.
        self.has_transactions = False

    @classmethod
    def all_names(cls) -> list[str]:
        """The commands, in lower case."""
        return sorted(name[3:] for name in dir(cls) if name.startswith("do_"))

    @classmethod
    def weighted_names(cls) -> list[str]:
        usual = [name for name in cls.all_names() if name not in cls.RARE]
        return cls.RARE + 4 * usual + 4 * cls.OFTEN

    def command(self) -> list[bytes]:
        name = self.random.choice(self.names)
        command = [self.case(name), *getattr(self, f"do_{name}")()]
        if name == "nosuch":
            # Not the third text, which is a command: "hello".
            command[0] = self.pick((1, [b"nosuch"]), (1, TEXTS[:2] + TEXTS[3:] + NOT_FLOATS))
        if self.random.random() < 0.02:
            command = self.spoiled(command)
        return command

    def transaction(self) -> list[list[bytes]]:
        """From WATCH to EXEC, or nearly so."""
        watched = self.watched() if self.random.random() < 0.6 else []
        before = [self.command() for _ in range(self.random.choice([0, 0, 1, 2]))]
        inside = [self.command() for _ in range(self.random.randint(0, 6))]
        if self.random.random() < 0.1:
            odd = [[b"MULTI"], [b"WATCH", self.key()], [b"UNWATCH"], [b"MULTI", b"x"], [b"WATCH"]]
            odd += [[b"EXEC", b"x"], [b"DISCARD"], [b"EXEC"], [b"RESET"]]
            inside.insert(self.random.randint(0, len(inside)), self.random.choice(odd))
        unwatched = self.maybe(b"UNWATCH", chance=0.1)
        end = [b"EXEC"] if self.random.random() < 0.85 else [b"DISCARD"]
        return [*watched, *before, *([unwatched] if unwatched else []), [b"MULTI"], *inside, end]

    def watched(self) -> list[list[bytes]]:
        keys = self.several(self.key)
        # They are there: `INTENDED` has what differs of a key that is not.
        return [*([b"SETNX", key, b"1"] for key in keys), [b"WATCH", *keys]]

    def opening(self) -> list[list[bytes]]:
        """What a session begins with."""
        return [[b"FLUSHALL"]]

    def state(self) -> list[list[bytes]]:
        """What tells more of the state than values and ends of keys."""
        return []

    def spoiled(self, command: list[bytes]) -> list[bytes]:
        """One argument too few, or one too many; a walk keeps the COUNT that ends it at once,
        and a count without bound its WITHVALUES."""
        needs_last = command[0].lower().endswith(b"scan") or b"WITHVALUES" in command
        if len(command) > 1 and not needs_last and self.random.random() < 0.5:
            return command[:-1]
        return [*command, self.random.choice([b"x", b"1", b"NX", b"", b"COUNT"])]

    def case(self, word: str) -> bytes:
        return self.random.choice([word.upper(), word.lower(), word.title()]).encode()

    def pick(self, *weighted: tuple[float, list[bytes]]) -> bytes:
        lists = [choices for _, choices in weighted]
        (choices,) = self.random.choices(lists, [weight for weight, _ in weighted])
        return self.random.choice(choices)

    def key(self) -> bytes:
        return self.random.choice(KEYS)

    def string_key(self) -> bytes:
        return self.pick((8, STRING_KEYS), (1, KEYS))

    def hash_key(self) -> bytes:
        return self.pick((8, HASH_KEYS), (1, KEYS))

    def field(self) -> bytes:
        return self.pick((1, FIELDS), (2 if self.has_large_hashes else 0, MANY_FIELDS))

    def integer(self) -> bytes:
        return self.pick((9, INTEGERS), (1, NOT_INTEGERS))

    def float(self) -> bytes:
        return self.pick((6, FLOATS), (1, NOT_FLOATS), (1, INTEGERS))

    def value(self) -> bytes:
        small = [(4, TEXTS), (3, INTEGERS), (1, NOT_INTEGERS), (2, FLOATS), (1, NOT_FLOATS)]
        return self.pick(*small, (0.05, LARGE_TEXTS))

    def several(self, draw, most: int = 3) -> list[bytes]:
        return [draw() for _ in range(self.random.randint(1, most))]

    def pairs(self, draw, most: int = 3) -> list[bytes]:
        pairs = [[draw(), self.value()] for _ in range(self.random.randint(1, most))]
        return [word for pair in pairs for word in pair]

    def maybe(self, *words: bytes, chance: float = 0.3) -> list[bytes]:
        return list(words) if self.random.random() < chance else []

    def options(self, choices: list[list[bytes]], most: int) -> list[bytes]:
        picked = [self.random.choice(choices) for _ in range(self.random.randint(0, most))]
        return [word for option in picked for word in option]

    def far_seconds(self) -> int:
        # Any two are rarely the same: GT and LT ask which one is later.
        return self.random.randint(1_000, 100_000_000)

    def wrong_end(self) -> bytes:
        return self.random.choice([b"0", b"-1", b"9223372036854775807", *NOT_INTEGERS])

    def wrong_instant(self) -> bytes:
        return self.random.choice([b"0", b"-1", *NOT_INTEGERS])

    def end(self) -> list[bytes]:
        is_wrong = self.random.random() < 0.15
        word = self.random.choice([b"EX", b"px", b"EXAT", b"PxAt"])
        unit = b"" if word.upper().startswith(b"EX") else b"000"
        far = b"%d" % self.far_seconds() if len(word) == 2 else self.random.choice(ABSOLUTE_S)
        wrong = self.wrong_end() if len(word) == 2 else self.wrong_instant()
        return [word, wrong if is_wrong else far + unit]

    # hashes

    def do_hset(self):
        most = 60 if self.has_large_hashes else 3
        return [self.hash_key(), *self.pairs(self.field, most)]

    do_hmset = do_hset

    def do_hsetnx(self):
        return [self.hash_key(), self.field(), self.value()]

    def do_hget(self):
        return [self.hash_key(), self.field()]

    do_hexists = do_hstrlen = do_hget

    def do_hmget(self):
        return [self.hash_key(), *self.several(self.field)]

    do_hdel = do_hmget

    def do_hgetall(self):
        return [self.hash_key()]

    do_hkeys = do_hvals = do_hlen = do_hgetall

    def do_hincrby(self):
        return [self.hash_key(), self.field(), self.integer()]

    def do_hincrbyfloat(self):
        return [self.hash_key(), self.field(), self.float()]

    def do_hrandfield(self):
        counts = [b"0", b"1", b"2", b"200", b"-1", b"-5", b"9223372036854775807", *NOT_INTEGERS]
        counts += [b"-9223372036854775808", b"4611686018427387903", b"4611686018427387904"]
        count = self.random.choice(counts)
        values = self.random.choice([[], [b"WITHVALUES"], [b"withvalues"], [b"x"]])
        if self.random.random() < 0.05:
            # Without WITHVALUES, Redis would begin to repeat fields until memory ends.
            return [self.hash_key(), b"-4611686018427387905", b"WITHVALUES"]
        return [self.hash_key(), *([count, *values] if self.random.random() < 0.8 else [])]

    def scan_options(self, is_of_keys: bool) -> list[bytes]:
        choices = [[b"MATCH", self.random.choice(PATTERNS)], [b"count", b"5000"]]
        choices += [[b"COUNT", b"9223372036854775807"], [b"COUNT", b"9223372036854775808"]]
        choices += [[b"COUNT", self.random.choice([b"0", b"-1", *NOT_INTEGERS])], [b"match"]]
        if is_of_keys:
            choices += [[b"TYPE", self.random.choice([b"hash", b"STRING", b"list", b"x"])]] * 2
        # All in one step, so that the cursor, which is each server's own, is 0.
        last = self.random.choice([b"1000", b"1000000", b"922337203685477580"])
        return [*self.options(choices, 2), b"COUNT", last]

    def cursor(self) -> bytes:
        wrong = [b"", b"x", b" 0", b"0 ", b"99999999999999999999", b"0x1"]
        return self.pick((9, [b"0"]), (1, wrong))

    def do_hscan(self):
        return [self.hash_key(), self.cursor(), *self.scan_options(False)]

    # strings

    def do_get(self):
        return [self.string_key()]

    do_getdel = do_strlen = do_incr = do_decr = do_get

    def do_mget(self):
        return self.several(self.key)

    def do_set(self):
        words = [[b"NX"], [b"xx"], [b"GET"], [b"KEEPTTL"], self.end(), self.end(), [b"x"], [b"EX"]]
        options = self.options(words, 4) if self.random.random() < 0.6 else []
        if self.random.random() < 0.01:
            self.has_past_end, options = True, [b"PXAT", b"1"]
        return [self.string_key(), self.value(), *options]

    def do_setnx(self):
        return [self.string_key(), self.value()]

    do_getset = do_append = do_setnx

    def do_setex(self):
        is_wrong = self.random.random() < 0.2
        seconds = self.wrong_end() if is_wrong else b"%d" % self.far_seconds()
        return [self.string_key(), seconds, self.value()]

    def do_psetex(self):
        is_wrong = self.random.random() < 0.2
        milliseconds = self.wrong_end() if is_wrong else b"%d000" % self.far_seconds()
        return [self.string_key(), milliseconds, self.value()]

    def do_getex(self):
        words = [[b"PERSIST"], self.end(), self.end(), [b"x"], [b"KEEPTTL"], [b"EXAT", b"1"]]
        return [self.string_key(), *self.options(words, 2)]

    def do_mset(self):
        return self.pairs(self.string_key)

    do_msetnx = do_mset

    def do_getrange(self):
        return [self.string_key(), self.integer(), self.integer()]

    do_substr = do_getrange

    def do_setrange(self):
        places = [b"0", b"1", b"5", b"100", b"-1", b"536870912", b"9223372036854775807"]
        places += [b"70000", b"-9223372036854775808", b"9223372036854775800"]
        return [self.string_key(), self.pick((9, places), (1, NOT_INTEGERS)), self.value()]

    def do_incrby(self):
        return [self.string_key(), self.integer()]

    do_decrby = do_incrby

    def do_incrbyfloat(self):
        return [self.string_key(), self.float()]

    # keys

    def do_exists(self):
        return self.several(self.key)

    do_touch = do_del = do_unlink = do_exists

    def do_type(self):
        return [self.key()]

    do_ttl = do_pttl = do_expiretime = do_pexpiretime = do_persist = do_type

    def conditions(self):
        return self.options([[b"NX"], [b"xx"], [b"GT"], [b"LT"], [b"x"]], 3)

    def expire_count(self, far: bytes, past: list[bytes]) -> bytes:
        return self.pick((7, [far]), (1, past), (1, NOT_INTEGERS))

    def do_expire(self):
        past = [b"0", b"-1", b"-9223372036854775", b"-9223372036854776", b"9223372036854775807"]
        past += [b"9223372036854776", b"-9223372036854775808"]
        far = b"%d" % self.far_seconds()
        return [self.key(), self.expire_count(far, past), *self.conditions()]

    def do_pexpire(self):
        far = b"%d000" % self.far_seconds()
        past = [b"0", b"-1", b"-9223372036854775808", b"9223372036854775807"]
        return [self.key(), self.expire_count(far, past), *self.conditions()]

    def do_expireat(self):
        far = self.random.choice(ABSOLUTE_S)
        past = [b"0", b"1", b"-1", b"9223372036854776", b"-9223372036854776"]
        return [self.key(), self.expire_count(far, past), *self.conditions()]

    def do_pexpireat(self):
        far = self.random.choice(ABSOLUTE_S) + self.random.choice([b"000", b"499", b"500"])
        return [self.key(), self.expire_count(far, [b"0", b"1", b"-1"]), *self.conditions()]

    def do_scan(self):
        return [self.cursor(), *self.scan_options(True)]

    def do_keys(self):
        return [self.random.choice(PATTERNS)]

    def do_randomkey(self):
        return []

    do_dbsize = do_randomkey

    def do_rename(self):
        return [self.key(), self.key()]

    do_renamenx = do_rename

    def do_copy(self):
        databases = [b"0", b"1", b"-1", b"99999999999", *NOT_INTEGERS]
        words = [[b"REPLACE"], [b"DB", self.random.choice(databases)], [b"x"], [b"DB", b"0"]]
        return [self.key(), self.key(), *self.options(words, 2)]

    def do_object(self):
        words = [b"ENCODING", b"refcount", b"IDLETIME", b"FREQ", b"HELP", b"nosuch"]
        return [self.random.choice(words), *self.maybe(self.key(), chance=0.9)]

    # the rest

    def do_flushall(self):
        rarely = self.random.random() < 0.1
        return self.random.choice([[], [b"ASYNC"], [b"sync"]]) if rarely else [b"nosuch"]

    do_flushdb = do_flushall

    def do_ping(self):
        return self.maybe(self.value())

    def do_echo(self):
        return [self.value()]

    def do_select(self):
        return [self.random.choice([b"0", b"0", b"1", b"-1", b"x", b"99999999999"])]

    def do_hello(self):
        version = self.random.choice([b"2", b"3", b"1", b"4", b"x", b"", b"99999999999999999999"])
        words = [[b"AUTH", b"default", b"x"], [b"AUTH", b"x"], [b"SETNAME", b"a b"], [b"x"]]
        words += [[b"\x00\r\n"], [b"a\r\n\x01"], [b"\x7f\n\n"], [b"\r\nx\x00y"]]
        words += [[b"SETNAME", b"n"], [b"AUTH", b"x", b"y"]]
        return self.maybe(version, *self.options(words, 2), chance=0.9)

    def do_auth(self):
        calls = [[b"x"], [b"default", b"x"], [b"nosuch", b"x"], [b"a", b"b", b"c"]]
        return self.random.choice(calls)

    def do_reset(self):
        return []

    def do_client(self):
        calls = [[b"GETNAME"], [b"setname", b"n"], [b"SETNAME", b""], [b"SETNAME", b"a b"]]
        calls += [[b"SETNAME", b"\n"], [b"REPLY", b"ON"], [b"REPLY", b"x"], [b"NO-EVICT", b"on"]]
        calls += [[b"NO-EVICT", b"x"], [b"GETNAME", b"x"], [b"REPLY"], [b"SETNAME"]]
        return self.random.choice(calls)

    def do_command(self):
        asked = self.command()
        if asked[0].lower() == b"command":
            return [b"GETKEYS"]
        return [self.random.choice([b"GETKEYS", b"getkeys"]), *asked]

    def do_nosuch(self):
        return self.several(self.value)

    # the wire

    def encoded(self, command: list[bytes]) -> bytes:
        """A request: mostly an array, at times a line as by telnet, or with nothing before it."""
        noise = self.random.choice([b"\r\n", b"*0\r\n", b"*-1\r\n", b"\n"])
        before = noise if self.random.random() < 0.01 else b""
        if self.random.random() < 0.02 and sum(map(len, command)) < 10_000:
            return before + b" ".join(map(self.quoted, command)) + self.random.choice(LINE_ENDS)
        return before + encoded(command)

    def quoted(self, word: bytes) -> bytes:
        """A word of a line, as sdssplitargs of Redis takes it apart."""
        if word.isalnum() and self.random.random() < 0.5:
            return word
        if not set(word) & set(b"'\\\r\n\0") and self.random.random() < 0.5:
            return b"'" + word + b"'"
        return b'"' + b"".join(map(self.quoted_byte, word)) + b'"'

    def quoted_byte(self, byte: int) -> bytes:
        escapes = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 34: b'\\"', 92: b"\\\\"}
        if byte in escapes and self.random.random() < 0.7:
            return escapes[byte]
        is_plain = 32 <= byte < 127 and byte not in escapes
        return bytes([byte]) if is_plain else b"\\x%02x" % byte


LINE_ENDS = [b"\r\n", b"\n", b" \r\n"]


def encoded(command: list[bytes]) -> bytes:
    words = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
    return b"*%d\r\n%s" % (len(command), words)
