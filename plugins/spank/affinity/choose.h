/* Which GPUs and CPUs a task gets, as pure functions. */
#ifndef SLURMKIT_AFFINITY_CHOOSE_H
#define SLURMKIT_AFFINITY_CHOOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "map.h"

/* What a task sees. */
struct sk_view {
	const char *visible;  /* CUDA_VISIBLE_DEVICES; NULL when not set */
	const struct sk_set *open; /* minors of the /dev/nvidiaN that may be opened, where not all may:
				    * CUDA counts those alone; else NULL */
	const char *on_node;  /* SLURM_GPUS_ON_NODE: GPUs that the step has here; or NULL */
	uint32_t local_rank;
	uint32_t local_world_size;
};

/* GPUs of one task: numbers of entries in the map. */
struct sk_choice {
	size_t num_gpus;
	uint8_t gpus[SK_MAP_MAX_GPUS];
	struct sk_set cpus;
	struct sk_set mems;
	char error[192];
};

/* Whether the task sees any GPU at all. */
bool sk_has_gpus(const char *visible);

/* Choose the GPUs of a task: its own, where it sees fewer than the step has (--gpus-per-task, --gpu-bind;
 * releases differ in what else they tell a task about those, but all count the step's GPUs); all, for the only task of a node; else
 * the one of its local rank, as programs choose by LOCAL_RANK; ranks in a row share where there are
 * more ranks than GPUs. Returns 0, or -1 with choice->error set. */
int sk_choose(const struct sk_map *map, const struct sk_view *view, struct sk_choice *choice);

/* Keep of the wanted CPUs those that the task may use. Returns 0, or -1 when what is left is less than
 * the task's share of what it may use: then its CPUs are elsewhere. */
int sk_fit(struct sk_set *wanted, const struct sk_set *allowed, uint32_t num_tasks);

#endif
