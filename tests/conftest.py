"""The surroundings of every test: an empty numba cache and no display.

This runs before any test module imports numba or matplotlib, which read these variables once.
"""

import atexit
import os
import shutil
import tempfile

if not os.environ.get("NUMBA_CACHE_DIR"):
    # numba does not notice a change in a function of another file, so an old cache may be stale.
    # Child processes inherit the folder and need not compile again.
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="fastgmm-numba-")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)

os.environ["MPLBACKEND"] = "agg"
