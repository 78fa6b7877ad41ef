/* --slurmkit-affinity and --slurmkit-map, and the plugin's arguments in plugstack.conf. */
#ifndef SLURMKIT_AFFINITY_OPTIONS_H
#define SLURMKIT_AFFINITY_OPTIONS_H

enum sk_mode { SK_MODE_OFF, SK_MODE_WARN, SK_MODE_STRICT };

#define SK_MAP_PATH "/run/slurmkit/affinity.map"

struct sk_options {
	enum sk_mode mode;
	char map_path[4096];
	char error[256]; /* what was wrong; empty when nothing was */
};

void sk_options_default(struct sk_options *options);

/* Read off, warn or strict; -1, with options->error set, when it is none. */
int sk_options_set_mode(struct sk_options *options, const char *text);

/* Take an absolute path; -1, with options->error set, when it is none. */
int sk_options_set_map(struct sk_options *options, const char *text);

/* Read `mode=MODE` and `map=PATH` from plugstack.conf; -1 as above. */
int sk_options_parse_args(struct sk_options *options, int ac, char *const argv[]);

#endif
