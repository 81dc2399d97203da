"""The same, guided by coverage: `python tests/fuzz/guided.py -runs=1000000` (needs the extra `fuzz`, which is atheris).

What follows goes to libFuzzer. It starts from sound messages; an input is which of them (1 byte), which of its kinds
(1 byte), how (1 byte: 0 the kind's bytes, 1 what a zstd frame in their place holds, 2 all of Flower's bytes) and these.
"""

import sys
import tempfile
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
import pyarrow as pa

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "hosts")]

with atheris.instrument_imports(include=["lada"]):  # pyright: ignore[reportAttributeAccessIssue]
    from judge import send
    from seeds import Seed, seeds

ZSTD = b"\x28\xb5\x2f\xfd"


def start(sound: list[Seed]) -> list[bytes]:
    """Return an input for each kind of each sound message, and for its bytes as a whole."""
    inputs = []
    for number, seed in enumerate(sound):
        for place, kind in enumerate(sorted(seed.payload)):
            data, how = seed.payload[kind], 0
            if data[:4] == ZSTD:
                data, how = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(1 << 20), 1
            inputs.append(bytes([number, place, how]) + data)
        inputs.append(bytes([number, 0, 2]) + seed.wire(seed.payload))
    return inputs


def main() -> None:
    """Run from the command line."""
    with tempfile.TemporaryDirectory() as folder:
        sound = seeds(Path(folder) / "parties")

        def one(data: bytes) -> None:
            if len(data) < 3:
                return
            seed, how, body = sound[data[0] % len(sound)], data[2] % 3, data[3:]
            kinds = sorted(seed.payload)
            if how == 1:
                body = pa.compress(body, codec="zstd", asbytes=True)
            kind = kinds[data[1] % len(kinds)]
            send(seed, body if how == 2 else seed.wire({**seed.payload, kind: body}))

        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(start(sound)):
            (corpus / str(number)).write_bytes(data)
        atheris.Setup([*sys.argv, "-max_len=20000", str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
