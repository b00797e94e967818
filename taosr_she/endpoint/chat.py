"""What all prompts to a chat model share: messages, reserved words of chat templates, and the cleaning of answers."""

import re

Message = dict[str, str]

# Words that open or close a turn or a text in common chat templates. Servers may interpret them inside a message, too.
CHAT_TOKENS = (
    "<|",
    "|>",
    "<s>",
    "</s>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<think>",
    "</think>",
)

AGAIN = "\n\nAn earlier answer could not be used: {reason}. Write it anew."


def clean_answer(text: str) -> str:
    """The answer without the reasoning before it and the code fence around it, which many models add unasked."""
    text = text.rpartition("</think>")[2].strip()
    fenced = re.fullmatch(r"```\w*\n(.*?)\n?```", text, re.DOTALL)
    return (fenced[1] if fenced else text).strip()
