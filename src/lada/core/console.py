"""The terminals that commands print to. Their input is plain text and cannot control the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lada.core.shown import shown

PIPED = 80
"""The width of output to a file or a pipe, unless COLUMNS is set."""


class PlainConsole(Console):
    """A console that takes no markup and no emoji codes from texts, and shows control characters spelled out.

    Styles, tables and bars are rich's own, and so are the codes with which it draws them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See Console.render_str: the width of a table's cell is measured from its visible text."""
        return super().render_str(shown(text), **options)

    @property
    def size(self) -> ConsoleDimensions:
        """See Console.size. A file or a pipe is as wide as PIPED, whatever terminal the command was started from."""
        if self.is_terminal or self._width is not None:
            return super().size
        return ConsoleDimensions(PIPED, super().size.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See Console.render; all printed output passes through here, part by part."""
        if isinstance(renderable, Table):
            _whole(renderable, (options or self.options).max_width)
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else shown(segment.text)
            yield segment if text is segment.text else Segment(text, segment.style)


def _whole(table: Table, width: int) -> None:
    """Let nothing in a table's cells be cut off at this width: words that are too long continue in the next line. Names
    do too, if keeping them whole would leave little room for the rest."""
    for column in table.columns:
        column.overflow = "fold"
        if column.no_wrap and max((len(str(cell)) for cell in column.cells), default=0) > width // 3:
            column.no_wrap = False


console = PlainConsole()
errors = PlainConsole(stderr=True)
