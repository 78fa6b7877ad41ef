"""Words and numbers that keywords take, as data, over all releases from 22.05 to 26.05.

Sources: slurm.conf(5), cgroup.conf(5) and gres.conf(5) of these releases, and for the words of
SchedulerParameters what Slurm's sources look for in it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """From which to which number, and what that is."""

    least: int
    most: int
    why: str = ""


_PORT = Range(1, 65535, "are ports")
_16 = 65533  # 65534 and 65535 stand for infinite and no value

#: By the word that starts the line (empty for settings) and keyword, in small letters.
RANGES: dict[tuple[str, str], Range] = {
    ("", "returntoservice"): Range(0, 2),
    ("", "messagetimeout"): Range(1, 100, "seconds; slurm.conf(5) warns of more"),
    ("", "killwait"): Range(1, _16, "seconds"),
    ("", "maxarraysize"): Range(0, 4_000_001, "(slurm.conf(5))"),
    ("", "maxjobcount"): Range(1, 200_000_000),
    ("", "treewidth"): Range(1, _16),
    ("", "slurmctldport"): _PORT,
    ("", "slurmdport"): _PORT,
    ("", "accountingstorageport"): _PORT,
    ("", "vsizefactor"): Range(0, 65533, "per cent"),
    ("", "healthcheckinterval"): Range(0, _16, "seconds"),
    ("", "firstjobid"): Range(1, 67_108_863),
    ("", "maxjobid"): Range(2, 67_108_863),
    ("nodename", "threadspercore"): Range(1, 8, "threads"),
    ("nodename", "sockets"): Range(1, 64, "sockets"),
    ("nodename", "corespersocket"): Range(1, 1024, "cores"),
    ("nodename", "boards"): Range(1, 64, "boards"),
    ("nodename", "cpus"): Range(1, _16, "CPUs"),
    ("nodename", "weight"): Range(0, (1 << 32) - 3),
    ("partitionname", "prioritytier"): Range(0, _16),
    ("partitionname", "priorityjobfactor"): Range(0, _16),
    ("partitionname", "gracetime"): Range(0, 604_800, "seconds, a week"),
}

#: Values that are times: by file, the word that starts the line, and keyword.
TIMES = frozenset(
    ("slurm.conf", starter, key)
    for starter, keys in (
        ("partitionname", ("maxtime", "defaulttime")),
        ("", ("prioritydecayhalflife", "prioritymaxage", "preemptexempttime")),
    )
    for key in keys
)

#: Which kind of plugin a keyword names: by file and keyword.
PLUGINS: dict[tuple[str, str], str] = {
    ("slurm.conf", key.lower()): kind
    for key, kind in (
        ("AccountingStorageType", "accounting_storage"),
        ("AcctGatherEnergyType", "acct_gather_energy"),
        ("AcctGatherFilesystemType", "acct_gather_filesystem"),
        ("AcctGatherInterconnectType", "acct_gather_interconnect"),
        ("AcctGatherProfileType", "acct_gather_profile"),
        ("AuthType", "auth"),
        ("AuthAltTypes", "auth"),
        ("BurstBufferType", "burst_buffer"),
        ("CliFilterPlugins", "cli_filter"),
        ("CredType", "cred"),
        ("JobAcctGatherType", "jobacct_gather"),
        ("JobCompType", "jobcomp"),
        ("JobContainerType", "job_container"),
        ("JobSubmitPlugins", "job_submit"),
        ("MCSPlugin", "mcs"),
        ("NamespaceType", "namespace"),
        ("NodeFeaturesPlugins", "node_features"),
        ("PreemptType", "preempt"),
        ("PriorityType", "priority"),
        ("ProctrackType", "proctrack"),
        ("SchedulerType", "sched"),
        ("SelectType", "select"),
        ("SwitchType", "switch"),
        ("TaskPlugin", "task"),
        ("TopologyPlugin", "topology"),
        ("TLSType", "tls"),
    )
}
PLUGINS["cgroup.conf", "cgroupplugin"] = "cgroup"
PLUGINS["slurmdbd.conf", "authtype"] = "auth"
PLUGINS["slurmdbd.conf", "storagetype"] = "accounting_storage"

_LEVELS = frozenset(
    ["quiet", "fatal", "error", "info", "verbose", "debug", "debug2", "debug3", "debug4", "debug5"]
)

#: One word: by file, the word that starts the line, and keyword.
CHOICES: dict[tuple[str, str, str], frozenset[str]] = {
    ("slurm.conf", "", "slurmctlddebug"): _LEVELS | frozenset("0123456789"),
    ("slurm.conf", "", "slurmddebug"): _LEVELS | frozenset("0123456789"),
    ("slurmdbd.conf", "", "debuglevel"): _LEVELS | frozenset("0123456789"),
    ("slurm.conf", "", "enforcepartlimits"): frozenset({"ALL", "ANY", "NO", "YES"}),
    ("slurm.conf", "nodename", "cpubind"): frozenset(
        {"none", "board", "socket", "ldom", "core", "thread", "off"}
    ),
    ("slurm.conf", "partitionname", "state"): frozenset({"UP", "DOWN", "DRAIN", "INACTIVE"}),
    ("gres.conf", "", "autodetect"): frozenset(
        {"nvml", "nvidia", "rsmi", "oneapi", "nrt", "off", "none", "full"}
    ),
    ("gres.conf", "nodename", "autodetect"): frozenset(
        {"nvml", "nvidia", "rsmi", "oneapi", "nrt", "off", "none", "full"}
    ),
}

_SCHEDULER = """
    allow_zero_lic assoc_limit_stop batch_sched_delay bb_array_stage_cnt bf_allow_magnetic_slot
    bf_busy_nodes bf_continue bf_hetjob_immediate bf_hetjob_prio bf_interval
    bf_job_part_count_reserve bf_licenses bf_max_job_array_resv bf_max_job_assoc bf_max_job_part
    bf_max_job_start bf_max_job_test bf_max_job_user bf_max_job_user_part bf_max_time
    bf_min_age_reserve bf_min_prio_reserve bf_node_space_size bf_one_resv_per_job bf_resolution
    bf_running_job_reserve bf_topopt_enable bf_topopt_iterations bf_window bf_window_linear
    bf_yield_interval bf_yield_rpc_cnt bf_yield_sleep build_queue_timeout
    correspond_after_task_cnt default_queue_depth defer defer_batch delay_boot
    disable_hetjob_steps disable_job_shrink enable_hetjob_steps enable_job_state_cache
    enable_user_top extra_constraints ignore_constraint_validation ignore_numa
    ignore_prefer_validation max_array_tasks max_rpc_cnt max_sched_time max_script_size
    max_submit_line_size max_switch_wait no_backup_scheduling no_env_cache
    nohold_on_prolog_fail pack_serial_at_end partition_job_depth preempt_reorder_count
    preempt_send_user_signal preempt_strict_order preempt_youngest_first reduce_completing_frag
    requeue_delay requeue_on_resume_failure requeue_setup_env_fail salloc_wait_nodes
    sbatch_wait_nodes sched_interval sched_max_job_start sched_min_interval spec_cores_first
    step_retry_count step_retry_time time_min_as_soft_limit whole_hetjob
