/* Options of the command line, in whatever context. */
#include <stddef.h>

#include "../common/plugin.h"
#include "affinity.h"

struct sk_options sk_affinity_options;

/* srun and sbatch end at once when a callback fails, and say which option it was. slurmstepd must not
 * fail here, because that would drain the node or end the job with success: the task does, later. */
static int answer(int code, int remote)
{
	if (code == 0)
		return 0;
	if (remote) {
		sk_affinity_options.mode = SK_MODE_STRICT; /* what cannot be read may have meant it */
		return 0;
	}
	sk_error("%s", sk_affinity_options.error);
	return -1;
}

static int take_mode(int val, const char *optarg, int remote)
{
	(void)val;
	return answer(sk_options_set_mode(&sk_affinity_options, optarg), remote);
}

static int take_map(int val, const char *optarg, int remote)
{
	(void)val;
	return answer(sk_options_set_map(&sk_affinity_options, optarg), remote);
}

static char mode_name[] = "slurmkit-affinity";
static char mode_argument[] = "off|warn|strict";
static char mode_usage[] = "run each task on the cores and memory next to its GPU: off, warn where "
			   "that cannot be, or strict: end the task before its program starts";
static char map_name[] = "slurmkit-map";
static char map_argument[] = "path";
static char map_usage[] = "map of the node's GPUs, cores and NICs; made by "
			  "`slurmkit topo export --plugin`";

static struct spank_option options[] = {
	{mode_name, mode_argument, mode_usage, 1, 0, take_mode},
	{map_name, map_argument, map_usage, 1, 0, take_map},
};

int sk_affinity_register(spank_t spank, int ac, char *argv[])
{
	int code;

	sk_options_default(&sk_affinity_options);
	code = sk_options_parse_args(&sk_affinity_options, ac, argv);
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		spank_err_t refused = spank_option_register(spank, &options[i]);

		if (refused != ESPANK_SUCCESS) {
			sk_debug("option --%s: %s", options[i].name, spank_strerror(refused));
			code = -1;
		}
	}
	return code;
}
