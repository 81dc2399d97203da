"""Removes LaTeX that changes how a text looks but not what it says."""

import re

_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|mbox|operatorname)[ ]?\{(?P<content>[^{}]*)\}"
)


def unwrap(text: str) -> str:
    """Return a text in which `\\text{}`, `\\mathrm{}` and similar commands are replaced by their content."""
    return _WRAPPER.sub(r"\g<content>", text)
