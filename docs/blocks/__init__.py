"""Blocks of pages that are made from the code, so that they cannot go out of date.

In a page, what stands between `<!-- made: NAME -->` and `<!-- /made -->` gives way to the block of that name.
"""

from collections.abc import Callable

from blocks import commands, configuration, methods, models

BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands.commands,
    "configuration": configuration.configuration,
    "methods": methods.methods,
    "models": models.models,
    "tags": methods.tags,
}
"""Each returns Markdown; links in it start at the top of the site."""
