"""What is not collected everywhere."""

from __future__ import annotations

import sys

#: schemathesis needs Python 3.11, so the lists of Python 3.10 are without it. Its tests are slow
#: ones, which run on one Python anyway.
collect_ignore = [] if sys.version_info >= (3, 11) else ["test_schemathesis.py"]
