"""What is said of a text that is longer than an encoder reads."""

from __future__ import annotations

from vitascope.types import UserError


def too_long(text: str, num_tokens: int, most: int, read: str = "") -> UserError:
    """`num_tokens` of the text where `most` are read; `read`, if it is known: what is left of it then."""
    end = f"it would end after '...{read[-40:]}'; " if read else ""
    return UserError(
        f"the text takes {num_tokens} tokens and the model reads {most}: {end}"
        f"shorten it to about {len(text) * most // num_tokens} characters"
    )
