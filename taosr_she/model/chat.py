"""Chat templates: foreign code that makes text of turns, and may leave out, refuse or change what it is given."""

from typing import Any

from taosr_she.base.errors import UserError

PROBE = "query: red shoes\ntitle: blue & green <b>\nanswer:"
"""Lines as a user turn holds them. They must come through as they are: a list of parts in brackets is not the text."""


class Chat:
    """The chat template of a tokenizer, and how it wants its turns: found out once by trying.

    Raises UserError when the text of a turn does not come through, whatever its form.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.parts = False  # content as a list of parts, as models of text and images want it
        reason = self._why_not()
        if reason:
            self.parts = True
            if self._why_not():
                raise UserError(f"{self._named} {reason}; repair it, or take another model")
        self.has_system_turn = self._takes_system_turn()

    @property
    def _named(self) -> str:
        name = getattr(self.tokenizer, "name_or_path", "")
        return f"model {name}: its chat template" if name else "the model's chat template"

    def text(self, turns: list[tuple[str, str]]) -> str:
        """The prompt of (role, text) turns, up to where the response begins; thinking off where there is a switch."""
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
        """Some templates refuse a system turn, others leave it out in silence."""
        try:
            return "RULES" in self._render([("system", "RULES"), ("user", "x")])
        except Exception:
            return False


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
