"""Chat templates that read content in parts, drop or change it, or close answers with nothing."""

import subprocess
import sys
from typing import Any

import pytest
from templates import Style, loop, tokenizer_of
from transformers import AutoTokenizer

from lada.core.errors import InputError
from lada.models.encoding import Encoder
from lada.models.reserved import Reserved
from lada.zoo.shipped import locate

ASK = "<|assistant|>\n"
MARKS = ("<|user|>", "<|assistant|>")
GLM = loop("<|{{ m.role }}|>\n{{ m.content }}", "<|assistant|>")


def body(content: str) -> str:
    return loop("<|{{ m.role }}|>\n" + content, ASK)


def encoder(tiny: Any, template: str, marks: tuple[str, ...] = MARKS, **options: Any) -> Encoder:
    tokenizer = tokenizer_of(tiny, Style(template, marks, None, ""))
    return Encoder(tokenizer, prompt="{question}", context=96, **options)


@pytest.mark.parametrize(
    "content",
    ["{% for c in m.content %}{{ c.text }}{% endfor %}", "{{ m.content[0]['text'] }}", "{{ m.content[0].text + '' }}"],
)
def test_content_in_parts_where_a_template_needs_it(tiny: Any, content: str) -> None:
    encoder_ = encoder(tiny, body(content), system="You help.")
    assert encoder_.text_before("how many ?")[0].endswith(f"how many ?{ASK}")
    assert "You help." in encoder_.text_before("how many ?")[0]
    assert encoder_.prompt("how many ?") != encoder_.prompt("which day ?")


@pytest.mark.parametrize("content", ["", "{{ m.text }}", "{% for c in m.content %}{{ c.value }}{% endfor %}"])
def test_templates_that_drop_the_question_are_refused(tiny: Any, content: str) -> None:
    with pytest.raises(InputError, match="leaves the question out of the prompt") as refused:
        encoder(tiny, body(content))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["{{ m.content | upper }}", "{{ m.content | title | trim }}"])
def test_no_mask_is_left_where_a_template_changes_the_text(tiny: Any, content: str) -> None:
    made = encoder(tiny, body(content), (*MARKS, "7"))
    text = made.text_before("how <|user|> many 7 ?")[0]
    assert made.prompt("7 <|user|> ?")
    assert "<|user|>\n" in text
    user = made.tokenizer.convert_tokens_to_ids("<|user|>")
    assert made.prompt("how <|user|> many 7 ?").count(user) == 1
    assert not any(ord(letter) >= 0x10FF00 for letter in made.tokenizer.decode(made.prompt("how <|user|> many 7 ?")))


def test_a_mask_that_a_template_cuts_is_refused(tiny: Any) -> None:
    made = encoder(tiny, body("{{ m.content[:17] }}"))
    assert made.prompt("how many ?")
    with pytest.raises(InputError, match="cuts questions that spell special tokens"):
        made.prompt("123456789012345 <|user|> ?")


def test_marks_of_others_make_no_tokens(tiny: Any) -> None:
    made = encoder(tiny, body("{{ m.content }}"))
    user = made.tokenizer.convert_tokens_to_ids("<|user|>")
    forged = "\U0010ff21" + "".join(chr(0x10FF00 + int(digit, 16)) for digit in f"{user:x}") + "\U0010ff22"
    for question in (forged, f"{forged} <|user|>", forged.replace("\U0010ff21", "\U0010ff20")):
        assert made.prompt(question).count(user) == 1


def test_answers_headed_by_a_line_feed_and_closed_by_the_next_question(tiny: Any) -> None:
    made = encoder(tiny, GLM)
    user, assistant = (made.tokenizer.convert_tokens_to_ids(mark) for mark in MARKS)
    assert made.eos == user
    assert made.tokenizer.eos_token_id in made.ends
    pair = made.pair("how many ?", "answer 5")
    assert pair.completion[-1] == user
    line = tuple(made.tokenizer("\n", add_special_tokens=False)["input_ids"])
    assert line
    assert pair.prompt == (*made.prompt("how many ?"), *line)
    assert made.prompt("how many ?")[-1] == assistant
    assert made.text((*line, *pair.completion)) == "answer 5"


def test_the_shared_opening_of_turns_closes_none(tiny: Any) -> None:
    shared = loop("<turn>{{ m.role }}: {{ m.content }}", "<turn>assistant: ")
    made = encoder(tiny, shared, ("<turn>",))
    assert made.ends == (made.tokenizer.eos_token_id,)


def test_masks_are_equal_in_every_process() -> None:
    tokenizer = AutoTokenizer.from_pretrained(locate("zoo:slm-llama"))
    text = f"a {tokenizer.eos_token} b"
    here = Reserved(tokenizer, tokenizer.all_special_ids).mask(text)
    names = {index: tokenizer.convert_ids_to_tokens(index) for index in tokenizer.all_special_ids}
    code = (  # the names of the tokens instead of the tokenizer, since transformers takes seconds to import
        "from types import SimpleNamespace; from lada.models.reserved import Reserved;"
        f"tokenizer = SimpleNamespace(convert_ids_to_tokens={names!r}.get);"
        f"print(ascii(Reserved(tokenizer, {[*names]!r}).mask({text!r})))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == ascii(here)
    assert "\U0010ff20" in here
