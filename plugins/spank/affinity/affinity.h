/* The hooks of spank_slurmkit_affinity.so, and what its files share. */
#ifndef SLURMKIT_AFFINITY_H
#define SLURMKIT_AFFINITY_H

#include <slurm/spank.h>

#include "options.h"

spank_f sk_affinity_srun_init;
spank_f sk_affinity_alloc_init;
spank_f sk_affinity_slurmstepd_init;
spank_f sk_affinity_task_init;

/* What the command line says; each context has a copy of its own. */
extern struct sk_options sk_affinity_options;

/* Read plugstack.conf's arguments and register the options of the command line. Returns -1 when either
 * failed; sk_affinity_options.error says what. */
int sk_affinity_register(spank_t spank, int ac, char *argv[]);

#endif
