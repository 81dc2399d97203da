"""Lengths of prompts and paths: counted, by bytes, assumed."""

from lada.core.terms import Sample
from lada.models.encoding import Encoder
from lada.planning.lengths import Lengths, measure


class Letters:
    """A tokenizer with one token per letter."""

    eos_token_id, pad_token_id, name_or_path, chat_template = 0, 0, "letters", None
    all_special_ids, added_tokens_decoder = (), {}

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [1] * len(text)}


SAMPLES = (
    Sample("a", "two words", "3", "1 + 2 = 3."),
    Sample("b", "a question of thirty letters..", "12345", "so it is 12345"),
    Sample("c", "no gold"),
)


def test_counted_in_the_partys_own_tokens() -> None:
    encoder = Encoder(Letters(), prompt="{question}\n", context=100)
    # Prompts end in a line feed, paths in end-of-sequence: "1 + 2 = 3. 3" is 12 letters, "so it is 12345 12345" 20.
    assert measure(SAMPLES, encoder, 16) == Lengths(31, 21, 16.0, "counted")
    assert measure(SAMPLES, encoder, 40) == Lengths(31, 40, 17.0, "counted")


def test_bytes_stand_in_for_tokens() -> None:
    assert measure(SAMPLES, None, 4) == Lengths(30 // 4 + 1, 20 // 4 + 1, 4.0, "4 bytes a token")


def test_without_rationales_paths_are_as_long_as_they_may_be() -> None:
    found = measure((Sample("a", "how many?", "3"), Sample("b", "", "4")), None, 50)
    assert (found.prompt, found.completion, found.mean) == (3, 50, 50.0)
    assert "taken to be 50 tokens long" in found.source


def test_what_nobody_has_seen_is_assumed() -> None:
    assert measure(None, None, 50) == Lengths(256, 50, 50.0, "assumed: prompts of 256, paths of 50 tokens")


def test_no_sample_at_all() -> None:
    assert measure((), None, 50).prompt == 1
