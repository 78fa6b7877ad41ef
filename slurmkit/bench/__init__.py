"""Measures what ranks can send each other: collectives and pairs, over torch and MPI."""
