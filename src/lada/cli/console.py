"""The terminals that commands print to: what they are given is text, and steers nothing."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from lada.core.shown import shown


class PlainConsole(Console):
    """A console that takes no markup and no emoji codes from texts, and shows control characters spelled out.

    Styles, tables and bars are rich's own, and so are the codes by which it draws them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console.render_str: what a cell of a table needs is measured of what is shown."""
        return super().render_str(shown(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See Console.render; everything that is printed comes through here, part by part."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else shown(segment.text)
            yield segment if text is segment.text else Segment(text, segment.style)


console = PlainConsole()
errors = PlainConsole(stderr=True)
