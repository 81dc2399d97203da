"""Finds distinctive passages of private samples: few of the samples contain them, and no text that others know.

Texts are compared by their words (`lada.core.words`), so case, spacing, punctuation and forms of characters do not
matter. A passage occurs in at most `samples` private samples and in no known text. It belongs to one of these kinds:

    rare    one or more words in a row that are all rare, such as a name, a number, an identifier
    near    words in a row, at least one of them rare
    plain   any words in a row
    whole   a whole question, rationale or answer that is shorter than a plain passage

A word is rare if it occurs in at most `samples` private samples and in no known text. The number of words that make a
passage is determined for each kind. It is the smallest number at which almost no private sample (at most one in a
hundred, or FEW) contains what would be a passage of another. So texts that follow a pattern do not count as each
other's secrets.

Private samples may also share a secret, such as the name of a person whom two of them are about. So a number of
rare words is also enough if almost no known text would contain a passage if it were not known: words that only private
samples share are no pattern.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain
from typing import Literal

import numpy as np

from lada.core.terms import Sample
from lada.core.words import compounds_of, identifiers_of, tokens_of, unescaped, windows, words_of
from lada.privacy.options import Withholding
from lada.privacy.word_index import Places, Texts, Unspaced, coded, once_each

PassageKind = Literal["rare", "near", "plain", "whole"]
SHARE, FEW = 0.01, 10
"""The share of the private samples, or of the known texts, and the number of them that may contain a passage by
chance."""
RARE, NEAR = (1, 2, 3), (2, 3, 4, 6)
"""The numbers of words that may make a passage of these kinds, ascending."""
PLAIN = (1, 1.5, 2, 2.5, 3, 3.5, 4)
"""The same for plain passages, in multiples of `words`."""
JOINED, WITHIN, TOGETHER = 4, 6, 7
"""From this many characters on, a rare word is also found in pieces, within a longer word, and among words that are run
together."""
ENDINGS = ("s", "es")
"""Endings that may follow a rare word."""
RATIONALES = 8
"""The most samples with the same question that count as one."""
LONGEST = 64
"""The most characters of a rare word that is found in these ways. A longer one is recognised by this many at its
start."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was found: its kind, its words, and the id of a private sample that contains it."""

    kind: PassageKind
    words: int
    sample_id: str


Find = Callable[[int, int, int, int], Places]
"""`find(length, least, most, known)` returns the passages of `length` words that occur in at most `known` known texts
(0 or 1) and in `least` to `most` private samples."""


