"""`python -m services.cli` is `trelay`."""

import sys

from services.cli.command import main

sys.exit(main())
