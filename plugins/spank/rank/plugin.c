/* spank_slurmkit_rank.so: rank variables for every task of srun, without a wrapper. */
#include "../common/plugin.h"
#include "rank.h"

SPANK_PLUGIN(slurmkit_rank, 1)

const struct sk_plugin sk_plugin = {.slurmstepd_task_init = sk_rank_task_init};
