"""The toy judge that the tests of this room share."""

from toy_judge import domain, first_folder, folder, judge, label_first, pairs  # noqa: F401
