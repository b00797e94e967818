"""What all prompts to a chat model share: messages, the words its template reserves, and the wrapping of answers."""

import re

Message = dict[str, str]

# What opens or closes a turn or a text in the chat templates in use. Servers may read these inside a message, too.
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
    """The answer without the thoughts before it and the code fence around it, which many models write unasked."""
    text = text.rpartition("</think>")[2].strip()
    fenced = re.fullmatch(r"```\w*\n(.*?)\n?```", text, re.DOTALL)
    return (fenced[1] if fenced else text).strip()
