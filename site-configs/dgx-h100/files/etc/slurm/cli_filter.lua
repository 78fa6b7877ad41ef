-- Slurm's cli_filter/lua: tells the user of sbatch, salloc and srun what job_submit would refuse, and
-- what job_submit cannot see: srun --gpus-per-task inside an allocation. It changes nothing, and it
-- fails open: it is a courtesy on the user's side, the controller decides.

local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
local NO_VAL = slurm.NO_VAL or 0xfffffffe

local rules, policy

local function load_policy()
  local loaded_rules = dofile(folder .. "slurmkit_rules.lua")
  local loaded = dofile(folder .. "slurmkit_policy.lua")
  if #loaded_rules.problems(loaded) == 0 then -- the controller's log names them
    rules, policy = loaded_rules, loaded
  end
end

local ok, failure = pcall(load_policy)
if not ok then
  slurm.log_debug("%s", "slurmkit: no policy: " .. tostring(failure))
end

-- An option nobody gave is nil, or a word, or NO_VAL in disguise: that differs by option and release.
local NOTHING = { [""] = true, ["(null)"] = true, unset = true, INVALID = true, ["invalid-context"] = true }

local function option(options, name)
  local known, value = pcall(function() return options[name] end)
  if not known or type(value) ~= "string" or NOTHING[value] then
    return nil
  end
  return value
end

local function number(options, name)
  local value = tonumber(option(options, name))
  if not value or value <= 0 or value >= 0xfffe then
    return nil
  end
  return value
end

local function time_limit(options)
  local text = option(options, "time")
  local minutes = text and rules.minutes(text)
  -- 22.05 prints NO_VAL minutes as 2982616-04:14:00.
  if not minutes or minutes == NO_VAL then
    return nil
  end
  return minutes
end

local function requeue(options)
  local word = option(options, "requeue")
  if word == "no-requeue" then
    return false
  end
  return word == "requeue" or nil
end

local function make_request(options)
  local job = tonumber(option(options, "jobid"))
  local is_step = option(options, "type") == "srun" and job ~= nil and job > 0 and job < NO_VAL
  return {
    side = "client",
    kind = is_step and "step" or "submit",
    batch = option(options, "type") == "sbatch",
    uses_gpu = false,
    partition = option(options, "partition"),
    qos = option(options, "qos"),
    comment = option(options, "comment"),
    time_limit = time_limit(options),
    requeue = requeue(options),
    tres_per_node = option(options, "gres") or option(options, "gpus-per-node"),
    tres_per_task = option(options, "gpus-per-task") or option(options, "tres-per-task"),
    tres_per_job = option(options, "gpus"),
    tres_per_socket = option(options, "gpus-per-socket"),
    num_tasks = number(options, "ntasks"),
    nodes = number(options, "nodes"),
    ntasks_per_node = number(options, "ntasks-per-node"),
  }
end

-- The --gpus options hold "4" or "h100:4", without the word gpu.
local function with_name(text)
  if not text or text:find("gpu", 1, true) or text:find("gres", 1, true) then
    return text
  end
  return (text:gsub("([^,]+)", "gpu:%1"))
end

local function judge(options)
  local request = make_request(options)
  for _, field in ipairs({ "tres_per_job", "tres_per_socket" }) do
    request[field] = with_name(request[field])
  end
  if not option(options, "gres") then
    request.tres_per_node = with_name(request.tres_per_node)
  end
  if option(options, "gpus-per-task") then
    request.tres_per_task = with_name(request.tres_per_task)
  end
  local decision = rules.decide(policy, request)
  local program = option(options, "type") or "slurm"
  for _, refusal in ipairs(decision.refusals) do
    io.stderr:write(program, ": error: slurmkit: ", refusal.message, "\n")
  end
  return #decision.refusals > 0 and slurm.ERROR or slurm.SUCCESS
end

function slurm_cli_setup_defaults()
  return slurm.SUCCESS
end

function slurm_cli_pre_submit(options)
  if not policy then
    return slurm.SUCCESS
  end
  local fine, result = pcall(judge, options)
  if not fine then
    slurm.log_debug("%s", "slurmkit: policy error: " .. tostring(result))
    return slurm.SUCCESS
  end
  return result
end

function slurm_cli_post_submit()
  return slurm.SUCCESS
end

return slurm.SUCCESS
