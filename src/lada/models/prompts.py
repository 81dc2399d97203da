"""What a model reads before it answers: chat template or prompt, system message, thinking."""

from typing import Any

from jinja2 import TemplateError

from lada.core.errors import InputError
from lada.core.thinking import conclusion
from lada.models.options import Think


class Prompts:
    """Wraps questions for one tokenizer, and keeps the think tags of what is written in order."""

    def __init__(self, tokenizer: Any, prompt: str, system: str | None, think: Think | None) -> None:
        """Raises InputError for a prompt without `{question}`, and a system message without a chat template."""
        if "{question}" not in prompt:
            raise InputError(f"model.prompt: {prompt!r} holds no '{{question}}'; put it where the question belongs")
        self.chat = bool(getattr(tokenizer, "chat_template", None))
        if system is not None and not self.chat:
            raise InputError(
                f"model.system: the tokenizer of {tokenizer.name_or_path!r} has no chat template; put the text into "
                "model.prompt"
            )
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._system = system
        self._think = think
        self._has_role = system is not None and self._takes_role(system)
        try:
            before = self.before_answer("?")
        except TemplateError as error:
            raise InputError(
                f"model: the chat template of {tokenizer.name_or_path!r} fails on a plain question: {error}; mend "
                "chat_template.jinja beside its tokenizer, or remove it to use model.prompt"
            ) from error
        at = len(before.rstrip()) - len(think.open) if think else len(before)
        self._opened = before[at:] if think and before[at:].rstrip() == think.open else ""
        """The opening tag, where the template itself writes it in front of what the model writes."""

    def before_answer(self, question: str) -> str:
        """Return the text that a model goes on from to answer a question."""
        if not self.chat:
            return self._prompt.replace("{question}", question)
        if self._system is None:
            return self._render({"role": "user", "content": question})
        if self._has_role:
            return self._render({"role": "system", "content": self._system}, {"role": "user", "content": question})
        return self._render({"role": "user", "content": f"{self._system}\n\n{question}"})

    def before_path(self, question: str, path: str) -> str:
        """Return the text in front of a whole path, be it to judge or to learn it.

        Where the model thinks and the path does not, an empty block stands before it, as in Qwen3's template; else a
        model would learn that its answers are thoughts.
        """
        before = self.before_answer(question)
        if self._think is None:
            return before
        before = before.removesuffix(self._opened)
        if path.lstrip().startswith(self._think.open):
            return before
        return f"{before}{self._think.open}\n\n{self._think.close}\n\n"

    def path(self, written: str) -> str:
        """Return what a model wrote as a path: with its opening tag, or without its thinking.

        Of thinking that is not to be kept and has not ended, nothing is left.
        """
        think = self._think
        if think is None:
            return written.strip()
        if self._opened and not written.lstrip().startswith(think.open):
            written = self._opened + written
        return (written if think.keep else conclusion(written, {think.open: think.close})).strip()

    def _render(self, *messages: dict[str, str]) -> str:
        thinks = self._think is not None  # templates differ in what they call it, and pass over names they do not know
        return self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=thinks, thinking=thinks
        )

    def _takes_role(self, system: str) -> bool:
        """Return whether the chat template knows a system message: some refuse it, some leave it out."""
        try:
            return system.strip() in self._render(
                {"role": "system", "content": system}, {"role": "user", "content": "?"}
            )
        except TemplateError:
            return False
