/* The functions that Slurm calls, passed on to the file of the context that they run in. */
#include "plugin.h"

static int call(spank_f *hook, spank_t spank, int ac, char *argv[])
{
	return hook ? hook(spank, ac, argv) : ESPANK_SUCCESS;
}

int slurm_spank_init(spank_t spank, int ac, char *argv[])
{
	switch (spank_context()) {
	case S_CTX_LOCAL:
		return call(sk_plugin.srun_init, spank, ac, argv);
	case S_CTX_ALLOCATOR:
		return call(sk_plugin.alloc_init, spank, ac, argv);
	case S_CTX_REMOTE:
		return call(sk_plugin.slurmstepd_init, spank, ac, argv);
	default: /* slurmd, prolog and epilog */
		return ESPANK_SUCCESS;
	}
}

int slurm_spank_task_init(spank_t spank, int ac, char *argv[])
{
	return call(sk_plugin.slurmstepd_task_init, spank, ac, argv);
}

/* `slurmkit plugins check` finds these words in the file: what it was built for. */
__attribute__((used)) static const char build_note[] =
	"slurmkit-spank " SLURMKIT_VERSION " slurm " SLURMKIT_SLURM_VERSION;
