/* Unit tests of what needs no Slurm; the first that fails ends the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../affinity/choose.h"
#include "../affinity/map.h"
#include "../affinity/options.h"
#include "../common/het.h"
#include "../common/text.h"
#include "../rank/values.h"

#define CHECK(condition)                                                                             \
	do {                                                                                         \
		if (!(condition)) {                                                                  \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);              \
			exit(1);                                                                     \
		}                                                                                    \
	} while (0)

static struct sk_set set_of(const char *text)
{
	struct sk_set set;

	CHECK(sk_set_parse(&set, text, strlen(text)) == 0);
	return set;
}

static void test_lists(void)
{
	static const char *const bad[] = {"-", "1-", "-1", "3-1", "1,,2", "1,", "a", "4096", "99999999999", " 1"};
	char text[32], small[8];
	struct sk_set set = set_of("0-2,4,112-125");

	CHECK(sk_set_count(&set) == 18 && sk_set_has(&set, 125) && !sk_set_has(&set, 3));
	sk_set_format(&set, text, sizeof(text));
	CHECK(strcmp(text, "0-2,4,112-125") == 0);
	sk_set_format(&set, small, sizeof(small));
	CHECK(strcmp(small, "0-2...") == 0);
	set = set_of("");
	sk_set_format(&set, text, sizeof(text));
	CHECK(strcmp(text, "") == 0);
	set = set_of("4095");
	sk_set_format(&set, text, sizeof(text));
	CHECK(strcmp(text, "4095") == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK(sk_set_parse(&set, bad[i], strlen(bad[i])) == -1);
}

static void test_hosts(void)
{
	char host[16];

	CHECK(sk_first_host("n[3-9]-ib,x", host, sizeof(host)) == 0 && strcmp(host, "n3-ib") == 0);
	CHECK(sk_first_host("a,b", host, sizeof(host)) == 0 && strcmp(host, "a") == 0);
	CHECK(sk_first_host("r[1,3]n[07-09]", host, sizeof(host)) == 0 && strcmp(host, "r1n07") == 0);
	CHECK(sk_first_host("", host, sizeof(host)) == -1);
	CHECK(sk_first_host("0123456789abcdef", host, sizeof(host)) == -1);
}

static void test_rank(void)
{
	struct sk_rank_args args;
	char ports[] = "ports=20000-20001", suffix[] = "suffix=-ib0", wrong[] = "port=1", low[] = "ports=1-2";
	char *good[] = {ports, suffix}, *bad[] = {wrong}, *bad_ports[] = {low};

	CHECK(sk_rank_parse_args(0, NULL, &args) == NULL);
	for (uint32_t job = 0; job < 5000; job++) {
		uint32_t port = sk_rank_port(&args, job, job % 70);

		CHECK(port >= SK_FIRST_PORT && port <= SK_LAST_PORT);
	}
	CHECK(sk_rank_port(&args, 7, 0) != sk_rank_port(&args, 7, 1));
	CHECK(sk_rank_port(&args, UINT32_MAX, UINT32_MAX) <= SK_LAST_PORT);
	CHECK(sk_rank_parse_args(2, good, &args) == NULL && strcmp(args.suffix, "-ib0") == 0);
	CHECK(sk_rank_port(&args, 1, 1) >= 20000 && sk_rank_port(&args, 1, 1) <= 20001);
	CHECK(sk_rank_parse_args(1, bad, &args) == wrong);
	CHECK(sk_rank_parse_args(1, bad_ports, &args) == low);

	CHECK(sk_rank_inherited(NULL, 1, 0) == 0);
	CHECK(sk_rank_inherited("0.1.0@1.0.3 255", 1, 0) == 0);
	CHECK(sk_rank_inherited("0.1.0@1.0.3 255", 1, 1) == 255);
	CHECK(sk_rank_inherited("0.1.0@1.0.3 63", 2, 0) == 63);
	CHECK(sk_rank_inherited("nonsense@x.y", 1, 0) == 0);
	CHECK(sk_rank_inherited("off", 1, 0) == 0);
}

static int parse(struct sk_map *map, const char *text)
{
	static char buffer[8192];

	CHECK(strlen(text) < sizeof(buffer));
	strcpy(buffer, text);
	return sk_map_parse(map, buffer, strlen(text));
}

static const char four[] = "slurmkit-map 1 node1\n"
			   "# a comment, and an empty line\n\n"
			   "gpu 0 0000:1b:00.0 cpus=0-3,16-19 mems=0 nics=mlx5_0 uuid=GPU-aa11 minor=2 "
			   "env=NCCL_IB_HCA==mlx5_0\x1fX=a b\n"
			   "gpu 1 0000:43:00.0 cpus=4-7 mems=0 policy=preferred uuid=GPU-aa22 minor=3 later=x\n"
			   "gpu 2 0000:9d:00.0 cpus=8-11 mems=1 uuid=GPU-bb33 minor=0 mig=MIG-1,MIG-2\n"
			   "gpu 3 0000:d1:00.0 cpus=12-15 mems=1 uuid=GPU-cc44 minor=1\n";

static void test_map(void)
{
	static const char *const bad[] = {
		"", "slurmkit-map", "slurmkit-map 2 n", "hello 1 n", "slurmkit-map 1 n\ncpu 0\n",
		"slurmkit-map 1 n\ngpu 0\n", "slurmkit-map 1 n\ngpu x 0:0 cpus=1\n",
		"slurmkit-map 1 n\ngpu 0 0:0\n", "slurmkit-map 1 n\ngpu 0 0:0 cpus=\n",
		"slurmkit-map 1 n\ngpu 0 0:0 cpus=1 mems=x\n", "slurmkit-map 1 n\ngpu 0 0:0 cpus=1 policy=x\n",
		"slurmkit-map 1 n\ngpu 0 0:0 cpus=1 env=1X=2\n", "slurmkit-map 1 n\ngpu 0 0:0 cpus=1 env==2\n",
		"slurmkit-map 1 n\ngpu 0 0:0 cpus=1 word\n",
		"slurmkit-map 1 n\ngpu 0 0:0 cpus=1\ngpu 0 0:1 cpus=2\n",
	};
	struct sk_map *map = calloc(1, sizeof(*map));

	CHECK(map);
	CHECK(parse(map, four) == 0 && map->num_gpus == 4 && strcmp(map->host, "node1") == 0);
	CHECK(strcmp(map->gpus[0].env, "NCCL_IB_HCA==mlx5_0\x1fX=a b") == 0);
	CHECK(strcmp(map->gpus[0].nics, "mlx5_0") == 0 && strcmp(map->gpus[0].pci, "0000:1b:00.0") == 0);
	CHECK(sk_set_count(&map->gpus[0].cpus) == 8 && map->gpus[0].minor == 2);
	CHECK(map->gpus[1].policy == SK_POLICY_PREFERRED && map->gpus[2].policy == SK_POLICY_BIND);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK(parse(map, bad[i]) == -1 && map->error[0]);
	CHECK(parse(map, "slurmkit-map 1 n\ngpu 0 0:0 cpus=9-1\n") == -1);
	CHECK(strcmp(map->error, "line 2: cpus='9-1' is no list such as 0-13,112-125") == 0);
	free(map);
}

static struct sk_choice chosen(const struct sk_map *map, const char *visible, uint32_t rank, uint32_t tasks)
{
	struct sk_view view = {.visible = visible, .local_rank = rank, .local_world_size = tasks};
	struct sk_choice choice;

	CHECK(sk_choose(map, &view, &choice) == 0);
	return choice;
}

static void test_choice(void)
{
	struct sk_map *map = calloc(1, sizeof(*map));
	struct sk_choice choice;
	struct sk_set expected;
	struct sk_set open = set_of("0,1");
	struct sk_view view = {.visible = "0,1", .open = &open, .local_world_size = 2};

	CHECK(map && parse(map, four) == 0);
	CHECK(!sk_has_gpus(NULL) && !sk_has_gpus("") && !sk_has_gpus("NoDevFiles") && sk_has_gpus("0"));
	choice = chosen(map, "0,1,2,3", 2, 4);
	CHECK(choice.num_gpus == 1 && choice.gpus[0] == 2);
	choice = chosen(map, "3,2,1,0", 0, 4); /* permuted */
	CHECK(choice.gpus[0] == 3);
	choice = chosen(map, "0,1,2,3", 5, 8); /* two ranks per GPU */
	CHECK(choice.gpus[0] == 2);
	choice = chosen(map, "0,1,2,3", 1, 2); /* fewer ranks than GPUs: LOCAL_RANK chooses */
	CHECK(choice.gpus[0] == 1);
	choice = chosen(map, "0,2", 0, 1); /* one launcher per node */
	expected = set_of("0-3,8-11,16-19");
	CHECK(choice.num_gpus == 2 && sk_set_equal(&choice.cpus, &expected));
	choice = chosen(map, "GPU-bb,GPU-aa22", 0, 2);
	CHECK(choice.gpus[0] == 2);
	choice = chosen(map, "MIG-2,MIG-GPU-cc44/1/0", 1, 2);
	CHECK(choice.gpus[0] == 3);

	/* Job with /dev/nvidia0 and 1, which are GPUs 2 and 3: CUDA calls them 0 and 1. */
	CHECK(sk_choose(map, &view, &choice) == 0 && choice.gpus[0] == 2);
	view.local_rank = 1;
	CHECK(sk_choose(map, &view, &choice) == 0 && choice.gpus[0] == 3);
	view.open = NULL;
	CHECK(sk_choose(map, &view, &choice) == 0 && choice.gpus[0] == 1);
	view.on_node = "4"; /* and only two of them are this task's */
	CHECK(sk_choose(map, &view, &choice) == 0 && choice.num_gpus == 2);

	static const char *const bad[] = {"4", "GPU-aa", "GPU-zz", "MIG-9", "x", ",", "0,,1", ""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		view = (struct sk_view){.visible = bad[i], .local_world_size = 1};
		CHECK(sk_choose(map, &view, &choice) == -1 && choice.error[0]);
	}
	view = (struct sk_view){.visible = "0", .local_rank = 3, .local_world_size = 2};
	CHECK(sk_choose(map, &view, &choice) == -1);
	free(map);
}

