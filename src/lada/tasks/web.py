"""Pictures of no digit, as a pool of the web would have among others: scans with shuffled pixels, and letters."""

import numpy as np

from lada.tasks.scans import INK, SIZE

STROKES: dict[str, tuple[tuple[float, ...], ...]] = {
    "A": ((0, 1, 0.5, 0), (0.5, 0, 1, 1), (0.2, 0.6, 0.8, 0.6)),
    "E": ((0, 0, 0, 1), (0, 0, 1, 0), (0, 0.5, 0.8, 0.5), (0, 1, 1, 1)),
    "F": ((0, 0, 0, 1), (0, 0, 1, 0), (0, 0.5, 0.8, 0.5)),
    "H": ((0, 0, 0, 1), (1, 0, 1, 1), (0, 0.5, 1, 0.5)),
    "K": ((0, 0, 0, 1), (1, 0, 0, 0.5), (0, 0.5, 1, 1)),
    "M": ((0, 1, 0, 0), (0, 0, 0.5, 0.6), (0.5, 0.6, 1, 0), (1, 0, 1, 1)),
    "N": ((0, 1, 0, 0), (0, 0, 1, 1), (1, 1, 1, 0)),
    "T": ((0, 0, 1, 0), (0.5, 0, 0.5, 1)),
    "V": ((0, 0, 0.5, 1), (0.5, 1, 1, 0)),
    "W": ((0, 0, 0.25, 1), (0.25, 1, 0.5, 0.4), (0.5, 0.4, 0.75, 1), (0.75, 1, 1, 0)),
    "X": ((0, 0, 1, 1), (1, 0, 0, 1)),
    "Y": ((0, 0, 0.5, 0.5), (1, 0, 0.5, 0.5), (0.5, 0.5, 0.5, 1)),
}
"""Letters that look like no digit. A stroke goes from x, y to x, y in the unit square, from the top left."""
MARGIN, WIDTH, JITTER = 1.0, 0.6, 0.4
"""In cells: the free border, half of a stroke's width, and the standard deviation by which its ends move."""


def shuffled_pixels(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a scan [8, 8] with its cells in a random order."""
    return rng.permutation(image.ravel()).reshape(image.shape)


def drawn_letter(rng: np.random.Generator) -> np.ndarray:
    """Return a random letter, int64 [8, 8] with levels 0..16; the ends of its strokes are moved a little.

    A cell has full ink up to WIDTH from a stroke, and none from one cell further on.
    """
    strokes = np.array(STROKES[list(STROKES)[int(rng.integers(len(STROKES)))]])
    ends = MARGIN + strokes * (SIZE - 1 - 2 * MARGIN) + rng.normal(0, JITTER, strokes.shape)
    y, x = np.mgrid[:SIZE, :SIZE]
    near = np.min([_distance(x, y, *stroke) for stroke in ends.tolist()], axis=0)
    return np.rint(INK * np.clip(1 + WIDTH - near, 0, 1)).astype(np.int64)


def _distance(x: np.ndarray, y: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Return the distance of each cell from a stroke, in cells."""
    length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
    return np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
