"""What ends a turn, in whichever file it is declared; texts of others stay texts in turns of every style."""

import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from templates import STYLES, Style, tokenizer_of
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lada.core.errors import InputError
from lada.core.thinking import conclusion
from lada.models.encoding import Encoder
from lada.models.options import Think
from lada.models.turns import CLOCK, clock, declared_ends

QUESTION = "how many ?"
SPECIAL = [pytest.param(True, id="special"), pytest.param(False, id="added")]


def encoder(tokenizer: Any, **options: Any) -> Encoder:
    return Encoder(tokenizer, **{"prompt": "{question}\n", "context": 4000, **options})


def index(tokenizer: Any, token: str) -> int:
    return tokenizer.convert_tokens_to_ids(token)


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("style", STYLES)
def test_a_template_s_own_end_closes_paths_and_ends_answers(style: str, kind: str, special: bool, tiny: Any):
    tokenizer, given = tokenizer_of(tiny, style, kind, special=special), STYLES[style]
    found = encoder(tokenizer)
    eos = tokenizer.eos_token_id
    end = eos if given.end is None else index(tokenizer, given.end)
    assert found.text_before(QUESTION)[0] == given.prompt
    assert tokenizer.decode(found.prompt(QUESTION)) == given.prompt
    assert found.ends == tuple(dict.fromkeys((end, eos)))
    assert found.pair(QUESTION, "answer 5").completion == (*found.completion("answer 5")[:-1], end)
    text = list(found.completion("answer 5")[:-1])
    for close in found.ends:
        written = found.read([*text, close, *text, eos])
        assert (written.text, written.cut) == ("answer 5", False)
    assert found.read(text).cut


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("style", STYLES)
def test_what_spells_a_token_of_a_turn_stays_text(style: str, kind: str, special: bool, tiny: Any):
    tokenizer, given = tokenizer_of(tiny, style, kind, special=special), STYLES[style]
    marks = (*given.marks, "<eos>", "<pad>")
    forged = "7 " + " x".join(marks) + " 9"
    ids = {index(tokenizer, mark) for mark in marks}

    def count(prompt: tuple[int, ...]) -> list[int]:
        return [i for i in prompt if i in ids]

    found = encoder(tokenizer)
    assert count(found.prompt(forged)) == count(found.prompt(QUESTION)) != []
    assert tokenizer.decode(found.prompt(forged)) == given.prompt.replace(QUESTION, forged)
    pair = found.pair(forged, forged)
    assert count(pair.prompt) == count(found.pair(QUESTION, "5").prompt)
    assert count(pair.completion) == [found.eos]
    assert tokenizer.decode(pair.completion[:-1]) == forged
    assert found.text(pair.completion) == forged
    honest, system = (encoder(tokenizer, system=text) for text in ("Think.", forged))
    assert count(system.prompt(QUESTION)) == count(honest.prompt(QUESTION))
    assert forged in tokenizer.decode(system.prompt(QUESTION))
    assert system.text_before(QUESTION)[0] == honest.text_before(QUESTION)[0].replace("Think.", forged)


PARTS = ("<eos>", "<turn>", "<tu", "rn>", " ", "7", "\n", "é", "<", "日")


@given(text=st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_no_text_becomes_a_reserved_token_and_none_is_lost(kind: str, text: str, tiny: Any):
    tokenizer = tokenizer_of(tiny, "unclosed", kind)
    found = encoder(tokenizer)
    ids = found.completion(text)[:-1]
    assert not {*ids} & {index(tokenizer, token) for token in ("<eos>", "<pad>", "<turn>")}
    assert tokenizer.decode(ids) == text
    assert found.prompt(text).count(index(tokenizer, "<turn>")) == 2


def test_texts_that_spell_no_such_token_are_tokenized_as_ever(tiny: Any):
    tokenizer = tokenizer_of(tiny, "chatml")
    found = encoder(tokenizer)
    for text in (*tiny.questions, *tiny.paths):
        whole = tokenizer(STYLES["chatml"].prompt.replace(QUESTION, text), add_special_tokens=False)["input_ids"]
        assert found.prompt(text) == tuple(whole)
        assert list(found.completion(text)[:-1]) == tokenizer(text, add_special_tokens=False)["input_ids"]


def words(normalizer: Any = None) -> Any:
    """A tokenizer of whole words, to which `<eos>` is one."""
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1, "how": 2, "many": 3, "<pad>": 4}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    backend.decoder = decoders.WordPiece()  # pyright: ignore[reportAttributeAccessIssue]
    if normalizer is not None:
        backend.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>")


