"""videonovelty: which of last night's videos, and which seconds of them, have never been seen before."""

__version__ = "0.1.0"
__all__ = ["__version__"]
