"""`python -m gflowctl`."""

import sys

from gflowctl.main import main

if __name__ == "__main__":
    sys.exit(main())
