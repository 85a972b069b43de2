"""Every Python process that is started with this directory on PYTHONPATH imports this before anything else.

Where CHAOS_DIRECTORY names a directory, the service's modules are patched as they are imported: see
tests/chaos/witness. Otherwise nothing happens.
"""

import os
import sys
from pathlib import Path

if os.environ.get("CHAOS_DIRECTORY"):
    sys.path.append(str(Path(__file__).parents[3]))  # the command's own directory comes only later
    from tests.chaos import witness

    witness.install(os.environ)
