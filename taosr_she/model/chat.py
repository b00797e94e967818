"""Chat templates: third-party code that turns messages into text, and may omit, refuse or change what it is given."""

from typing import Any

from taosr_she.base.errors import UserError

PROBE = "query: red shoes\ntitle: blue & green <b>\nanswer:"
"""Lines of a user turn. The template must keep them unchanged: a list of parts in brackets is not the text."""


class Chat:
    """The chat template of a tokenizer, and the form of turns that it accepts, determined once by trial.

    Raises UserError if the text of a turn is lost in every form.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.parts = False  # content as a list of parts, as models of text and images need it
        reason = self._why_not()
        if reason:
            self.parts = True
            if self._why_not():
                raise UserError(f"{self._named} {reason}; repair it, or use another model")
        self.has_system_turn = self._takes_system_turn()

    @property
    def _named(self) -> str:
        name = getattr(self.tokenizer, "name_or_path", "")
        return f"model {name}: its chat template" if name else "the model's chat template"

    def text(self, turns: list[tuple[str, str]]) -> str:
        """The prompt for (role, text) turns, up to the start of the response; thinking is off if there is a switch."""
        try:
            return self._render(turns)
        except Exception as error:  # see `_render`
            raise UserError(f"{self._named} fails: {_said(error)}") from error

    def _render(self, turns: list[tuple[str, str]]) -> str:
        """May raise anything: a template is a program, and transformers reports a missing one as a ValueError."""
        messages = [
            {"role": role, "content": [{"type": "text", "text": text}] if self.parts else text} for role, text in turns
        ]
        rendered: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return rendered

    def _why_not(self) -> str:
        try:
            rendered = self._render([("user", PROBE)])
        except Exception as error:
            return f"fails: {_said(error)}"
        return "" if PROBE in rendered else "leaves out the text of the pair"

    def _takes_system_turn(self) -> bool:
        """Whether there is a system turn. Some templates refuse it, others silently omit it."""
        try:
            return "RULES" in self._render([("system", "RULES"), ("user", "x")])
        except Exception:
            return False


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
