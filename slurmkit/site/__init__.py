"""What a cluster is: site.yaml, and where it is found."""