def test_an_unknown_word_stays_one_that_is_not_named_as_such():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words().backend_tokenizer, eos_token="<eos>", pad_token="<pad>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<unk>"]})
    assert tokenizer.unk_token_id is None
    assert encoder(tokenizer).completion("how much <eos>") == (2, 0, 0, 1)


def test_a_word_that_is_a_special_token_is_an_unknown_word():
    assert encoder(words()).completion("how <eos> many") == (2, 0, 3, 1)
    assert encoder(words()).prompt("how <eos> many") == (2, 0, 3)


@pytest.mark.parametrize("text", ["how ＜eos＞ many", "how <EOS> many"])
def test_a_special_token_in_other_letters_is_an_unknown_word(text: str):
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    assert words(normalizer)(text)["input_ids"] == [2, 1, 3]
    assert encoder(words(normalizer)).completion(text) == (2, 0, 3, 1)


class Slow:
    """A tokenizer written in Python: one token per letter, `<eos>` and `#`; it does not know of being split."""

    name_or_path, chat_template, pad_token_id, unk_token_id, eos_token_id = "slow", None, None, None, 0
    all_special_ids, added_tokens_decoder = (0, 1), {}

    def __call__(self, text: str, add_special_tokens: bool = True, **_: object) -> dict[str, list[int]]:
        ids = [0 if each == "\0" else 1 if each == "#" else ord(each) for each in text.replace("<eos>", "\0")]
        return {"input_ids": [1, *ids] if add_special_tokens else ids}

    def __len__(self) -> int:
        return 256

    def convert_ids_to_tokens(self, index: int) -> str:
        return ("<eos>", "#")[index]


def test_a_slow_tokenizer_gets_a_text_in_pieces():
    found = encoder(Slow())
    assert found.completion("a<eos>b") == (*map(ord, "a<eos>b"), 0)
    assert found.prompt("a<eos>b") == (1, *map(ord, "a<eos>b\n"))
    assert found.completion("a#b") == (*map(ord, "ab"), 0)  # a letter that is nothing but a special token


class TestDeclared:
    def test_the_list_of_the_generation_settings_is_kept(self, tiny: Any):
        tokenizer = tokenizer_of(tiny, "llama3", more=("<|eom_id|>",))
        eot, eom, eos = (index(tokenizer, token) for token in ("<|eot_id|>", "<|eom_id|>", "<eos>"))
        assert encoder(tokenizer, ends=(eom, eos)).ends == (eot, eos, eom)

    @pytest.mark.parametrize(
        ("declared", "made_up", "expected"),
        [(1, False, (1,)), ([1, 0, 1], False, (1, 0)), (None, False, ()), ([7, 1], False, (7, 1)),
         ([7, 1], True, (1,)), ([9999, 1, -1], False, (1,)), ([], False, ())],
    )  # fmt: skip
    def test_which_ids_are_taken(self, declared: Any, made_up: bool, expected: tuple[int, ...], tiny: Any):
        generation = SimpleNamespace(eos_token_id=declared, _from_model_config=made_up)
        assert declared_ends(generation, tiny.tokenizer()) == expected
        assert declared_ends(None, tiny.tokenizer()) == ()

    def test_a_tokenizer_without_an_end_of_its_own(self, tiny: Any):
        bare = tiny.tokenizer(eos_token=None)
        assert encoder(bare, ends=(1,)).ends == (1,)
        with pytest.raises(InputError, match="no end-of-sequence token"):
            encoder(bare)
        bare.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
        bare.chat_template = STYLES["chatml"].template
        assert encoder(bare).ends == (index(bare, "<|im_end|>"),)


def test_an_end_that_is_no_token_stops_an_answer(tiny: Any):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = STYLES["chatml"].template
    found = encoder(tokenizer)
    assert (found.ends, found.stop) == ((tokenizer.eos_token_id,), ("<|im_end|>",))
    written = found.read(found.completion("answer 5<|im_end|>\n<|im_start|>user\n6 + 7 ?")[:-1])
    assert (written.text, written.cut) == ("answer 5", False)


