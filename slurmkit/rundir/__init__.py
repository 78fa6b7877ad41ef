"""The run directory: layout, ledger, logs, secrets, and finding runs again.

The modules are imported one by one, because ranks read the secrets while they start and must not
pay for the rest.
"""