static void test_fit(void)
{
	struct sk_set wanted = set_of("0-13,112-125"), all = set_of("0-223"), elsewhere = set_of("56-69");
	struct sk_set few = set_of("0-3,56-83"), own = set_of("0-6");

	CHECK(sk_fit(&wanted, &all, 8) == 0 && sk_set_count(&wanted) == 28);
	CHECK(sk_fit(&wanted, &own, 8) == 0 && sk_set_equal(&wanted, &own));
	wanted = set_of("0-13");
	CHECK(sk_fit(&wanted, &elsewhere, 8) == -1);
	wanted = set_of("0-13");
	CHECK(sk_fit(&wanted, &few, 8) == 0); /* four of its 32/8 */
	wanted = set_of("0-13");
	CHECK(sk_fit(&wanted, &few, 2) == -1); /* 4 of 16 */
}

static void test_options(void)
{
	struct sk_options options;
	char mode[] = "mode=strict", map[] = "map=/etc/a.map", odd[] = "verbose", bad[] = "mode=on";
	char *good_args[] = {mode, map}, *odd_args[] = {odd}, *bad_args[] = {bad};

	sk_options_default(&options);
	CHECK(options.mode == SK_MODE_WARN && strcmp(options.map_path, SK_MAP_PATH) == 0);
	CHECK(sk_options_parse_args(&options, 2, good_args) == 0);
	CHECK(options.mode == SK_MODE_STRICT && strcmp(options.map_path, "/etc/a.map") == 0);
	CHECK(sk_options_set_mode(&options, "off") == 0 && options.mode == SK_MODE_OFF);
	CHECK(sk_options_parse_args(&options, 1, odd_args) == -1 && options.error[0]);
	CHECK(sk_options_parse_args(&options, 1, bad_args) == -1);
	CHECK(sk_options_set_mode(&options, NULL) == -1 && sk_options_set_map(&options, NULL) == -1);
	CHECK(sk_options_set_map(&options, "relative") == -1);
}

