/* The kernel's side: the map's file, masks, the memory policy, device files. */
#ifndef SLURMKIT_AFFINITY_SYSTEM_H
#define SLURMKIT_AFFINITY_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>

#include "map.h"

/* Read the map's file; `map` and `text` are the caller's to free. Returns 0, or -1 with a message. */
int sk_read_map(const char *path, struct sk_map **map, char **text, char *error, size_t size);

/* Collect the minors of the GPUs whose device files this task may open. Returns whether some exists that
 * it may not. */
bool sk_open_gpus(const struct sk_map *map, struct sk_set *minors);

int sk_get_cpus(struct sk_set *cpus);

/* Run on these CPUs and no others; -1 when the kernel gives others. */
int sk_apply_cpus(const struct sk_set *cpus);

/* Take memory from these NUMA nodes; -1, with errno set, when the kernel refuses. */
int sk_apply_memory(const struct sk_set *nodes, enum sk_policy policy);

#endif
