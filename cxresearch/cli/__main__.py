"""``python -m cxresearch.cli``: the command without its script."""

import sys

from cxresearch.cli import main

sys.exit(main())
