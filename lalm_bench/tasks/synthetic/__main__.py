"""`python -m lalm_bench.tasks.synthetic OUTDIR`: write the clips and their records as files."""

import sys

from lalm_bench.tasks.synthetic.task import main

sys.exit(main())
