"""The names of the export targets; lada.export.export has the targets themselves."""

from lada.core.errors import InputError, nearest

NAMES = ("hf", "peft", "gguf", "gguf-lora", "onnx")


def check_name(to: str) -> None:
    """Raise InputError, with the nearest name, if there is no such target."""
    if to not in NAMES:
        raise InputError(f"--to: {to!r} is not a target; expected one of {', '.join(NAMES)}{nearest(to, NAMES)}")
