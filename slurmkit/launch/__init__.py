"""What each task of a job executes: rank variables, rendezvous, environment, then the program.

Every rank of a job waits for this code, so its modules import almost nothing and are imported one
by one.
"""
