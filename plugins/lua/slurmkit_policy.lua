-- The policy of this site: data only, read by job_submit.lua and cli_filter.lua from their own folder.
-- Every key is described in docs/reference/lua-plugins.md. Check an edit before installing it:
--   lua check_policy.lua
-- Times are as in sbatch --time ("30", "12:00:00", "7-00"); memory is as in sbatch --mem ("200G").
local policy = {
  -- A job belongs to the tier whose QOS it names, else to the one whose partition it names.
  tiers = {
    train = {
      qos = "train",
      default_time = "12:00:00",
      max_time = "7-00:00:00",
      requeue = true,
    },
    interactive = {
      qos = "interactive",
      default_time = "01:00:00",
      max_time = "08:00:00",
    },
  },
  -- Tier of a job that names neither QOS nor partition; nil: none.
  default_tier = nil,

  -- GPU jobs without --time: "require" refuses, "default" gives the tier's default_time, "off".
  gpu_time_limit = "require",
  -- Longest GPU job where no tier says otherwise; nil: what the partition allows.
  max_time = nil,

  -- --gpus-per-task hides every rank's GPU from its neighbours: "refuse", "fix" or "allow".
  gpus_per_task = "refuse",

  -- Jobs that ask for no GPU in one of these partitions: "refuse", "warn" or "allow".
  gpu_partitions = { "gpu" },
  gpu_partition_without_gpu = "refuse",
  -- Generic resources that count as asking for a GPU.
  gpu_gres = { "gpu", "shard", "mps" },

  -- Given to GPU jobs that do not say; a tier may have its own. nil: Slurm's own default.
  cpus_per_gpu = nil,
  memory_per_gpu = nil,

  -- These may pass by the policy with --comment=slurmkit:override, and modify any job.
  operators = { uids = { 0 }, users = {} },

  -- Tell the user about everything that was filled in, not only about what was overruled.
  notify = true,
}

return policy
