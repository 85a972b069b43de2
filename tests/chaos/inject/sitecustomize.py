"""Every Python process that is started with this directory on PYTHONPATH imports this before anything else.

Where CHAOS_DIRECTORY names a directory, the service's modules are patched as they are imported: see
tests/chaos/witness. Otherwise nothing happens.
"""

import os
import sys
from pathlib import Path

if os.environ.get("CHAOS_DIRECTORY"):
    root = str(Path(__file__).parents[3])
    sys.path.insert(0, root)  # the command's own directory comes only later, and there may be other packages `tests`
    try:
        from tests.chaos import witness
    finally:
        sys.path.remove(root)
    witness.install(os.environ)
