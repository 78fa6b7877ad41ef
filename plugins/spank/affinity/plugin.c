/* spank_slurmkit_affinity.so: every task on the cores and memory next to its GPU. */
#include "../common/plugin.h"
#include "affinity.h"

SPANK_PLUGIN(slurmkit_affinity, 1)

const struct sk_plugin sk_plugin = {
	.srun_init = sk_affinity_srun_init,
	.alloc_init = sk_affinity_alloc_init,
	.slurmstepd_init = sk_affinity_slurmstepd_init,
	.slurmstepd_task_init = sk_affinity_task_init,
};
