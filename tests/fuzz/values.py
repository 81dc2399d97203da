"""Ways to make a sound message absurd: one number, name or list in it becomes an extreme that its format can hold."""

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load, save
from worlds import Key, World, wire

from lada.codecs.frames import LENGTH
from lada.codecs.token_scores import Shape

INTEGERS = (0, 1, -1, 2, 7, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, -(2**63), 999_999_999, 10**400)
FLOATS = (
    0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, -5e-324, 1.7976931348623157e308, 1e4, -1e4, 1e-300, -1e-9, 3e38, 1e12,
    2.0**31, 86_400.0, 1e10, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
WORDS = (
    "",
    "b",
    "llm",
    "a",
    "server",
    "loss",
    "private",
    "p0",
    "p4",
    "farm",
    "x" * 500,
    "x" * 10_000,
    "é" * 400,
    "NaN",
)
TIMES_REPEATED = (0, 2, 3, 100, 9000)
ZSTD = b"\x28\xb5\x2f\xfd"
Change = Callable[[random.Random, bytes], bytes]


def records(rng: random.Random, data: bytes) -> bytes:
    """Change one leaf of a report, or how often the rows of a list are there."""
    report = json.loads(data)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(report[0])
    node, key = rng.choice(places)
    value = node[key]
    if isinstance(value, list):
        node[key] = value * rng.choice(TIMES_REPEATED) if rng.random() < 0.7 else [*value, rng.choice(WORDS)]
    elif isinstance(value, dict):
        node[key] = {f"{name}{i}": value[name] for i in range(rng.choice((0, 1, 70))) for name in value} or {"x": 1e308}
    elif isinstance(value, (bool, str)):
        node[key] = rng.choice(WORDS)
    else:
        node[key] = rng.choice((*INTEGERS, *FLOATS, None))
    return json.dumps(report).replace("-Infinity", '"-Infinity"').replace(": Infinity", ': "Infinity"').replace(
        ": NaN", ': "NaN"').encode()  # fmt: skip


def times(rng: random.Random, data: bytes) -> bytes:
    """Change one time, or one number of bytes."""
    numbers = np.frombuffer(data, "<f8").copy()
    if not len(numbers):
        return np.array(rng.choices(FLOATS, k=3), "<f8").tobytes()
    numbers[rng.randrange(len(numbers))] = rng.choice((*FLOATS, AGE_EDGE, -100.0))
    return numbers.tobytes()


AGE_EDGE = 1000.0 + 86_401.0
"""The most seconds that are taken of a run that is a thousand seconds old."""


def table(rng: random.Random, data: bytes) -> bytes:
    """Change one cell of a table or a number of its header, or how many rows it has."""
    raw = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read_buffer(1 << 26)
    batch = pa.ipc.open_stream(raw).read_all()
    columns = batch.to_pydict()
    header = {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}
    way = rng.random()
    if way < 0.1:
        header[rng.choice(sorted(header))] = str(rng.choice((*INTEGERS, "b", "llm", "2", "256")))
    elif way < 0.2 or not len(batch):
        times = rng.choice(TIMES_REPEATED)
        columns = {name: values * times for name, values in columns.items()}
    else:
        name = rng.choice(batch.column_names)
        field, column = batch.schema.field(name), columns[name]
        row = rng.randrange(len(column))
        column[row] = _cell(rng, field.type, column[row])
        if name in ("total", "minimum") and rng.random() < 0.5:  # both, so that they go with each other
            columns["total"][row] = columns["minimum"][row] = min(column[row], 0.0)
    schema = batch.schema.with_metadata(header)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema))
    return pa.compress(sink.getvalue(), codec="zstd", asbytes=True)


def _cell(rng: random.Random, kind: pa.DataType, value: Any) -> Any:
    if pa.types.is_floating(kind):
        return rng.choice(FLOATS)
    if pa.types.is_integer(kind):
        low, high = (0, 2**kind.bit_width - 1) if str(kind).startswith("u") else (-(2**31), 2**31 - 1)
        near = (value or 0) + rng.choice((1, -1))
        return min(max(rng.choice((*INTEGERS, near)), low), high)
    if pa.types.is_boolean(kind):
        return rng.choice((True, False, None))
    if pa.types.is_binary(kind):
        return rng.choice((b"", b"\xff", b"e", b"x" * 4096, b"x" * 4097, b"\x00"))
    return rng.choice((*WORDS, "answer gold0", "answer " + "9" * 480, "answer 1e999", "\U0010ffff" * 100))


