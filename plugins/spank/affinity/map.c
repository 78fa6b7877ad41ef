/* Read the line format of the map. */
#include "map.h"

#include <string.h>

static char no_text[] = "";

#define wrong(map, line, format, ...) \
	sk_fail((map)->error, sizeof((map)->error), "line %u: " format, line, __VA_ARGS__)

/* Cut the next word off a line; NULL at its end. */
static char *next_word(char **line)
{
	char *word = *line + strspn(*line, " ");
	char *end = word + strcspn(word, " ");

	if (*word == '\0')
		return NULL;
	*line = *end ? end + 1 : end;
	*end = '\0';
	return word;
}

static int parse_policy(const char *text, enum sk_policy *policy)
{
	if (strcmp(text, "bind") == 0)
		*policy = SK_POLICY_BIND;
	else if (strcmp(text, "preferred") == 0)
		*policy = SK_POLICY_PREFERRED;
	else if (strcmp(text, "interleave") == 0)
		*policy = SK_POLICY_INTERLEAVE;
	else
		return -1;
	return 0;
}

/* One KEY=VALUE of a gpu line. A key that is not known is one of a later version: skipped. */
static int parse_field(struct sk_map *map, struct sk_gpu *gpu, unsigned line, char *word)
{
	char *value = strchr(word, '=');

	if (!value)
		return wrong(map, line, "'%.60s' is no KEY=VALUE", word);
	*value++ = '\0';
	if (strcmp(word, "cpus") == 0) {
		if (sk_set_parse(&gpu->cpus, value, strlen(value)) != 0 ||
		    sk_set_count(&gpu->cpus) == 0)
			return wrong(map, line, "cpus='%.60s' is no list such as 0-13,112-125", value);
	} else if (strcmp(word, "mems") == 0) {
		if (sk_set_parse(&gpu->mems, value, strlen(value)) != 0)
			return wrong(map, line, "mems='%.60s' is no list such as 0 or 0-1", value);
	} else if (strcmp(word, "policy") == 0) {
		if (parse_policy(value, &gpu->policy) != 0)
			return wrong(map, line, "policy='%.60s' is not bind, preferred or interleave",
				     value);
	} else if (strcmp(word, "minor") == 0) {
		if (sk_parse_number(value, strlen(value), SK_SET_BITS - 1, &gpu->minor) != 0)
			return wrong(map, line, "minor='%.60s' is no number", value);
	} else if (strcmp(word, "uuid") == 0) {
		if (sk_copy(gpu->uuid, sizeof(gpu->uuid), value, strlen(value)) != 0)
			return wrong(map, line, "uuid='%.60s' is too long", value);
	} else if (strcmp(word, "mig") == 0) {
		gpu->mig = value;
	} else if (strcmp(word, "nics") == 0) {
		gpu->nics = value;
	}
	return 0;
}

static int check_name(const char *entry)
{
	const char *equals = strchr(entry, '=');

	if (!equals || equals == entry || (*entry >= '0' && *entry <= '9'))
		return -1;
	for (const char *c = entry; c < equals; c++)
		if (!((*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
		      (*c >= '0' && *c <= '9') || *c == '_'))
			return -1;
	return 0;
}

static int check_env(struct sk_map *map, unsigned line, const char *env)
{
	while (*env) {
		const char *end = strchr(env, SK_ENV_DIVIDER);

		if (check_name(env) != 0)
			return wrong(map, line, "'%.60s' is no NAME=VALUE", env);
		if (!end)
			return 0;
		env = end + 1;
	}
	return 0;
}

static int parse_gpu(struct sk_map *map, unsigned line, char *rest)
{
	struct sk_gpu *gpu = &map->gpus[map->num_gpus];
	char *env = strstr(rest, " env="); /* the last field: its values may hold spaces */
	char *index, *pci, *word;

	if (map->num_gpus >= SK_MAP_MAX_GPUS)
		return wrong(map, line, "more than %u GPUs", SK_MAP_MAX_GPUS);
	memset(gpu, 0, sizeof(*gpu));
	gpu->mig = gpu->nics = gpu->env = no_text;
	if (env) {
		*env = '\0';
		gpu->env = env + strlen(" env=");
		if (check_env(map, line, gpu->env) != 0)
			return -1;
	}
	index = next_word(&rest);
	if (!index || sk_parse_number(index, strlen(index), SK_SET_BITS - 1, &gpu->index) != 0)
		return wrong(map, line, "gpu needs its number, not '%.60s'", index ? index : "");
	gpu->minor = gpu->index;
	pci = next_word(&rest);
	if (!pci || sk_copy(gpu->pci, sizeof(gpu->pci), pci, strlen(pci)) != 0)
		return wrong(map, line, "gpu needs a PCI address, not '%.60s'", pci ? pci : "");
	while ((word = next_word(&rest)))
		if (parse_field(map, gpu, line, word) != 0)
			return -1;
	if (sk_set_count(&gpu->cpus) == 0)
		return wrong(map, line, "gpu %.20s has no cpus=", pci);
	for (size_t i = 0; i < map->num_gpus; i++)
		if (map->gpus[i].index == gpu->index || strcmp(map->gpus[i].pci, gpu->pci) == 0)
			return wrong(map, line, "gpu %.20s is there twice", pci);
	map->num_gpus++;
	return 0;
}

static int parse_header(struct sk_map *map, char *line)
{
	char *kind = next_word(&line);
	char *version = kind ? next_word(&line) : NULL;
	char *host = version ? next_word(&line) : NULL;

	if (!host || strcmp(kind, "slurmkit-map") != 0)
		return wrong(map, 1, "%s", "not 'slurmkit-map 1 HOST'");
	if (strcmp(version, "1") != 0)
		return wrong(map, 1, "version '%.20s'; this plugin reads version 1", version);
	if (sk_copy(map->host, sizeof(map->host), host, strlen(host)) != 0)
		return wrong(map, 1, "'%.60s...' is no host name", host);
	return 0;
}

int sk_map_parse(struct sk_map *map, char *text, size_t size)
{
	unsigned number = 0;
	char *end = text + size;

	map->num_gpus = 0;
	map->host[0] = map->error[0] = '\0';
	if (memchr(text, '\0', size))
		return wrong(map, 1, "%s", "not a text file");
	while (text < end) {
		char *line = text;
		size_t length = strcspn(line, "\n");

		line[length] = '\0';
		text += length + 1;
		number++;
		if (number == 1) {
			if (parse_header(map, line) != 0)
				return -1;
		} else if (*line == '\0' || *line == '#') {
			continue;
		} else if (strncmp(line, "gpu ", 4) == 0) {
			if (parse_gpu(map, number, line + 4) != 0)
				return -1;
		} else {
			return wrong(map, number, "'%.60s' is no gpu line", line);
		}
	}
	if (number == 0)
		return wrong(map, 1, "%s", "empty");
	return 0;
}