class Distinctive:
    """The distinctive passages of private samples.

    They are stored as 64-bit hashes. The probability of a false match is about their number times the number of words
    searched, divided by 10^19.
    """

    def __init__(self, private: Sequence[Sample], known: Iterable[str], options: Withholding) -> None:
        """`known` are the texts that others know. Texts with the same words count as one.

        The same holds for samples with the same words, and for up to RATIONALES samples with the same question.
        """
        words = cache(words_of)  # each text is split into words once
        self._ids, texts = _by_question(private, words)
        having = sorted({(word, owner) for owner, text in texts for word in _all_words(text)})
        self._spread = Counter(word for word, _ in having)
        """The number of private samples that contain each word."""
        self._received, self._known, self._known_unspaced = _known(frozenset(known))
        self._private = Texts([words(text) for _, text in texts])
        self._owners = np.array([owner for owner, _ in texts], np.int64)
        self.options = options
        self._most = options.samples
        self.lengths: dict[PassageKind, int] = self._find_lengths(options.words)
        """The number of words that make a passage, by kind; whole texts may be shorter than `plain` passages."""
        self._tables = sorted(self._make_tables(), key=lambda table: table[1])
        self._joined = self._find_joined(having, [text for _, text in texts])
        """The rare words that are also found in another form, each with a sample that contains it."""
        self._heads = {word[:JOINED] for word in self._joined}
        self._within = sorted({len(word) for word in self._joined if len(word) >= WITHIN})
        self._unspaced = self._private.unspaced()

    def __len__(self) -> int:
        return sum(len(np.unique(hashes)) for _, _, (hashes, _) in self._tables)

    def found_in(self, text: str, *, alone: bool = True) -> list[Passage]:
        """Return the distinctive passages in a text, at most one of each kind and length.

        Without `alone`, a single word does not count. This is for texts that no model wrote, whose words are the
        program's.
        """
        found = self._found_in(text, alone)
        return found or ([] if (other := unescaped(text)) == text else self._found_in(other, alone))

    def _found_in(self, text: str, alone: bool) -> list[Passage]:
        words, found = words_of(text), list[Passage]()
        searched = dict(windows(coded(words), sorted({length for _, length, _ in self._tables})))
        for kind, length, (hashes, owners) in self._tables:
            if (alone or length > 1) and (hit := _first(hashes, searched[length])) is not None:
                found.append(Passage(kind, length, self._ids[owners[hit]]))
        if alone and not any(passage.kind == "rare" for passage in found):
            owner = self._in_other_form(words)
            found += [Passage("rare", 1, self._ids[owner])] if owner is not None else []
        return found

    def _find_joined(self, having: Sequence[tuple[str, int]], texts: Sequence[str]) -> dict[str, int]:
        """Return rare words of at least JOINED characters: all if single words are distinctive, else only identifiers.

        If even identifiers are shared by chance, return none.
        """
        if self.lengths["rare"] > 1:
            identifiers = {each for text in texts for each in identifiers_of(text)}
            if not self._are_seldom(identifiers, having):
                return {}
            having = [(word, owner) for word, owner in having if word in identifiers]
        return {
            word[:LONGEST]: owner for word, owner in having if len(word) >= JOINED and self._is_rare(word, self._most)
        }

    def _are_seldom(self, words: set[str], having: Sequence[tuple[str, int]]) -> bool:
        """Return whether single words of these are seldom shared by chance; see `_is_seldom_private` and
        `_is_seldom_known`."""
        shared = {word for word in words if self._is_rare(word, self._most + 1) and self._spread[word] > 1}
        met = [word for word in words if self._is_rare(word, self._most, 1) and self._received[word] == 1]
        owners = {owner for word, owner in having if word in shared}
        return _next_to_none(len(owners), of=len(self._ids)) or _next_to_none(len(met), of=len(self._known.sizes))

    def _find_lengths(self, words: int) -> dict[PassageKind, int]:
        seldom = (self._is_seldom_private, self._is_seldom_known)
        return {
            "rare": _least(RARE, partial(self._with_rare, True), *seldom),
            "near": _least(NEAR, partial(self._with_rare, False), *seldom),
            "plain": _least([round(words * each) for each in PLAIN], self._passages, self._is_seldom_private),
        }

    def _make_tables(self) -> Iterator[tuple[PassageKind, int, Places]]:
        finds: dict[PassageKind, Find] = {
            "rare": partial(self._with_rare, True),
            "near": partial(self._with_rare, False),
            "plain": self._passages,
        }
        for kind, find in finds.items():
            yield kind, self.lengths[kind], find(self.lengths[kind], 1, self._most, 0)
        sizes = set(range(self.lengths["rare"], self.lengths["plain"])).intersection(self._private.sizes.tolist())
        for length in sorted(sizes):
            if self._is_seldom_private(length, self._whole) and self._is_seldom_known(length, self._whole):
                yield "whole", length, self._whole(length, 1, self._most, 0)

    def _is_seldom_private(self, length: int, find: Find) -> bool:
        """Return whether almost no private sample contains what would, without that sample, be a passage of another."""
        _, owners = find(length, 2, self._most + 1, 0)
        return _next_to_none(len(np.unique(owners)), of=len(self._ids))

    def _is_seldom_known(self, length: int, find: Find) -> bool:
        """Return whether almost no known text contains what would be a passage if the text were not known."""
        hashes, starts = self._known.passages(length)
        texts = self._known.text[starts]
        passages, _ = find(length, 1, self._most, 1)
        met = np.unique(texts[np.isin(hashes, passages)])
        return _next_to_none(len(met), of=len(np.unique(texts)))

    def _passages(self, length: int, least: int, most: int, received: int, among: np.ndarray | None = None) -> Places:
        """See Find; `among`, bool [words of all texts], marks the words at which a passage may begin."""
        hashes, starts = self._private.passages(length)
        if among is not None:
            hashes, starts = hashes[among[starts]], starts[among[starts]]
        owners = self._owners[self._private.text[starts]]
        hashes, owners = once_each(hashes, owners)
        _, which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        samples = counts[which]
        kept = (samples >= least) & (samples <= most)
        hashes, owners = hashes[kept], owners[kept]
        unknown = ~np.isin(hashes, self._known.passages_of_more(length, received))
        return hashes[unknown], owners[unknown]

    def _with_rare(self, alone: bool, length: int, least: int, most: int, received: int) -> Places:
        """See Find, for passages of rare words only (`alone`) or with at least one rare word."""
        rare = np.cumsum([0, *(self._is_rare(word, most, received) for word in self._private.words)])
        ends = np.minimum(np.arange(len(rare) - 1) + length, len(rare) - 1)
        return self._passages(length, least, most, received, rare[ends] - rare[:-1] >= (length if alone else 1))

    def _whole(self, length: int, least: int, most: int, received: int) -> Places:
        """See Find, for passages that are a whole text."""
        hashes, starts = self._private.passages(length)
        wholes = hashes[self._private.sizes[self._private.text[starts]] == length]
        among = np.zeros(len(self._private.text), bool)
        among[starts[np.isin(hashes, wholes)]] = True
        return self._passages(length, least, most, received, among)

    def _is_rare(self, word: str, most: int, received: int = 0) -> bool:
        return 0 < self._spread[word] <= most and self._received[word] <= received

    def _in_other_form(self, words: Sequence[str]) -> int | None:
        """Return the place of a sample that shares a rare word, or several words, with a text except for the spaces."""
        word = self._in_pieces(words) or self._within_another(words)
        return self._run_together(words) if word is None else self._joined[word]

    def _in_pieces(self, words: Sequence[str]) -> str | None:
        """Return a rare word that several words in a row form, such as a word with a line break or a sign in it.

        It may have leading zeros or an ending.
        """
        for start in range(len(words)):
            joined = ""
            for word in words[start : start + LONGEST]:
                joined = (joined + word[: LONGEST + 1 - len(joined)]).lstrip("0")
                for each in (joined, *(joined.removesuffix(ending) for ending in ENDINGS)):
                    if each[:LONGEST] in self._joined:
                        return each[:LONGEST]
                if len(joined) >= LONGEST or (len(joined) >= JOINED and joined[:JOINED] not in self._heads):
                    break
        return None

    def _within_another(self, words: Sequence[str]) -> str | None:
        """Return a rare word within a longer word that no known text contains, as when spaces are missing."""
        for word in self._new(words, WITHIN + 1):
            for length in self._within:
                for start in range(len(word) - length + 1):
                    if word[start : start + length] in self._joined:
                        return word[start : start + length]
        return None

    def _run_together(self, words: Sequence[str]) -> int | None:
        """Return the place of a sample that contains a word except for spaces, if few samples and no known text contain
        it."""
        for word in self._new(words, TOGETHER):
            owners = {int(self._owners[text]) for text in self._unspaced.texts_with(word)}
            if 0 < len(owners) <= self._most and not self._known_unspaced.texts_with(word):
                return min(owners)
        return None

    def _new(self, words: Sequence[str], least: int) -> list[str]:
        """Return the words of at least `least` characters that occur in no known text and in no private sample."""
        return sorted({word for word in words if len(word) >= least and not self._received[word] + self._spread[word]})