static void test_het(void)
{
	char size[] = "SLURM_HET_SIZE=2", job[] = "SLURM_JOB_ID=7", rank[] = "SLURM_PROCID=3";
	char tasks[] = "SLURM_STEP_NUM_TASKS=4", node[] = "SLURM_NODEID=2", nodes[] = "SLURM_STEP_NUM_NODES=3";
	char list[] = "SLURM_STEP_NODELIST=node[1-2,4]", first[] = "SLURM_JOB_NODELIST_HET_GROUP_0=node4";
	char one[] = "SLURM_JOB_NUM_NODES_HET_GROUP_0=1", two[] = "SLURM_JOB_NUM_NODES_HET_GROUP_1=2";
	char *env[] = {size, job, rank, tasks, node, nodes, list, first, one, two, NULL};
	char *none[] = {job, rank, list, NULL}, *part[] = {size, job, rank, NULL};
	struct sk_het het;
	char host[16];

	CHECK(sk_het_read(env, &het) == 1 && het.job_id == 7 && het.rank == 3 && het.world_size == 4 &&
	      het.node_rank == 2);
	CHECK(sk_het_read(none, &het) == 0 && sk_het_read(part, &het) == -1);
	rank[13] = '4';
	CHECK(sk_het_read(env, &het) == -1);
	CHECK(sk_het_first_host(none, 0, host, sizeof(host)) == 0 && strcmp(host, "node1") == 0);
	CHECK(sk_het_first_host(env, 1, host, sizeof(host)) == 0 && strcmp(host, "node4") == 0);
	two[32] = '3'; /* the step leaves a node out: rank 0 may be anywhere */
	CHECK(sk_het_first_host(env, 1, host, sizeof(host)) == -1);
	two[32] = 'x';
	CHECK(sk_het_first_host(env, 1, host, sizeof(host)) == -1);
	size[15] = '3';
	CHECK(sk_het_first_host(env, 1, host, sizeof(host)) == -1);
}

int main(void)
{
	test_lists();
	test_hosts();
	test_rank();
	test_map();
	test_choice();
	test_fit();
	test_options();
	test_het();
	puts("ok");
	return 0;
}
