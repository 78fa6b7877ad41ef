"""The links of the chain, one per file, each with a LINK."""
