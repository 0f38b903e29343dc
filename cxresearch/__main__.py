"""``python -m cxresearch``: the command without its script."""

import sys

from cxresearch.cli import main

sys.exit(main())
