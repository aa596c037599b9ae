"""`python -m services.standalone`: the three services in one process."""

import sys

from services.standalone.one_process import main

sys.exit(main())
