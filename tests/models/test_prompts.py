"""System messages and think tags, with the habits of the chat templates that people meet."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from lada.core.errors import InputError
from lada.core.validation import validate
from lada.models.encoding import Encoder
from lada.models.options import ModelOptions, Think

TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
PLAIN = TURNS + "{% if add_generation_prompt %}[assistant]{% endif %}"
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PLAIN
SILENT = "{% for m in messages if m.role == 'user' %}[user] {{ m.content }}\n{% endfor %}[assistant]"
OPENING = TURNS + "[assistant]{{ '<think>\\n' }}"
"""As in DeepSeek-R1's."""
SWITCH = PLAIN + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
"""As in Qwen3's."""


def encoder(tiny: Any, template: str | None, kind: str = "bpe", tags: tuple[str, ...] = (), **options: Any) -> Encoder:
    """`tags` are special tokens of the tokenizer."""
    tokenizer = tiny.tokenizer(kind)
    tokenizer.add_special_tokens({"additional_special_tokens": list(tags)})
    tokenizer.chat_template = template
    return Encoder(tokenizer, prompt="{question}\n", context=400, **options)


def read(encoder: Encoder, ids: tuple[int, ...]) -> str:
    return encoder.tokenizer.decode(ids)


class TestSystem:
    def test_it_has_a_turn_of_its_own(self, tiny: Any):
        found = encoder(tiny, PLAIN, system="Think.")
        assert read(found, found.prompt("1 + 1 ?")) == "[system] Think.\n[user] 1 + 1 ?\n[assistant]"

    @pytest.mark.parametrize("template", [REFUSING, SILENT])
    def test_without_the_role_it_stands_before_the_question(self, tiny: Any, template: str):
        found = encoder(tiny, template, system="Think.")
        assert read(found, found.prompt("1 + 1 ?")) == "[user] Think.\n\n1 + 1 ?\n[assistant]"
        assert found.pair("1 + 1 ?", "2").prompt == found.prompt("1 + 1 ?")

    def test_without_a_template_it_is_refused(self, tiny: Any):
        with pytest.raises(InputError, match=r"model.system: .* has no chat template; put the text into model.prompt"):
            encoder(tiny, None, system="Think.")


def test_a_template_that_fails_is_said_to_fail(tiny: Any):
    with pytest.raises(InputError, match=r"model: the chat template of .* fails on a plain question: no such luck;"):
        encoder(tiny, "{{ raise_exception('no such luck') }}")


@pytest.mark.parametrize("tags", [(), ("<think>", "</think>")])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
class TestThinking:
    """`tags`: an ordinary text, or special tokens, which decoding would skip."""

    def path(self, found: Encoder, written: str) -> str:
        return found.text(found.completion(written))

    def test_an_opening_tag_of_the_template_is_restored(self, tiny: Any, kind: str, tags: tuple[str, ...]):
        found = encoder(tiny, OPENING, kind, tags, think=Think())
        assert read(found, found.prompt("?")) == "[user] ?\n[assistant]<think>\n"
        assert self.path(found, "3 + 2\n</think>\n\nanswer 5") == "<think>\n3 + 2\n</think>\n\nanswer 5"
        assert self.path(found, "3 + 2 . answer 4") == "<think>\n3 + 2 . answer 4"
        assert self.path(found, "<think>\n3\n</think>\n\n5") == "<think>\n3\n</think>\n\n5"

    def test_an_opening_tag_of_the_model_is_kept(self, tiny: Any, kind: str, tags: tuple[str, ...]):
        found = encoder(tiny, SWITCH, kind, tags, think=Think())
        assert read(found, found.prompt("?")) == "[user] ?\n[assistant]"
        assert self.path(found, "<think>\n3 + 2\n</think>\n\nanswer 5") == "<think>\n3 + 2\n</think>\n\nanswer 5"
        assert self.path(found, "answer 5") == "answer 5"

    def test_thinking_is_dropped(self, tiny: Any, kind: str, tags: tuple[str, ...]):
        for template in (OPENING, SWITCH):
            found = encoder(tiny, template, kind, tags, think=Think(keep=False))
            assert self.path(found, "<think>\n3 + 2\n</think>\n\nanswer 5") == "answer 5"
            assert self.path(found, "3 + 2\n</think>\n\nanswer 5") == "answer 5"
            assert self.path(found, "<think>\n3 + 2 . answer 4") == ""
        assert self.path(found, "answer 5") == "answer 5"
        assert self.path(encoder(tiny, OPENING, kind, tags, think=Think(keep=False)), "3 + 2 . answer 4") == ""

    def test_a_path_is_read_as_it_was_written(self, tiny: Any, kind: str, tags: tuple[str, ...]):
        """What a model reads before and in a path with thinking is what it read and wrote when it answered."""
        found = encoder(tiny, OPENING, kind, tags, think=Think())
        written = "3 + 2\n</think>\n\nanswer 5"
        pair = found.pair("how many boxes ?", self.path(found, written))
        assert pair.completion[-1] == found.eos
        answered = (*found.prompt("how many boxes ?"), *found.completion(written))
        assert read(found, (*pair.prompt, *pair.completion)) == read(found, answered)
        if tags:  # else the template's last characters may share a token with the model's first ones
            assert (*pair.prompt, *pair.completion) == answered

    def test_a_path_without_thinking_stands_behind_an_empty_block(self, tiny: Any, kind: str, tags: tuple[str, ...]):
        for template in (OPENING, SWITCH):
            found = encoder(tiny, template, kind, tags, think=Think())
            pair = found.pair("?", "answer 5")
            assert read(found, pair.prompt) == "[user] ?\n[assistant]<think>\n\n</think>\n\n"
            assert pair.completion == found.completion("answer 5")

    def test_without_thinking_tags_are_text(self, tiny: Any, kind: str, tags: tuple[str, ...]):
        found = encoder(tiny, SWITCH, kind)
        assert read(found, found.prompt("?")) == "[user] ?\n[assistant]<think>\n\n</think>\n\n"
        assert found.pair("?", "5").prompt == found.prompt("?")
        assert self.path(found, "<think> 3 </think> 5") == "<think> 3 </think> 5"


