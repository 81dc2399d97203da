"""Ways to spoil a message: at random in its bytes, and by what its format lets a hostile writer say."""

import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from seeds import Seed

from lada.federation.pieces import SIZES

Change = Callable[[random.Random, bytes], bytes]
NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, -1e308, 1e-300, 5.0, float("nan"), float("inf"), float("-inf"))
WORDS = ("", "1", "-1", "p0", "p9", "b", "llm", "../x", "<script>", "answer gold0", "answer " * 100, "\x00", "9" * 12)
TOKENS = (
    b"NaN", b'"NaN"', b"Infinity", b"-Infinity", b"1e999", b"-1", b"101", b"1" * 400, b"null", b"true", b"[]", b"{}",
    b'""', b'"<script>alert(1)</script>"', b'"\\u0000"', b'"\\ud800"', b'"b"', b'"llm"', b'"../../x"', b"[" * 500,
)  # fmt: skip


def flip(rng: random.Random, data: bytes) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    """Cut off an end."""
    place = rng.randint(0, len(data))
    return data[:place] if rng.random() < 0.7 else data[place:]


def double(rng: random.Random, data: bytes) -> bytes:
    """Repeat a part, or all."""
    a, b = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:b] + data[a:] if rng.random() < 0.7 else data + data


def length(rng: random.Random, data: bytes) -> bytes:
    """Put a number that a length may not be where one may stand."""
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(NUMBERS) % 256**size
    place = rng.randint(0, max(len(data) - size, 0))
    place -= place % size if rng.random() < 0.7 else 0
    return data[:place] + number.to_bytes(size, "little") + data[place + size :]


def noise(rng: random.Random, data: bytes) -> bytes:
    """Be something else."""
    return rng.randbytes(rng.choice((0, 1, 8, 100, 1000)))


def bomb(rng: random.Random, data: bytes) -> bytes:
    """Be a few bytes that become many."""
    return pa.compress(bytes(rng.choice((1 << 16, 2 << 20, 16 << 20))), codec="zstd", asbytes=True)


PLAIN: tuple[Change, ...] = (flip, flip, flip, cut, double, length, length, noise)


def inside(rng: random.Random, data: bytes) -> bytes:
    """Spoil what lies within a zstd frame, or after the length and within the frame of an index."""
    head = rest = b""
    if data[:4] != b"\x28\xb5\x2f\xfd":
        if data[8:12] != b"\x28\xb5\x2f\xfd":
            return rng.choice(PLAIN)(rng, data)
        end = 8 + int.from_bytes(data[:8], "little")
        head, rest, data = data[:8], data[end:], data[8:end]
    try:
        raw = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read_buffer(1 << 20).to_pybytes()
    except (pa.ArrowException, OSError):  # spoilt before
        return flip(rng, data)
    packed = pa.compress(rng.choice(PLAIN)(rng, raw), codec="zstd", asbytes=True)
    return len(packed).to_bytes(8, "little") + packed + rest if head else packed


def rewrite(rng: random.Random, data: bytes) -> bytes:
    """Write a sound table again with another value in a column or its header, as a client with its own codec can.

    What is no table has bits flipped. (pyarrow must not be given a spoilt one without validation: it may crash.)
    """
    try:
        raw = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read_buffer(1 << 20)
        batch = pa.ipc.open_stream(raw).read_all()
        columns = batch.to_pydict()
        header = {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}
        if rng.random() < 0.3 and header:
            header[rng.choice(sorted(header))] = rng.choice(WORDS)
        else:
            column = columns[rng.choice(batch.column_names)]
            column[rng.randrange(len(column))] = rng.choice((*WORDS, *FLOATS, *NUMBERS, b"token", None, True))
        schema = batch.schema.with_metadata(header)
        if rng.random() < 0.2:
            columns = {name: values * 2 for name, values in columns.items()}
            if header.get("rows", "").isdigit():
                header["rows"] = str(2 * int(header["rows"]))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_batch(pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema))
        return pa.compress(sink.getvalue(), codec="zstd", asbytes=True)
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError):  # no table, or another type
        return flip(rng, data)


def token(rng: random.Random, data: bytes) -> bytes:
    """Replace one JSON value with another."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return flip(rng, data)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(value)
    if not places:
        return rng.choice(TOKENS)
    node, key = rng.choice(places)
    if isinstance(node, dict) and rng.random() < 0.2:
        node["<b>other</b>"] = node.pop(key)
    elif isinstance(node, list) and rng.random() < 0.2:
        node *= rng.choice((0, 2, 200))
    else:
        node[key] = "@here@"
    return json.dumps(value).encode().replace(b'"@here@"', rng.choice(TOKENS))


def mutate(rng: random.Random, all_seeds: list[Seed]) -> tuple[Seed, bytes]:
    """Return a seed and the bytes of a reply that was made of it and spoilt, by a seeded choice of ways."""
    seed = rng.choice(all_seeds)
    payload = dict(seed.payload)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        kind = rng.choice(sorted(payload)) if payload else "paths"
        other = rng.choice(all_seeds).payload
        match rng.randrange(12):
            case 0:
                payload.pop(kind, None)
            case 1:
                payload |= {rng.choice(["paths", "more", "a b", SIZES, kind]): rng.choice(list(other.values()))}
            case 2 if kind in other:
                payload[kind] = other[kind]
            case 3 if kind in other:
                place = rng.randint(0, min(len(other[kind]), len(payload.get(kind, b""))))
                payload[kind] = payload.get(kind, b"")[:place] + other[kind][place:]
            case 4:
                payload[kind] = rng.choice((*PLAIN, bomb))(rng, payload.get(kind, b""))
            case 5 if "metrics" in payload:
                payload["metrics"] = token(rng, payload["metrics"])
            case 6 if SIZES in payload:
                payload[SIZES] = token(rng, payload[SIZES])
            case 7 | 8:
                payload[kind] = rewrite(rng, seed.payload.get(kind, b""))
            case _:
                payload[kind] = inside(rng, payload.get(kind, b""))
    data = seed.wire(payload)
    if rng.random() < 0.3:
        data = rng.choice(PLAIN)(rng, data)
    return seed, data
