/* The hooks of spank_slurmkit_rank.so. */
#ifndef SLURMKIT_RANK_H
#define SLURMKIT_RANK_H

#include <slurm/spank.h>

spank_f sk_rank_task_init;

#endif
