/* Options of the command line and arguments of plugstack.conf, as pure functions. */
#include "options.h"

#include <string.h>

#include "../common/text.h"

static const char *const mode_names[] = {"off", "warn", "strict"};

void sk_options_default(struct sk_options *options)
{
	memset(options, 0, sizeof(*options));
	options->mode = SK_MODE_WARN;
	memcpy(options->map_path, SK_MAP_PATH, sizeof(SK_MAP_PATH));
}

#define wrong(options, ...) sk_fail((options)->error, sizeof((options)->error), __VA_ARGS__)

int sk_options_set_mode(struct sk_options *options, const char *text)
{
	for (unsigned i = 0; text && i < sizeof(mode_names) / sizeof(*mode_names); i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			options->mode = (enum sk_mode)i;
			return 0;
		}
	}
	return wrong(options, "affinity '%.60s' is not off, warn or strict", text ? text : "");
}

int sk_options_set_map(struct sk_options *options, const char *text)
{
	if (!text || *text != '/')
		return wrong(options, "map '%.120s' is no absolute path", text ? text : "");
	if (sk_copy(options->map_path, sizeof(options->map_path), text, strlen(text)) != 0)
		return wrong(options, "map '%.120s...' is too long", text);
	return 0;
}

int sk_options_parse_args(struct sk_options *options, int ac, char *const argv[])
{
	for (int i = 0; i < ac; i++) {
		int code;

		if (strncmp(argv[i], "mode=", 5) == 0)
			code = sk_options_set_mode(options, argv[i] + 5);
		else if (strncmp(argv[i], "map=", 4) == 0)
			code = sk_options_set_map(options, argv[i] + 4);
		else
			code = wrong(options, "plugstack.conf: '%.60s' is not mode=MODE or map=PATH",
				     argv[i]);
		if (code != 0)
			return -1;
	}
	return 0;
}
