-- Slurm links Lua 5.1 to 5.4, whichever the distribution has; this is what they have in common.
std = "min"
max_line_length = 120
files["**/job_submit.lua"] = {
  read_globals = { "slurm" },
  globals = { "slurm_job_submit", "slurm_job_modify" },
}
files["**/cli_filter.lua"] = {
  read_globals = { "slurm" },
  globals = { "slurm_cli_setup_defaults", "slurm_cli_pre_submit", "slurm_cli_post_submit" },
}
