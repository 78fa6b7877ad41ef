"""What hardware, switches and Slurm say of themselves, written down as a site."""
