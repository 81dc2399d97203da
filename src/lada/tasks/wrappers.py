"""LaTeX that changes how a text looks and not what it says."""

import re

_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|mbox|operatorname)[ ]?\{(?P<content>[^{}]*)\}"
)


def unwrap(text: str) -> str:
    """Return a text with the content of `\\text{}`, `\\mathrm{}` and the like in their places."""
    return _WRAPPER.sub(r"\g<content>", text)
