"""The command line in this process, as the tests of restore/cli have it."""

from tests.cli.conftest import restore

__all__ = ["restore"]
