"""How tokenizers are told to llama.cpp, without llama.cpp: the form, the names, the merges and scores."""

import json
from typing import Any

import pytest
import tiny_runs
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from lada.core.errors import InputError
from lada.export.gguf_name import name_of
from lada.export.gguf_pre import PRES, pre_tokeniser
from lada.export.gguf_tokens import DIFFERS, TokenKind, _unigram, vocabulary_of

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OWN = {
    "gpt-2": (None, {}),
    "llama-bpe": (LLAMA3, {"ignore_merges": True}),
    "smaug-bpe": (LLAMA3, {}),
    "qwen2": (LLAMA3.replace("{1,3}", ""), {}),
    "bloom": (r" ?[^(\s|[.,!?…。，、।۔،])]+", {}),
}
"""The expressions in these models' own tokenizer.json."""


@pytest.mark.parametrize("name", OWN)
def test_the_pre_tokeniser_is_found_by_what_it_cuts(name: str) -> None:
    cut, options = OWN[name]
    assert pre_tokeniser(tiny_runs.byte_level(cut, **options).backend_tokenizer, ()) == name


def test_pre_tokenisers_are_told_apart() -> None:
    cuts = [(pre.ignores_merges, tuple(pre.cut("I'M 1234 camelCase (x), \n\n y  z"))) for pre in PRES]
    assert len(set(cuts)) == len(PRES)


def test_a_text_of_the_run_can_rule_a_pre_tokeniser_out() -> None:
    odd = tiny_runs.byte_level(r"q|" + PRES[0].expressions[0]).backend_tokenizer
    assert pre_tokeniser(odd, ()) == "gpt-2"  # no probe has a word that begins with q
    assert pre_tokeniser(odd, ("quiet",)) is None


def test_byte_level_bpe_keeps_its_letters() -> None:
    tokenizer = tiny_runs.byte_level()
    found = vocabulary_of(tokenizer, len(tokenizer) + 2, ())
    assert (found.model, found.pre, found.scores, found.notes) == ("gpt2", "gpt-2", None, ())
    assert found.tokens[:2] == ["<pad>", "</s>"]
    assert found.kinds[:2] == [TokenKind.CONTROL] * 2
    assert found.tokens[-2:] == [f"[unused {len(tokenizer)}]", f"[unused {len(tokenizer) + 1}]"]
    assert found.kinds[-2:] == [TokenKind.UNUSED] * 2
    assert found.merges is not None
    assert all("".join(merge.split(" ")) in found.tokens for merge in found.merges)


def test_bpe_whose_merges_no_cut_stops_is_spelt_in_characters() -> None:
    tokenizer = tiny_runs.shipped("bpe", 2)
    assert pre_tokeniser(tokenizer.backend_tokenizer, ()) is None
    found = vocabulary_of(tokenizer, len(tokenizer), tiny_runs.TEXTS)
    assert (found.model, found.pre, found.notes) == ("gpt2", "sarvam-moe", ())
    ids = tokenizer.get_vocab()
    assert (found.tokens[ids["Ã"]], found.kinds[ids["Ã"]]) == ("<0xC3>", TokenKind.BYTE)
    assert (found.tokens[ids["b"]], found.kinds[ids["b"]]) == ("<0x62>", TokenKind.BYTE)
    assert (found.tokens[ids["Ġ"]], found.kinds[ids["Ġ"]]) == ("▁", TokenKind.NORMAL)
    assert found.tokens[ids["Ġpallet"]] == "▁pallet"


def test_bpe_with_merges_inside_a_letter_cannot_be_spelt_in_characters() -> None:
    tokenizer = tiny_runs.shipped("bpe", 4)  # of `é`, which is two bytes
    assert "ĠcafÃ©," in tokenizer.get_vocab()
    assert vocabulary_of(tokenizer, len(tokenizer), tiny_runs.TEXTS).notes == (DIFFERS,)


def test_bpe_that_nothing_describes_is_said_to_differ() -> None:
    tokenizer = tiny_runs.byte_level(r"[aeiou]")  # cuts where merges would reach across, such as `th|e`
    found = vocabulary_of(tokenizer, len(tokenizer), ("the the",))
    assert (found.pre, found.notes) == ("gpt-2", (DIFFERS,))


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_merges_become_scores(prefix: bool) -> None:
    tokenizer = tiny_runs.sentencepiece(prefix)
    found = vocabulary_of(tokenizer, len(tokenizer), ())
    assert (found.model, found.prefix, found.adds_bos, found.unknown) == ("llama", prefix, True, 2)
    assert (found.kinds[2], found.kinds[4]) == (TokenKind.CONTROL, TokenKind.BYTE)
    assert found.scores is not None
    scores = dict(zip(found.tokens, found.scores, strict=True))
    # The merges are, in this order: an ho ow ox wa ▁a ▁b ▁h ▁m, an+s an+y ho+u ox+e wa+r, ▁+an and ▁a+n, ▁b+o, …
    pieces = {"an": 0, "ho": -1, "▁a": -5, "▁h": -7, "ans": -9, "war": -13, "▁an": -14, "▁bo": -16}
    assert {piece: scores[piece] for piece in pieces} == pieces


