/* In sbatch and salloc: the options; Slurm hands their values to the steps of the job. */
#include "../common/plugin.h"
#include "affinity.h"

int sk_affinity_alloc_init(spank_t spank, int ac, char *argv[])
{
	if (sk_affinity_register(spank, ac, argv) != 0)
		sk_debug("%s", sk_affinity_options.error);
	return ESPANK_SUCCESS;
}
