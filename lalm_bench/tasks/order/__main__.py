"""`python -m lalm_bench.tasks.order CSV OUT.jsonl`: write the questions as published records."""

import sys

from lalm_bench.tasks.order.task import main

sys.exit(main())
