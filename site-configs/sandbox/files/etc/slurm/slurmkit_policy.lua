-- The policy of sandbox; made by `slurmkit site generate` from site.yaml. Data only, read by job_submit.lua
-- and cli_filter.lua from their own folder. docs/reference/lua-plugins.md describes every key.
local policy = {
  -- A job belongs to the tier whose QOS it names, else to the one whose partition it names.
  tiers = {
  },
  -- GPU jobs without --time get their partition's DefaultTime.
  gpu_time_limit = "off",
  -- --gpus-per-task hides every rank's GPU from its neighbours.
  gpus_per_task = "refuse",
  -- Jobs that ask for no GPU do not take the cores beside them.
  gpu_partitions = { "debug", "long" },
  gpu_partition_without_gpu = "refuse",
  -- These may pass by the policy with --comment=slurmkit:override, and modify any job.
  operators = { uids = { 0 }, users = {  } },
  notify = true,
}

return policy
