/* Fuzz target for libFuzzer, AFL++ and mutate.c: every parser, on the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../affinity/choose.h"
#include "../affinity/map.h"
#include "../affinity/options.h"
#include "../common/het.h"
#include "../common/text.h"
#include "../rank/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_map(const char *text, size_t size)
{
	struct sk_map *map = calloc(1, sizeof(*map));
	char *copy = malloc(size + 1);

	if (map && copy) {
		struct sk_view view = {.visible = text, .on_node = text, .local_world_size = 2};
		struct sk_set open = {{15}};
		struct sk_choice choice;

		memcpy(copy, text, size + 1);
		if (sk_map_parse(map, copy, size) != 0 && !map->error[0])
			abort();
		for (unsigned i = 0; i < 4; i++) {
			view.open = i & 1 ? &open : NULL;
			view.visible = i & 2 ? text : "0,1,GPU-aa";
			if (sk_choose(map, &view, &choice) == 0 && choice.num_gpus == 0)
				abort();
		}
	}
	free(copy);
	free(map);
}

static void fuzz_words(char *text)
{
	struct sk_options options;
	struct sk_rank_args args;
	struct sk_set set, again;
	char *argv[] = {text}, host[16], list[65536];

	sk_options_default(&options);
	(void)sk_options_parse_args(&options, 1, argv);
	(void)sk_options_set_mode(&options, text);
	(void)sk_options_set_map(&options, text);
	if (!sk_rank_parse_args(1, argv, &args) && sk_rank_port(&args, 1, 1) < args.first_port)
		abort();
	(void)sk_rank_inherited(text, 1, 1);
	(void)sk_first_host(text, host, sizeof(host));
	if (sk_set_parse(&set, text, strlen(text)) == 0) {
		sk_set_format(&set, host, sizeof(host));
		sk_set_format(&set, list, sizeof(list));
		if (sk_set_parse(&again, list, strlen(list)) != 0 || !sk_set_equal(&set, &again))
			abort();
	}
}

/* Lines as an environment. */
static void fuzz_environment(char *text)
{
	char *env[32], host[16];
	size_t count = 0;
	struct sk_het het;

	for (char *line = strtok(text, "\n"); line && count < 31; line = strtok(NULL, "\n"))
		env[count++] = line;
	env[count] = NULL;
	if (sk_het_read(env, &het) == 1 && het.rank >= het.world_size)
		abort();
	for (int spans = 0; spans < 2; spans++)
		if (sk_het_first_host(env, spans, host, sizeof(host)) == 0 && !host[0])
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size > 65536 || !(text = malloc(size + 1)))
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	fuzz_map(text, size);
	fuzz_words(text);
	fuzz_environment(text);
	free(text);
	return 0;
}
