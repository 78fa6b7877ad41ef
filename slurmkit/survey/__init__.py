"""Looks at a cluster and writes a site of it.

`collect` asks Slurm and the nodes, or reads what they said from a folder; everything after is pure:
`facts` reads the answers, `kinds` groups nodes that are alike, `compare` finds what is declared and
not so, `draft` writes site.yaml with every guess marked, and `folder` puts it on disk.
"""
