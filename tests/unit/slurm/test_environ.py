from slurmkit.slurm.environ import query_environment, scrubbed_environment

INSIDE_A_JOB = {
    "PATH": "/usr/bin",
    "HOME": "/home/a",
    "SLURM_JOB_ID": "12",
    "SLURM_NTASKS": "8",
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
    "SLURM_STEP_ID": "0",
    "SLURM_DISTRIBUTION": "block",
    "SLURMD_NODENAME": "node1",
    "SBATCH_CPU_BIND": "quiet",
    "SBATCH_PARTITION": "debug",
    "SRUN_CPUS_PER_TASK": "4",
    "PMI_RANK": "3",
    "PMIX_RANK": "3",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_MCA_ess": "pmi",
    "PRTE_MCA_x": "1",
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "1234",
    "CUDA_VISIBLE_DEVICES": "1",
    "ENVIRONMENT": "BATCH",
}


def test_nothing_of_a_surrounding_job_is_left() -> None:
    assert scrubbed_environment(INSIDE_A_JOB) == {"PATH": "/usr/bin", "HOME": "/home/a"}


def test_the_way_to_the_cluster_and_the_users_own_settings_stay() -> None:
    mine = {
        "SLURM_CONF": "/etc/slurm/slurm.conf",
        "SLURM_CLUSTERS": "b",
        "SLURM_JWT": "t",
        "OMPI_MCA_pml": "ucx",
        "OMPI_MCA_btl_tcp_if_include": "ib0",
        "UCX_TLS": "rc",
        "NCCL_DEBUG": "INFO",
        "SLURMKIT_SITE": "/etc/site.yaml",
        "RANKING": "1",
    }
    assert scrubbed_environment(mine) == mine


def test_devices_outside_any_job_are_the_users_choice() -> None:
    assert scrubbed_environment({"CUDA_VISIBLE_DEVICES": "2"}) == {"CUDA_VISIBLE_DEVICES": "2"}


def test_overrides_win_over_the_scrub_and_secrets_over_everything() -> None:
    env = scrubbed_environment(
        {"A": "1", "HF_TOKEN": "hush", "SLURM_NTASKS": "8"},
        overrides={"A": "2", "SLURM_EXIT_ERROR": "9", "WANDB_API_KEY": "hush"},
        secret_names=["HF_TOKEN", "WANDB_API_KEY", "ABSENT"],
    )
    assert env == {"A": "2", "SLURM_EXIT_ERROR": "9"}


def test_the_environment_given_is_not_changed() -> None:
    given = dict(INSIDE_A_JOB)
    scrubbed_environment(given, secret_names=["HOME"])
    assert given == INSIDE_A_JOB


def test_queries_print_one_form_everywhere() -> None:
    env = query_environment(
        {"LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Tokyo", "SQUEUE_FORMAT": "%i", "SLURM_CONF": "/c"}
    )
    assert env["LC_ALL"] == "C"
    assert env["TZ"] == "UTC"
    assert env["SLURM_BITSTR_LEN"] == "0"
    assert env["SLURM_CONF"] == "/c"
    assert "SQUEUE_FORMAT" not in env
