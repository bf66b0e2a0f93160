"""Text of people in places that read markdown."""

import re

_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:])")


def escaped(text: str) -> str:
    """`text` so that markdown shows it as it is."""
    return _SIGNS.sub(r"\\\1", text).replace("\n", "  \n")