"""
_SELECT = """
    CR_Core CR_CPU CR_Socket CR_Memory CR_Core_Memory CR_CPU_Memory CR_Socket_Memory
    CR_ONE_TASK_PER_CORE CR_CORE_DEFAULT_DIST_BLOCK CR_LLN CR_Pack_Nodes LL_SHARED_GRES
    ENFORCE_BINDING_GRES MULTIPLE_SHARING_GRES_PJ ONE_TASK_PER_SHARING_GRES OTHER_CONS_RES
    OTHER_CONS_TRES
"""
_PREEMPT = "OFF CANCEL GANG REQUEUE SUSPEND WITHIN PRIORITY"
_LISTED: tuple[tuple[str, str, str, str], ...] = (
    ("slurm.conf", "", "SchedulerParameters", _SCHEDULER),
    ("slurm.conf", "", "SelectTypeParameters", _SELECT),
    ("slurm.conf", "", "PreemptMode", _PREEMPT),
    ("slurm.conf", "partitionname", "PreemptMode", _PREEMPT),
    (
        "slurm.conf",
        "",
        "AccountingStorageEnforce",
        "all associations limits nojobs nosteps qos safe wckeys none 0 1 yes no",
    ),
    (
        "slurm.conf",
        "",
        "PrologFlags",
        "Alloc Contain DeferBatch ForceRequeueOnFail NoHold Parallel RunInJob Serial X11",
    ),
    (
        "slurm.conf",
        "",
        "PriorityFlags",
        """ACCRUE_ALWAYS CALCULATE_RUNNING DEPTH_OBLIVIOUS INCR_ONLY MAX_TRES MAX_TRES_GRES
        FAIR_TREE NO_FAIR_TREE NO_NORMAL_ALL NO_NORMAL_ASSOC NO_NORMAL_PART NO_NORMAL_QOS
        NO_NORMAL_TRES SMALL_RELATIVE_TO_TIME""",
    ),
    (
        "slurm.conf",
        "",
        "PrivateData",
        "accounts all cloud events jobs nodes none partitions reservations usage users",
    ),
    (
        "slurm.conf",
        "",
        "HealthCheckNodeState",
        "ALLOC ANY CYCLE IDLE MIXED NONDRAINED_IDLE REBOOT_ONLY START_ONLY",
    ),
    (
        "slurm.conf",
        "",
        "LaunchParameters",
        """batch_step_set_cpu_freq cray_net_exclusive disable_send_gids enable_nss_slurm
        interactive_step_set_cpu_freq lustre_no_flush mem_sort mpir_use_nodeaddr send_gids
        slurmstepd_memlock slurmstepd_memlock_all srun_exclusive_allocation test_exec
        ulimit_pam_adopt use_interactive_step""",
    ),
    (
        "slurm.conf",
        "",
        "JobAcctGatherParams",
        "DisableGPUAcct NoShared OverMemoryKill UsePss NoOverMemoryKill no_file_cache",
    ),
    (
        "slurm.conf",
        "",
        "AccountingStoreFlags",
        "job_comment job_env job_extra job_script no_stdio",
    ),
)
#: Words with commas between them, perhaps with ``=value``: the same.
WORDS: dict[tuple[str, str, str], frozenset[str]] = {
    (file, starter, key.lower()): frozenset(text.split()) for file, starter, key, text in _LISTED
}
#: The first word of a node's State=, before any ``+``.
NODE_STATES = frozenset(
    [
        "UNKNOWN",
        "IDLE",
        "DOWN",
        "DRAIN",
        "FAIL",
        "FAILING",
        "FUTURE",
        "CLOUD",
        "EXTERNAL",
        "UNDRAIN",
        "RESUME",
    ]
)
