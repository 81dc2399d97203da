"""The text that a model reads before it answers: chat template or prompt, system message, thinking."""

from lada.core.errors import InputError
from lada.core.thinking import conclusion
from lada.models.options import Think
from lada.models.turns import FAILURES, Template


class Prompts:
    """Wraps questions for one tokenizer, and keeps the think tags of generated texts consistent."""

    def __init__(
        self,
        template: Template | None,
        prompt: str,
        system: str | None,
        think: Think | None,
        *,
        name: str,
        header: str = "",
    ) -> None:
        """`template` is None for a tokenizer without one; `name` is the tokenizer's name; see Turn for `header`.

        Raises InputError for a prompt without `{question}`, and a system message without a chat template.
        """
        if "{question}" not in prompt:
            raise InputError(f"model.prompt: {prompt!r} holds no '{{question}}'; put it where the question belongs")
        if system is not None and template is None:
            raise InputError(
                f"model.system: the tokenizer of {name!r} has no chat template; put the text into model.prompt"
            )
        self._template = template
        self._header = header
        self._prompt = prompt
        self._system = system
        self._think = think
        self._has_role = template is not None and system is not None and _takes_role(template, system)
        try:
            before = self.before_answer("?")
        except FAILURES as error:
            raise InputError(
                f"model: the chat template of {name!r} fails on a plain question: {error}; fix chat_template.jinja "
                "next to its tokenizer, or remove it to use model.prompt"
            ) from error
        at = len(before.rstrip()) - len(think.open) if think else len(before)
        self._opened = before[at:] if think and before[at:].rstrip() == think.open else ""
        """The opening tag, if the template itself writes it before the model's text."""

    def before_answer(self, question: str) -> str:
        """Return the text that a model continues to answer a question."""
        if self._template is None:
            return self._prompt.replace("{question}", question)
        if self._system is None:
            return self._template.render({"role": "user", "content": question})
        if self._has_role:
            return self._template.render(
                {"role": "system", "content": self._system}, {"role": "user", "content": question}
            )
        return self._template.render({"role": "user", "content": f"{self._system}\n\n{question}"})

    def before_path(self, question: str, path: str) -> str:
        """Return the text before a whole path, to judge or to learn it.

        If the model thinks but the path does not, an empty block precedes it, as in Qwen3's template; else a model
        would learn that its answers are thoughts. If a template puts a header before answers, as harmony does, the path
        gets it too.
        """
        before = self.before_answer(question)
        if self._think is None:
            return before + self._header
        if self._header.isspace():
            before += self._header
        before = before.removesuffix(self._opened)
        if path.lstrip().startswith(self._think.open):
            return before
        if self._header.strip() and not self._opened:
            return before + self._header
        return f"{before}{self._think.open}\n\n{self._think.close}\n\n"

    def path(self, written: str, *, begun: bool = False) -> str:
        """Return a model's text as a path: with its opening tag, or without its thinking.

        Thinking that is not kept and has not ended is removed completely. With `begun`, the model went on with a path
        that `before_path` introduces, so that no tag was opened for it.
        """
        think = self._think
        if think is None:
            return written.strip()
        if self._opened and not begun and not written.lstrip().startswith(think.open):
            written = self._opened + written
        return (written if think.keep else conclusion(written, {think.open: think.close})).strip()


def _takes_role(template: Template, system: str) -> bool:
    """Return whether a chat template supports a system message: some refuse it, some drop it."""
    try:
        return system.strip() in template.render(
            {"role": "system", "content": system}, {"role": "user", "content": "?"}
        )
    except FAILURES:
        return False