def _least(lengths: Sequence[int], find: Find, *seldom: Callable[[int, Find], bool]) -> int:
    """Return the smallest length at which one of the tests finds passages `seldom` by chance, else the last length."""
    return next((length for length in lengths if any(test(length, find) for test in seldom)), lengths[-1])


def _next_to_none(count: int, *, of: int) -> bool:
    """Return whether a number, `of` all, is small enough for passages by chance."""
    return count <= max(FEW, SHARE * of)


def texts_of(sample: Sample) -> list[str]:
    """Return the nonempty texts of a sample: question, rationale, answer."""
    return [text for text in (sample.question, sample.rationale, sample.answer) if text]


def _all_words(text: str) -> set[str]:
    """Return the words of a text, and compounds of several words that belong together."""
    return {*words_of(text), *tokens_of(text), *compounds_of(text), *identifiers_of(text)}


@lru_cache(maxsize=1)  # clients with the same known texts share this
def _known(texts: frozenset[str]) -> tuple[Counter[str], Texts, Unspaced]:
    """Return how many of the texts contain each word (texts with the same words count once), and their words."""
    different = {tuple(words_of(text)): text for text in sorted(texts)}
    known = Texts(list(different))
    return Counter(chain.from_iterable(map(_all_words, different.values()))), known, known.unspaced()


def _by_question(
    private: Sequence[Sample], words: Callable[[str], list[str]]
) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the ids of samples with different `words`, and their texts, each with the place of its sample."""
    different = {tuple(" ".join(words(text)) for text in texts_of(sample)): sample for sample in private}
    groups: dict[str, list[Sample]] = {}
    for sample in different.values():
        groups.setdefault(" ".join(words(sample.question)), []).append(sample)
    ids, texts = list[str](), list[tuple[int, str]]()
    for group in groups.values():
        for samples in [group] if len(group) <= RATIONALES else [[sample] for sample in group]:
            texts += [(len(ids), text) for sample in samples for text in texts_of(sample)]
            ids.append(samples[0].id)
    return ids, texts


def _first(table: np.ndarray, searched: np.ndarray) -> int | None:
    """Return the place in a sorted table of the first hash that is found there."""
    if not len(table):
        return None
    places = np.searchsorted(table, searched)
    hits = np.flatnonzero(table.take(places, mode="clip") == searched)
    return int(places[hits[0]]) if len(hits) else None
