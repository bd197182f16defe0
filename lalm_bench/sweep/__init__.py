"""Sweeps on SLURM: packed into jobs, told truly, resumed, collected."""
