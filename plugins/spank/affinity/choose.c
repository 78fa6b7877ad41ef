/* Which GPUs and CPUs a task gets, as pure functions. */
#include "choose.h"

#include <string.h>

#define NO_GPU SK_MAP_MAX_GPUS

bool sk_has_gpus(const char *visible)
{
	return visible && *visible && strcmp(visible, "NoDevFiles") != 0 &&
	       strcmp(visible, "-1") != 0;
}

#define wrong(choice, ...) sk_fail((choice)->error, sizeof((choice)->error), __VA_ARGS__)

static size_t find_number(const struct sk_map *map, uint32_t number, const struct sk_set *minors)
{
	uint32_t smaller;

	for (size_t i = 0; i < map->num_gpus; i++) {
		if (!minors) {
			if (map->gpus[i].index == number)
				return i;
			continue;
		}
		if (!sk_set_has(minors, map->gpus[i].minor))
			continue;
		smaller = 0;
		for (size_t j = 0; j < map->num_gpus; j++)
			if (sk_set_has(minors, map->gpus[j].minor) &&
			    map->gpus[j].index < map->gpus[i].index)
				smaller++;
		if (smaller == number)
			return i;
	}
	return NO_GPU;
}

/* CUDA accepts the beginning of a UUID as long as only one GPU begins so. */
static size_t find_uuid(const struct sk_map *map, const char *token, size_t size)
{
	size_t found = NO_GPU;

	for (size_t i = 0; i < map->num_gpus; i++) {
		if (map->gpus[i].uuid[0] && strncmp(map->gpus[i].uuid, token, size) == 0) {
			if (found != NO_GPU)
				return NO_GPU;
			found = i;
		}
	}
	return found;
}

static size_t find_mig(const struct sk_map *map, const char *token, size_t size)
{
	static const char old_style[] = "MIG-GPU-"; /* MIG-GPU-<uuid>/<gpu instance>/<compute instance> */

	if (size > sizeof(old_style) && strncmp(token, old_style, sizeof(old_style) - 1) == 0) {
		const char *slash = memchr(token, '/', size);

		return find_uuid(map, token + 4, (slash ? (size_t)(slash - token) : size) - 4);
	}
	for (size_t i = 0; i < map->num_gpus; i++) {
		for (const char *name = map->gpus[i].mig; *name;) {
			size_t length = strcspn(name, ",");

			if (length == size && strncmp(name, token, size) == 0)
				return i;
			name += length + (name[length] == ',');
		}
	}
	return NO_GPU;
}

static size_t find_token(const struct sk_map *map, const char *token, size_t size,
			 const struct sk_set *minors)
{
	uint32_t number;

	if (size >= 4 && strncmp(token, "MIG-", 4) == 0)
		return find_mig(map, token, size);
	if (size >= 4 && strncmp(token, "GPU-", 4) == 0)
		return find_uuid(map, token, size);
	if (sk_parse_number(token, size, SK_SET_BITS - 1, &number) != 0)
		return NO_GPU;
	return find_number(map, number, minors);
}

static int resolve(const struct sk_map *map, const struct sk_view *view, struct sk_choice *choice)
{
	const char *token = view->visible;

	while (*token) {
		size_t size = strcspn(token, ",");
		size_t found = find_token(map, token, size, view->open);

		if (found == NO_GPU)
			return wrong(choice, "CUDA_VISIBLE_DEVICES: the map knows no GPU '%.*s'",
				     size < 60 ? (int)size : 60, token);
		if (choice->num_gpus >= SK_MAP_MAX_GPUS)
			return wrong(choice, "CUDA_VISIBLE_DEVICES names too many GPUs");
		choice->gpus[choice->num_gpus++] = (uint8_t)found;
		token += size + (token[size] == ',');
	}
	return 0;
}

static bool has_its_own(const struct sk_view *view, size_t num_visible)
{
	uint32_t on_node;

	return view->on_node &&
	       sk_parse_number(view->on_node, strlen(view->on_node), UINT32_MAX, &on_node) == 0 &&
	       num_visible < on_node;
}

int sk_choose(const struct sk_map *map, const struct sk_view *view, struct sk_choice *choice)
{
	memset(choice, 0, sizeof(*choice));
	if (!sk_has_gpus(view->visible) || view->local_rank >= view->local_world_size)
		return wrong(choice, "the task sees no GPU");
	if (resolve(map, view, choice) != 0)
		return -1;
	if (view->local_world_size > 1 && !has_its_own(view, choice->num_gpus)) {
		uint64_t gpus = choice->num_gpus, tasks = view->local_world_size;
		uint64_t own = tasks <= gpus ? view->local_rank : view->local_rank * gpus / tasks;

		choice->gpus[0] = choice->gpus[own];
		choice->num_gpus = 1;
	}
	for (size_t i = 0; i < choice->num_gpus; i++) {
		sk_set_unite(&choice->cpus, &map->gpus[choice->gpus[i]].cpus);
		sk_set_unite(&choice->mems, &map->gpus[choice->gpus[i]].mems);
	}
	return 0;
}

int sk_fit(struct sk_set *wanted, const struct sk_set *allowed, uint32_t num_tasks)
{
	uint32_t share = sk_set_count(allowed) / (num_tasks ? num_tasks : 1);
	uint32_t most = sk_set_count(wanted);
	uint32_t left;

	sk_set_intersect(wanted, allowed);
	left = sk_set_count(wanted);
	if (share > most)
		share = most;
	return left == 0 || left < share ? -1 : 0;
}
