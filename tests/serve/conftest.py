"""The toy judge as a service."""

from toy_judge import domain, folder, judge, pairs  # noqa: F401
from toy_service import gate, served, start  # noqa: F401