def test_merges_that_sentencepiece_would_not_leave_out_are_kept_as_merges() -> None:
    tokenizer = tiny_runs.sentencepiece(prefix=False)
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    described["model"]["merges"] = [merge for merge in described["model"]["merges"] if merge != ["▁", "an"]]
    kept = Tokenizer.from_str(json.dumps(described))
    found = vocabulary_of(tiny_runs.wrapped(kept, bos_token="<s>", unk_token="<unk>"), len(tokenizer), ())
    assert (found.model, found.pre, found.scores) == ("gpt2", "sarvam-moe", None)
    assert found.merges is not None
    assert "▁ an" not in found.merges


def test_unigram_keeps_its_scores_and_says_what_it_lacks() -> None:
    tokenizer = tiny_runs.shipped("unigram")
    found = vocabulary_of(tokenizer, len(tokenizer), ())
    assert (found.model, found.prefix, found.unknown, found.merges) == ("t5", False, 0, None)
    assert found.scores is not None
    ids = tokenizer.get_vocab()
    assert (found.scores[ids["▁boxes"]], found.scores[ids["boxes"]], found.scores[ids["▁"]]) == (-5.0, -6.0, -12.0)
    assert found.notes == (
        "llama.cpp has no byte fallback for Unigram: characters outside the vocabulary become unknown tokens",
    )


def test_unigrams_normalisation_is_handed_on() -> None:
    tokenizer = tiny_runs.shipped("unigram")
    bare = vocabulary_of(tokenizer, len(tokenizer), ())
    model = {"vocab": [["a", -1.0]]}
    compiled = {"type": "Precompiled", "precompiled_charsmap": "AQID"}
    assert _unigram(bare, model, {"type": "Sequence", "normalizers": [compiled]}).charsmap == b"\x01\x02\x03"
    assert _unigram(bare, model, None).charsmap is None


def test_unigram_that_drops_spaces_is_said_to_differ() -> None:
    backend = Tokenizer.from_str(tiny_runs.shipped("unigram").backend_tokenizer.to_str())
    backend.normalizer = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="<pad>")
    assert vocabulary_of(tokenizer, len(tokenizer), ()).notes[0] == DIFFERS


def test_other_kinds_are_refused() -> None:
    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "a": 2, "<unk>": 3}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    with pytest.raises(InputError, match=r"tokenizer of the kind 'WordLevel'; expected BPE or Unigram.*hf or onnx"):
        vocabulary_of(tokenizer, 4, ())


def phi3(*, endoftext: bool = False) -> Any:
    """Return a tokenizer whose special tokens strip as Phi-3's do, or one of them, `<|endoftext|>`, otherwise."""
    tokenizer = tiny_runs.sentencepiece()
    names = {"</s>": True, "<|user|>": True, "<|end|>": True, "<|assistant|>": True, "<pad>": True}
    names |= {"<unk>": False, "<s>": False, "<|endoftext|>": endoftext}
    tokens: list[str | AddedToken] = [
        AddedToken(name, rstrip=strips, special=True, normalized=False) for name, strips in names.items()
    ]
    tokenizer.add_tokens(tokens, special_tokens=True)
    return tokenizer


def test_the_name_says_whether_special_tokens_strip() -> None:
    plain = tiny_runs.byte_level()
    assert name_of("clinic", plain) == ("clinic", ())
    assert name_of("clinic", phi3()) == ("clinic (phi-3)", ())
    told = "llama.cpp keeps the white space next to </s>, <pad>, <|assistant|>, which this tokenizer strips"
    assert name_of("clinic", phi3(endoftext=True)) == ("clinic", (told,))


@pytest.mark.parametrize("name", ["phi3-client", "Phi-3", "my-modern-bert"])
def test_a_name_that_llama_cpp_would_misread_is_left_out(name: str) -> None:
    assert name_of(name, tiny_runs.byte_level()) == (None, ())
