"""From texts to ids with every kind of tokenizer that users bring."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from lada.core.errors import InputError
from lada.models.encoding import Encoded, Encoder, buckets, pad_left, pad_right
from lada.models.reserved import SHORT

CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} . {% endfor %}"
    "{% if add_generation_prompt %}answer{% endif %}"
)


def encoder(tokenizer: Any, context: int = 96, prompt: str = "{question}\n") -> Encoder:
    return Encoder(tokenizer, prompt=prompt, context=context)


def with_template(tokenizer: Any, single: str, *tokens: str) -> Any:
    """A tokenizer that adds special tokens to every text."""
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in tokens]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)
    return tokenizer


def plain(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.fixture(params=["bpe", "unigram"])
def tokenizer(tiny: Any, request: pytest.FixtureRequest) -> Any:
    return tiny.tokenizer(request.param, bos_token="<bos>")


def test_a_pair_is_prompt_then_path_then_eos(tiny: Any, tokenizer: Any):
    for question, path in zip(tiny.questions, tiny.paths, strict=True):
        pair = encoder(tokenizer).pair(question, path)
        assert pair.prompt == plain(tokenizer, question + "\n")
        assert pair.completion == (*plain(tokenizer, path), tokenizer.eos_token_id)
        assert len(pair) == len(pair.prompt) + len(pair.completion)
        assert encoder(tokenizer).text(pair.completion) == path


def test_a_short_text_is_tokenized_once_and_gives_the_same_ids_again(tokenizer: Any, monkeypatch: pytest.MonkeyPatch):
    made = encoder(tokenizer, context=4 * SHORT)
    short, long = "how many boxes are left", "left " * (SHORT // 5 + 1)
    first = made.prompt(short), made.pair(short, short), made.prompt(long)
    asked: list[str] = []
    ids = type(tokenizer).__call__

    def counted(self: Any, text: str, **options: Any) -> Any:
        asked.append(text)
        return ids(self, text, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    assert (made.prompt(short), made.pair(short, short)) == first[:2]
    assert asked == []
    assert made.prompt(long) == first[2]
    assert asked == [long, f"{long}\n"]  # to mask it, and as a prompt


def test_the_end_of_an_overlong_question_and_the_start_of_an_overlong_path_are_kept(tokenizer: Any):
    question, path = "boxes " * 50 + "?", "monday " * 50
    pair = encoder(tokenizer, context=20).pair(question, path)
    assert pair.prompt == plain(tokenizer, question + "\n")[-10:]
    assert pair.completion == plain(tokenizer, path)[:10]
    short = encoder(tokenizer, context=20).pair("?", path)
    assert len(short) == 20


def test_an_empty_prompt_still_has_a_token(tokenizer: Any):
    assert encoder(tokenizer, prompt="{question}").prompt("") == (tokenizer.pad_token_id,)


def test_braces_in_a_question_are_left_alone(tokenizer: Any):
    assert encoder(tokenizer).prompt("{x} {question}") == plain(tokenizer, "{x} {question}\n")


def test_without_a_pad_token_eos_pads(tiny: Any):
    tokenizer = tiny.tokenizer(pad_token=None)
    assert tokenizer.pad_token_id is None
    assert encoder(tokenizer).pad == tokenizer.eos_token_id
    assert tokenizer.pad_token_id is None


def test_the_padding_side_does_not_matter(tiny: Any, tokenizer: Any):
    right = encoder(tokenizer).pair(tiny.questions[0], tiny.paths[0])
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    assert encoder(tokenizer).pair(tiny.questions[0], tiny.paths[0]) == right


def test_bos_opens_the_prompt_and_nothing_else(tiny: Any, tokenizer: Any):
    pair = encoder(with_template(tokenizer, "<bos> $A", "<bos>")).pair(tiny.questions[0], tiny.paths[0])
    assert pair.prompt == (tokenizer.bos_token_id, *plain(tokenizer, tiny.questions[0] + "\n"))
    assert pair.completion == (*plain(tokenizer, tiny.paths[0]), tokenizer.eos_token_id)


def test_an_eos_that_the_tokenizer_appends_does_not_end_the_prompt(tiny: Any, tokenizer: Any):
    pair = encoder(with_template(tokenizer, "$A <eos>", "<eos>")).pair(tiny.questions[0], tiny.paths[0])
    assert pair.prompt == plain(tokenizer, tiny.questions[0] + "\n")
    assert pair.completion == (*plain(tokenizer, tiny.paths[0]), tokenizer.eos_token_id)


def test_a_chat_template_is_used_and_brings_the_only_bos(tiny: Any, tokenizer: Any):
    tokenizer.chat_template = CHAT
    prompt = encoder(with_template(tokenizer, "<bos> $A", "<bos>")).prompt(tiny.questions[2])
    assert prompt == plain(tokenizer, f"<bos>user : {tiny.questions[2]} . answer")
    assert prompt.count(tokenizer.bos_token_id) == 1


def test_generated_ids_as_text(tokenizer: Any):
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = plain(tokenizer, "answer 5")
    assert encoder(tokenizer).text([*ids, eos, *ids, eos, pad]) == "answer 5"
    assert encoder(tokenizer).text([pad, *ids, pad]) == "answer 5"
    assert encoder(tokenizer).text([eos]) == ""
    assert encoder(tokenizer).text([]) == ""


def test_what_cannot_work_is_refused(tiny: Any):
    with pytest.raises(InputError, match="no end-of-sequence token"):
        encoder(tiny.tokenizer(eos_token=None))
    with pytest.raises(InputError, match=r"holds no '\{question\}'"):
        encoder(tiny.tokenizer(), prompt="Answer this:")


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 7))
def test_buckets_hold_every_index_once_longest_first(lengths: list[int], size: int):
    batches = list(buckets(lengths, size))
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in batches[:-1])
    assert [(-lengths[i], i) for i in flat] == sorted((-length, i) for i, length in enumerate(lengths))


def test_padding_by_hand():
    rows = [Encoded((5, 6), (7,)), Encoded((8,), (9, 4, 3))]
    ids, seen, answer = pad_right(rows, 0, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7, 0], [8, 9, 4, 3]]
    assert seen.tolist() == [[True, True, True, False], [True] * 4]
    assert answer.tolist() == [[False, False, True, False], [False, True, True, True]]
    ids, seen = pad_left(rows, 0, torch.device("cpu"))
    assert ids.tolist() == [[5, 6], [0, 8]]
    assert seen.tolist() == [[1, 1], [0, 1]]
