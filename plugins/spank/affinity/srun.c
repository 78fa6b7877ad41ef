/* In srun: the options, so that --help shows them and a wrong value ends srun at once. */
#include "../common/plugin.h"
#include "affinity.h"

int sk_affinity_srun_init(spank_t spank, int ac, char *argv[])
{
	/* What is wrong in plugstack.conf, the tasks say: a submitting host is no place to fail. */
	if (sk_affinity_register(spank, ac, argv) != 0)
		sk_debug("%s", sk_affinity_options.error);
	return ESPANK_SUCCESS;
}
