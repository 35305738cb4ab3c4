"""One client to a file, each run by nox in an environment of its own, as a downstream project would have it.

Where the client is not installed (as most are not beside the others) its file is skipped.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.clients.openai_sdk", "tests.clients.bare")