def soft(rng: random.Random, data: bytes) -> bytes:
    """Change a number of one sample's scores, or the index of all."""
    start = LENGTH + int.from_bytes(data[:LENGTH], "little")
    index, frames = data[LENGTH:start], data[start:]
    if rng.random() < 0.2:
        index = table(rng, index)
        return len(index).to_bytes(LENGTH, "little") + index + frames
    batch = pa.ipc.open_stream(pa.CompressedInputStream(pa.BufferReader(index), "zstd").read_buffer(1 << 26)).read_all()
    columns = batch.to_pydict()
    header = {key.decode(): value.decode() for key, value in batch.schema.metadata.items()}
    if not len(batch):  # made empty before
        return data
    row = rng.randrange(len(batch))
    tokens, bits = columns["tokens"][row], columns["bits"][row]
    sections = (2 * tokens, 8 * tokens)  # of log-probs without tokens
    if "k" in header:
        sections = Shape(tokens, int(header["k"]), int(header["vocabulary_size"]), bits).sections
    first, size = columns["offset"][row], columns["size"][row]
    raw = bytearray(pa.Codec("zstd").decompress(frames[first : first + size], decompressed_size=sum(sections)))
    section = rng.randrange(len(sections))
    begin, length = sum(sections[:section]), sections[section]
    width = rng.choice((1, 2))
    place = begin + rng.randrange(max(length - width + 1, 1))
    number = rng.choice((0, 1, 0xFBFF, 0x7C00, 0x8000, 0x8001, 0x7E00, 255, 65535)) % 256**width
    raw[place : place + width] = number.to_bytes(width, "little")
    frame = pa.Codec("zstd").compress(bytes(raw[: sum(sections)]), asbytes=True)
    for later in range(row + 1, len(batch)):
        columns["offset"][later] += len(frame) - size
    columns["size"][row] = len(frame)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        arrays = [pa.array(columns[field.name], field.type) for field in batch.schema]
        writer.write_batch(pa.record_batch(arrays, schema=batch.schema))
    packed = pa.compress(sink.getvalue(), codec="zstd", asbytes=True)
    return len(packed).to_bytes(LENGTH, "little") + packed + frames[:first] + frame + frames[first + size :]


def adapter(rng: random.Random, data: bytes) -> bytes:
    """Change one weight or all, a shape or a name, or the number of samples behind them."""
    length = int.from_bytes(data[:8], "little")
    header = {key: str(value) for key, value in json.loads(data[8 : 8 + length])["__metadata__"].items()}
    weights = {name: array.copy() for name, array in load(data).items()}
    name = rng.choice(sorted(weights))
    if not weights[name].size:  # made empty before
        return data
    with np.errstate(over="ignore"):
        match rng.randrange(6):
            case 0:
                header["samples"] = str(rng.choice((*INTEGERS, 3, 5)))
            case 1:
                weights = {each: np.full_like(array, rng.choice(FLOATS)) for each, array in weights.items()}
            case 2:
                weights[name] = np.repeat(weights[name], rng.choice((0, 2, 100)), axis=0)
            case 3:
                weights[rng.choice(("other", f"{name}2"))] = weights.pop(name)
            case _:
                weights[name].flat[rng.randrange(weights[name].size)] = rng.choice(FLOATS)
    return save(weights, metadata=header)


def mutate(rng: random.Random, all_worlds: list[World]) -> tuple[World, Key, bytes]:
    """Return a world, which reply of client a is changed, and its bytes, by a seeded choice of ways."""
    world = rng.choice(all_worlds)
    key = rng.choice([each for each in world.sent if each[2] == "a"])
    payload = dict(world.sent[key])
    envelope: dict[str, Any] = {}
    if rng.random() < 0.03:
        field, values = rng.choice((("seconds", FLOATS), ("round", (0, 1, -1, 2**31, 2**62)), ("sender", WORDS)))
        envelope[field] = rng.choice(values)
    for _ in range(rng.choice((1, 1, 1, 2)) if not envelope else 0):
        kind = rng.choice(sorted(payload))
        data = payload[kind]
        change: Change = {"metrics": records, "times": times, "adapter": adapter, "soft_targets": soft,
                          "judgements": soft}.get(kind, table)  # fmt: skip
        payload[kind] = change(rng, data)
    return world, key, wire(key, payload, **envelope)
