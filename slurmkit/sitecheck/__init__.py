"""Tries a site out before it is installed, in a real slurmctld."""
