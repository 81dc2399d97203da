"""Blocks of pages that are made from the code and from results/, so that they cannot go out of date.

In a page, what stands between `<!-- made: NAME -->` and `<!-- /made -->` gives way to the block of that name.
"""

from collections.abc import Callable

from blocks import commands, configuration, methods, models, results

BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands.commands,
    "configuration": configuration.configuration,
    "methods": methods.methods,
    "models": models.models,
    "headline": results.headline,
}
"""Each returns Markdown; links in it start at the top of the site."""
