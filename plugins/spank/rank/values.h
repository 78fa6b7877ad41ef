/* The rank variables and their values, as pure functions. */
#ifndef SLURMKIT_RANK_VALUES_H
#define SLURMKIT_RANK_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ports below what Linux gives to outgoing connections by default (32768-60999). */
#define SK_FIRST_PORT 16384u
#define SK_LAST_PORT 32767u

/* The plugin's arguments in plugstack.conf. */
struct sk_rank_args {
	uint32_t first_port;
	uint32_t last_port;
	char suffix[64]; /* what makes a node's name that of its fast interface, such as -ib0 */
};

/* Read `ports=LOW-HIGH` and `suffix=TEXT`; returns NULL, or the argument that is wrong. */
const char *sk_rank_parse_args(int ac, char *const argv[], struct sk_rank_args *args);

/* The port of a step: the same on all nodes without asking, far apart for jobs in a row. */
uint32_t sk_rank_port(const struct sk_rank_args *args, uint32_t job_id, uint32_t step_id);

/* Bits of the variables that this plugin set in a task that this environment was inherited from;
 * 0 when it was none, or when it was a task of this same step. `token` may be NULL. */
uint32_t sk_rank_inherited(const char *token, uint32_t job_id, uint32_t step_id);

#endif
