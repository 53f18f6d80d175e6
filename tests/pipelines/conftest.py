"""Makes the modules beside the tests (`make_video`, `engine_tasks`, …) importable from this folder too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
