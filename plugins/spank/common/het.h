/* A task's place in a step of a heterogeneous job. SPANK's items count within one component, and the
 * environment that Slurm gives the task counts in the whole step (measured: 22.05, 24.11, 26.05). */
#ifndef SLURMKIT_HET_H
#define SLURMKIT_HET_H

#include <stddef.h>
#include <stdint.h>

struct sk_het {
	uint32_t job_id; /* of the first component, as in SLURM_JOB_ID */
	uint32_t rank;
	uint32_t world_size;
	uint32_t node_rank;
};

/* Read the place. Returns 1, 0 when the job is none of those, or -1 when a variable is missing. */
int sk_het_read(char *const *env, struct sk_het *het);

/* Find the first node of the step, on which rank 0 runs. SLURM_STEP_NODELIST is sorted by name, so it
 * tells only where the step has one component; where it has all, the first one's nodes do. `spans` is whether
 * it has more than one. Returns 0, or -1 where nothing tells. */
int sk_het_first_host(char *const *env, int spans, char *buffer, size_t size);

#endif
