"""The command line: parse, call the library, print. Messages go to stderr, results to stdout."""

from videonovelty.cli.app import app, main

__all__ = ["app", "main"]