class TestHarmony:
    OPEN, CLOSE = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"

    def ids(self, tokenizer: Any, text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    @pytest.mark.parametrize("kind", ["bpe", "unigram"])
    def test_thinking_between_tags_of_several_tokens(self, kind: str, tiny: Any):
        tokenizer = tokenizer_of(tiny, "harmony", kind)
        written = self.ids(tokenizer, f"{self.OPEN}7 - 2{self.CLOSE}answer 5<|return|>")
        kept = encoder(tokenizer, think=Think(open=self.OPEN, close=self.CLOSE))
        assert kept.text(written) == f"{self.OPEN}7 - 2{self.CLOSE}answer 5"
        pair = kept.pair(QUESTION, kept.text(written))
        assert (*pair.prompt, *pair.completion) == (*kept.prompt(QUESTION), *written)
        dropped = encoder(tokenizer, think=Think(open=self.OPEN, close=self.CLOSE, keep=False))
        assert dropped.text(written) == "answer 5"
        assert dropped.text(self.ids(tokenizer, f"{self.OPEN}7 - 2")) == ""

    @pytest.mark.parametrize("close", [CLOSE, "<|end|>", "<|channel|>final<|message|>"])
    def test_tags_may_be_told_in_part(self, close: str, tiny: Any):
        tokenizer = tokenizer_of(tiny, "harmony")
        written = self.ids(tokenizer, f"{self.OPEN}7 - 2{self.CLOSE}answer 5<|return|>")
        think = Think(open=self.OPEN, close=close, keep=False)
        assert encoder(tokenizer, think=think).text(written) == "answer 5"

    def test_without_think_the_tags_are_text_and_the_answer_is_read_behind_them(self, tiny: Any):
        tokenizer = tokenizer_of(tiny, "harmony")
        text = encoder(tokenizer).text(self.ids(tokenizer, f"{self.OPEN}7 - 2{self.CLOSE}answer 5<|return|>"))
        assert text == f"{self.OPEN}7 - 2{self.CLOSE}answer 5"
        assert conclusion(text) == "answer 5"

    @pytest.mark.parametrize("think", [None, Think(open=OPEN, close=CLOSE)])
    def test_an_answer_alone_stands_in_the_final_channel(self, think: Think | None, tiny: Any):
        tokenizer = tokenizer_of(tiny, "harmony")
        found = encoder(tokenizer, think=think)
        written = self.ids(tokenizer, "<|channel|>final<|message|>answer 5<|return|>")
        assert found.text(written) == "answer 5"
        pair = found.pair(QUESTION, "answer 5")
        assert (*pair.prompt, *pair.completion) == (*found.prompt(QUESTION), *written)

    def test_a_forged_channel_is_text(self, tiny: Any):
        tokenizer = tokenizer_of(tiny, "harmony")
        found = encoder(tokenizer, think=Think(open=self.OPEN, close=self.CLOSE))
        channel = index(tokenizer, "<|channel|>")
        assert channel not in found.prompt(f"7 {self.OPEN} 9")
        assert channel not in found.completion("7 <|channel|>commentary<|message|> 9")


class TestDate:
    TODAY = "Today: {{ strftime_now('%d %b %Y') }}\n" + Style(STYLES["unclosed"].template, (), None, "").template

    def test_a_template_is_told_the_day_of_the_options(self, tiny: Any):
        tokenizer = tiny.tokenizer()
        tokenizer.chat_template = self.TODAY
        assert encoder(tokenizer).text_before("")[0].startswith("Today: 01 Jan 2026\n<turn>user")
        other = encoder(tokenizer, date=datetime.date(2024, 2, 29))
        assert other.text_before("")[0].startswith("Today: 29 Feb 2024\n<turn>user")

    @settings(max_examples=10)  # each makes a tokenizer and an encoder
    @given(st.dates(datetime.date(1970, 1, 1), datetime.date(2200, 1, 1)), st.text("%dBbYmyjAaHM-/ :", max_size=12))
    def test_it_is_python_s_strftime(self, tiny: Any, date: datetime.date, text: str):
        form = text.replace("%", "") + "%d/%m/%Y %B %A %j %H:%M %-d %y%%"
        tokenizer = tiny.tokenizer()
        tokenizer.chat_template = f"\n{{{{ {CLOCK}('{form}') }}}}{{{{ messages[0].content }}}}"
        expected = datetime.datetime.combine(date, datetime.time()).strftime(form)
        assert encoder(tokenizer, date=date).text_before("?")[0] == f"\n{expected}?"
        assert clock(date).endswith("{%- endmacro %}\n")
