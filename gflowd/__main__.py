"""`python -m gflowd` is `gflowd`."""

import sys

from gflowd.main import main

sys.exit(main())
