"""Commands on hashes whose fields end: for the test of field expiry.

What nowthen and a newer Redis are asked:

    Grammar (commands since Redis 7.0) --> those on hashes and keys, and
                                           HEXPIRE, HTTL, HPERSIST, HGETEX, HSETEX, HGETDEL, ...

Invariants
- Every end is either long past, or so far away that no field ends while two servers are compared.
- What GT and LT decide does not depend on when a session runs: a length of time is at most some
  years, an instant that is not past lies after the year 2096.

Not here: what is the same in two replies (`differential.py`).
"""

from __future__ import annotations

from grammar import ABSOLUTE_S, HASH_KEYS, NOT_INTEGERS, Grammar, encoded

FIELDS = [b"f", b"g", b"h", b"", b"\r\n\x00"]
SMALL_VALUES = [b"", b"v", b"1", b"2.5", b"-7", b"\x00\r\n"]
# The last instant that a field of Redis can end at, in ms, and the first one that it cannot.
LAST_MS = [b"281474976710654", b"281474976710655", b"281474976710656"]
LAST_S = [b"281474976710", b"281474976711"]
WRONG_COUNTS = [b"0", b"-1", b"4", b"2147483648", b"9223372036854775808", *NOT_INTEGERS]


class FieldGrammar(Grammar):
    """Sessions in which fields end. Only what meets hashes is left of the other commands."""

    RARE = ["set", "getdel", "hkeys", "hvals", "hmset", "dbsize", "type", "exists"]
    RARE += ["pexpiretime", "expire", "persist", "pttl", "hstrlen", "hsetnx"]
    RARE += ["hrandfield", "hscan", "rename", "renamenx", "copy", "del", "hincrbyfloat"]
    USUAL = ["hset", "hdel", "hget", "hmget", "hgetall", "hlen", "hincrby", "hexists", "copy"]
    OF_ENDS = ["hexpire", "hpexpire", "hexpireat", "hpexpireat", "httl", "hpttl", "hexpiretime"]
    OF_ENDS += ["hpexpiretime", "hpersist", "hgetex", "hsetex", "hgetdel"]

    @classmethod
    def weighted_names(cls) -> list[str]:
        return cls.RARE + 3 * cls.USUAL + 6 * cls.OF_ENDS

    def key(self) -> bytes:
        return self.pick((8, HASH_KEYS), (1, [b"a", b""]))

    hash_key = string_key = key

    def field(self) -> bytes:
        return self.random.choice(FIELDS)

    def value(self) -> bytes:
        return self.random.choice(SMALL_VALUES)

    def cursor(self) -> bytes:
        # Redis 8 reads a wrong cursor otherwise than Redis 7, which nowthen follows.
        return b"0"

    def encoded(self, command: list[bytes]) -> bytes:
        return encoded(command)

    # ends of fields

    def fields(self) -> list[bytes]:
        """The word FIELDS, how many, and they; at times wrong in one way."""
        fields = self.several(self.field)
        return self.counted(fields, len(fields))

    def counted(self, words: list[bytes], count: int) -> list[bytes]:
        told = b"%d" % count
        if self.random.random() < 0.06:
            told = self.random.choice(WRONG_COUNTS)
        word = self.pick((30, [b"FIELDS"]), (8, [b"fields"]), (1, [b"FIELD", b"NX", b""]))
        return [word, told, *words]

    def far(self, is_ms: bool) -> bytes:
        return b"%d%s" % (self.far_seconds(), b"000" if is_ms else b"")

    def instant(self, is_ms: bool) -> bytes:
        late = self.random.choice(ABSOLUTE_S)
        return late + self.random.choice([b"000", b"001", b"999"]) if is_ms else late

    def span_or_instant(self, is_instant: bool, is_ms: bool) -> bytes:
        usual = self.instant(is_ms) if is_instant else self.far(is_ms)
        past = [b"0", b"1"] if is_instant else [b"0"]
        wrong = [b"-1", b"9223372036854775807", b"-9223372036854775808", *NOT_INTEGERS]
        wrong += LAST_MS if is_ms else LAST_S
        return self.pick((16, [usual]), (2, past), (1, wrong))

    def condition(self) -> list[bytes]:
        if self.random.random() < 0.5:
            return []
        return [self.pick((12, [b"NX", b"XX", b"GT", b"LT", b"gt"]), (1, [b"x", b"FNX"]))]

    def do_hexpire(self):
        end = self.span_or_instant(False, False)
        return [self.hash_key(), end, *self.condition(), *self.fields()]

    def do_hpexpire(self):
        end = self.span_or_instant(False, True)
        return [self.hash_key(), end, *self.condition(), *self.fields()]

    def do_hexpireat(self):
        end = self.span_or_instant(True, False)
        return [self.hash_key(), end, *self.condition(), *self.fields()]

    def do_hpexpireat(self):
        end = self.span_or_instant(True, True)
        return [self.hash_key(), end, *self.condition(), *self.fields()]

    def do_httl(self):
        return [self.hash_key(), *self.fields()]

    do_hpttl = do_hexpiretime = do_hpexpiretime = do_hpersist = do_hgetdel = do_httl

    def end_of_fields(self) -> list[bytes]:
        word = self.random.choice([b"EX", b"px", b"EXAT", b"PxAt"])
        return [word, self.span_or_instant(len(word) == 4, word.upper().startswith(b"P"))]

    def do_hgetex(self):
        words = [self.end_of_fields(), self.end_of_fields(), [b"PERSIST"], [b"persist"]]
        words += [[b"EX"], [b"x"], [b"KEEPTTL"]] if self.random.random() < 0.1 else []
        most = 2 if self.random.random() < 0.1 else 1
        return [self.hash_key(), *self.options(words, most), *self.fields()]

    def do_hsetex(self):
        conditions = self.maybe(self.random.choice([b"FNX", b"FXX", b"fxx"]), chance=0.4)
        words = [self.end_of_fields(), self.end_of_fields(), [b"KEEPTTL"], [b"keepttl"]]
        words += [[b"EX"], [b"x"], [b"FNX"], [b"NX"]] if self.random.random() < 0.1 else []
        most = 2 if self.random.random() < 0.1 else 1
        options = [conditions, self.options(words, most)]
        self.random.shuffle(options)
        values = self.pairs(self.field)
        return [self.hash_key(), *sum(options, []), *self.counted(values, len(values) // 2)]

    def opening(self) -> list[list[bytes]]:
        """Most sessions begin with fields, and with some that end."""
        commands = [[b"FLUSHALL"]]
        if self.random.random() < 0.8:
            commands += [[b"HSET", key, b"f", b"1", b"g", b"v", b"h", b"2.5"] for key in HASH_KEYS]
            end = self.instant(False)
            commands += [[b"HEXPIREAT", HASH_KEYS[0], end, b"FIELDS", b"2", b"f", b"g"]]
        return commands

    # ends of keys, as instants and lengths that the fields have too

    def do_expire(self):
        return [self.key(), self.far(False), *self.conditions()]

    def state(self) -> list[list[bytes]]:
        all_fields = [b"FIELDS", b"%d" % len(FIELDS), *FIELDS]
        ends = [[b"HPEXPIRETIME", key, *all_fields] for key in HASH_KEYS]
        return ends + [[b"HLEN", key] for key in HASH_KEYS]
