"""`python -m lalm_bench`."""

from lalm_bench.cli import main

if __name__ == "__main__":
    main()
