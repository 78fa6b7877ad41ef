/* What a plugin of slurmkit is to the dispatcher: one function per SPANK context and hook. */
#ifndef SLURMKIT_PLUGIN_H
#define SLURMKIT_PLUGIN_H

#include <slurm/spank.h>

#ifndef SLURMKIT_VERSION
#error "compile with -DSLURMKIT_VERSION=..., as the Makefile does"
#endif

/* A hook that a plugin does not need is NULL. */
struct sk_plugin {
	spank_f *srun_init;          /* in srun */
	spank_f *alloc_init;         /* in sbatch and salloc */
	spank_f *slurmstepd_init;    /* on the node, as root: must not fail, or the node is drained */
	spank_f *slurmstepd_task_init; /* in the task's own process, as its user: errors end here */
};

extern const struct sk_plugin sk_plugin;

#define sk_error(...) slurm_error("slurmkit: " __VA_ARGS__)
#define sk_say(...) slurm_spank_log("slurmkit: " __VA_ARGS__)
#define sk_debug(...) slurm_debug("slurmkit: " __VA_ARGS__)

#endif
