"""The toy judge, which answers pairs."""

from toy_judge import domain, first_folder, folder, judge, label_first, pairs  # noqa: F401
