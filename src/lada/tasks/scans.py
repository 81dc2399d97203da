"""The scans of handwritten digits, and what a question shows of them: pixels, strokes, a graph or a scene."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lada.core.seeds import generator
from lada.models.label_sets import PLACES, Place, pair

INK = 16
"""The level of full ink; a scan has 0..16."""
SIZE = 8
"""Rows and columns of a scan."""
CANVAS = 24
"""Rows and columns of a scene."""
MOST_DIGITS = 4
"""Maximum number of digits in a scene."""
TRIES = 100
"""Places that are tried for a further digit of a scene."""


@dataclass(frozen=True, eq=False)
class Scans:
    """All scans: `images` int64 [n, 8, 8] with levels 0..16, `labels` int64 [n], and a world's `order` of them [n]."""

    images: np.ndarray
    labels: np.ndarray
    order: np.ndarray


@cache
def scans(world: int) -> Scans:
    """Return the scans that come with scikit-learn, in a world's order."""
    from sklearn.datasets import load_digits  # here, since it takes a second and other tasks do not need it

    found: Any = load_digits()
    images, labels = found.images.astype(np.int64), found.target.astype(np.int64)
    return Scans(images, labels, generator(world, "digits", "order").permutation(len(labels)))


def _noise(images: np.ndarray) -> np.ndarray:
    return images + generator("digits", "noise").normal(0, INK / 4, images.shape)


def _blur(images: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images.astype(float), (0, 0.8, 0.8))


def _rotated(images: np.ndarray, degrees: float = 20) -> np.ndarray:
    from scipy.ndimage import rotate

    return rotate(images.astype(float), degrees, axes=(1, 2), reshape=False, order=1)


def _bold(images: np.ndarray) -> np.ndarray:
    from scipy.ndimage import maximum_filter

    return maximum_filter(images, (1, 2, 2))


def _plain(images: np.ndarray) -> np.ndarray:
    return images


def _inverted(images: np.ndarray) -> np.ndarray:
    return INK - images


DOMAINS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": _plain,
    "inverted": _inverted,
    "noise": _noise,
    "blur": _blur,
    "rotated": _rotated,
    "contrast": lambda images: INK / 4 + images / 4,
}
"""How the scans of each domain look."""
ATTRIBUTES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": _plain,
    "inverted": _inverted,
    "bold": _bold,
    "rotated": lambda images: _rotated(images, 45),
}
"""How a digit of a scene may look."""


@cache
def looks(world: int, domain: str) -> np.ndarray:
    """Return all scans as a domain shows them, int64 [n, 8, 8] with levels 0..16."""
    return levels(DOMAINS[domain](scans(world).images))


@cache
def _attributed(world: int, domain: str, attribute: str) -> np.ndarray:
    return levels(ATTRIBUTES[attribute](looks(world, domain)))


def levels(images: np.ndarray) -> np.ndarray:
    """Return images rounded to levels 0..16."""
    return np.clip(np.rint(images), 0, INK).astype(np.int64)


def strokes(image: np.ndarray) -> np.ndarray:
    """Return a scan as a signal [1, 48]: the mean ink of rows and columns, then the distances to ink from four sides.

    A distance is the number of cells, twice, up to the first that is at least half full.
    """
    dark = image >= INK // 2
    sides = (dark, dark[:, ::-1], dark.T, dark.T[:, ::-1])
    distances = [np.where(side.any(1), side.argmax(1), SIZE) for side in sides]
    means = [np.rint(image.mean(axis)).astype(np.int64) for axis in (1, 0)]
    return np.concatenate([*means, *(2 * distance for distance in distances)])[None]


@cache
def neighbours(world: int, domain: str, count: int) -> np.ndarray:
    """Return the `count` nearest scans of each by squared distance of their cells, nearest first, int64 [n, count].

    No label is looked at. Of scans at one distance, the first comes first.
    """
    flat = looks(world, domain).reshape(len(scans(world).images), -1)
    squares = (flat**2).sum(1)
    distances = squares[:, None] + squares - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.iinfo(np.int64).max)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def graph(world: int, domain: str, row: int, count: int) -> dict[str, np.ndarray]:
    """Return a scan with its nearest ones: `nodes` [1 + count, 64], itself first, and `edges` [1 + count, 1 + count].

    Two scans have an edge if one is among the `count` nearest of the other.
    """
    near = neighbours(world, domain, count)
    members = np.array([row, *near[row]])
    names = np.array([np.isin(members, near[member]) for member in members])
    nodes = looks(world, domain)[members].reshape(len(members), -1)
    return {"nodes": nodes, "edges": (names | names.T).astype(np.int64)}


@dataclass(frozen=True, eq=False)
class Scene:
    """A canvas with some digits: `grids` are the scene and the box of the digit that is asked for."""

    grids: dict[str, np.ndarray]
    attribute: str
    """How the digit that is asked for looks."""
    place: Place
    """Where it stands."""


def scene(
    world: int,
    domain: str,
    row: int,
    others: Sequence[int] | np.ndarray,
    *,
    barred: Collection[str] = (),
    attribute: str | None = None,
) -> Scene:
    """Return a scene [24, 24] with a scan and up to three of `others`, at places that do not overlap.

    Each has an attribute of its own, but none makes one of the `barred` pairs with its digit, such as `bold 7`. With an
    `attribute`, the scan has this one. The box [24, 24] is full within the cells of the scan, and empty elsewhere.
    """
    rng = generator(world, "digits", "scene", domain, row)
    count = int(rng.integers(1, MOST_DIGITS + 1))
    shown = [row, *(int(others[place]) for place in rng.integers(0, len(others), count - 1))]
    drawn, digits = rng.integers(0, len(ATTRIBUTES), count), scans(world).labels[shown]
    chosen = [_attribute(int(place), int(digit), barred) for place, digit in zip(drawn, digits, strict=True)]
    chosen[0] = attribute or chosen[0]
    canvas, box = np.zeros((CANVAS, CANVAS), np.int64), np.zeros((CANVAS, CANVAS), np.int64)
    taken: list[tuple[int, int]] = []
    for scan, look in zip(shown, chosen, strict=True):
        corner = _free(rng, taken)
        if corner is None:
            break  # the canvas is full; the digit that is asked for came first
        taken.append(corner)
        part = tuple(slice(start, start + SIZE) for start in corner)
        canvas[part] = _attributed(world, domain, look)[scan]
        if len(taken) == 1:
            box[part] = INK
    third = (CANVAS - SIZE) / 3
    place = PLACES[3 * min(2, int(taken[0][0] / third)) + min(2, int(taken[0][1] / third))]
    return Scene({"scene": canvas, "box": box}, chosen[0], place)


def _attribute(drawn: int, digit: int, barred: Collection[str]) -> str:
    """Return the attribute that was drawn, or the next one that is not barred."""
    names = list(ATTRIBUTES)
    return next(name for name in names[drawn:] + names[:drawn] if pair(name, digit) not in barred)


def _free(rng: np.random.Generator, taken: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return a corner whose square touches none of those taken; None if many tries find none."""
    for _ in range(TRIES):
        top, left = (int(place) for place in rng.integers(0, CANVAS - SIZE + 1, 2))
        if all(max(abs(top - other[0]), abs(left - other[1])) >= SIZE for other in taken):
            return top, left
    return None