def test_other_special_tokens_are_no_text(tiny: Any):
    found = encoder(tiny, OPENING, tags=("<think>", "</think>", "<tool>"), think=Think())
    tool, close = found.tokenizer.convert_tokens_to_ids(["<tool>", "</think>"])
    ids = [found.pad, tool, *found.completion("3")[:-1], close, *found.completion("answer 5")[:-1], tool]
    assert found.text([*ids, found.eos, *ids]) == "<think>\n3</think>answer 5"


def test_a_prompt_of_ones_own_may_open_the_thinking(tiny: Any):
    found = Encoder(tiny.tokenizer(), prompt="{question}\n<think>\n", context=96, think=Think())
    assert found.text(found.completion("3</think>5")) == "<think>\n3</think>5"
    assert read(found, found.pair("?", "5").prompt) == "?\n<think>\n\n</think>\n\n"


def test_a_learner_s_thinking_paths_are_judged_as_it_writes_them(tiny: Any):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = OPENING
    learner = tiny.learner(tokenizer=tokenizer, think=Think(), max_new_tokens=12)
    (answer,) = learner.answer(["how many boxes ?"], seed=0)
    assert answer.text.startswith("<think>")
    prompt = tokenizer("[user] how many boxes ?\n[assistant]", add_special_tokens=False)["input_ids"]
    path = [*tokenizer(answer.text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.inference_mode():
        scores = learner.model(input_ids=torch.tensor([prompt + path])).logits[0].log_softmax(1)
    total = sum(scores[len(prompt) + i - 1, token].item() for i, token in enumerate(path))
    assert answer.likelihood.total == pytest.approx(total, abs=1e-4)
    (spelled,) = learner.tokenize([answer.text])
    assert spelled is not None
    assert spelled.tokens.tolist() == path


class TestOptions:
    def test_the_short_form(self):
        options = validate(ModelOptions, {"model": "m", "think": {}})
        assert options.think == Think(open="<think>", close="</think>", keep=True)

    @pytest.mark.parametrize(
        ("think", "message"),
        [
            (
                {"open": "<hm>", "close": "</hm>"},
                "keep is true with tags '<hm>' and '</hm>'.*<think> </think>.*or keep: f",
            ),
            ({"open": "<think>", "close": "<think>"}, "expected two different tags"),
            ({"open": ""}, "expected two different tags"),
        ],
    )
    def test_tags_that_nobody_would_know(self, think: dict[str, Any], message: str):
        with pytest.raises(InputError, match=f"think: .*{message}"):
            validate(ModelOptions, {"model": "m", "think": think})

    def test_tags_that_nobody_sees_may_be_any(self):
        assert Think(open="<hm>", close="</hm>", keep=False).open == "<hm>"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"quantise": "4bit"}, "quantise is '4bit' with tune 'full'.*set tune: lora"),
            ({"dtype": "float16"}, "dtype is 'float16' with tune 'full'.*bfloat16"),
            ({"device_map": "auto", "device": "cuda"}, "device_map is 'auto' with device 'cuda'"),
        ],
    )
    def test_what_does_not_go_together(self, options: dict[str, Any], message: str):
        with pytest.raises(ValidationError, match=message):
            ModelOptions(model="m", **options)
        with pytest.raises(InputError, match=message):
            validate(ModelOptions, {"model": "m", **options})

    def test_half_precision_without_studying(self):
        assert ModelOptions.model_validate_json('{"model": "m", "dtype": "float16", "verbs": ["answer"]}')
        assert ModelOptions(model="m", dtype="float16", tune="lora")
