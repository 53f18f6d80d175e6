"""The locked process every video is decoded in, and the checked bytes it answers with.

FFmpeg reads files made by people who attack the organisations that run this. So each video is decoded in a process of
its own, forked from a prepared one (`zygote`), locked down before the first byte (`lockdown`), watched and limited by
its parent (`parent`), which checks every field of the answer (`wire`).
"""

from videonovelty.sandbox.parent import SIGN_VIDEO, Sandbox, SandboxReport
from videonovelty.sandbox.wire import (
    WIRE_VERSION,
    WireError,
    decode_coded,
    decode_signed,
    encode_coded,
    encode_signed,
    is_signed,
)

__all__ = [
    "SIGN_VIDEO",
    "WIRE_VERSION",
    "Sandbox",
    "SandboxReport",
    "WireError",
    "decode_coded",
    "decode_signed",
    "encode_coded",
    "encode_signed",
    "is_signed",
]
