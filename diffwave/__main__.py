"""``python -m diffwave`` is the command ``diffwave``."""

import sys

from diffwave.cli.main import main

sys.exit(main())
