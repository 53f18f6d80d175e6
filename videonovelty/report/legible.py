"""Text a person can read and a page, table or terminal cannot be fooled by: names without control characters, times."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, among them newline, tab, ESC
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidirectional overrides and other invisibles
    "\ud800-\udfff"  # halves of surrogate pairs: undecodable bytes of a file name
    "\U000e0000-\U000e007f]"  # tags
)


def legible(text: str) -> str:
    """Return `text` with every invisible or reordering character written out, `\\x1b` or `\\u202e`.

    Text that has none comes back unchanged, so applying it twice is applying it once.
    """
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clock(seconds: float) -> str:
    """Return a time or length as `1:02:03`, `2:03.4` or `0:03.4`; tenths only below ten minutes.

    >>> clock(63.25), clock(3723)
    ('1:03.3', '1:02:03')
    """
    if seconds < 600:
        tenths = int(seconds * 10 + 0.5)
        return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"
    whole = int(seconds + 0.5)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600:,}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def spoken(seconds: float) -> str:
    """Return a length for reading aloud: `5 h 12 min`, `12 min 4 s`, `41 s`, `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60:,} h {minutes % 60} min"
