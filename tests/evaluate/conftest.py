"""The toy judge, which answers pairs."""

from toy_judge import domain, folder, judge, pairs  # noqa: F401
