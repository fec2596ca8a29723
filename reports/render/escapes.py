"""Text for LaTeX in which nothing is a command, whatever it holds."""

import unicodedata

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "Δ": r"$\Delta$",
    "“": "``",
    "”": "''",
    "’": "'",
    "−": r"$-$",
    "σ": r"$\sigma$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "→": r"$\to$",
    "°": r"$^\circ$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
_ACCENTS = {  # combining sign -> the command that sets it over, or under, a letter
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def escaped(words: str) -> str:
    """Text in which nothing is a command, in characters that any LaTeX knows."""
    return "".join(_character(c) for c in " ".join(words.split()))


def _character(c: str) -> str:
    if c in _ESCAPES or (c.isascii() and c.isprintable()):
        return _ESCAPES.get(c, c)
    letter, *accents = unicodedata.normalize("NFD", c)
    if letter.isascii() and letter.isalpha() and len(accents) == 1 and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{letter}}}"
    plain = unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() if c.isprintable() else ""
    return "".join(_ESCAPES.get(p, p) for p in plain) or f"(U+{ord(c):04X})"


def breakable(words: str) -> str:
    """Escaped text that may be broken inside paths and long names."""
    signs = " ".join(words.split())
    return "".join(_character(c) + (r"\allowbreak{}" if c in "/_.=,:-" else "") for c in signs)
