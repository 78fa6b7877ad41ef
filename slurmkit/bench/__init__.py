"""What ranks can send each other: collectives and pairs of ranks, measured."""
