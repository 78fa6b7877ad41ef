/* The rank variables and their values, as pure functions. */
#include "values.h"

#include <stdlib.h>
#include <string.h>

#include "../common/text.h"

static int parse_ports(const char *text, struct sk_rank_args *args)
{
	const char *dash = strchr(text, '-');

	if (!dash || sk_parse_number(text, (size_t)(dash - text), 65535, &args->first_port) != 0 ||
	    sk_parse_number(dash + 1, strlen(dash + 1), 65535, &args->last_port) != 0)
		return -1;
	return args->first_port >= 1024 && args->first_port <= args->last_port ? 0 : -1;
}

const char *sk_rank_parse_args(int ac, char *const argv[], struct sk_rank_args *args)
{
	*args = (struct sk_rank_args){.first_port = SK_FIRST_PORT, .last_port = SK_LAST_PORT};
	for (int i = 0; i < ac; i++) {
		if (strncmp(argv[i], "ports=", 6) == 0) {
			if (parse_ports(argv[i] + 6, args) != 0)
				return argv[i];
		} else if (strncmp(argv[i], "suffix=", 7) == 0) {
			if (sk_copy(args->suffix, sizeof(args->suffix), argv[i] + 7,
				    strlen(argv[i] + 7)) != 0)
				return argv[i];
		} else {
			return argv[i];
		}
	}
	return NULL;
}

uint32_t sk_rank_port(const struct sk_rank_args *args, uint32_t job_id, uint32_t step_id)
{
	/* Knuth's multiplicative hash, as `slurmkit exec` uses it: consecutive ids land far apart. */
	uint64_t seed = (uint64_t)job_id * 64 + step_id % 64;
	uint64_t hash = (seed * UINT64_C(2654435761)) & UINT32_MAX;
	uint64_t size = args->last_port - args->first_port + 1;

	return args->first_port + (uint32_t)(hash * size >> 32);
}

/* The number in front of `end`; -1 when there is none. */
static int number_before(const char **text, char end, uint32_t *number)
{
	const char *stop = strchr(*text, end);

	if (!stop || sk_parse_number(*text, (size_t)(stop - *text), UINT32_MAX, number) != 0)
		return -1;
	*text = stop + 1;
	return 0;
}

uint32_t sk_rank_inherited(const char *token, uint32_t job_id, uint32_t step_id)
{
	const char *at = token ? strchr(token, '@') : NULL;
	uint32_t job, step, rank, bits;

	if (!at)
		return 0;
	at++;
	if (number_before(&at, '.', &job) != 0 || number_before(&at, '.', &step) != 0 ||
	    number_before(&at, ' ', &rank) != 0 ||
	    sk_parse_number(at, strlen(at), UINT32_MAX, &bits) != 0)
		return 0;
	return job == job_id && step == step_id ? 0 : bits;
}
