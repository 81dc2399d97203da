"""Chat templates in the styles of well-known model families, with their special tokens; none of them is copied."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Style:
    """`end` closes an answer (None: the template has no token for that); `marks` are what turns are made of."""

    template: str
    marks: tuple[str, ...]
    end: str | None
    prompt: str
    """To the question `how many ?`."""


def loop(body: str, ask: str) -> str:
    return f"{{% for m in messages %}}{body}{{% endfor %}}{{% if add_generation_prompt %}}{ask}{{% endif %}}"


STYLES = {
    "chatml": Style(
        loop("<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n", "<|im_start|>assistant\n"),
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        "<|im_start|>user\nhow many ?<|im_end|>\n<|im_start|>assistant\n",
    ),
    "gemma": Style(
        "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + loop(
            "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n",
            "<start_of_turn>model\n",
        ),
        ("<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        "<bos><start_of_turn>user\nhow many ?<end_of_turn>\n<start_of_turn>model\n",
    ),
    "phi3": Style(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}<eos>{% endif %}",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        "<|end|>",
        "<|user|>\nhow many ?<|end|>\n<|assistant|>\n",
    ),
    "llama3": Style(
        "<|begin_of_text|>"
        + loop(
            "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhow many ?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "mistral": Style(
        "<s>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]"
        "{% elif m.role == 'assistant' %} {{ m.content }}<eos>{% else %}{{ raise_exception('no role') }}{% endif %}"
        "{% endfor %}",
        ("<s>", "[INST]", "[/INST]"),
        "<eos>",
        "<s>[INST] how many ?[/INST]",
    ),
    "deepseek": Style(
        "<begin>{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
        "{% elif m.role == 'assistant' %}<｜Assistant｜>{{ m.content }}<eos>{% else %}{{ m.content }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %}",
        ("<begin>", "<｜User｜>", "<｜Assistant｜>"),
        "<eos>",
        "<begin><｜User｜>how many ?<｜Assistant｜>",
    ),
    "harmony": Style(
        "<|start|>system<|message|>You help.<|end|>"
        "{% for m in messages %}{% if m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>"
        "{{ m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}"
        "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"),
        "<|return|>",
        "<|start|>system<|message|>You help.<|end|><|start|>user<|message|>how many ?<|end|><|start|>assistant",
    ),
    "unclosed": Style(
        "{% for m in messages %}<turn>{{ m.role }}: {{ m.content }}\n{% endfor %}<turn>model: ",
        ("<turn>",),
        None,
        "<turn>user: how many ?\n<turn>model: ",
    ),
    "asks always": Style(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
        "<|im_start|>user\nhow many ?<|im_end|>\n<|im_start|>assistant",
    ),
}


def tokenizer_of(
    tiny: Any, style: str | Style, kind: str = "bpe", *, special: bool = True, more: tuple[str, ...] = ()
) -> Any:
    """A tokenizer with the style's tokens; not `special`: as tokens that are merely added."""
    style = STYLES[style] if isinstance(style, str) else style
    tokenizer = tiny.tokenizer(kind)
    marks = [
        *(mark for mark in style.marks if tokenizer.convert_tokens_to_ids(mark) in (None, tokenizer.unk_token_id)),
        *more,
    ]
    tokenizer.add_tokens(marks, special_tokens=special)
    tokenizer.chat_template = style.template
    return tokenizer
